"""LDAP clients that send or ask for more than they take (facts: threats 8, 20, 33), on the running product."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from proxy.wire.ldap import grammar
from tests.hostile.directory import ENTRIES, HUGE, Directory
from tests.hostile.stand import Stand, rest, rss, together
from tests.hostile.test_ldap import BOMBS, MALFORMED_UNBIND
from tests.peers.process import wait_until
from tests.peers.slapd import person
from tests.real.ldap.client import Ldap, Where
from tests.real.ldap.client import search as search_below
from tests.support.talk import closes
from tests.wire.ldap.requests import MALFORMED, abandon, entry, message, search, text, tlv

ALICE = f"dn:{person('alice')}".encode()


@pytest.fixture
def directory(stand: Stand) -> Directory:
    assert stand.directory is not None
    return stand.directory


def stranger(stand: Stand, source: str = "127.0.0.1") -> Ldap:
    return Ldap(Where(stand.gate.ports["ldap", "implicit"], stand.ca), source=source)


def test_bombs_by_the_hundred_disturb_nobody(stand: Stand) -> None:
    """Threat 20: while they come, the one who is logged in is answered as ever."""
    over = threading.Event()

    def vandal(number: int) -> None:
        for name in [name for name in BOMBS if name != MALFORMED_UNBIND]:
            client = stranger(stand, f"127.0.6.{number + 1}")
            client.socket.sendall(BOMBS[name])
            assert rest(client.socket) == MALFORMED
            client.close()

    def vandals() -> None:
        try:
            together([lambda number=number: vandal(number) for number in range(8)])
        finally:
            over.set()

    def good() -> list[float]:
        seconds = []
        while not over.is_set():
            start = time.monotonic()
            stand.ping()
            seconds.append(time.monotonic() - start)
        return seconds

    _, seconds = together([vandals, good])
    assert max(seconds) < 2


def test_memory_does_not_follow_what_strangers_send(stand: Stand) -> None:
    """Threat 8: just under 64 KiB of a message that never ends, from many; and as much as goes behind a lie."""
    (worker,) = stand.children()["front"]
    before = rss(worker)
    clients = [stranger(stand, f"127.0.6.{20 + number // 20}") for number in range(60)]
    for client in clients:
        client.socket.sendall(b"\x30\x82\xff\x00" + b"x" * 60_000)
    stand.ping()
    assert rss(worker) - before < 12_000_000
    for client in clients:
        with contextlib.suppress(OSError):
            client.socket.sendall(b"x" * 1_000_000)
        assert set(rest(client.socket)) <= set(MALFORMED)
        client.close()


def test_ten_thousand_searches_at_once(stand: Stand, directory: Directory) -> None:
    """Each is answered by its number, each under the account's identity."""
    client = stand.ldap("alice", stand.right)
    directory.heard.clear()
    (worker,) = stand.children()["front"]
    before = rss(worker)
    numbers = range(2, 10_002)
    client.socket.sendall(b"".join(map(search, numbers)))
    answers = [client.message() for _ in numbers]
    assert [number for number, _, _ in answers] == list(numbers)
    assert {(tag, code) for _, tag, code in answers} == {(grammar.SEARCH_DONE, 0)}
    assert directory.heard == [(grammar.SEARCH, ALICE)] * 10_000
    assert rss(worker) - before < 20_000_000
    client.close()


def test_who_does_not_read_is_not_served_from_memory(stand: Stand, directory: Directory) -> None:
    """128 MiB are asked for and left. The backend has to wait, others do not; then every byte is there."""
    (worker,) = stand.children()["front"]
    before, directory.sent = rss(worker), 0
    client = stand.ldap("alice", stand.right)
    client.send(search_below(HUGE))
    piece = entry(2, 64 * 1024)
    seen = -1

    def stands_still() -> bool:
        nonlocal seen
        seen, earlier = directory.sent, seen
        time.sleep(0.2)
        return directory.sent == seen == earlier

    wait_until(stands_still, "the backend waits")
    assert 0 < seen < ENTRIES * len(piece) // 4
    stand.ping()
    assert rss(worker) - before < 10_000_000
    got, size = 0, len(piece) * ENTRIES
    while got < size:
        data = client.socket.recv(1 << 20)
        start = got % len(piece)
        assert data == (piece * 18)[start : start + len(data)][: size - got] or got + len(data) > size
        got += len(data)
    assert rss(worker) - before < 10_000_000
    client.close()


def test_who_reads_nothing_of_our_own_refusals_is_not_read(stand: Stand, directory: Directory) -> None:
    """A client that sends what is refused here, and takes no answer, fills its own buffers and nobody else's."""
    (worker,) = stand.children()["front"]
    before = rss(worker)
    client = stand.ldap("alice", stand.right)
    directory.heard.clear()
    refused = message(5, tlv(0x4A, b"x"), tlv(0x30, text("2.16.840.1.113730.3.4.18"), tlv(1, b"\xff")))
    client.socket.settimeout(1)
    with pytest.raises(OSError, match="timed out"):
        client.socket.sendall(refused * 4_000_000)
    assert directory.heard == []
    stand.ping()
    assert rss(worker) - before < 10_000_000
    client.close()


def test_a_flood_of_abandons(stand: Stand, directory: Directory) -> None:
    """They have no answer and no identity; the session goes on."""
    client = stand.ldap("alice", stand.right)
    before = directory.abandoned
    client.socket.sendall(b"".join(abandon(number, number - 1) for number in range(100, 50_100)))
    stand.ping()
    assert client.whoami().value.encode() == ALICE
    wait_until(lambda: directory.abandoned == before + 50_000, "all of them at the backend")
    client.close()


def test_a_new_bind_again_and_again(stand: Stand, directory: Directory) -> None:
    """Right ones by two people and wrong ones by turns on one connection, requests behind each: nobody is mistaken."""
    client = stranger(stand)
    for number in range(30):
        name, secret = [("alice", stand.right), ("canary", stand.canary_secret), ("alice", "wrong")][number % 3]
        stand.earn(0 if secret == "wrong" else 1)
        done = client.bind(person(name), secret)
        who = client.whoami()
        if secret == "wrong":
            assert (done.code, who.code) == (49, 50)
        else:
            assert (done.code, who.value) == (0, f"dn:{person(name)}")
    client.send(tlv(0x42))
    assert closes(client.socket)
