"""Not a byte lost or changed, whatever the sizes, speeds and ends."""

from __future__ import annotations

import contextlib
import hashlib
import random
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable

import pytest

from proxy.fronts.descriptor import RECORD
from proxy.link.messages import Census, Ended, Program, TakeCensus
from tests.fronts.conftest import Rig
from tests.fronts.test_login import plain
from tests.support.fake_backend import Peer, imap_log_in, smtp_greet
from tests.support.fake_core import RIGHT

WHOLE = [pytest.mark.long, pytest.mark.timeout(900)]
"""The sizes that are promised, by `make test-long`."""
SMALL = 16384
"""Socket buffers on every leg. At 4096 the kernel itself stalls for seconds now and then (zero-window probes)."""


def pattern(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def pump(peer: Peer, data: bytes, *, half_close: bool = False) -> None:
    chunks = random.Random(1)
    at = 0
    while at < len(data):
        size = chunks.choice((1, 100, 4096, 16384, 65536, 300_000))
        peer.send(data[at : at + size])
        at += size
    if half_close:
        peer.half_close()


def slowly(peer: Peer, size: int) -> str:
    """SHA-256 of `size` bytes, read in pieces of all sizes with pauses."""
    pieces = random.Random(2)
    digest = hashlib.sha256()
    while size:
        data = peer.read(min(size, pieces.choice((1, 10, 1000, 16384, 100_000, 1_000_000))))
        if not data:
            break
        digest.update(data)
        size -= len(data)
        if pieces.random() < 0.05:
            time.sleep(0.005)
    return digest.hexdigest()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("backend_tls", "megabytes"),
    [
        ("none", 12),
        ("implicit", 4),
        pytest.param("none", 100, marks=WHOLE),
        pytest.param("implicit", 100, marks=WHOLE),
    ],
)
def test_both_ways_at_once_with_small_buffers_and_slow_readers(
    make_rig: Callable[..., Rig], version: ssl.TLSVersion, backend_tls: str, megabytes: int
) -> None:
    size = megabytes << 20
    rig = make_rig(buffers=SMALL, backend_tls=backend_tls)
    up, down = pattern(1, size), pattern(2, size)
    got: dict[str, str] = {}
    done = threading.Event()

    def script(peer: Peer) -> None:
        if backend_tls == "implicit":
            peer.start_tls(rig.certificates.backend, server_side=True)
        imap_log_in(peer)
        sender = threading.Thread(target=pump, args=(peer, down))
        if backend_tls == "implicit":  # one TLS object cannot be used by two threads at once
            got["up"] = slowly(peer, size)
            pump(peer, down)
        else:
            sender.start()
            got["up"] = slowly(peer, size)
            sender.join()
        done.set()
        peer.rest()

    rig.imap.script = script
    client = rig.log_in(version=version, size=SMALL)
    assert client.sock.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
    if backend_tls == "implicit":
        pump(client, up)
        got["down"] = slowly(client, size)
    else:
        # The client's TLS object is used by one thread: it writes what the socket takes and reads in between.
        got["down"] = both_ways(client, up, size)
    assert done.wait(90)
    assert got == {"up": hashlib.sha256(up).hexdigest(), "down": hashlib.sha256(down).hexdigest()}
    client.close()
    (ended,) = rig.core.wait(Ended)
    assert isinstance(ended, Ended)
    assert (ended.bytes_in, ended.bytes_out) == (size, size)


