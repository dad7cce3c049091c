import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from proxy.store import schema
from proxy.store.engine import Store
from proxy.store.errors import StoreUnavailable


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
