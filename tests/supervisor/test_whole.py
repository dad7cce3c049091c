"""The supervisor over its real children: what a person at the terminal, a mail client and the log see."""

from __future__ import annotations

import contextlib
import imaplib
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.peers.process import free_ports, wait_until
from tests.support.demo import Demo
from tests.support.sidegate import Certificates, Sidegate, run

BACKENDS = {
    "mail": {
        "protocol": "imap",
        "address": "127.0.0.1:1",
        "tls": "none",
        "login": {"strategy": "dovecot_token", "issuer": "s", "client_id": "s"},
    }
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Sidegate:
    """Configured and initialized, not running."""
    root = tmp_path_factory.mktemp("whole")
    return Sidegate(root, Certificates(root / "tls"), BACKENDS)


def serve(it: Sidegate) -> subprocess.CompletedProcess[str]:
    """`sidegate serve` that cannot start."""
    return run(it.config, "serve")


def breakage(name: str, it: Sidegate, root: Path, taken: int) -> tuple[int, str]:
    """Break the configuration or what it names; the exit status and what must stand on stderr."""
    match name:
        case "port in use":
            it.settings["portal"] = {**it.settings["portal"], "listen": f"127.0.0.1:{taken}"}
            return (
                1,
                rf"^sidegate: portal: cannot listen on 127\.0\.0\.1:{taken}: another program listens",
            )
        case "no such address":
            front, *others = it.settings["fronts"]
            it.settings["fronts"] = [{**front, "listen": "192.0.2.1:10993"}, *others]
            return (
                1,
                r"^sidegate: imap:10993: cannot listen on 192\.0\.2\.1:10993: this machine does not have that address",
            )
        case "certificate missing":
            it.settings["tls"] = {**it.settings["tls"], "certificate": f"{root}/nowhere.pem"}
            return 78, rf"^{it.config}:\d+:\d+: tls\.certificate: {root}/nowhere\.pem cannot be read: No such file"
        case "key for the group":
            key = root / "group.key"
            key.write_bytes(it.certificates.key.read_bytes())
            key.chmod(0o640)
            it.settings["tls"] = {**it.settings["tls"], "key": str(key)}
            return 78, rf"^{it.config}:\d+:\d+: tls\.key: {key} may be read by others .* run: chmod 600 {key}"
        case "no keys":
            it.settings["state_dir"] = str(root / "empty")
            return 78, r"the keys cannot be used.* sidegate init"
        case "no store":
            it.settings["store"] = f"sqlite:{root}/nowhere/sidegate.db"
            return 78, rf"the store cannot be used.*{root}/nowhere/sidegate\.db: is not there: run `sidegate init`"
    raise AssertionError(name)


@pytest.mark.parametrize(
    "name", ["port in use", "no such address", "certificate missing", "key for the group", "no keys", "no store"]
)
def test_what_cannot_start_says_why_once(installed: Sidegate, tmp_path: Path, name: str) -> None:
    kept = dict(installed.settings)
    try:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            status, words = breakage(name, installed, tmp_path, taken.getsockname()[1])
            installed.write_config()
            done = serve(installed)
    finally:
        installed.settings = kept
        installed.write_config()
    assert done.returncode == status, done.stderr
    assert len(re.findall(words, done.stderr, re.M)) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "\nready\n" not in done.stderr


def test_a_second_one_does_not_start(installed: Sidegate) -> None:
    installed.start()
    kept = dict(installed.settings)
    try:
        ports = free_ports(3)
        fronts = [{**front, "listen": f"127.0.0.1:{port}"} for front, port in zip(kept["fronts"], ports, strict=False)]
        installed.settings = {**kept, "fronts": fronts, "portal": {**kept["portal"], "listen": f"127.0.0.1:{ports[2]}"}}
        installed.write_config()
        done = serve(installed)
        assert done.returncode == 1, done.stderr
        assert "another core serves it" in done.stderr
    finally:
        installed.settings = kept
        installed.write_config()
        installed.stop()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    it = Demo(tmp_path_factory.mktemp("whole-demo"))
    try:
        yield it.wait()
    finally:
        it.end()


def pids(demo: Demo, module: str) -> list[int]:
    found = []
    for pid in demo.members():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it may be gone since it was listed
            if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def lets_in(demo: Demo) -> bool:
    """Whether a login succeeds; while a core comes up it may be put off, but not refused."""
    try:
        demo.imap(demo.facts["app_password"]["secret"]).logout()
    except imaplib.IMAP4.error as error:
        if "[UNAVAILABLE] Temporary authentication failure" not in str(error):
            raise
        return False
    return True


def replaced(demo: Demo, module: str, gone: int) -> Callable[[], bool]:
    """Whether another process is in its place, and ready."""
    log = demo.directory / "sidegate.log"

    def ready() -> bool:
        now = [pid for pid in pids(demo, module) if pid != gone]
        return any(re.search(rf'event="child ready" child=\S+ pid={pid}\n', log.read_text()) for pid in now)

    return ready


def test_a_session_outlives_the_core_and_can_still_be_cut(demo: Demo) -> None:
    secret = run(Path(demo.facts["config"]), "passwords", "create", "alice@example.org", "outliving").stdout.strip()
    mail = demo.imap(secret)
    (core,) = pids(demo, "proxy.core")
    os.kill(core, signal.SIGKILL)
    wait_until(replaced(demo, "proxy.core", core), "a new core", 30)
    assert mail.noop()[0] == "OK"
    wait_until(lambda: lets_in(demo), "logins again", 20)

    def listed() -> bool:
        return "outliving" in run(Path(demo.facts["config"]), "sessions", "list").stdout

    wait_until(listed, "the session known to the new core", 20)
    done = run(Path(demo.facts["config"]), "passwords", "revoke", "alice@example.org", "outliving")
    assert done.returncode == 0, done.stderr
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        mail.noop()


def test_a_killed_front_takes_only_its_own_sessions(demo: Demo) -> None:
    secret = demo.facts["app_password"]["secret"]
    victim = pids(demo, "proxy.front_worker")[0]
    os.kill(victim, signal.SIGKILL)
    assert demo.imap(secret).logout()[0] == "BYE"
    wait_until(lambda: len(pids(demo, "proxy.front_worker")) == 2, "two fronts again", 30)


def test_a_reload_changes_what_fronts_say_and_drops_nobody(demo: Demo) -> None:
    mail = demo.imap(demo.facts["app_password"]["secret"])
    config = Path(demo.facts["config"])
    before = config.read_text()
    (supervisor,) = pids(demo, "proxy.demo.serve")
    config.write_text(before.replace(f'url: "{demo.facts["portal"]}"', 'url: "https://apps.example.org/why"'))
    os.kill(supervisor, signal.SIGHUP)

    def refusal() -> str:
        client = imaplib.IMAP4_SSL("localhost", demo.facts["imap"]["tls"], ssl_context=demo.context, timeout=30)
        with client, pytest.raises(imaplib.IMAP4.error) as refused:
            client.login("alice", "alice-account-password")
        return str(refused.value)

    wait_until(lambda: "https://apps.example.org/why" in refusal(), "the new address in refusals", 20)
    assert mail.noop()[0] == "OK"
    config.write_text("broken")
    os.kill(supervisor, signal.SIGHUP)
    log = demo.directory / "sidegate.log"
    wait_until(lambda: "the old one stays in force" in log.read_text(), "a line about the broken configuration")
    assert "https://apps.example.org/why" in refusal()
    assert mail.noop()[0] == "OK"
    config.write_text(before)
    mail.logout()


def test_a_stopped_core_is_a_hung_core(demo: Demo) -> None:
    (core,) = pids(demo, "proxy.core")
    os.kill(core, signal.SIGSTOP)
    wait_until(replaced(demo, "proxy.core", core), "another core in its place", 60)
    wait_until(lambda: lets_in(demo), "logins again", 20)
    assert "child does not answer, killing it" in (demo.directory / "sidegate.log").read_text()
