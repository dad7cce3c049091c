"""LDAP clients that lie about lengths, about who they are, and about when (DESIGN section 8; facts: threats 16, 17, 18,
20, 21), on the running product. What is answered to every malformed message is held in tests/wire.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest

from proxy.wire.ldap import grammar
from tests.hostile.directory import Directory
from tests.hostile.stand import ACCOUNT_PASSWORD, MARK, NOT_ACCEPTED, NOT_APP_PASSWORD, Stand, rest, shaped
from tests.peers.process import wait_until
from tests.peers.slapd import person
from tests.real.ldap.client import Ldap, Where
from tests.support.talk import closes
from tests.wire.ldap.requests import (
    MALFORMED,
    START_TLS,
    START_TLS_DONE,
    START_TLS_REQUEST,
    WHO_AM_I,
    abandon,
    answer,
    bind,
    entry,
    equal,
    extended,
    message,
    number,
    search,
    text,
    tlv,
)

ALICE_DN = person("alice")
BIND_FIRST = 50


@pytest.fixture
def directory(stand: Stand) -> Directory:
    assert stand.directory is not None
    return stand.directory


@pytest.fixture
def stranger(stand: Stand) -> Iterator[Ldap]:
    """Not logged in."""
    client = Ldap(Where(stand.gate.ports["ldap", "implicit"], stand.ca))
    yield client
    client.close()


@pytest.fixture
def alice(stand: Stand, directory: Directory) -> Iterator[Ldap]:
    """Logged in; the backend's notes begin behind the login."""
    client = stand.ldap("alice", stand.right)
    directory.heard.clear()
    yield client
    client.close()


def received(client: Ldap, size: int) -> bytes:
    got = b""
    while len(got) < size:
        got += client.socket.recv(size - len(got))
    return got


def nested(depth: int) -> bytes:
    """A filter of so many levels."""
    wanted = equal("cn", "x")
    for _ in range(depth - 1):
        wanted = tlv(0xA2, wanted)
    return wanted


BOMBS = {
    "indefinite length": b"\x30\x80" + search(1)[2:] + b"\0\0",
    "reserved length of length": b"\x30\xff" + b"\1" * 127,
    "length of five octets": b"\x30\x85\0\0\0\0\x05" + search(1)[2:],
    "2 GiB declared": b"\x30\x84\x7f\xff\xff\xff\x02\x01\x01",
    "4 GiB declared": b"\x30\x84\xff\xff\xff\xff\x02\x01\x01",
    "indefinite operation": message(1, b"\x63\x80\0\0"),
    "operation longer than its message": b"\x30\x06\x02\x01\x01\x63\x7f\x04",
    "huge message number": tlv(0x30, tlv(2, b"\x7f" * 5000), search(1)[5:]),
    "negative message number": tlv(0x30, tlv(2, b"\xff"), tlv(0x63)),
    "message number zero": search(0),
    "no message number": tlv(0x30, tlv(0x63)),
    "empty": tlv(0x30),
    "tag of several octets": message(1, b"\x7f\x81\x01\x00"),
    "another protocol": b"GET / HTTP/1.1\r\nHost: xyzzy7\r\n\r\n",
    "a response": answer(1, grammar.BIND_RESPONSE, 0),
    "an entry": entry(1),
    "no operation": message(1, tlv(0x7E, text(MARK))),
    "a Bind with a huge version": message(1, tlv(0x60, tlv(2, b"\x03" * 300), text(ALICE_DN), text("x", 0x80))),
    "a Bind whose name is longer than it": message(1, b"\x60\x09\x02\x01\x03\x04\x84\x7f\xff\xff\xff"),
    "controls that are none": tlv(0x30, number(1), tlv(0x42), tlv(0xA0, text(MARK))),
}
"""Threat 20. Each ends the connection with a Notice of Disconnection, before a Bind and behind one."""
ONLY_BEFORE = {"more than 64 KiB declared": b"\x30\x83\x01\x00\x00"}
ONLY_BEHIND = {
    "more than 1 MiB declared": b"\x30\x83\x10\x00\x00",
    "filter of 101 levels": search(1, nested(101)),
    "filter of 10,000 levels": search(1, nested(10_000)),
    "filter that ends early": search(1, b"\xa0\x84\0\0\0\x7f"),
    "controls that are none, behind a search": message(1, search(1)[5:], text(MARK)),
}
MALFORMED_UNBIND = "controls that are none"
"""Before a Bind nothing of an Unbind is looked at but that it is one."""


@pytest.mark.parametrize("name", [name for name in [*BOMBS, *ONLY_BEFORE] if name != MALFORMED_UNBIND])
def test_a_bomb_before_a_bind(stranger: Ldap, name: str) -> None:
    stranger.socket.sendall({**BOMBS, **ONLY_BEFORE}[name])
    assert rest(stranger.socket) == MALFORMED


