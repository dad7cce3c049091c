"""What breaks while sidegate runs: the temporary reply to newcomers, nothing to live sessions, a sentence to the
operator (facts: reliability table).
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import shutil
import signal
import socket
import sqlite3
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hostile.stand import (
    ALICE,
    CANARY,
    NOT_ACCEPTED,
    Stand,
    assert_clean,
    refused,
    rest,
    together,
    unavailable,
)
from tests.peers.process import listening, wait_until
from tests.support.fake_backend import IMAP_GREETING, Peer, imap_log_in
from tests.support.sidegate import Certificates
from tests.support.talk import Talk


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Two workers; certificates of its own, which are changed."""
    root = tmp_path_factory.mktemp("outages")
    stand = Stand(root, Certificates(root / "tls"), workers=2)
    yield stand
    stand.stop()


@pytest.fixture
def stand(running: Stand) -> Iterator[Stand]:
    """It is whole again after every test, and its two canary sessions were never disturbed."""
    yield running
    running.ping()
    assert_clean(running.gate.log())
    wait_until(lambda: lets_in(running), "logins")


def lets_in(stand: Stand) -> bool:
    """Whether a login succeeds; until it does it may be put off, but never refused."""
    answers = []
    for protocol in ("imap", "smtp"):
        answers.append(stand.refusal(protocol, ALICE, stand.right))
        assert answers[-1] == unavailable(protocol) or answers[-1][-1].startswith(("t OK ", "235 ")), answers
    return answers != [unavailable("imap"), unavailable("smtp")] and unavailable("smtp") not in answers


# ---- backends --------------------------------------------------------------------------------


def says(*words: bytes) -> Callable[[Peer], None]:
    """A backend that greets with the first of `words` and answers every line with the next, `TAG` replaced."""

    def script(peer: Peer) -> None:
        peer.send(words[0])
        for word in words[1:]:
            tag = peer.line().split(b" ")[0]
            peer.send(word.replace(b"TAG", tag))
        peer.rest()

    return script


def rubbish(peer: Peer) -> None:
    peer.send(random.Random(1).randbytes(100_000))


IMAP_BACKENDS = {
    "gone": (lambda peer: None, "backend_unavailable"),
    "rubbish": (rubbish, "backend_unavailable"),
    "already logged in": (says(b"* PREAUTH [CAPABILITY IMAP4rev1 ID] hello\r\n"), "backend_unavailable"),
    "overloaded": (says(b"* BYE too many connections\r\n"), "backend_unavailable"),
    "endless line": (says(b"* OK " + b"x" * 200_000), "backend_unavailable"),
    "refuses us": (
        says(IMAP_GREETING, b"* ID NIL\r\nTAG OK\r\n", b"TAG NO [AUTHENTICATIONFAILED] xyzzy\r\n"),
        "backend_refused_us",
    ),
    "would let a client change who it is": (
        says(IMAP_GREETING, b"* ID NIL\r\nTAG OK\r\n", b"TAG OK [CAPABILITY IMAP4rev1 UNAUTHENTICATE] in\r\n"),
        "backend_unavailable",
    ),
}
SMTP_BACKENDS = {
    "gone": (lambda peer: None, "backend_unavailable"),
    "rubbish": (rubbish, "backend_unavailable"),
    "overloaded": (says(b"421 4.3.2 xyzzy\r\n"), "backend_unavailable"),
    "no XCLIENT": (says(b"220 x\r\n", b"250-x\r\n250 SIZE\r\n"), "backend_refused_us"),
    "endless reply": (says(b"220-x\r\n" * 50_000), "backend_unavailable"),
}


@pytest.mark.parametrize(
    ("protocol", "name"), [*(("imap", name) for name in IMAP_BACKENDS), *(("smtp", name) for name in SMTP_BACKENDS)]
)
def test_a_useless_backend_is_our_fault(stand: Stand, protocol: str, name: str) -> None:
    backend = stand.mail if protocol == "imap" else stand.smtp
    good, log = backend.script, len(stand.gate.log())
    backend.script, reason = (IMAP_BACKENDS if protocol == "imap" else SMTP_BACKENDS)[name]
    try:
        assert stand.refusal(protocol, ALICE, stand.right) == unavailable(protocol)
    finally:
        backend.script = good
    wait_until(lambda: f"reason={reason} " in stand.gate.log()[log:], f"{reason} in the log")
    wait_until(lambda: reason in {row["reason"] for row in stand.gate.json("why", ALICE)}, f"{reason} in why")


