import sqlite3
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from proxy.store import accounts, app_passwords, people, schema
from proxy.store.engine import Store
from proxy.store.errors import StoreUnavailable
from proxy.store.migrations.versions import r0001_whole_schema


def test_migrations_and_schema_agree(store: Store) -> None:
    with store.reading() as c:
        context = MigrationContext.configure(c, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == []


def test_migrations_make_what_the_schema_would_make_itself(sqlite_file: Path, tmp_path: Path) -> None:
    """What Alembic does not compare: AUTOINCREMENT, partial indexes, foreign key actions."""
    engine = create_engine(f"sqlite:///{tmp_path}/direct.db")
    schema.metadata.create_all(engine)
    engine.dispose()

    def made(path: Path) -> dict[str, list[str]]:
        c = sqlite3.connect(path)
        rows = c.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        c.close()
        # Alembic writes foreign keys before the other constraints, SQLAlchemy in the order of the table.
        return {
            name: sorted(line.strip(" \t,") for line in sql.split("\n"))
            for name, sql in rows
            if name != "alembic_version"
        }

    assert made(sqlite_file) == made(tmp_path / "direct.db")


def test_revisions_are_numbered_in_one_line_up_to_the_schema() -> None:
    config = Config()
    config.set_main_option("script_location", "proxy.store:migrations")
    revisions = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert revisions == [f"{n:04}" for n in range(len(revisions), 0, -1)]
    assert revisions[0] == schema.REVISION


def test_a_migration_that_fails_changes_nothing(sqlite_file: Path) -> None:
    c = sqlite3.connect(sqlite_file, isolation_level=None)
    c.execute("INSERT INTO login_names VALUES ('nobody', 999)")
    c.close()
    store = Store(f"sqlite:{sqlite_file}")
    with pytest.raises(StoreUnavailable, match="would break references between rows; nothing was changed"):
        store.migrate()
    with store.writing() as w:
        w.exec_driver_sql("DELETE FROM login_names")
        w.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(StoreUnavailable, match=r"cannot be migrated: .*0000"):
        store.migrate()
    with store.reading() as r:
        assert r.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "0000"
    store.close()


def test_the_first_schema_gains_the_portal_and_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as c, Operations.context(MigrationContext.configure(c)):
        r0001_whole_schema.upgrade()
        c.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        c.exec_driver_sql("INSERT INTO alembic_version VALUES ('0001')")
        c.exec_driver_sql("INSERT INTO meta VALUES ('store_id', 'abc')")
        for id_, name, state in ((1, "alice", "enabled"), (2, "bob", "disabled"), (7, "carol", "enforced")):
            c.exec_driver_sql(
                "INSERT INTO accounts (id, address, kind, mfa, created) VALUES (?, ?, 'person', ?, 5.0)",
                (id_, f"{name}@example.org", state),
            )
            c.exec_driver_sql("INSERT INTO login_names VALUES (?, ?)", (f"{name}@example.org", id_))
        c.exec_driver_sql(
            "INSERT INTO app_passwords (account_id, owner_id, name, scopes, networks, created, pepper_version, tag,"
            " hash) VALUES (7, 7, 'phone', 'imap', '', 6.0, 1, 99, '$argon2id$')"
        )
    engine.dispose()
    before = time.time()
    store = Store(f"sqlite:{path}")
    store.migrate()
    store.check()
    assert store.store_id() == "abc"
    with store.reading() as r:
        assert [row.account.address for row in accounts.listing(r)] == [
            "alice@example.org",
            "bob@example.org",
            "carol@example.org",
        ]
        assert [record.name for record in app_passwords.of_account(r, 7)] == ["phone"]
        since = {account_id: people.by_id(r, account_id).mfa_since for account_id in (1, 2, 7)}
    store.migrate()  # again: nothing to do
    store.close()
    assert since[2] is None
    assert before <= since[1] == since[7] <= time.time()
