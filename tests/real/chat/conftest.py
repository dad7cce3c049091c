"""One directory, and the chat servers that ask it about passwords."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.peers.chat import Directory
from tests.peers.ejabberd import Ejabberd
from tests.peers.prosody import Prosody
from tests.peers.slapd import PEOPLE, SERVICE, SERVICE_PASSWORD, USERS, Slapd, person
from tests.peers.xmpp import Xmpp
from tests.real.ldap.client import Ldap, Where, modify
from tests.support.sidegate import Certificates


class Passwords:
    """What chat servers ask, and the secrets that it accepts: slapd, and the passwords of the people in it."""

    def __init__(self, slapd: Slapd) -> None:
        self.directory = Directory(slapd.port, slapd.ldaps_port, slapd.ca, SERVICE, SERVICE_PASSWORD, PEOPLE)
        self._now = dict(USERS)

    def secret(self, name: str) -> str:
        """One that opens the chat for `name` now."""
        return self._now[name]

    def revoke(self, name: str) -> None:
        """Her secrets so far open nothing from now on."""
        new = str(uuid.uuid4())
        client = Ldap(Where(self.directory.ldaps_port, self.directory.ca))
        assert client.bind(person(name), self._now[name]).code == 0
        assert client.ask(modify(person(name), "userPassword", new)).code == 0
        client.close()
        self._now[name] = new


@pytest.fixture(scope="session")
def passwords(public_root: Path, certificates: Certificates) -> Iterator[Passwords]:
    slapd = Slapd(public_root / "chat-slapd", certificates.certificate, certificates.key, certificates.ca)
    yield Passwords(slapd)
    slapd.stop()


@pytest.fixture(scope="session")
def prosody(public_root: Path, certificates: Certificates, passwords: Passwords) -> Iterator[Prosody]:
    started = Prosody(public_root / "prosody", certificates, passwords.directory)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def ejabberd(public_root: Path, certificates: Certificates, passwords: Passwords) -> Iterator[Ejabberd]:
    started = Ejabberd(public_root / "ejabberd", certificates, passwords.directory)
    yield started
    started.stop()


@pytest.fixture(scope="session", params=["prosody", "ejabberd"])
def server(request: pytest.FixtureRequest) -> Prosody | Ejabberd:
    """Each chat server as docs/backends has it."""
    found: Prosody | Ejabberd = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def chat(certificates: Certificates) -> Iterator[Callable[[Prosody | Ejabberd, str, str], Xmpp]]:
    """Starts a chat program for somebody with a password."""
    with ExitStack() as stack:

        def start(server: Prosody | Ejabberd, name: str, password: str) -> Xmpp:
            program = Xmpp(server.port, certificates.ca, name, password)
            stack.callback(program.stop)
            return program

        yield start
