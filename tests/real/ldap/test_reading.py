"""Strategy service_identity: slapd behind, with its own rights for the service; and Binds that do not reach it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers.slapd import BASE, CHAT, CHAT_PASSWORD, PEOPLE, SERVICE, USERS, Slapd, person
from tests.real.ldap.client import Done, Ldap, Result, modify, tool
from tests.real.ldap.conftest import front, mint
from tests.support.sidegate import PORTAL_URL, Sidegate

pytestmark = pytest.mark.real

ALICE, BOB = person("alice"), person("bob")


@pytest.fixture
def reading(own: Callable[..., tuple[Slapd, Sidegate]], tmp_path: Path) -> tuple[Slapd, Sidegate]:
    password = tmp_path / "password"
    password.write_text(CHAT_PASSWORD)
    password.chmod(0o600)
    login = {
        "strategy": "service_identity",
        "bind_dn": CHAT,
        "password_file": str(password),
        "bases": [PEOPLE],
        "attributes": ["uid", "cn", "mail"],
    }
    return own(login=login, service_accounts=[])


def test_a_person_reads_what_is_listed(reading: tuple[Slapd, Sidegate]) -> None:
    slapd, gate = reading
    secret = mint(gate)

    def search(*arguments: str) -> Done:
        return tool(front(gate), "ldapsearch", "-LLL", *arguments, dn=ALICE, password=secret)

    assert tool(front(gate), "ldapwhoami", dn=ALICE, password=secret) == Done(0, f"dn:{ALICE}\n")
    assert search("-b", PEOPLE, "(uid=bob)").seen == f"dn: {BOB}\nuid: bob\ncn: Bob Example\nmail: bob@example.org\n\n"
    assert search("-b", BOB, "mail", "telephoneNumber", "+").seen == f"dn: {BOB}\nmail: bob@example.org\n\n"
    assert search("-E", "pr=1/noprompt", "-b", PEOPLE, "(objectClass=inetOrgPerson)", "1.1").seen.count("dn: uid=") == 2
    assert search("-b", PEOPLE, "(telephoneNumber=*)").code == 50
    assert search("-b", BASE).code == 50
    assert search("-s", "base", "-b", "", "supportedLDAPVersion").seen == "dn:\nsupportedLDAPVersion: 3\n\n"
    assert tool(front(gate), "ldapcompare", BOB, "mail:bob@example.org", dn=ALICE, password=secret).code == 6
    assert tool(front(gate), "ldapcompare", BOB, "sn:Example", dn=ALICE, password=secret).code == 50
    client = Ldap(front(gate))
    assert client.bind(ALICE, secret).code == 0
    assert client.ask(modify(ALICE, "telephoneNumber", "+1 555 0199")).code == 53
    assert client.bind(ALICE, USERS["alice"]).code == 49
    assert set(re.findall(r'BIND dn="(cn=[^"]*)"', slapd.log())) == {CHAT}
    assert "uid=" not in "".join(re.findall(r'BIND dn="([^"]*)"', slapd.log()))


def test_a_bind_is_answered_without_slapd(own: Callable[..., tuple[Slapd, Sidegate]]) -> None:
    """Even when there is none: what nobody asks for nobody misses."""
    slapd, gate = own(bind_only=True)
    secret = mint(gate)
    client = Ldap(front(gate))
    assert client.bind(ALICE, secret) == Result(0, "")
    assert f'PROXYAUTHZ dn="{ALICE}"' not in slapd.log()
    assert client.search(ALICE).entries == 1
    assert f'PROXYAUTHZ dn="{ALICE}"' in slapd.server.wait_for_log(f'PROXYAUTHZ dn="{ALICE}"')
    slapd.stop()
    assert client.closed()
    checked = Ldap(front(gate))
    assert checked.bind(ALICE, secret) == Result(0, "")
    assert checked.bind(ALICE, USERS["alice"]).text == f"Application-specific password required: {PORTAL_URL}"
    assert checked.bind(BOB, mint(gate, "bob")) == Result(0, "")
    assert checked.search(ALICE) == Result(52, "The directory does not answer")
    assert checked.closed()
    gate.wait_for_log("reason=backend_unavailable")


def test_a_revoke_ends_one_that_asked_nothing(own: Callable[..., tuple[Slapd, Sidegate]]) -> None:
    _, gate = own(bind_only=True)
    client = Ldap(front(gate))
    assert client.bind(ALICE, mint(gate)) == Result(0, "")
    done = gate.json("passwords", "revoke", "alice@example.org", "--all", "--yes")
    assert done["sessions_cut"] == 1
    assert client.closed()


def test_services_are_still_slapds_to_check(own: Callable[..., tuple[Slapd, Sidegate]]) -> None:
    _, gate = own(bind_only=True)
    client = Ldap(front(gate))
    assert client.bind(CHAT, "wrong").code == 49
    assert client.bind(CHAT, CHAT_PASSWORD).code == 0
    assert client.bind(SERVICE, "whatever").text == f"Application-specific password required: {PORTAL_URL}"
