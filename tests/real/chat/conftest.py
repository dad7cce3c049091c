"""slapd, sidegate in front of it, and the chat servers that ask sidegate about passwords."""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from proxy.core.kicking import AFTER_SUCCESS
from tests.peers.chat import HOST, Directory
from tests.peers.ejabberd import KICKER, KICKER_PASSWORD, Ejabberd
from tests.peers.prosody import Prosody
from tests.peers.slapd import CHAT, CHAT_PASSWORD, EJABBERD, PEOPLE, PROSODY, Slapd
from tests.peers.xmpp import Xmpp
from tests.real.ldap.conftest import start_gate, start_slapd
from tests.support.sidegate import Certificates, Sidegate

CHAT_USER = f"{{local}}@{HOST}"


@pytest.fixture(scope="session")
def slapd(public_root: Path, certificates: Certificates) -> Iterator[Slapd]:
    started = start_slapd(public_root, certificates)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def gate(public_root: Path, certificates: Certificates, slapd: Slapd) -> Iterator[Sidegate]:
    """With each program's own account; nobody can be told of a revoke yet."""
    services = [{"dn": dn, "networks": ["127.0.0.1"]} for dn in (PROSODY, EJABBERD, CHAT)]
    started = start_gate(public_root, certificates, slapd, service_accounts=services)
    yield started
    started.stop()


def directory(gate: Sidegate, bind_dn: str) -> Directory:
    """The front, as a chat server is told of it."""
    ports = gate.ports["ldap", "starttls"], gate.ports["ldap", "implicit"]
    return Directory(*ports, gate.certificates.ca, bind_dn, CHAT_PASSWORD, PEOPLE)


class Passwords:
    """App passwords for chats."""

    def __init__(self, gate: Sidegate) -> None:
        self._gate = gate
        self._told = 0.0

    def told(self) -> None:
        """Chat servers are told to kick now, and once more: whoever logs in before that is thrown out, too."""
        self._told = time.monotonic()

    def secret(self, name: str) -> str:
        """A new one, when nobody is about to be thrown out any more. Nothing shows that but time."""
        time.sleep(max(0.0, self._told + AFTER_SUCCESS[0] + 1 - time.monotonic()))
        return self._gate.mint(f"{name}@example.org", f"chat {uuid.uuid4()}", "--scope", "ldap")

    def revoke(self, name: str) -> str:
        """All that `name` has; what the operator is told."""
        done = self._gate.cli("passwords", "revoke", f"{name}@example.org", "--all", "--yes")
        assert done.returncode == 0, done.stderr
        self.told()
        return done.stderr


@pytest.fixture(scope="session")
def passwords(gate: Sidegate) -> Passwords:
    return Passwords(gate)


@pytest.fixture(scope="session")
def servers(public_root: Path, certificates: Certificates, gate: Sidegate) -> Iterator[dict[str, Prosody | Ejabberd]]:
    """Both, as docs/backends has them, and sidegate told how to kick there."""
    prosody = Prosody(public_root / "prosody", certificates, directory(gate, PROSODY))
    ejabberd = Ejabberd(public_root / "ejabberd", certificates, directory(gate, EJABBERD))
    password = public_root / "kicker-password"
    password.write_text(KICKER_PASSWORD)
    password.chmod(0o600)
    told: dict[str, dict[str, Any]] = {
        PROSODY: {"type": "prosody", "socket": str(prosody.admin_socket), "chat_user": CHAT_USER},
        EJABBERD: {
            "type": "ejabberd",
            "url": ejabberd.api,
            "chat_user": CHAT_USER,
            "user": KICKER,
            "password_file": str(password),
            "ca": str(certificates.ca),
        },
    }
    services = [{"dn": dn, "networks": ["127.0.0.1"], "on_revoke": told[dn]} for dn in told]
    gate.settings["backends"]["directory"]["service_accounts"] = [*services, {"dn": CHAT, "networks": ["127.0.0.1"]}]
    gate.reload()
    yield {"prosody": prosody, "ejabberd": ejabberd}
    ejabberd.stop()
    prosody.stop()


@pytest.fixture(params=["prosody", "ejabberd"])
def server(request: pytest.FixtureRequest, servers: dict[str, Prosody | Ejabberd]) -> Prosody | Ejabberd:
    return servers[request.param]


@pytest.fixture
def prosody(servers: dict[str, Prosody | Ejabberd]) -> Prosody:
    found = servers["prosody"]
    assert isinstance(found, Prosody)
    return found


@pytest.fixture
def ejabberd(servers: dict[str, Prosody | Ejabberd]) -> Ejabberd:
    found = servers["ejabberd"]
    assert isinstance(found, Ejabberd)
    return found


@pytest.fixture
def remembering(public_root: Path, certificates: Certificates, gate: Sidegate) -> Iterator[Ejabberd]:
    """ejabberd as it is without auth_use_cache: false, and without on_revoke."""
    root = Path(tempfile.mkdtemp(prefix="remembering-", dir=public_root))
    root.chmod(0o755)
    started = Ejabberd(root / "it", certificates, directory(gate, CHAT), auth_use_cache=True)
    yield started
    started.stop()


@pytest.fixture
def chat(certificates: Certificates) -> Iterator[Callable[[Prosody | Ejabberd, str, str], Xmpp]]:
    """Starts a chat program for somebody with a password."""
    with ExitStack() as stack:

        def start(server: Prosody | Ejabberd, name: str, password: str) -> Xmpp:
            program = Xmpp(server.port, certificates.ca, name, password)
            stack.callback(program.stop)
            return program

        yield start
