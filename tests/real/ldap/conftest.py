"""One slapd and one sidegate in front of it; tests that stop a server start their own."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.peers.slapd import CHAT, SERVICE, SERVICE_PASSWORD, Slapd, person
from tests.real.ldap.client import Ldap, Result, Where
from tests.support.sidegate import Certificates, Sidegate


def start_slapd(root: Path, certificates: Certificates, **options: Any) -> Slapd:
    folder = Path(tempfile.mkdtemp(prefix="slapd-", dir=root))
    return Slapd(folder, certificates.certificate, certificates.key, certificates.ca, **options)


def start_gate(root: Path, certificates: Certificates, slapd: Slapd, **backend: Any) -> Sidegate:
    """A running sidegate in front of `slapd`, with accounts alice and bob; `backend` changes its section."""
    folder = Path(tempfile.mkdtemp(prefix="gate-", dir=root))
    password = folder / "service-password"
    password.write_text(SERVICE_PASSWORD)
    password.chmod(0o600)
    directory = {
        "protocol": "ldap",
        "address": f"127.0.0.1:{slapd.port}",
        "tls": "starttls",
        "ca": str(certificates.ca),
        "account_dn": person("{local}"),
        "login": {"strategy": "proxied_authorization", "bind_dn": SERVICE, "password_file": str(password)},
        "service_accounts": [{"dn": CHAT, "networks": ["127.0.0.1"]}],
        **backend,
    }
    if directory["tls"] == "none":
        del directory["ca"]
    many = {"policy": {"app_password_limit": 1000}}  # each test mints for alice
    gate = Sidegate(folder, certificates, {"directory": directory}, extra=many).start()
    for name in ("alice", "bob"):
        gate.add_account(f"{name}@example.org")
    return gate


@pytest.fixture(scope="session")
def slapd(public_root: Path, certificates: Certificates) -> Iterator[Slapd]:
    started = start_slapd(public_root, certificates)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def gate(public_root: Path, certificates: Certificates, slapd: Slapd) -> Iterator[Sidegate]:
    started = start_gate(public_root, certificates, slapd)
    yield started
    started.stop()


@pytest.fixture
def own(public_root: Path, certificates: Certificates) -> Iterator[Callable[..., tuple[Slapd, Sidegate]]]:
    """Makes a slapd and a sidegate for this test alone; keyword arguments change the backend's section."""
    with ExitStack() as stack:

        def make(**backend: Any) -> tuple[Slapd, Sidegate]:
            directory = start_slapd(public_root, certificates)
            stack.callback(directory.stop)
            proxy = start_gate(public_root, certificates, directory, **backend)
            stack.callback(proxy.stop)
            return directory, proxy

        yield make


def direct(slapd: Slapd, tls: str = "implicit") -> Where:
    """slapd itself, around sidegate."""
    return Where(slapd.ldaps_port if tls == "implicit" else slapd.port, slapd.ca, tls)


def front(gate: Sidegate, tls: str = "implicit") -> Where:
    """sidegate's front; `none` is the STARTTLS one, in the clear."""
    return Where(gate.ports["ldap", "implicit" if tls == "implicit" else "starttls"], gate.certificates.ca, tls)


def mint(gate: Sidegate, name: str = "alice", *, scope: str | None = "ldap") -> str:
    options = [] if scope is None else ["--scope", scope]
    return gate.mint(f"{name}@example.org", f"test {uuid.uuid4()}", *options)


def logged_in(gate: Sidegate, name: str = "alice", tls: str = "implicit") -> Ldap:
    client = Ldap(front(gate, tls))
    assert client.bind(person(name), mint(gate, name)) == Result(0, "")
    return client
