"""One store: held connections, transactions, migrations. The only module that knows the engine."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, text, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool

from proxy.store import schema
from proxy.store.errors import NotSetUp, StoreUnavailable

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

BUSY_TIMEOUT = 3.0
"""Seconds a writer waits for another process's write transaction (SQLite). Less than StoreThreads waits, so that the
clearer of the two errors is the one that is seen."""
_WAL_LIMIT = 64 * 1024 * 1024
"""Bytes the write-ahead log is cut back to after a checkpoint."""

_OURS = (IntegrityError, ProgrammingError, DataError)
"""Errors that mean a rule of the schema held, or a bug: not that the store is unavailable."""

_ADVICE = (
    ("no such table", "no schema yet: run `sidegate init`, or `sidegate migrate` after an upgrade"),
    ("no such column", "the schema is behind this version: run `sidegate migrate`"),
    ("readonly", "not writable: check the owner and mode of the file and of its folder"),
    ("unable to open", "cannot be opened: check the owner and mode of the file and of its folder"),
    ("full", "the disk is full: make room"),
    ("i/o", "the disk reports errors or is full: check it, and restore a backup if the file is damaged"),
    ("malformed", "the file is damaged: restore a backup"),
    ("not a database", "the file is not a sidegate store: check `store` in the configuration"),
    ("locked", "another process holds it: end other programs that have it open"),
)


class Store:
    """The store behind `url`: `sqlite:/path`, or a URL of SQLAlchemy's for another engine.

    `reading()` and `writing()` each give a Connection in one transaction. Every thread holds its own two connections;
    nothing is opened before it is needed. All errors of the engine surface as StoreUnavailable.
    """

    def __init__(self, url: str) -> None:
        scheme, _, path = url.partition(":")
        self._path = path if scheme == "sqlite" else None
        self.where = f"store {path}" if self._path is not None else f"store {scheme}"
        """How messages call it; without a URL's password."""
        self._engine = self._sqlite(path) if self._path is not None else create_engine(url, hide_parameters=True)
        self._held = threading.local()
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A snapshot; writing in it is an error."""
        with self._transaction("reading") as c:
            yield c

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A write transaction: durable when the block ends, undone when it raises. Writers take turns."""
        with self._transaction("writing") as c:
            yield c

    def migrate(self, *, shared: bool = False) -> None:
        """Make the store if it is not there, and bring its schema to this version's. An SQLite file is its owner's
        alone (mode 0600), or, `shared`, its group's as well (0660)."""
        from alembic.config import Config
        from alembic.runtime.environment import EnvironmentContext
        from alembic.util import CommandError

        scripts = _scripts()
        self._create_file(0o660 if shared else 0o600)
        with self._errors(), self._engine.connect().execution_options(sidegate_mode="writing") as c:
            # Alembic rebuilds tables on SQLite, and dropping the old one must not cascade. The pragma needs to be
            # outside the transaction, and what it no longer guards is checked before the commit.
            if self._path is not None:
                c.connection.cursor().execute("PRAGMA foreign_keys = OFF")
            try:
                with c.begin():
                    self._refuse_newer(c)
                    upgrade = {"fn": lambda found, _: scripts._upgrade_revs("head", found)}
                    with EnvironmentContext(Config(), scripts, **upgrade) as environment:
                        # As a batch: SQLite has no ALTER for most changes.
                        environment.configure(connection=c, target_metadata=schema.metadata, render_as_batch=True)
                        environment.run_migrations()
                    self._check_foreign_keys(c)
                    if c.execute(select(schema.meta.c.value).where(schema.meta.c.name == "store_id")).scalar() is None:
                        c.execute(insert(schema.meta), {"name": "store_id", "value": secrets.token_hex(16)})
            except CommandError as error:
                raise StoreUnavailable(f"{self.where}: cannot be migrated: {error}") from error

    def check(self) -> None:
        """Raise StoreUnavailable unless the store can be written and has exactly this version's schema."""
        with self.writing() as c:
            found = self._refuse_newer(c)
            if found != schema.REVISION:
                behind = f"has schema {found}, this version needs {schema.REVISION}" if found else "has no schema yet"
                raise NotSetUp(f"{self.where}: {behind}: run `sidegate migrate`")
            # SQLite grants a write transaction even on a file that can only be read: writing tells.
            c.execute(update(schema.meta).values(value=schema.meta.c.value))

    def store_id(self) -> str:
        """32 hexadecimal digits that tell this store from any other."""
        with self.reading() as c:
            value: str = c.execute(select(schema.meta.c.value).where(schema.meta.c.name == "store_id")).scalar_one()
            return value

    def close(self) -> None:
        """Close every thread's connections; none may be in use."""
        with self._lock:
            held, self._connections = self._connections, set()
        for c in held:
            c.close()
        self._held = threading.local()
        self._engine.dispose()

    @contextmanager
    def _transaction(self, mode: str) -> Iterator[Connection]:
        with self._errors():
            c: Connection | None = getattr(self._held, mode, None)
            if c is None:
                c = self._hold(mode)
            try:
                with c.begin():
                    yield c
            except DBAPIError as error:
                if not isinstance(error, _OURS):
                    self._let_go(mode, c)  # the next one starts from a clean connection
                raise

    def _hold(self, mode: str) -> Connection:
        c = self._engine.connect().execution_options(sidegate_mode=mode)
        if self._path is not None and mode == "reading":
            c.exec_driver_sql("PRAGMA query_only = ON")
            c.rollback()
        with self._lock:
            self._connections.add(c)
        setattr(self._held, mode, c)
        return c

    def _let_go(self, mode: str, c: Connection) -> None:
        with self._lock:
            self._connections.discard(c)
        setattr(self._held, mode, None)
        c.invalidate()
        c.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except _OURS:
            raise
        except (DBAPIError, PoolTimeout) as error:
            # The statement and its parameters stay out of it: they may hold hashes.
            reason = str(error.orig) if isinstance(error, DBAPIError) else str(error)
            if self._path is not None and not os.path.lexists(self._path):
                raise NotSetUp(f"{self.where}: is not there: run `sidegate init`") from error
            advice = next((advice for sign, advice in _ADVICE if sign in reason.lower()), "did not answer")
            raise StoreUnavailable(f"{self.where}: {advice} ({reason})") from error

    def _refuse_newer(self, c: Connection) -> str | None:
        """The schema's revision, None when there is none."""
        if not inspect(c).has_table("alembic_version"):
            return None
        found: str | None = c.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if found is not None and found > schema.REVISION:
            raise NotSetUp(
                f"{self.where}: has schema {found}, newer than this version's {schema.REVISION}: "
                "run the sidegate that wrote it, or a newer one"
            )
        return found

    def _create_file(self, mode: int) -> None:
        if self._path is None:
            return
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
        except FileExistsError:
            pass
        except OSError as error:
            raise StoreUnavailable(f"{self.where}: cannot be created: {error.strerror}: check its folder") from error
        with suppress(PermissionError):  # another's: `sidegate doctor` tells
            os.chmod(self._path, mode)
        for beside in ("-wal", "-shm"):  # made by SQLite with the mode of the file, and perhaps before it changed
            with suppress(OSError):
                _chmod(self._path + beside, mode)

    def _check_foreign_keys(self, c: Connection) -> None:
        if self._path is not None and c.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
            raise StoreUnavailable(f"{self.where}: migrating would break references between rows; nothing was changed")

    def _sqlite(self, path: str) -> Engine:
        def connect() -> sqlite3.Connection:
            # mode=rw: a mistyped path must not become an empty store. isolation_level None: the driver begins
            # nothing by itself. Threads: a connection stays with its thread until close().
            c = sqlite3.connect(
                f"file:{quote(path)}?mode=rw",
                uri=True,
                timeout=BUSY_TIMEOUT,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                c.execute("PRAGMA foreign_keys = ON")
                c.execute("PRAGMA journal_mode = WAL")
                c.execute("PRAGMA synchronous = FULL")  # NORMAL may lose a revoke at a power cut
                c.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
            except BaseException:
                c.close()
                raise
            return c

        # NullPool: who holds a connection is decided here, not by a pool.
        engine = create_engine("sqlite+pysqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)

        @event.listens_for(engine, "begin")
        def begin(c: Connection) -> None:
            # IMMEDIATE: a writer waits for its turn at the start, where waiting works, not at its first write.
            writing = c.get_execution_options().get("sidegate_mode") == "writing"
            c.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

        return engine


def _chmod(path: str, mode: int) -> None:
    """Not of what a link leads to: others may write in the folder. O_PATH, because to close any other descriptor would
    release the locks that SQLite holds here."""
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)


@cache
def _scripts() -> ScriptDirectory:
    """The migrations, read."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "proxy.store:migrations")
    scripts = ScriptDirectory.from_config(config)
    scripts.get_heads()  # it reads them only when asked
    return scripts


def rehearse_migration() -> None:
    """Migrate a store that is thrown away: behind this, migrating needs no file of Python's or ours any more."""
    with TemporaryDirectory() as folder, closing(Store(f"sqlite:{folder}/store.db")) as store:
        store.migrate()