@pytest.mark.parametrize(
    "name", [name for name in [*BOMBS, *ONLY_BEHIND] if not name.startswith("a Bind") and name != MALFORMED_UNBIND]
)
def test_a_bomb_behind_a_bind(alice: Ldap, directory: Directory, name: str) -> None:
    ended = directory.ended
    alice.socket.sendall({**BOMBS, **ONLY_BEHIND}[name])
    assert rest(alice.socket) == MALFORMED
    wait_until(lambda: directory.ended > ended, "the backend leg closed")
    assert directory.heard == []


def test_what_stops_in_the_middle_waits_and_costs_nothing(alice: Ldap, directory: Directory, stranger: Ldap) -> None:
    whole = search(1, nested(100))
    for client in (alice, stranger):
        client.socket.sendall(whole[:-1])
    assert alice.socket.recv(0) == b""
    assert directory.heard == []
    alice.socket.sendall(whole[-1:])
    assert alice.message()[1:] == (grammar.SEARCH_DONE, 0)
    stranger.socket.sendall(whole[-1:])
    assert stranger.message()[1:] == (grammar.SEARCH_DONE, BIND_FIRST)


# ---- who they say they are ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dn",
    [
        "uid=*,ou=people,dc=example,dc=org",
        "uid=alice)(|(uid=*,ou=people,dc=example,dc=org",
        "uid=alice,uid=canary,ou=people,dc=example,dc=org",
        "uid=alice\\2cou=people,dc=example,dc=org",
        "uid=alice\\00,ou=people,dc=example,dc=org",
        "uid=alice+cn=x,ou=people,dc=example,dc=org",
        "uid=#04056361,ou=people,dc=example,dc=org",
        '"uid=alice",ou=people,dc=example,dc=org',
        "0.9.2342.19200300.100.1.1=alice,ou=people,dc=example,dc=org",
        f"cn={MARK},{ALICE_DN}",
        "alice",
        "alice@example.org",
    ],
)
def test_names_that_would_be_somebody_elses_filter(stand: Stand, stranger: Ldap, dn: str) -> None:
    """Threat 16: with a right app password, too. Nobody is asked, nothing is echoed."""
    refused = stranger.bind(dn, stand.right)
    assert (refused.code, refused.text) in {(49, NOT_ACCEPTED), (34, "Malformed distinguished name")}
    told = stranger.bind(dn, ACCOUNT_PASSWORD)
    assert (told.code, told.text) in {(49, NOT_APP_PASSWORD), (34, "Malformed distinguished name")}
    assert stranger.search().code == BIND_FIRST


@pytest.mark.parametrize("tls", ["implicit", "none"])
def test_no_password_is_no_login(stand: Stand, tls: str) -> None:
    """Threat 17: with a name 53, without one 48; a backend is not asked, and nobody is logged in."""
    client = Ldap(Where(stand.gate.ports["ldap", "implicit" if tls == "implicit" else "starttls"], stand.ca, tls))
    assert client.bind(ALICE_DN, "").code == 53
    assert client.bind("", "").code == 48
    assert client.search().code == BIND_FIRST
    client.close()


RIGHT = "%RIGHT%"
"""Replaced by alice's app password."""
FAILING = {
    "account password": (ALICE_DN, ACCOUNT_PASSWORD, 49),
    "shaped": (ALICE_DN, shaped(4), 49),
    "somebody else's": (person("canary"), RIGHT, 49),
    "no password": (ALICE_DN, "", 53),
    "anonymous": ("", "", 48),
    "no name": ("uid=alice,,", RIGHT, 34),
}


@pytest.mark.parametrize("how", list(FAILING))
def test_a_failed_bind_leaves_nobody(stand: Stand, alice: Ldap, directory: Directory, how: str) -> None:
    """Threat 18: not the one who was there before; and the backend leg is gone, so nobody else finds it."""
    ended = directory.ended
    assert alice.whoami().value == f"dn:{ALICE_DN}"
    dn, password, code = FAILING[how]
    assert alice.bind(dn, password.replace(RIGHT, stand.right)).code == code
    heard = len(directory.heard)
    assert alice.search().code == BIND_FIRST
    assert alice.whoami().code == BIND_FIRST
    wait_until(lambda: directory.ended > ended, "the backend leg closed")
    assert len(directory.heard) == heard


def test_a_lost_backend_leg_closes_the_client(alice: Ldap, directory: Directory) -> None:
    """Threat 18 (ITS#9468: OpenLDAP's proxy went on as nobody). Never a connection anew behind a client's back."""
    before = len(directory.backend.connections)
    directory.backend.connections[-1].sock.shutdown(socket.SHUT_RDWR)
    assert rest(alice.socket) == b""
    assert len(directory.backend.connections) == before


