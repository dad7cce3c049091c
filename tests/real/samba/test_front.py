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
from tests.real.samba.test_samba import IN_CHAIN, MEMBERS, references
from tests.support.sidegate import PORTAL_URL, Certificates, Sidegate

pytestmark = pytest.mark.real

NAME = "EXAMPLE\\alice"
NOT_ONE = f"Application-specific password required: {PORTAL_URL}"
NOT_ACCEPTED = Result(49, f"App password not accepted: {PORTAL_URL}")
LISTED = {
    "bases": [PEOPLE, f"OU=Groups,{BASE}"],
    "attributes": ["cn", "mail", "member", "memberOf", "objectCategory", "sAMAccountName", "userPrincipalName"],
}


@pytest.fixture(scope="module")
def start(public_root: Path, certificates: Certificates, samba: Samba) -> Iterator[Callable[..., Sidegate]]:
    """Starts one with alice, whose aliases are NAME and her DN; keyword arguments are of the backend's login."""
    with ExitStack() as stack:

        def make(account_dn: str | None = None, **login: Any) -> Sidegate:
            root = Path(tempfile.mkdtemp(prefix="gate-", dir=public_root))
            password = root / "service-password"
            password.write_text(SERVICE_PASSWORD)
            password.chmod(0o600)
            directory = {
                "protocol": "ldap",
                "address": f"{samba.address}:636",
                "tls": "implicit",
                "ca": str(samba.ca),
                **({"account_dn": account_dn} if account_dn is not None else {}),
                "bind_names": True,
                "login": {"bind_dn": SERVICE, "password_file": str(password), **login},
                "service_accounts": [{"dn": CHAT, "networks": ["127.0.0.1"]}],
            }
            gate = Sidegate(root, certificates, {"directory": directory}, extra={"default_domain": "example.test"})
            stack.callback(gate.start().stop)
            gate.add_account("alice@example.test", "--alias", NAME, "--alias", ALICE)
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
    whoami = tool(front(gate), "ldapwhoami", dn=name, password=mint(gate))
    assert whoami == Done(0, "u:alice@example.test\n")


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


def found(gate: Sidegate, name: str) -> str:
    """The DN that a program's search for a person brings."""
    wanted = ["-LLL", "-o", "ldif-wrap=no", "-b", PEOPLE, f"(sAMAccountName={name})", "1.1"]
    done = tool(front(gate), "ldapsearch", *wanted, dn=CHAT, password=CHAT_PASSWORD)
    assert done.code == 0, done.seen
    return done.seen.removeprefix("dn: ").strip()


def test_a_program_that_searches_binds_with_what_it_found(gate: Sidegate) -> None:
    secret = mint(gate)
    assert found(gate, "alice") == ALICE
    assert tool(front(gate), "ldapwhoami", dn=ALICE, password=secret) == Done(0, "u:alice@example.test\n")
    client = Ldap(front(gate))
    assert client.bind(CHAT, CHAT_PASSWORD).code == 0
    assert client.bind(f"cn=ALICE  liddell, {PEOPLE.lower()}", secret) == Result(0, "")
    assert client.bind(ALICE, USERS["alice"]) == Result(49, NOT_ONE)
    assert client.bind(BOB, secret) == NOT_ACCEPTED


def test_somebody_who_is_called_otherwise_now(gate: Sidegate, samba: Samba) -> None:
    """Until it is changed here, too, the DN of before is the account's."""
    secret = mint(gate)
    new = f"CN=Alice Hargreaves,{PEOPLE}"
    samba.ldif("ldapmodify", f"dn: {ALICE}\nchangetype: modrdn\nnewrdn: CN=Alice Hargreaves\ndeleteoldrdn: 1\n")
    try:
        assert found(gate, "alice") == new
        assert Ldap(front(gate)).bind(new, secret) == NOT_ACCEPTED
        client = Ldap(front(gate))
        assert client.bind(ALICE, secret) == Result(0, "")
        gate.json("accounts", "aliases", ALICE, "--remove", ALICE, "--add", new)
        assert client.whoami() == Result(0, "", "u:alice@example.test")
        assert Ldap(front(gate)).bind(new, secret) == Result(0, "")
        assert Ldap(front(gate)).bind(ALICE, secret) == NOT_ACCEPTED
    finally:
        samba.ldif("ldapmodify", f"dn: {new}\nchangetype: modrdn\nnewrdn: CN=Alice Liddell\ndeleteoldrdn: 1\n")
        gate.json("accounts", "aliases", "alice", "--add", ALICE)


def test_no_reference_leads_around_it(start: Callable[..., Sidegate]) -> None:
    """But for a program's own account, whose searches go out as they are."""
    gate = start(strategy="service_identity", bases=[BASE], attributes=["cn"])
    person, program = Ldap(front(gate)), Ldap(front(gate))
    assert person.bind(ALICE, mint(gate)).code == 0
    assert program.bind(CHAT, CHAT_PASSWORD).code == 0
    assert references(person, BASE) == 0
    assert references(program, BASE) > 0


def test_no_account_password_reaches_it(gate: Sidegate, samba: Samba) -> None:
    before = len(samba.log())
    for name in (NAME, ALICE):
        assert Ldap(front(gate)).bind(name, USERS["alice"]) == Result(49, NOT_ONE)
    Ldap(front(gate)).bind(CHAT, "wrong")
    wait_until(lambda: "NT_STATUS_WRONG_PASSWORD" in samba.log()[before:], "a Bind that came after them")
    assert "alice" not in samba.log()[before:].lower()


def test_proxied_authorization_is_refused_in_words(start: Callable[..., Sidegate]) -> None:
    gate = start(f"CN={{local}},{PEOPLE}", strategy="proxied_authorization")
    assert Ldap(front(gate)).bind(NAME, mint(gate)) == Result(52, "Temporary authentication failure")
    wait_until(lambda: "under proxied authorization: 12" in gate.log(), "the error in our log")
    assert "backend_refused_us" in gate.log()