def both_ways(client: Peer, up: bytes, size: int) -> str:
    """Write `up` and read `size` bytes on one non-blocking TLS socket."""
    sock = client.sock
    sock.setblocking(False)
    digest = hashlib.sha256(client._buffer)
    left = size - len(client._buffer)
    sent = 0
    view = memoryview(up)
    deadline = time.monotonic() + 800
    while left or sent < len(up):
        assert time.monotonic() < deadline, f"stalled with {left} to read and {len(up) - sent} to write"
        select.select([sock], [sock] if sent < len(up) else [], [], 0.01)
        try:
            while sent < len(up):
                sent += sock.send(view[sent : sent + 65536])
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        try:
            while left:
                data = sock.recv(min(left, 65536))
                assert data
                digest.update(data)
                left -= len(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
    sock.settimeout(20)
    return digest.hexdigest()


@pytest.mark.parametrize("megabytes", [4, pytest.param(100, marks=WHOLE)])
def test_a_message_arrives_as_it_was_sent(rig: Rig, megabytes: int) -> None:
    """SMTP is framed: every byte of a message is looked at. Lines of all lengths, NULs, dots to be kept as they are."""
    lines = [b"".join(line.split(b"\n")).replace(b"\r", b"") for line in pattern(9, 1 << 20).split(b"\0")]
    block = b"\r\n".join(b".." + line if number % 7 == 0 else b"\0" + line for number, line in enumerate(lines))
    block += b"\r\n"
    count = (megabytes << 20) // len(block) + 1
    digest = hashlib.sha256()

    def script(peer: Peer) -> None:
        smtp_greet(peer)
        while line := peer.line():
            if line == b"DATA\r\n":
                peer.send(b"354 go on\r\n")
                left = len(block) * count
                while left and (data := peer.read(min(left, 1 << 16))):
                    digest.update(data)
                    left -= len(data)
                rig.smtp.heard[:] = [peer.line()]
            peer.send(b"250 2.0.0 Ok\r\n")

    rig.smtp.script = script
    client = rig.tls("smtps")
    client.line()
    client.send(b"EHLO me\r\n")
    client.until(b"250 ")
    client.send(b"AUTH PLAIN " + plain("alice", RIGHT) + b"\r\n")
    assert client.line().startswith(b"235 ")
    for command in (b"MAIL FROM:<a@example.test>\r\n", b"RCPT TO:<b@example.test>\r\n", b"DATA\r\n"):
        client.send(command)
        client.line()
    sent = hashlib.sha256()
    for _ in range(count):
        sent.update(block)
        client.send(block)
    client.send(b".\r\n")
    assert client.line() == b"250 2.0.0 Ok\r\n"
    assert digest.hexdigest() == sent.hexdigest()
    assert rig.smtp.heard == [b".\r\n"]


def fin(peer: Peer) -> None:
    """FIN without close_notify, as many clients do. SSLSocket.shutdown() would drop its TLS state."""
    socket.socket.shutdown(peer.sock, socket.SHUT_WR)


def memory(rig: Rig) -> int:
    """Private memory of the worker, KiB."""
    with open(f"/proc/{rig.process.pid}/smaps_rollup") as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith(("Private_Dirty", "Private_Clean")))


@pytest.mark.root
def test_a_reader_that_stops_costs_a_bounded_buffer_and_loses_nothing(rig: Rig) -> None:
    size = 8 << 20
    down = pattern(3, size)
    sent = []

    def script(peer: Peer) -> None:
        imap_log_in(peer)
        for at in range(0, size, 1 << 16):
            peer.send(down[at : at + (1 << 16)])
            sent.append(at)
        peer.rest()

    rig.imap.script = script
    before = memory(rig)
    clients = [rig.log_in(size=16384) for _ in range(8)]
    rig.wait_for(lambda: len(sent) > 8)
    time.sleep(0.5)  # long enough to swallow everything, if anything would
    assert memory(rig) - before < 8 * 256 + 2048
    for client in clients[:2]:
        assert slowly(client, size) == hashlib.sha256(down).hexdigest()


def test_client_half_close_reaches_the_backend_and_its_answer_the_client(rig: Rig) -> None:
    answer = pattern(4, 3 << 20)

    def script(peer: Peer) -> None:
        imap_log_in(peer)
        rig.imap.heard.append(peer.rest())
        time.sleep(0.2)
        peer.send(answer)

    rig.imap.script = script
    client = rig.log_in()
    up = pattern(5, 1 << 20)
    client.send(up)
    fin(client)
    assert client.rest() == answer
    assert rig.imap.heard == [up]


def test_half_close_over_tls_on_both_legs_keeps_what_is_on_its_way(make_rig: Callable[..., Rig]) -> None:
    """A close_notify towards the backend must not stop the answers that are already coming."""
    rig = make_rig(backend_tls="implicit")
    answer = pattern(6, 6 << 20)
    heard = []

    def script(peer: Peer) -> None:
        peer.start_tls(rig.certificates.backend, server_side=True, strict=True)
        imap_log_in(peer)
        heard.append(peer.line())
        peer.send(answer[: 4 << 20])  # on its way while the client's end arrives
        heard.append(peer.rest())
        peer.send(answer[4 << 20 :])

    rig.imap.script = script
    client = rig.log_in()
    client.send(b"b1 FETCH 1 BODY[]\r\n")
    fin(client)
    got = client.rest()
    assert heard == [b"b1 FETCH 1 BODY[]\r\n", b""]
    assert hashlib.sha256(got).hexdigest() == hashlib.sha256(answer).hexdigest()


def test_backend_close_flushes_and_closes_the_client_within_a_second(rig: Rig) -> None:
    last = pattern(7, 2 << 20)

    def script(peer: Peer) -> None:
        imap_log_in(peer)
        peer.send(last)

    rig.imap.script = script
    client = rig.log_in()
    start = time.monotonic()
    assert client.rest() == last
    assert time.monotonic() - start < 3
    client.sock.settimeout(5)
    (ended,) = rig.core.wait(Ended)
    assert isinstance(ended, Ended)
    assert ended.bytes_out == len(last)


