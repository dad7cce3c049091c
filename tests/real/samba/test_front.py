"""sidegate in front of Active Directory: strategy service_identity, programs' own accounts, and what cannot work."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.peers.process import wait_until
from tests.peers.samba import (
    ALICE,
    BASE,
    BOB,
    CHAT,
    CHAT_PASSWORD,
    MAIL_USERS,
    PEOPLE,
    SERVICE,
    SERVICE_PASSWORD,
    STAFF,
    USERS,
    Samba,
)
from tests.real.ldap.client import Done, Ldap, Result, modify, search, tool
from tests.real.ldap.conftest import front
from tests.real.samba.test_samba import IN_CHAIN, MEMBERS
from tests.support.sidegate import PORTAL_URL, Certificates, Sidegate

pytestmark = pytest.mark.real

NAME = "EXAMPLE\\alice"
NOT_ONE = f"Application-specific password required: {PORTAL_URL}"
LISTED = {
    "bases": [PEOPLE, f"OU=Groups,{BASE}"],
    "attributes": ["cn", "mail", "member", "memberOf", "objectCategory", "sAMAccountName", "userPrincipalName"],
}


@pytest.fixture(scope="module")
def start(public_root: Path, certificates: Certificates, samba: Samba) -> Iterator[Callable[..., Sidegate]]:
    """Starts one with alice, whose alias is NAME; keyword arguments are of the backend's login."""
    with ExitStack() as stack:

        def make(**login: Any) -> Sidegate:
            root = Path(tempfile.mkdtemp(prefix="gate-", dir=public_root))
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
                "login": {"bind_dn": SERVICE, "password_file": str(password), **login},
                "service_accounts": [{"dn": CHAT, "networks": ["127.0.0.1"]}],
            }
            gate = Sidegate(root, certificates, {"directory": directory}, extra={"default_domain": "example.test"})
            stack.callback(gate.start().stop)
            gate.add_account("alice@example.test", "--alias", NAME)
            return gate

        yield make


@pytest.fixture(scope="module")
def gate(start: Callable[..., Sidegate]) -> Sidegate:
    return start(strategy="service_identity", **LISTED)


def mint(gate: Sidegate) -> str:
    return gate.mint("alice@example.test", f"test {uuid.uuid4()}", "--scope", "ldap")


@pytest.mark.parametrize("name", ["alice@example.test", "Example\\Alice", "alice"])
def test_names(gate: Sidegate, name: str) -> None:
    """Who am I? is answered here: Samba could not."""
    assert tool(front(gate), "ldapwhoami", dn=name, password=mint(gate)).code == 0


def test_what_a_person_reads(gate: Sidegate) -> None:
    secret = mint(gate)

    def found(*arguments: str) -> str:
        arguments = ("-LLL", "-o", "ldif-wrap=no", *arguments)
        done = tool(front(gate), "ldapsearch", *arguments, dn=NAME, password=secret)
        assert done.code == 0, done.seen
        return done.seen

    person = "(&(objectCategory=person)(objectClass=user)(sAMAccountName=bob))"
    assert found("-b", PEOPLE, person, "mail", "pwdLastSet") == f"dn: {BOB}\nmail: bob@example.test\n\n"
    assert found("-b", PEOPLE, f"(memberOf:{IN_CHAIN}:={STAFF})", "1.1") == f"dn: {ALICE}\n\n"
    assert f"member;range=0-*: {ALICE}\n" in found("-b", MAIL_USERS, "(cn=*)", "member;range=0-1499")
    assert found("-b", PEOPLE, "-E", "pr=1/noprompt", "(cn=*)", "1.1").count("dn: CN=") == 2


def test_what_a_person_does_not(gate: Sidegate) -> None:
    client = Ldap(front(gate))
    assert client.bind(NAME, mint(gate)).code == 0
    assert client.search(BASE).code == 50
    assert client.search(PEOPLE, equals=("pwdLastSet", "0")).code == 50
    assert client.search("<SID=S-1-5-32-544>").code == 34
    assert client.ask(search(MAIL_USERS, scope=0), [MEMBERS]).code == 12
    assert client.ask(modify(ALICE, "description", "x")).code == 53


def test_somebody_whom_samba_disabled_still_gets_in(gate: Sidegate, samba: Samba) -> None:
    """The page says so, and what to do."""
    control = f"dn: {ALICE}\nchangetype: modify\nreplace: userAccountControl\nuserAccountControl: "
    samba.ldif("ldapmodify", f"{control}514\n")
    try:
        client = Ldap(front(gate))
        assert client.bind(NAME, mint(gate)).code == 0
        assert client.search(ALICE).entries == 1
    finally:
        samba.ldif("ldapmodify", f"{control}512\n")


def test_a_programs_own_account(gate: Sidegate) -> None:
    """It passes through, and finds people; Samba's refusal is the answer, whatever it tells."""
    wanted = ["-LLL", "-b", PEOPLE, "(sAMAccountName=alice)", "mail"]
    found = tool(front(gate), "ldapsearch", *wanted, dn=CHAT, password=CHAT_PASSWORD)
    assert found == Done(0, f"dn: {ALICE}\nmail: alice@example.test\n\n")
    assert "data 52e," in Ldap(front(gate)).bind(CHAT, "wrong").text


def test_the_dn_that_a_search_finds_is_nobodys(gate: Sidegate) -> None:
    assert Ldap(front(gate)).bind(ALICE, mint(gate)) == Result(49, f"App password not accepted: {PORTAL_URL}")


def test_no_account_password_reaches_it(gate: Sidegate, samba: Samba) -> None:
    before = len(samba.log())
    for name in (NAME, ALICE):
        assert Ldap(front(gate)).bind(name, USERS["alice"]) == Result(49, NOT_ONE)
    Ldap(front(gate)).bind(CHAT, "wrong")
    wait_until(lambda: "NT_STATUS_WRONG_PASSWORD" in samba.log()[before:], "a Bind that came after them")
    assert "alice" not in samba.log()[before:].lower()


def test_proxied_authorization_is_refused_in_words(start: Callable[..., Sidegate]) -> None:
    gate = start(strategy="proxied_authorization")
    assert Ldap(front(gate)).bind(NAME, mint(gate)) == Result(52, "Temporary authentication failure")
    wait_until(lambda: "under proxied authorization: 12" in gate.log(), "the error in our log")
    assert "backend_refused_us" in gate.log()
