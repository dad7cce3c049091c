"""sidegate in front of Active Directory, as far as it goes without proxied authorization."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.process import wait_until
from tests.peers.samba import ALICE, CHAT, CHAT_PASSWORD, PEOPLE, SERVICE, SERVICE_PASSWORD, USERS, Samba
from tests.real.ldap.client import Done, Ldap, Result, tool
from tests.real.ldap.conftest import front
from tests.support.sidegate import PORTAL_URL, Certificates, Sidegate

pytestmark = pytest.mark.real

NOT_ONE = f"Application-specific password required: {PORTAL_URL}"


@pytest.fixture(scope="module")
def gate(public_root: Path, certificates: Certificates, samba: Samba) -> Iterator[Sidegate]:
    root = public_root / "gate-samba"
    root.mkdir()
    password = root / "service-password"
    password.write_text(SERVICE_PASSWORD)
    password.chmod(0o600)
    directory = {
        "protocol": "ldap",
        "address": f"{samba.address}:636",
        "tls": "implicit",
        "ca": str(samba.ca),
        "account_dn": f"CN={{local}},{PEOPLE}",
        "bind_names": True,
        "login": {"strategy": "proxied_authorization", "bind_dn": SERVICE, "password_file": str(password)},
        "service_accounts": [{"dn": CHAT, "networks": ["127.0.0.1"]}],
    }
    started = Sidegate(root, certificates, {"directory": directory}, extra={"default_domain": "example.test"}).start()
    started.add_account("alice@example.test", "--alias", "EXAMPLE\\alice")
    yield started
    started.stop()


def test_a_programs_own_account(gate: Sidegate) -> None:
    """It passes through, and finds people; Samba's refusal is the answer, whatever it tells."""
    wanted = ["-LLL", "-b", PEOPLE, "(sAMAccountName=alice)", "mail"]
    found = tool(front(gate), "ldapsearch", *wanted, dn=CHAT, password=CHAT_PASSWORD)
    assert found == Done(0, f"dn: {ALICE}\nmail: alice@example.test\n\n")
    assert "data 52e," in Ldap(front(gate)).bind(CHAT, "wrong").text


def test_no_account_password_reaches_it(gate: Sidegate, samba: Samba) -> None:
    before = len(samba.log())
    for name in ("Example\\Alice", ALICE):
        assert Ldap(front(gate)).bind(name, USERS["alice"]) == Result(49, NOT_ONE)
    Ldap(front(gate)).bind(CHAT, "wrong")
    wait_until(lambda: "NT_STATUS_WRONG_PASSWORD" in samba.log()[before:], "a Bind that came after them")
    assert "alice" not in samba.log()[before:].lower()


def test_proxied_authorization_is_refused_in_words(gate: Sidegate) -> None:
    """The Bind name is known, the app password is right, and the fault is ours."""
    secret = gate.mint("alice@example.test", f"test {uuid.uuid4()}", "--scope", "ldap")
    refused = Ldap(front(gate)).bind("EXAMPLE\\alice", secret)
    assert refused == Result(52, "Temporary authentication failure")
    wait_until(lambda: "under proxied authorization: 12" in gate.log(), "the error in our log")
    assert "backend_refused_us" in gate.log()