def test_backend_close_is_a_close_notify_for_the_client(rig: Rig) -> None:
    rig.imap.script = lambda peer: (imap_log_in(peer), None)[1]
    client = rig.raw("imaps")
    client.start_tls(rig.client_context(), server_side=False, server_hostname="mail.example.test", strict=True)
    client.line()
    client.send(b"a1 LOGIN alice abcdefghjkmnpqrstuvd\r\n")
    assert client.line().startswith(b"a1 OK")
    assert client.rest() == b""


def test_a_backend_that_is_reset_closes_the_client_at_once(rig: Rig) -> None:
    def script(peer: Peer) -> None:
        imap_log_in(peer)
        peer.line()
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()

    rig.imap.script = script
    client = rig.log_in()
    start = time.monotonic()
    client.send(b"b1 NOOP\r\n")
    assert client.rest() == b""
    assert time.monotonic() - start < 2


def test_a_slow_reader_still_gets_what_a_closed_backend_left(rig: Rig) -> None:
    last = pattern(8, 1 << 20)

    def script(peer: Peer) -> None:
        imap_log_in(peer)
        peer.send(last)

    rig.imap.script = script
    client = rig.log_in(size=4096)
    got = bytearray()
    while data := client.read(40_000):
        got += data
        time.sleep(0.06)  # about 1.6 s in all: longer than the linger
    assert bytes(got) == last


def test_client_gone_ends_the_backend_leg(rig: Rig) -> None:
    ended = threading.Event()

    def script(peer: Peer) -> None:
        imap_log_in(peer)
        peer.rest()
        ended.set()

    rig.imap.script = script
    client = rig.log_in()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    assert ended.wait(5)
    rig.core.wait(Ended)


def test_a_program_named_after_login_is_reported_and_in_the_census(rig: Rig) -> None:
    client = rig.log_in()
    client.send(b'b1 ID ("name" "Thunderbird" "version" "153.0")\r\n')
    client.until(b"b1")
    (program,) = rig.core.wait(Program)
    assert isinstance(program, Program)
    assert program.program.startswith("Thunderbird")
    rig.core.send(TakeCensus(5))
    (census,) = rig.core.wait(Census)
    assert isinstance(census, Census)
    assert census.census == 5
    (session,) = census.sessions
    assert session.session_id == program.session_id
    assert (session.account_id, session.app_password_id, session.protocol, session.backend) == (3, 7, "imap", "mail")
    assert session.program == program.program
    assert session.bytes_in == 48
    assert session.tls == "TLSv1.3"
    client.send(b'b2 ID ("name" "Other")\r\n')
    client.until(b"b2")
    assert [p.program for p in rig.core.wait(Program, 2)] == [program.program, "Other"]  # type: ignore[union-attr]


def test_an_end_behind_a_full_record_waits_for_what_the_relay_holds(rig: Rig) -> None:
    """SMTP: EHLO holds what follows it. Over TLS a whole record and the close_notify arrive in one read."""

    def script(peer: Peer) -> None:
        smtp_greet(peer)
        while line := peer.line():
            rig.smtp.heard.append(line)
            peer.send(b"250 2.0.0 Ok\r\n")

    rig.smtp.heard.clear()
    rig.smtp.script = script
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = rig.client_context().wrap_bio(incoming, outgoing, server_hostname="mail.example.test")
    client = rig.raw("smtps")

    def until(true: Callable[[], bool], action: Callable[[], object]) -> None:
        while not true():
            with contextlib.suppress(ssl.SSLWantReadError):
                action()
            client.send(outgoing.read())
            if not true():
                incoming.write(client.sock.recv(65536))

    got = bytearray()

    def say(data: bytes, end: bytes) -> None:
        got.clear()
        tls.write(data)
        until(lambda: end in got, lambda: got.extend(tls.read(65536)))

    until(lambda: tls.version() is not None and b"220" in got, lambda: got.extend(tls.read(65536)))
    say(b"EHLO me\r\n", b"250 ")
    say(b"AUTH PLAIN " + plain("alice", RIGHT) + b"\r\n", b"235 ")
    hello, noop = b"EHLO again\r\n", b"NOOP\r\n"
    count, rest = divmod(RECORD - len(hello), len(noop))
    last = b"NOOP " + b"x" * (rest + len(noop) - 7) + b"\r\n"
    record = hello + noop * (count - 1) + last
    assert len(record) == RECORD
    got.clear()
    tls.write(record)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.unwrap()
    client.send(outgoing.read())  # both at once
    with contextlib.suppress(ssl.SSLZeroReturnError):
        until(lambda: got.count(b"\n") > count, lambda: got.extend(tls.read(65536)))
    assert b"".join(rig.smtp.heard) == record
    assert got == b"250 2.0.0 Ok\r\n" * (count + 1)