def test_a_lost_backend_leg_in_the_middle_of_an_answer(alice: Ldap, directory: Directory) -> None:
    """What came is passed on, nothing is made up for what did not."""
    whole = entry(2, 5000)
    directory.backend.connections[-1].send(whole[:3000])
    directory.backend.connections[-1].sock.shutdown(socket.SHUT_RDWR)
    assert rest(alice.socket) == whole[:3000]


def test_a_bind_in_the_middle_of_a_message(stand: Stand, alice: Ldap, directory: Directory) -> None:
    """The end of the connection: no word of ours stands inside a message, and the new one is not tried."""
    ended, whole = directory.ended, entry(2, 5000)
    directory.backend.connections[-1].send(whole[:3000])
    assert received(alice, 3000) == whole[:3000]
    alice.socket.sendall(bind(9, person("canary"), stand.canary_secret))
    assert rest(alice.socket) == b""
    wait_until(lambda: directory.ended > ended, "the backend leg closed")


def test_a_bind_between_two_messages_of_an_answer(stand: Stand, alice: Ldap, directory: Directory) -> None:
    """What is still to come was for the one who is gone (RFC 4511 section 4.2.1): the new one hears nothing of it."""
    ended, old = directory.ended, directory.backend.connections[-1]
    old.send(entry(2, 5000))
    assert received(alice, len(entry(2, 5000))) == entry(2, 5000)
    stand.earn()
    alice.socket.sendall(bind(9, person("canary"), stand.canary_secret))
    assert alice.message() == (9, grammar.BIND_RESPONSE, 0)
    wait_until(lambda: directory.ended > ended, "the backend leg closed")
    with contextlib.suppress(OSError):
        old.send(entry(2, 5000))
    alice.socket.sendall(search(10))
    assert alice.message() == (10, grammar.SEARCH_DONE, 0)
    assert directory.heard[-1] == (grammar.SEARCH, f"dn:{person('canary')}".encode())


# ---- StartTLS --------------------------------------------------------------------------------------


def clear(stand: Stand) -> Ldap:
    return Ldap(Where(stand.gate.ports["ldap", "starttls"], stand.ca, "none"))


@pytest.mark.parametrize("behind", [bind(2), search(2), b"\x30", bytes(200)])
def test_bytes_behind_starttls(stand: Stand, behind: bytes) -> None:
    """Threat 21: they came in the clear and would be run behind TLS. Nothing is said, the connection is closed."""
    client = clear(stand)
    client.socket.sendall(START_TLS_REQUEST + behind)
    assert rest(client.socket) == b""
    later = clear(stand)
    later.socket.sendall(START_TLS_REQUEST)
    assert later.socket.recv(4096) == START_TLS_DONE
    later.socket.sendall(behind)
    assert rest(later.socket)[:1] in {b"", b"\x15"}  # at most an alert of TLS


def test_starttls_behind_a_pending_bind(stand: Stand, directory: Directory) -> None:
    """Threat 21: operationsError, and no TLS within TLS; in the clear there is no Bind that could be pending."""
    client = Ldap(Where(stand.gate.ports["ldap", "implicit"], stand.ca))
    stand.earn()
    client.socket.sendall(bind(1, ALICE_DN, stand.right) + extended(2, START_TLS) + extended(3, WHO_AM_I))
    answers = [client.message() for _ in range(3)]
    assert sorted((number, code) for number, _, code in answers) == [(1, 0), (2, 1), (3, 0)]
    client.close()
    open_ = clear(stand)
    open_.socket.sendall(bind(1, ALICE_DN, stand.right) + extended(2, START_TLS))
    assert [open_.message()[2] for _ in range(2)] == [13, 0]
    open_.close()


# ---- much of it --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(search, id="searches"),
        pytest.param(lambda number: extended(number, b"1.2.3.4"), id="extended"),
        pytest.param(lambda number: bind(number, "uid=,,"), id="malformed names"),
        pytest.param(lambda number: abandon(number, number - 1), id="abandons"),
    ],
)
def test_a_flood_before_a_bind(stranger: Ldap, flood: Callable[[int], bytes]) -> None:
    """A hundred are answered; then it is over."""
    for start in range(1, 10_000, 1000):
        try:
            stranger.socket.sendall(b"".join(map(flood, range(start, start + 1000))))
        except OSError:
            break
    answers = []
    try:
        while True:
            answers.append(stranger.message())
    except (AssertionError, OSError):
        pass
    expected = 1 if flood(5) == abandon(5, 4) else 101
    assert len(answers) <= expected
    assert all(code for _, _, code in answers)


def test_somebody_still_reads_the_farewell(stranger: Ldap) -> None:
    stranger.socket.sendall(b"".join(search(number) for number in range(1, 102)))
    answers = [stranger.message() for _ in range(101)]
    assert [number for number, _, _ in answers] == [*range(1, 101), 0]
    assert answers[-1] == (0, grammar.EXTENDED_RESPONSE, 52)
    assert closes(stranger.socket)
