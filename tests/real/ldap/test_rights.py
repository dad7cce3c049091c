"""What a client that is logged in may do: what slapd lets the person do, and nothing to account passwords."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from tests.peers.slapd import PEOPLE, SERVICE, SERVICE_PASSWORD, USERS, Slapd, person
from tests.real.ldap.client import PROXIED_AUTHORIZATION, Ldap, Result, control, modify, search, tool
from tests.real.ldap.conftest import direct, front, logged_in, mint
from tests.support.sidegate import Sidegate
from tests.wire.ldap.requests import text, tlv

pytestmark = pytest.mark.real

ALICE, BOB = person("alice"), person("bob")
PASSWORDS = ["userPassword", "USERPASSWORD", "userPassword;x-old", "2.5.4.35"]
"""Ways to name the attribute."""


def change(uid: str, attribute: str, value: str) -> str:
    return f"dn: {person(uid)}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n"


def test_the_persons_own_rights_hold(gate: Sidegate, slapd: Slapd) -> None:
    secret = mint(gate)
    number = f"+1 555 {uuid.uuid4().int % 10**6}"
    mine = change("alice", "telephoneNumber", number)
    assert tool(front(gate), "ldapmodify", dn=ALICE, password=secret, stdin=mine).code == 0
    there = tool(direct(slapd), "ldapsearch", "-LLL", "-b", ALICE, "telephoneNumber", dn=ALICE, password=USERS["alice"])
    assert f"telephoneNumber: {number}\n" in there.seen
    refused = tool(front(gate), "ldapmodify", dn=ALICE, password=secret, stdin=change("bob", "telephoneNumber", number))
    assert refused.code == 50, refused.seen
    assert (
        tool(front(gate), "ldapmodify", dn=ALICE, password=secret, stdin=change("alice", "description", "x")).code == 50
    )


def test_slapd_is_told_who_it_is(gate: Sidegate, slapd: Slapd) -> None:
    mark = uuid.uuid4().hex
    assert logged_in(gate).search(equals=("description", mark)).code == 0
    log = slapd.server.wait_for_log(f"(description={mark})").splitlines()
    line = next(line for line in log if mark in line)
    operation = line[: line.index(" SRCH")].split(" ", 1)[1]  # conn=… op=…
    assert any(operation in line and f'PROXYAUTHZ dn="{ALICE}"' in line for line in log)


def test_no_new_password(gate: Sidegate, slapd: Slapd) -> None:
    secret = mint(gate)
    for arguments in (["-s", "new-password"], ["-s", "new-password", "-a", USERS["alice"]], [ALICE]):
        refused = tool(front(gate), "ldappasswd", *arguments, dn=ALICE, password=secret)
        assert refused.code == 53, refused.seen
    assert tool(direct(slapd), "ldapwhoami", dn=ALICE, password=USERS["alice"]).code == 0


@pytest.mark.parametrize("attribute", PASSWORDS)
def test_no_password_attribute(gate: Sidegate, slapd: Slapd, attribute: str) -> None:
    """slapd would let alice do all of it: her own rights are not what refuses her."""
    secret = mint(gate)
    guess = f"{attribute}:{USERS['alice']}"
    if ";" not in attribute:
        assert tool(direct(slapd), "ldapcompare", ALICE, guess, dn=ALICE, password=USERS["alice"]).code == 6
    assert tool(front(gate), "ldapcompare", ALICE, guess, dn=ALICE, password=secret).code == 53
    new = change("alice", attribute, "new-password")
    assert tool(front(gate), "ldapmodify", dn=ALICE, password=secret, stdin=new).code == 53
    found = tool(
        front(gate), "ldapsearch", "-b", ALICE, f"({attribute}={USERS['alice']})", "1.1", dn=ALICE, password=secret
    )
    assert found.code == 53
    assert tool(direct(slapd), "ldapwhoami", dn=ALICE, password=USERS["alice"]).code == 0


OCTET_STRING_MATCH = "2.5.13.17"
ASSERTION = b"1.3.6.1.1.12"


def ways_to_guess(password: str) -> dict[str, tuple[bytes, list[bytes]]]:
    """Name -> a search under alice's entry, and its controls, that slapd answers by whether it is her password."""
    plain = search(ALICE)
    exact = tlv(0xA3, text("userPassword"), text(password))
    untyped = tlv(0xA9, text(OCTET_STRING_MATCH, 0x81), text(password, 0x83))
    typed = tlv(0xA9, text(OCTET_STRING_MATCH, 0x81), text("userPassword", 0x82), text(password, 0x83))
    critical = tlv(0x01, b"\xff")
    return {
        "filter": (search(ALICE, wanted=exact), []),
        "inner filter": (search(ALICE, wanted=tlv(0xA0, tlv(0xA2, tlv(0xA2, exact)))), []),
        "matching rule of the attribute": (search(ALICE, wanted=typed), []),
        "matching rule of any attribute": (search(ALICE, wanted=untyped), []),
        "assertion control": (plain, [tlv(0x30, text(ASSERTION), critical, text(exact))]),
        "assertion control of any attribute": (plain, [tlv(0x30, text(ASSERTION), critical, text(untyped))]),
    }


