"""The one sidegate that most of the attacks go against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.stand import Stand
from tests.support.sidegate import Certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Stand]:
    stand = Stand(
        tmp_path_factory.mktemp("stand"),
        certificates,
        proxies=["127.0.77.0/24"],
        directory=True,
        limits={"login_timeout": "14s"},
    )
    yield stand
    stand.stop()


@pytest.fixture
def stand(shared: Stand) -> Iterator[Stand]:
    """The shared one; whatever a test does to it, nobody else may notice."""
    yield shared
    shared.unharmed()
