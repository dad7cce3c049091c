"""Alembic revisions, packaged; run by Store.migrate() (proxy/store/engine.py), never by Alembic's own command."""
