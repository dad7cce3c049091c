"""Programs with an account of their own in the directory: what passes through, from where, and what they may do."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.peers.process import wait_until
from tests.peers.slapd import CHAT, CHAT_PASSWORD, PEOPLE, UNLISTED, USERS, Slapd, person
from tests.real.ldap.client import PROXIED_AUTHORIZATION, Ldap, Result, bind, control, modify, search, tool
from tests.real.ldap.conftest import direct, front, mint
from tests.support.sidegate import PORTAL_URL, Sidegate
from tests.wire.ldap.requests import text, tlv

pytestmark = pytest.mark.real

ALICE = person("alice")
NOT_ONE = f"Application-specific password required: {PORTAL_URL}"


def listed(gate: Sidegate, client: Ldap) -> list[dict[str, object]]:
    port = client.socket.getsockname()[1]
    return [row for row in gate.json("sessions", "list") if row["client"] == f"127.0.0.1:{port}"]


def in_as_service(gate: Sidegate) -> Ldap:
    client = Ldap(front(gate))
    assert client.bind(CHAT, CHAT_PASSWORD) == Result(0, "")
    return client


@pytest.mark.parametrize("dn", [CHAT, CHAT.upper().replace(",", " , ")])
def test_its_own_password_lets_a_service_in(gate: Sidegate, slapd: Slapd, dn: str) -> None:
    assert tool(front(gate), "ldapwhoami", dn=dn, password=CHAT_PASSWORD).seen == f"dn:{CHAT}\n"
    found = tool(front(gate), "ldapsearch", "-LLL", "-b", PEOPLE, "(uid=alice)", "mail", dn=dn, password=CHAT_PASSWORD)
    assert found.seen == f"dn: {ALICE}\nmail: alice@example.org\n\n"
    compared = tool(front(gate), "ldapcompare", ALICE, "uid:alice", dn=dn, password=CHAT_PASSWORD)
    assert compared.code == 6


def test_slapds_refusal_is_the_answer(gate: Sidegate, slapd: Slapd) -> None:
    there = Ldap(direct(slapd)).bind(CHAT, "wrong")
    assert there.code == 49
    assert Ldap(front(gate)).bind(CHAT, "wrong") == there
    assert "reason=service_refused" in gate.wait_for_log("service_refused")
    assert Ldap(front(gate)).bind(CHAT, USERS["alice"]) == there


def test_a_service_without_a_password_is_nobody(gate: Sidegate) -> None:
    assert Ldap(front(gate)).bind(CHAT, "").code == 53


def test_one_that_is_not_listed_stays_out(gate: Sidegate, slapd: Slapd) -> None:
    """slapd would take it."""
    assert Ldap(direct(slapd)).bind(UNLISTED, CHAT_PASSWORD).code == 0
    assert Ldap(front(gate)).bind(UNLISTED, CHAT_PASSWORD) == Result(49, NOT_ONE)


def test_from_elsewhere_it_stays_out(gate: Sidegate) -> None:
    elsewhere = Ldap(front(gate), source="127.0.0.9")
    assert elsewhere.bind(CHAT, CHAT_PASSWORD) == Result(49, NOT_ONE)
    assert f"reason=service_network backend=directory detail={CHAT}" in gate.wait_for_log("service_network").replace(
        '"', ""
    )
    # and the secret is judged by its shape, as everybody's
    assert elsewhere.bind(CHAT, mint(gate)).text == f"App password not accepted: {PORTAL_URL}"


def test_it_may_read_and_nothing_else(gate: Sidegate, slapd: Slapd) -> None:
    client = in_as_service(gate)
    assert client.search(ALICE).entries == 1
    refused = Result(53, "Only searching and comparing is available here")
    assert client.ask(modify(ALICE, "description", "x")) == refused
    assert client.ask(tlv(0x4A, ALICE.encode())) == refused
    assert client.ask(tlv(0x68, text(f"uid=new,{PEOPLE}"), tlv(0x30))) == refused
    assert client.ask(tlv(0x6C, text(ALICE), text("uid=other"), tlv(1, b"\xff"))) == refused
    passwords = Result(53, "Passwords cannot be compared or changed here")
    assert client.search(equals=("userPassword", USERS["alice"])) == passwords
    assert client.ask(tlv(0x6E, text(ALICE), tlv(0x30, text("userPassword"), text(USERS["alice"])))) == passwords
    assert client.extended(b"1.3.6.1.4.1.4203.1.11.1") == passwords
    assert client.whoami(control(PROXIED_AUTHORIZATION, critical=True, value=f"dn:{ALICE}")).code == 12
    assert client.whoami().value == f"dn:{CHAT}"
    assert "PROXYAUTHZ" not in slapd.log().partition(f'BIND dn="{CHAT}"')[2].partition("closed")[0]


def test_search_then_bind_on_one_connection(gate: Sidegate) -> None:
    """As ejabberd does, and most wikis: one person after the other."""
    client = in_as_service(gate)
    assert client.search(equals=("uid", "alice")).entries == 1
    assert client.bind(ALICE, mint(gate)) == Result(0, "")
    assert client.whoami().value == f"dn:{ALICE}"
    assert client.bind(ALICE, USERS["alice"]) == Result(49, NOT_ONE)
    assert client.search().code == 50
    assert client.bind(CHAT, CHAT_PASSWORD) == Result(0, "")
    assert client.whoami().value == f"dn:{CHAT}"


def test_it_is_listed_and_can_be_cut(gate: Sidegate) -> None:
    client = in_as_service(gate)
    (row,) = listed(gate, client)
    assert (row["account"], row["app_password"], row["protocol"]) == (CHAT, None, "ldap")
    done = gate.json("sessions", "cut", "--id", str(row["id"]))
    assert done["sessions_cut"] == 1
    assert client.closed()
    assert listed(gate, client) == []


def test_its_binds_are_in_the_audit(gate: Sidegate) -> None:
    in_as_service(gate)
    wait_until(lambda: audited(gate), "the record")
    record = audited(gate)[-1]
    assert (record["app_password"], record["protocol"], record["network"]) == (None, "ldap", "127.0.0.1/32")


def audited(gate: Sidegate) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in gate.cli("audit", "--json").stdout.splitlines()]
    return [row for row in rows if (row["event"], row["account"]) == ("service_passed", CHAT)]


def test_one_that_is_taken_off_the_list_is_cut(own: Callable[..., tuple[Slapd, Sidegate]]) -> None:
    services = [{"dn": CHAT, "networks": ["127.0.0.1"]}]
    _, gate = own(service_accounts=services)
    client, person_ = in_as_service(gate), Ldap(front(gate))
    assert person_.bind(ALICE, mint(gate)).code == 0
    gate.settings["backends"]["directory"]["service_accounts"] = [{"dn": CHAT, "networks": ["127.0.0.2"]}]
    gate.reload()
    assert client.closed()
    assert Ldap(front(gate)).bind(CHAT, CHAT_PASSWORD) == Result(49, NOT_ONE)
    assert person_.whoami().value == f"dn:{ALICE}"


def test_a_directory_that_is_away_is_a_temporary_failure(own: Callable[..., tuple[Slapd, Sidegate]]) -> None:
    directory, gate = own(service_accounts=[{"dn": CHAT, "networks": ["127.0.0.1"]}])
    directory.stop()
    assert Ldap(front(gate)).bind(CHAT, CHAT_PASSWORD) == Result(52, "Temporary authentication failure")


def test_a_search_behind_the_bind_waits_for_it(gate: Sidegate) -> None:
    client = Ldap(front(gate))
    client.send(bind(CHAT, CHAT_PASSWORD))
    client.send(search(ALICE))
    assert [client.message()[1:] for _ in range(3)] == [(0x61, 0), (0x64, 0), (0x65, 0)]