def test_a_silent_backend_and_one_that_goes(stand: Stand) -> None:
    """Silence for 10 s at the greeting is the temporary reply; a backend that drops a session drops the client."""
    scripts = stand.mail.script, stand.smtp.script

    def silent(peer: Peer) -> None:
        peer.rest()

    def dropping(peer: Peer) -> None:
        imap_log_in(peer)
        peer.line()

    stand.mail.script = dropping
    session = stand.imap(ALICE, stand.right)
    stand.mail.script = stand.smtp.script = silent
    started = time.monotonic()
    try:
        session.send("t NOOP")
        assert rest(session.socket) == b""
        assert time.monotonic() - started < 3
        jobs = [lambda protocol=protocol: stand.refusal(protocol, ALICE, stand.right) for protocol in ("imap", "smtp")]
        assert together(jobs) == [unavailable("imap"), unavailable("smtp")]
    finally:
        stand.mail.script, stand.smtp.script = scripts
    assert 9 < time.monotonic() - started < 25


# ---- the store -------------------------------------------------------------------------------


def test_a_full_disk(stand: Stand) -> None:
    """Who has an app password gets in; changes fail with words, and a revoke that failed has revoked nothing."""
    secret = stand.mint(ALICE, "while full")
    live = stand.imap(ALICE, secret)
    (core,) = stand.children()["core"]
    limits = resource.prlimit(core, resource.RLIMIT_FSIZE)
    resource.prlimit(core, resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        assert lets_in(stand)
        for command in (("passwords", "create", ALICE, "more"), ("passwords", "revoke", ALICE, "while full")):
            done = stand.gate.cli(*command)
            assert done.returncode == 75, (command, done)
            assert done.stdout == ""
            assert len(done.stderr.strip().splitlines()) == 1, done.stderr
            assert "sidegate.db" in done.stderr
        rest(live.socket)  # cut all the same: nobody can know yet whether the row is there
        live = stand.imap(ALICE, secret)
    finally:
        resource.prlimit(core, resource.RLIMIT_FSIZE, limits)
    wait_until(lambda: stand.gate.cli("passwords", "revoke", ALICE, "while full").returncode == 0, "the revoke")
    assert rest(live.socket).startswith(b"* BYE ")
    assert stand.refusal("imap", ALICE, secret) == refused("imap", NOT_ACCEPTED)
    assert stand.gate.cli("audit", "--verify").returncode == 0


def test_a_locked_store(stand: Stand) -> None:
    """Somebody's sqlite3 holds a transaction open: reading goes on, writing says so."""
    with contextlib.closing(sqlite3.connect(stand.gate.root / "sidegate.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert lets_in(stand)
        done = stand.gate.cli("passwords", "create", ALICE, "locked out")
        other.execute("ROLLBACK")
    assert done.returncode == 75, done
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert stand.gate.cli("passwords", "create", ALICE, "no more").returncode == 0


# ---- processes -------------------------------------------------------------------------------


def test_a_killed_core_is_replaced_and_knows_the_sessions(stand: Stand) -> None:
    secret = stand.mint(ALICE, "survivor")
    live = [stand.imap(ALICE, secret), stand.smtp_session(ALICE, secret)]
    before = {row["id"] for row in stand.gate.json("sessions", "list")}
    stand.signal_child("core", signal.SIGKILL)
    started = time.monotonic()
    for protocol in ("imap", "smtp"):
        assert stand.refusal(protocol, ALICE, stand.right) == unavailable(protocol)
    assert stand.gate.cli("sessions", "list").returncode in (0, 75)
    wait_until(lambda: lets_in(stand), "a new core")
    assert time.monotonic() - started < 20
    wait_until(lambda: {row["id"] for row in stand.gate.json("sessions", "list")} >= before, "the sessions again")
    stand.ping()
    done = stand.gate.json("passwords", "revoke", ALICE, "survivor")
    assert done["sessions_cut"] == 2
    assert rest(live[0].socket).startswith(b"* BYE ")
    assert rest(live[1].socket).startswith(b"421 ")


def on_worker(stand: Stand, chosen: int, secrets: list[str]) -> list[Talk]:
    """Sessions that the worker with pid `chosen` holds: the others are stopped meanwhile."""
    others = [pid for pid in stand.children()["front"] if pid != chosen]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        return [stand.imap(ALICE, secret) for secret in secrets]
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.root
@pytest.mark.root
def test_a_worker_that_hangs_during_a_revoke_is_killed(stand: Stand) -> None:
    """The sessions of the app password are dead when the command returns; those that another worker holds live."""
    x, y = stand.mint(ALICE, "x"), stand.mint(ALICE, "y")
    one, other = stand.children()["front"]
    victim = one if holds_canaries(stand, other) else other
    if holds_canaries(stand, victim):  # one on each: they will have to come back
        stand.canaries = {}
    survivor = other if victim == one else one
    x_there, y_there = on_worker(stand, victim, [x, y])
    x_here, y_here = on_worker(stand, survivor, [x, y])
    os.kill(victim, signal.SIGSTOP)
    started = time.monotonic()
    done = stand.gate.json("passwords", "revoke", ALICE, "x")
    assert time.monotonic() - started < 9
    assert done["sessions_cut"] == 2
    assert not Path(f"/proc/{victim}").exists()
    for dead in (x_there, x_here, y_there):
        rest(dead.socket)
    assert y_here.imap("NOOP")[-1] == "t OK done"
    assert "did not confirm a cut in time" in stand.gate.log()
    y_here.close()
    wait_until(lambda: len(stand.children()["front"]) == 2, "another worker")
    if not stand.canaries:
        stand.canaries = {
            "imap": stand.imap(CANARY, stand.canary_secret),
            "smtp": stand.smtp_session(CANARY, stand.canary_secret),
        }


def holds_canaries(stand: Stand, worker: int) -> bool:
    """Whether one of the canary sessions is on the worker: its client ports are among the worker's peers."""
    ports = {canary.socket.getsockname()[1] for canary in stand.canaries.values()}
    inodes = set()
    for link in Path(f"/proc/{worker}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(link).removeprefix("socket:[").removesuffix("]"))
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if columns[9] in inodes and int(columns[2].rpartition(":")[2], 16) in ports:
            return True
    return False


def test_rubbish_on_the_inner_sockets_hurts_nobody(stand: Stand) -> None:
    """Who can write there is of our uid already; the core still does not fall over."""
    run = stand.gate.root / "run"
    chance = random.Random(2)
    for words in (
        b"",
        b"\0",
        struct.pack("!I", 0xFFFFFFFF) + b"x" * 100,
        struct.pack("!I", 5) + b"\xc1\xc1\xc1\xc1\xc1",
        struct.pack("!I", 0) * 1000,
        chance.randbytes(100_000),
    ):
        for name in ("link.sock", "admin.sock"):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(10)
                sock.connect(str(run / name))
                with contextlib.suppress(OSError):
                    sock.sendall(words)
                    sock.shutdown(socket.SHUT_WR)
                rest(sock)
    assert {(run / name).stat().st_mode & 0o007 for name in ("link.sock", "admin.sock")} == {0}


# ---- reload ----------------------------------------------------------------------------------


def serial(stand: Stand, protocol: str) -> str:
    context = ssl.create_default_context(cafile=str(stand.ca))
    sock = socket.create_connection(("127.0.0.1", stand.gate.ports[protocol, "implicit"]), 10)
    with context.wrap_socket(sock, server_hostname="localhost") as tls:
        return str(tls.getpeercert()["serialNumber"])


def test_new_certificates_are_taken_and_broken_ones_are_not(stand: Stand, tmp_path: Path) -> None:
    there = stand.certificates
    old = serial(stand, "imap")
    assert serial(stand, "smtp") == old
    # what an interrupted renewal leaves behind: a certificate that does not fit its key
    new = Certificates(tmp_path / "new")
    kept = there.certificate.read_bytes()
    shutil.copy(new.certificate, there.certificate)
    log = len(stand.gate.log())
    os.kill(stand.supervisor, signal.SIGHUP)
    wait_until(lambda: "the old one stays in force" in stand.gate.log()[log:], "a word about it")
    there.certificate.write_bytes(kept)
    assert serial(stand, "imap") == old
    # the whole renewal
    for name in ("certificate", "key", "ca"):
        shutil.copy(getattr(new, name), getattr(there, name))
    os.kill(stand.supervisor, signal.SIGHUP)

    def both_new() -> bool:
        try:
            return old not in (serial(stand, "imap"), serial(stand, "smtp"))
        except ssl.SSLError:
            return False  # still the old one, of another CA

    wait_until(lambda: all(both_new() for _ in range(6)), "the new certificate on every worker")
    stand.ping()


def test_a_broken_configuration_is_not_taken(stand: Stand) -> None:
    good = stand.gate.config.read_text()
    for broken in ("", "{", "- a\n- b\n", good.replace('"imap"', '"imqp"'), "x: !!python/object/apply:os.abort []\n"):
        log = len(stand.gate.log())
        stand.gate.config.write_text(broken)
        os.kill(stand.supervisor, signal.SIGHUP)
        wait_until(lambda: "the old one stays in force" in stand.gate.log()[log:], "a word about it")  # noqa: B023
        assert re.search(rf"^{stand.gate.config}:[0-9]+:[0-9]+: ", stand.gate.log()[log:], re.M)
        stand.ping()
    stand.gate.config.write_text(good)
    together([lambda: lets_in(stand)] * 4)


# ---- the end ---------------------------------------------------------------------------------


def test_nothing_outlives_a_killed_supervisor(running: Stand) -> None:
    """The last one: no process, no open port, and every session closed."""
    children = [pid for group in running.children().values() for pid in group]
    assert len(children) == 4
    os.kill(running.supervisor, signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "the end of every child", 15)
    for canary in running.canaries.values():
        rest(canary.socket)
    assert not any(listening(port) for port in running.gate.ports.values())
    assert running.gate.cli("sessions", "list").returncode == 75
    assert_clean(running.gate.log())
