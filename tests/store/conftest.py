"""Contract tests run on every engine listed here; a second engine is one more line."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.store.engine import Store

ENGINES = {"sqlite": lambda folder: f"sqlite:{folder}/store.db"}


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return ENGINES[request.param](tmp_path)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(url)
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    """A migrated SQLite store, for what is about the file itself."""
    path = tmp_path / "file.db"
    store = Store(f"sqlite:{path}")
    store.migrate()
    store.close()
    return path
