"""Run by Alembic for every command: works on the connection and in the transaction that Store.migrate() opened."""

from alembic import context

from proxy.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite has no ALTER for most changes
)
context.run_migrations()
