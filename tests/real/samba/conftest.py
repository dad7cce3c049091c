"""One domain controller, started when a test first asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.samba import Samba
from tests.real.ldap.client import Where


@pytest.fixture(scope="session")
def samba(public_root: Path) -> Iterator[Samba]:
    started = Samba(public_root / "samba")
    yield started
    started.stop()


PORTS = {"implicit": 636, "starttls": 389, "none": 389}


def direct(samba: Samba, tls: str = "implicit") -> Where:
    """The domain controller itself."""
    return Where(PORTS[tls], samba.ca, tls, samba.address)