@pytest.mark.parametrize("way", list(ways_to_guess("")))
def test_no_guessing_at_the_password(gate: Sidegate, slapd: Slapd, way: str) -> None:
    """A right guess looks like a wrong one; straight at slapd it does not."""
    right, wrong = ways_to_guess(USERS["alice"])[way], ways_to_guess("wrong")[way]
    straight = Ldap(direct(slapd))
    assert straight.bind(ALICE, USERS["alice"]).code == 0
    assert straight.ask(*right) != straight.ask(*wrong)
    client = logged_in(gate)
    assert client.ask(*right) == client.ask(*wrong)


CN = text("cn")
GIVEN_UP = {
    "nothing negated": tlv(0xA2),
    "two negated": tlv(0xA2, tlv(0x87, b"objectClass"), tlv(0xA3, CN, CN)),
    "substrings in disorder": tlv(0xA4, CN, tlv(0x30, text("x", 0x81), text("x", 0x80), tlv(0x82, CN))),
    "an empty substring": tlv(0xA4, CN, tlv(0x30, tlv(0x81), tlv(0x82, CN))),
}
"""Filters that slapd takes for undefined without reading them to their end. It goes on where it stopped."""


@pytest.mark.parametrize("filter_", GIVEN_UP)
def test_no_filter_that_hides_who_asks(gate: Sidegate, slapd: Slapd, filter_: str) -> None:
    """Straight at slapd such a search is the service's own: what should be the control is read as something else."""
    client, straight = logged_in(gate), Ldap(direct(slapd))
    assert straight.bind(SERVICE, SERVICE_PASSWORD).code == 0
    identity = control(PROXIED_AUTHORIZATION, critical=True, value=f"dn:{ALICE}")
    before, mark = len(slapd.log()), uuid.uuid4().hex
    assert straight.ask(search(PEOPLE, wanted=GIVEN_UP[filter_]), [identity]).code == 0
    assert straight.search(equals=("description", mark)).code == 0
    log = slapd.server.wait_for_log(mark)[before:]
    assert f'SRCH base="{PEOPLE}"' in log
    assert "PROXYAUTHZ" not in log

    before, mark = len(slapd.log()), uuid.uuid4().hex
    refused = client.ask(search(PEOPLE, wanted=GIVEN_UP[filter_]))
    assert (refused.code, refused.text) == (2, "Malformed filter")
    assert client.search(equals=("description", mark)).code == 0
    assert f'SRCH base="{PEOPLE}"' not in slapd.server.wait_for_log(mark)[before:]


def test_no_password_by_renaming(own: Callable[..., tuple[Slapd, Sidegate]]) -> None:
    """The new RDN of an entry is a value of an attribute, and she may rename her own."""
    slapd, gate = own()
    slapd.stop()
    rules = slapd.config.read_text()
    last = "access to *\n  by users read\n"
    assert last in rules
    may = last.replace("by users read", "by self write\n  by users read")
    may = f'access to dn.exact="{PEOPLE}" attrs=children\n  by users write\n\n{may}'
    slapd.config.write_text(rules.replace(last, may))
    slapd.start()
    client = logged_in(gate)
    renamed = client.ask(tlv(0x6C, text(ALICE), text("uid=alice+userPassword=second"), tlv(0x01, b"\0")))
    there = tool(direct(slapd), "ldapwhoami", dn=f"uid=alice+userPassword=second,{PEOPLE}", password="second")
    assert (renamed.code, there.code) == (53, 49)


def test_large_values(gate: Sidegate, slapd: Slapd) -> None:
    """Requests up to 1 MiB, answers of any size."""
    client = logged_in(gate)
    assert client.ask(modify(ALICE, "jpegPhoto", b"p" * 1_000_000)).code == 0
    straight = Ldap(direct(slapd))
    assert straight.bind(ALICE, USERS["alice"]).code == 0
    assert straight.ask(modify(ALICE, "jpegPhoto", bytes(range(256)) * 12_000)).code == 0
    wanted = ["-LLL", "-b", ALICE, "jpegPhoto"]
    there = tool(direct(slapd), "ldapsearch", *wanted, dn=ALICE, password=USERS["alice"])
    assert len(there.seen) > 4_000_000
    assert tool(front(gate), "ldapsearch", *wanted, dn=ALICE, password=mint(gate)) == there
    client.send(modify(ALICE, "jpegPhoto", b"p" * 1_100_000))
    assert client.closed()


def test_nobody_else(gate: Sidegate) -> None:
    secret = mint(gate)
    for dn in (BOB, ALICE, SERVICE, ""):
        refused = tool(
            front(gate), "ldapwhoami", "-e", f"!authzid={f'dn:{dn}' if dn else ''}", dn=ALICE, password=secret
        )
        assert refused.code == 12, (dn, refused.seen)
    client = logged_in(gate)
    assert client.whoami(control(PROXIED_AUTHORIZATION, critical=True, value=f"dn:{BOB}")).code == 12
    assert client.whoami(control(PROXIED_AUTHORIZATION, critical=False, value=f"dn:{BOB}")).code == 2
    assert client.whoami() == Result(0, "", f"dn:{ALICE}")


def test_many_requests_at_once(gate: Sidegate) -> None:
    """Refused ones among them: each is answered by its own number, in whatever order."""
    client = logged_in(gate)
    for number in range(1, 201):
        client.send(modify(ALICE, "userPassword", "x") if number % 2 else search(ALICE))
    answers = [client.message() for _ in range(100 + 200)]
    finals = {number: code for number, tag, code in answers if tag != 0x64}
    assert len(finals) == 200
    assert {code for number, code in finals.items() if number % 2 == 0} == {53}  # the Bind was number 1
    assert {code for number, code in finals.items() if number % 2 == 1} == {0}
