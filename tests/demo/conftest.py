"""A short temp folder: unix sockets are made in it, whose addresses hold 107 bytes, and pytest-xdist nests deep."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sidegate-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
