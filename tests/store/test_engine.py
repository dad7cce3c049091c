import os
import resource
import shutil
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from proxy.store import accounts, app_passwords
from proxy.store.engine import Store
from proxy.store.errors import StoreUnavailable
from tests.store import rows

# ---- any engine ------------------------------------------------------------------------------


def test_a_write_is_there_for_everybody_when_the_block_ends(store: Store, url: str) -> None:
    with store.writing() as c:
        alice = rows.account(c)
    other = Store(url)
    with other.reading() as c:
        assert accounts.by_id(c, alice.id) == alice
    other.close()


def test_a_write_that_raises_is_undone(store: Store) -> None:
    def fail(c: Connection) -> None:
        rows.account(c)
        raise LookupError

    with pytest.raises(LookupError), store.writing() as c:
        fail(c)
    with store.reading() as c:
        assert accounts.listing(c) == []


def test_reading_is_a_snapshot(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
    with store.reading() as c:
        assert accounts.by_id(c, alice.id) == alice
        with store.writing() as writer:
            accounts.set_enabled(writer, alice.id, False)
        assert accounts.by_id(c, alice.id) == alice
    with store.reading() as c:
        assert accounts.by_id(c, alice.id) != alice


def test_reading_cannot_write(store: Store) -> None:
    with pytest.raises(StoreUnavailable), store.reading() as c:
        rows.account(c)
    with store.reading() as c:
        assert accounts.listing(c) == []


def test_a_thread_holds_its_connections(store: Store) -> None:
    seen = []

    def look() -> None:
        with store.reading() as c, store.writing() as w:
            seen.append((c, w))

    look()
    look()
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    (reader, writer), again, (other_reader, other_writer) = seen
    assert again[0] is reader
    assert again[1] is writer
    assert len({reader, writer, other_reader, other_writer}) == 4


def test_store_id_is_made_once(store: Store) -> None:
    found = store.store_id()
    assert len(bytes.fromhex(found)) == 16
    store.migrate()
    assert store.store_id() == found


def test_it_can_be_used_again_after_close(store: Store) -> None:
    store.close()
    store.check()


# ---- SQLite ----------------------------------------------------------------------------------


def sqlite(path: Path) -> Store:
    return Store(f"sqlite:{path}")


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def test_the_files_are_the_groups_where_they_are_shared(tmp_path: Path) -> None:
    """Each of them, also those that SQLite makes, under whatever umask; and back again."""
    before = os.umask(0o077)
    try:
        store = sqlite(tmp_path / "a.db")
        store.migrate()
        with store.writing() as c:
            rows.account(c)
        assert modes(tmp_path) == {"a.db": 0o600, "a.db-wal": 0o600, "a.db-shm": 0o600}
        store.migrate(shared=True)  # files are there already, as after a crash
        assert modes(tmp_path) == {"a.db": 0o660, "a.db-wal": 0o660, "a.db-shm": 0o660}
        store.close()
        assert modes(tmp_path) == {"a.db": 0o660}
        with store.writing() as c:
            rows.account(c, "bob")
        assert modes(tmp_path) == {"a.db": 0o660, "a.db-wal": 0o660, "a.db-shm": 0o660}
        store.close()
        (tmp_path / "key").touch(0o600)
        (tmp_path / "a.db-wal").symlink_to(tmp_path / "key")
        with suppress(StoreUnavailable):
            store.migrate(shared=True)
        assert modes(tmp_path)["key"] == 0o600, "a link that somebody of the group has put there"
    finally:
        os.umask(before)


def test_the_files_are_for_their_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = sqlite(tmp_path / "a.db")
        store.migrate()
        with store.writing() as c:
            rows.account(c)
        with store.reading() as c:
            assert accounts.listing(c)
        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        store.close()
        os.umask(0o777)
        store = sqlite(tmp_path / "b.db")
        store.migrate()
        store.close()
    finally:
        os.umask(before)
    assert files == {"a.db": 0o600, "a.db-wal": 0o600, "a.db-shm": 0o600}
    assert stat.S_IMODE((tmp_path / "b.db").stat().st_mode) == 0o600


def test_commits_are_durable_and_references_hold(sqlite_file: Path) -> None:
    store = sqlite(sqlite_file)
    for transaction in (store.reading, store.writing):
        with transaction() as c:
            pragmas = {
                name: c.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
        assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 3000}
    store.close()


def test_a_path_is_taken_literally(tmp_path: Path) -> None:
    folder = tmp_path / "a?mode=memory&x=%41#b"
    folder.mkdir()
    store = sqlite(folder / "store.db")
    store.migrate()
    store.check()
    store.close()
    assert [path.name for path in folder.iterdir()] == ["store.db"]


def test_a_mistyped_path_does_not_become_a_store(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    store = sqlite(path)
    with pytest.raises(StoreUnavailable) as caught:
        store.check()
    assert str(caught.value).startswith(f"store {path}: is not there: run `sidegate init`")
    with pytest.raises(StoreUnavailable), store.reading():
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "store.db"
    with pytest.raises(StoreUnavailable) as caught:
        sqlite(path).migrate()
    assert str(caught.value) == f"store {path}: cannot be created: No such file or directory: check its folder"


def test_a_file_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"not a database at all\n" * 100)
    for use in (Store.check, Store.migrate):
        with pytest.raises(StoreUnavailable) as caught:
            use(sqlite(path))
        assert str(caught.value).startswith(f"store {path}: the file is not a sidegate store: check `store`")
    assert path.read_bytes() == b"not a database at all\n" * 100


def test_no_schema_an_older_one_and_a_newer_one_are_told_apart(sqlite_file: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.db"
    empty.touch()
    with pytest.raises(StoreUnavailable) as caught:
        sqlite(empty).check()
    assert str(caught.value) == f"store {empty}: has no schema yet: run `sidegate migrate`"
    with pytest.raises(StoreUnavailable) as caught, sqlite(empty).reading() as c:
        accounts.listing(c)
    assert "run `sidegate init`" in str(caught.value)

    store = sqlite(sqlite_file)
    with store.writing() as c:
        c.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    with pytest.raises(StoreUnavailable) as caught:
        store.check()
    assert str(caught.value).endswith("has schema 0000, this version needs 0002: run `sidegate migrate`")
    with store.writing() as c:
        c.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for use in (store.check, store.migrate):
        with pytest.raises(StoreUnavailable, match="has schema 9999, newer than this version's 0002"):
            use()
    store.close()


@contextmanager
def without_rights() -> Iterator[Path]:
    """A folder, readable for all, and for the block a user whom file modes bind (root they do not)."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    root = os.geteuid() == 0
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o777)
        shutil.rmtree(folder)


def drop_rights() -> None:
    if os.geteuid() == 0:
        os.seteuid(65534)


@pytest.mark.parametrize("folder_mode", [0o555, 0o777])
def test_a_store_that_is_not_writable_is_named_with_what_to_do(folder_mode: int) -> None:
    with without_rights() as folder:
        path = folder / "store.db"
        store = sqlite(path)
        store.migrate()
        store.close()
        path.chmod(0o444)
        folder.chmod(folder_mode)
        drop_rights()
        with pytest.raises(StoreUnavailable) as caught:
            store.check()
        store.close()
        assert str(caught.value).startswith(f"store {path}: ")
        assert "check the owner and mode of the file and of its folder" in str(caught.value)


def test_a_folder_that_is_not_writable_is_named() -> None:
    with without_rights() as folder:
        folder.chmod(0o555)
        drop_rights()
        with pytest.raises(StoreUnavailable) as caught:
            sqlite(folder / "store.db").migrate()
        assert str(caught.value) == f"store {folder}/store.db: cannot be created: Permission denied: check its folder"


def test_a_disk_that_takes_no_more_fails_the_change_and_nothing_else(sqlite_file: Path) -> None:
    store = sqlite(sqlite_file)
    with store.writing() as c:
        alice = rows.account(c)
        phone = rows.app_password(c, alice.id)
    log = sqlite_file.with_name("file.db-wal").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log, hard))
    try:
        with pytest.raises(StoreUnavailable, match="disk"), store.writing() as c:
            accounts.remove(c, alice.id, 5.0)
        with store.reading() as c:
            assert app_passwords.of_account(c, alice.id, live_only=True) == [phone]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with store.writing() as c:
        assert app_passwords.by_id(c, phone.id) == phone
        accounts.remove(c, alice.id, 5.0)
    with store.reading() as c:
        assert c.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        assert accounts.listing(c) == []
    store.close()


def test_a_store_that_another_process_holds_says_so(sqlite_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.store.engine.BUSY_TIMEOUT", 0.05)
    store = sqlite(sqlite_file)
    holder = sqlite3.connect(sqlite_file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="another process holds it"), store.writing():
        pass
    with store.reading() as c:
        assert accounts.listing(c) == []
    holder.execute("ROLLBACK")
    holder.close()
    with store.writing() as c:
        rows.account(c)
    store.close()


def test_a_url_with_a_password_is_not_shown() -> None:
    """Nothing listens there, and the driver may be missing too: neither may tell."""
    with pytest.raises((StoreUnavailable, ImportError)) as caught:
        Store("postgresql://user:canary@127.0.0.1:1/db").check()
    assert "canary" not in str(caught.value)
