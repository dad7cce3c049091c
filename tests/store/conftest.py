"""Contract tests run on every engine listed here; a second engine is one more line and its function."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.store.engine import Store


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite store to copy: migrating one for every test would take longer than the tests."""
    path = tmp_path_factory.mktemp("migrated") / "store.db"
    store = Store(f"sqlite:{path}")
    store.migrate()
    store.close()
    return path


@pytest.fixture
def sqlite_file(migrated: Path, tmp_path: Path) -> Path:
    """A SQLite store, for what is about the file itself."""
    return Path(shutil.copy(migrated, tmp_path / "file.db"))


def sqlite_url(request: pytest.FixtureRequest) -> str:
    return f"sqlite:{request.getfixturevalue('sqlite_file')}"


ENGINES = {"sqlite": sqlite_url}


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest) -> str:
    """Of an empty, migrated store."""
    return ENGINES[request.param](request)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(url)
    yield store
    store.close()
