"""The worker as a process: what it says to its supervisor, what it must not keep, and how it ends."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.link.messages import Ended
from tests.fronts.conftest import Rig, certificates, limits, make_rig  # noqa: F401
from tests.fronts.test_login import plain
from tests.support.fake_backend import Peer, smtp_greet
from tests.support.fake_core import RIGHT


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:  # noqa: F811
    """A worker of its own for every test here."""
    return make_rig()


def status(rig: Rig, seconds: float) -> bytes:
    said = b""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and select.select([rig.status], [], [], left)[0]:  # type: ignore[attr-defined]
        data = os.read(rig.status, 100)  # type: ignore[attr-defined]
        if not data:
            return said + b"EOF"
        said += data
    return said


def test_ready_then_a_heartbeat_a_second(rig: Rig) -> None:
    assert 2 <= status(rig, 3.5).count(b".") <= 4


def test_a_stopped_process_does_not_beat(rig: Rig) -> None:
    status(rig, 0.1)
    rig.process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    status(rig, 0.1)
    assert status(rig, 1.5) == b""
    rig.process.send_signal(signal.SIGCONT)


def test_sigterm_ends_it(rig: Rig) -> None:
    rig.log_in()
    rig.process.terminate()
    assert rig.process.wait(5) == 0
    assert status(rig, 1).endswith(b"EOF")


def test_sessions_get_their_goodbye_and_the_core_hears_how_they_ended(rig: Rig) -> None:
    def script(peer: Peer) -> None:
        smtp_greet(peer)
        while line := peer.line():
            if line == b".\r\n":
                time.sleep(0.2)
            if line != b"text\r\n":
                peer.send(b"354 go on\r\n" if line == b"DATA\r\n" else b"250 2.0.0 Ok\r\n")

    rig.smtp.script = script
    reader = rig.log_in()
    sender = rig.tls("smtps")
    sender.line()
    sender.send(b"EHLO me\r\n")
    sender.until(b"250 ")
    sender.send(b"AUTH PLAIN " + plain("alice", RIGHT) + b"\r\n")
    assert sender.line().startswith(b"235 ")
    for command in (b"MAIL FROM:<a@example.test>\r\n", b"RCPT TO:<b@example.test>\r\n", b"DATA\r\n"):
        sender.send(command)
        sender.line()
    sender.send(b"text\r\n.\r\n")
    time.sleep(0.1)  # the dot is out, its answer is not in
    rig.process.terminate()
    assert reader.rest() == b"* BYE Server is shutting down\r\n"
    assert sender.rest() == b"250 2.0.0 Ok\r\n421 4.7.0 Server is shutting down\r\n"
    ends = rig.core.wait(Ended, 2)
    assert [(e.why, e.messages, e.recipients) for e in ends] == [("shutdown", 0, 0), ("shutdown", 1, 1)]  # type: ignore[union-attr]
    assert rig.process.wait(5) == 0


def test_a_peer_that_does_not_close_delays_the_end_by_a_second_at_most(rig: Rig) -> None:
    client, idle = rig.log_in(), rig.raw("imap")
    start = time.monotonic()
    rig.process.terminate()
    assert rig.process.wait(5) == 0
    assert time.monotonic() - start < 3
    assert client.rest() == b"* BYE Server is shutting down\r\n"
    idle.close()


def test_it_ends_when_nobody_listens_to_its_heartbeat(rig: Rig) -> None:
    read_end = rig.status  # type: ignore[attr-defined]
    os.close(read_end)
    assert rig.process.wait(5) == 1
    rig.status = os.open("/dev/null", os.O_RDONLY)  # type: ignore[attr-defined]


def test_it_ignores_ctrl_c_and_hangup(rig: Rig) -> None:
    session = rig.log_in()
    rig.process.send_signal(signal.SIGINT)
    rig.process.send_signal(signal.SIGHUP)
    session.send(b"b NOOP\r\n")
    assert session.until(b"b ")[-1] == b"b OK done\r\n"


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    out = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, socket, subprocess, sys\n"
            "r, w = os.pipe()\n"
            "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n"
            "p = subprocess.Popen([sys.executable, '-m', 'proxy.front_worker', '--link', sys.argv[1],"
            " '--listen', f'imaps={s.fileno()}', '--status-fd', str(w)], pass_fds=[w, s.fileno()],"
            " stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)\n"
            "p.stderr.readline()\n"
            "print(p.pid, flush=True)\n"
            "os._exit(0)",
            str(tmp_path / "nobody.sock"),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    pid = int(out.stdout)
    end = time.monotonic() + 5
    while time.monotonic() < end and alive(pid):
        time.sleep(0.05)
    assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.root
def test_no_core_dump_no_ptrace_by_its_own_user_and_all_descriptors(rig: Rig) -> None:
    pid = rig.process.pid
    assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    assert soft == hard
    # A process that is not dumpable belongs to root in /proc, whoever runs it.
    assert os.stat(f"/proc/{pid}/mem").st_uid == 0
    with open(f"/proc/{pid}/environ", "rb") as environ:
        assert RIGHT.encode() not in environ.read()


def test_nothing_secret_is_logged(rig: Rig) -> None:
    """Not the app password, not the backend login, not what a client typed into the wrong field; at debug level."""
    client = rig.log_in()
    client.send(b"b NOOP\r\n")
    client.until(b"b ")
    bad = rig.tls("imaps")
    bad.line()
    bad.send(b"a1 LOGIN canary-name canary-secret\r\na2 canary-command\r\n")
    bad.until(b"a1 NO")
    bad.close()
    rig.imap.script = lambda peer: peer.send(b"* BYE \x1b]0;canary\x07\r\n")
    other = rig.tls("imaps")
    other.line()
    other.send(b"a1 LOGIN alice %s\r\n" % RIGHT.encode())
    other.until(b"a1 NO")
    (ended,) = rig.core.wait(Ended)
    assert isinstance(ended, Ended)
    assert "BYE" in ended.detail  # the core writes the one line of this attempt
    assert not rig.logged("canary")
    log = rig.log.read_bytes()
    for secret in (
        RIGHT.encode(),
        b"abcd-efgh",
        b"canary-secret",
        b"canary-command",
        b"canary-name",
        b"alice*master",
        b"\x1b",
    ):
        assert secret not in log


@pytest.mark.root
def test_a_worker_has_loaded_everything_before_ready(rig: Rig) -> None:
    """Its folder may be replaced under it; and what it never imports cannot be reached from it."""
    program = (
        "import sys, proxy.front_worker\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in "
        "('sqlalchemy', 'argon2', 'starlette', 'jinja2', 'OpenSSL', 'yaml', 'joserfc', 'aiosmtpd')"
        " or m.startswith(('proxy.store', 'proxy.admin', 'proxy.portal', 'proxy.backends', 'proxy.config'))]\n"
        "print(bad)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout == "[]\n"
    with open(f"/proc/{rig.process.pid}/maps") as maps:
        before = {line.split()[-1] for line in maps if ".so" in line}
    rig.log_in()
    with open(f"/proc/{rig.process.pid}/maps") as maps:
        assert {line.split()[-1] for line in maps if ".so" in line} == before
