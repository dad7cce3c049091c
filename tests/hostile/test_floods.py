"""Strangers who send much, slowly, or at the wrong port (facts: threats 8, 10, 33, 34, 36, 37)."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import ssl
import struct
import time
from pathlib import Path

import pytest

from tests.hostile.stand import (
    ALICE,
    MARK,
    Stand,
    rest,
    rss,
    together,
)
from tests.peers.process import wait_until
from tests.support.talk import Talk, plain


def test_bad_base64_of_one_disturbs_no_login_of_another(stand: Stand) -> None:
    """Threat 10 (CVE-2025-59028)."""

    def vandal(protocol: str) -> None:
        for _ in range(12):
            talk = stand.talk(protocol, source="127.0.3.1")
            command = "t AUTHENTICATE PLAIN ????" if protocol == "imap" else "AUTH PLAIN ????"
            talk.send(("EHLO x\r\n" if protocol == "smtp" else "") + "\r\n".join([command] * 12))
            rest(talk.socket)
            talk.close()

    def good() -> None:
        for _ in range(6):
            stand.imap(ALICE, stand.right).close()

    together([lambda: vandal("imap"), lambda: vandal("smtp"), good])


def test_memory_of_a_worker_does_not_follow_what_strangers_send(stand: Stand) -> None:
    """Threat 8: every one of them is cut at the end of the longest line."""
    (worker,) = stand.children()["front"]
    before = rss(worker)

    def flood(protocol: str, tls: str) -> bytes:
        talk = stand.talk(protocol, tls, source="127.0.3.2")
        with contextlib.suppress(OSError):
            for _ in range(16):
                talk.socket.sendall(b"x" * 65536)
        said = rest(talk.socket)
        talk.close()
        return said

    for protocol in ("imap", "smtp"):
        for tls in ("implicit", "starttls"):
            farewells = together([lambda p=protocol, t=tls: flood(p, t) for _ in range(25)])
            assert set(farewells) <= {b"", b"* BYE Line too long\r\n", b"500 5.5.2 Line too long\r\n"}
    assert rss(worker) - before < 20_000_000


def test_names_in_client_hellos_cost_nothing(stand: Stand) -> None:
    """Threat 36: any name gets the default certificate, and none is remembered."""
    (worker,) = stand.children()["front"]
    context = ssl.create_default_context(cafile=str(stand.ca))
    context.check_hostname = False

    def greet(name: str) -> None:
        sock = socket.create_connection(("127.0.0.1", stand.gate.ports["imap", "implicit"]), 10)
        with context.wrap_socket(sock, server_hostname=name) as tls:
            assert tls.getpeercert()["subjectAltName"][0] == ("DNS", "localhost")

    for number in range(100):
        greet(f"n{number}.warm.example")
    before = rss(worker)
    for number in range(300):
        greet(f"n{number}." + "x" * 60 + ".example")
    assert rss(worker) - before < 4_000_000


def test_http_to_a_tls_port_gets_nothing_back(stand: Stand) -> None:
    for port in (stand.gate.ports["imap", "implicit"], stand.gate.ports["smtp", "implicit"]):
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            sock.sendall(b"GET /xyzzy7 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert rest(sock) == b""


def test_the_slow_are_closed_in_time(stand: Stand) -> None:
    """Threat 33: 10 s for a handshake, 5 s for a PROXY header, and an absolute time to log in, however busy one looks.

    `login_timeout` of this stand is 14 s.
    """
    ports = stand.gate.ports

    def closed_after(talk: Talk, drip: bytes) -> tuple[float, bytes]:
        start = time.monotonic()
        talk.socket.settimeout(0.5)
        received = b""
        while time.monotonic() - start < 30:
            try:
                if drip:
                    time.sleep(0.3)
                    talk.socket.sendall(drip)
                data = talk.socket.recv(65536)
                received += data
                if not data:
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        talk.close()
        return time.monotonic() - start, received

    source = "127.0.3.3"
    proxy = "127.0.77.3"
    results = together(
        [
            lambda: closed_after(Talk(ports["imap", "proxied"], tls=False, source=proxy), b""),
            lambda: closed_after(Talk(ports["imap", "implicit"], tls=False, source=source), b""),
            lambda: closed_after(stand.talk("imap", source=source), b""),
            lambda: closed_after(stand.talk("imap", source=source), b"x"),
            lambda: closed_after(stand.talk("smtp", source=source), b"NOOP\r\n"),
            lambda: closed_after(stand.talk("smtp", "starttls", source=source), b"x"),
            lambda: stand.imap(ALICE, stand.right).close(),
        ]
    )
    header, handshake, silent, dripping, busy, clear = results[:6]
    assert 4.5 < header[0] < 9
    assert 9.5 < handshake[0] < 13.5
    assert header[1] == handshake[1] == b""
    for seconds, _ in (silent, dripping, busy, clear):
        assert 13 < seconds < 25
    assert silent[1] == dripping[1] == b"* BYE Too slow to log in\r\n"
    assert busy[1].endswith(b"250 2.0.0 OK\r\n421 4.7.0 Time to log in is over\r\n")
    assert clear[1] == b"421 4.7.0 Time to log in is over\r\n"


@pytest.mark.root
@pytest.mark.root
def test_out_of_descriptors_is_a_pause(stand: Stand) -> None:
    """Threat 34: the kernel refuses a descriptor although the worker counted on it. Live sessions go on, nothing spins,
    and a second after the flood newcomers are served."""
    (worker,) = stand.children()["front"]
    old = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    used = len(os.listdir(f"/proc/{worker}/fd"))
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + 40, old[1]))
    flood: list[socket.socket] = []
    try:
        for number in range(120):
            source = (f"127.0.4.{number % 3 + 1}", 0)
            flood.append(socket.create_connection(("127.0.0.1", stand.gate.ports["imap", "starttls"]), 5, source))
        wait_until(lambda: "cannot accept" in stand.gate.log(), "a word about it in the log")
        before = cpu_seconds(worker)
        time.sleep(1.5)
        assert cpu_seconds(worker) - before < 0.5
        stand.ping()
        assert stand.gate.cli("sessions", "list").returncode == 0
    finally:
        for sock in flood:
            sock.close()
        resource.prlimit(worker, resource.RLIMIT_NOFILE, old)
    stand.imap(ALICE, stand.right).close()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def reset(talk: Talk) -> None:
    talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    talk.close()


@pytest.mark.root
@pytest.mark.root
def test_clients_that_reset_at_every_stage_leave_nothing_open(stand: Stand) -> None:
    """Also when what they sent before it is still unread: the worker is stopped while they do it."""
    (worker,) = stand.children()["front"]
    ports = stand.gate.ports
    wrong = plain("alice", "wrong")
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"

    def open_now() -> int:
        return len(os.listdir(f"/proc/{worker}/fd"))

    before = open_now()
    for stopped in (False, True):
        talks = []
        for number in range(10):
            source = f"127.0.10.{number + 1}"
            for protocol in ("imap", "smtp"):
                clear = stand.talk(protocol, "starttls", source=source)
                login = "t LOGIN alice wrong" if protocol == "imap" else f"EHLO x\r\nAUTH PLAIN {wrong}"
                talks += [
                    (Talk(ports[protocol, "implicit"], tls=False, source=source), b""),
                    (Talk(ports[protocol, "implicit"], tls=False, source=source), hello),
                    (Talk(ports[protocol, "proxied"], tls=False, source="127.0.77.9"), b"PROXY TCP4 1"),
                    (stand.talk(protocol, source=source), b"x"),
                    (stand.talk(protocol, source=source), login.encode() + b"\r\n"),
                    (clear, b"t STARTTLS\r\n" if protocol == "imap" else b"STARTTLS\r\n"),
                ]
        if stopped:
            os.kill(worker, signal.SIGSTOP)
        for talk, last in talks:
            talk.send(last)
            reset(talk)
        if stopped:
            os.kill(worker, signal.SIGCONT)
    wait_until(lambda: open_now() <= before, "every descriptor back", 5)


@pytest.mark.parametrize("protocol", ["imap", "smtp"])
def test_a_reset_right_behind_half_a_command_ends_the_session(stand: Stand, protocol: str) -> None:
    """The backend is not asked anything, so only the reset itself can tell that the client is gone."""
    (worker,) = stand.children()["front"]
    before = len(stand.gate.json("sessions", "list"))
    log_in = stand.imap if protocol == "imap" else stand.smtp_session
    talks = [log_in(ALICE, stand.right) for _ in range(5)]
    os.kill(worker, signal.SIGSTOP)
    for talk in talks:
        talk.send(b"x")
        reset(talk)
    os.kill(worker, signal.SIGCONT)
    wait_until(lambda: len(stand.gate.json("sessions", "list")) == before, "the sessions gone", 5)


# ---- the portal's page -----------------------------------------------------------------------

WEB = [
    (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"404"),
    (b"GET /static/..%2f..%2fpages.py HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"404"),
    (b"GET /static/%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"404"),
    (b"GET /static/" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"404"),
    (b"GET /api/v1/accounts HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"404"),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nxyzzy", b"405"),
    (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n", b"4"),
    (b"\x16\x03\x01\x00\x05\r\n\r\n", b"400"),
    (b"EHLO xyzzy7\r\n\r\n", b"400"),
]


@pytest.mark.parametrize(("request_", "status"), WEB)
def test_the_page_answers_rubbish_with_a_refusal(stand: Stand, request_: bytes, status: bytes) -> None:
    port = int(stand.gate.settings["portal"]["listen"].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(request_)
            sock.shutdown(socket.SHUT_WR)
        answered = rest(sock)
    assert answered == b"" or answered.split(b" ")[1].startswith(status), answered[:200]
    assert b"root:" not in answered
    assert MARK.encode() not in answered
    assert b"def " not in answered
