"""The real supervisor over stub children: order, restarts, hangs, reload, stop, orphans."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.link.messages import Hello, Kill, encode, messages_from_peer
from tests.peers.process import free_ports, wait_until
from tests.support.sidegate import Certificates

ROOT = Path(__file__).parents[2]


class Supervised:
    """A supervisor in a folder of its own, and what its stub children wrote there."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.directory = directory
        self.ports = free_ports(3)
        tls = Certificates(directory / "tls")
        self.settings: dict[str, Any] = {
            "store": f"sqlite:{directory}/store.db",
            "state_dir": str(directory),
            "run_dir": str(directory),
            "workers": 2,
            "tls": {"certificate": str(tls.certificate), "key": str(tls.key)},
            "portal": {"url": "https://login.example.org", "listen": f"127.0.0.1:{self.ports[2]}"},
            "default_domain": "example.org",
            "fronts": [
                {"protocol": "imap", "listen": f"127.0.0.1:{self.ports[0]}", "tls": "implicit", "backend": "mail"},
                {"protocol": "smtp", "listen": f"127.0.0.1:{self.ports[1]}", "tls": "implicit", "backend": "out"},
            ],
            "backends": {
                "mail": {
                    "protocol": "imap",
                    "address": "127.0.0.1:1",
                    "tls": "none",
                    "login": {"strategy": "dovecot_token", "issuer": "s", "client_id": "s"},
                },
                "out": {
                    "protocol": "smtp",
                    "address": "127.0.0.1:1",
                    "tls": "none",
                    "login": {"strategy": "xclient"},
                },
            },
            **settings,
        }
        self.config = directory / "sidegate.yaml"
        self.write_config()
        self.log = directory / "supervisor.log"
        self.process: subprocess.Popen[bytes] | None = None

    def write_config(self) -> None:
        self.config.write_text(yaml.safe_dump(self.settings))

    def start(self, role: str | None = None, **options: Any) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.stub_supervisor", str(self.config), *([role] if role else [])],
                cwd=ROOT,
                stderr=log,
                **options,
            )
        return self.process

    def started(self, role: str | None = None, **options: Any) -> subprocess.Popen[bytes]:
        process = self.start(role, **options)
        self.wait_for_log("\nready\n")
        return process

    def wait_for_log(self, words: str) -> None:
        def said() -> bool:
            assert words in self.text() or self.process is None or self.process.poll() is None, self.text()
            return words in self.text()

        wait_until(said, f"{words!r} in {self.text()}")

    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def events(self) -> list[tuple[str, str, int]]:
        """(event, role, pid) in order."""
        path = self.directory / "events"
        lines = path.read_text().splitlines() if path.exists() else []
        split = [line.replace("-", " ").split() for line in lines]
        return [(event, role, int(pid)) for event, role, pid in split]

    def born(self, role: str) -> list[int]:
        return [pid for event, who, pid in self.events() if (event, who) == ("born", role)]

    def facts(self, role: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads((self.directory / f"{role}-{self.born(role)[-1]}.json").read_text())
        return answer

    def order(self, pid: int, words: str) -> None:
        written = self.directory / "order.new"
        written.write_text(words)
        written.rename(self.directory / f"order-{pid}")

    def leave(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    made = []

    def make(**settings: Any) -> Supervised:
        made.append(Supervised(tmp_path, **settings))
        return made[-1]

    yield make
    for each in made:
        each.leave()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def accepts(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_starts_the_core_first_and_says_ready_when_all_are(supervised: Callable[..., Supervised]) -> None:
    it = supervised()
    process = it.started()
    assert it.events()[0][1] == "core"
    assert sorted(role for _, role, _ in it.events()) == ["core", "front", "front", "portal"]
    assert all(accepts(port) for port in it.ports)
    assert it.text().count("\nready\n") == 1
    assert "one uid for all processes" in it.text()
    process.terminate()
    assert process.wait(20) == 0


def test_children_get_their_arguments_and_nothing_else(supervised: Callable[..., Supervised]) -> None:
    it = supervised()
    canary = {"SIDEGATE_CANARY": "secret-canary", "CREDENTIALS_DIRECTORY": "/run/credentials/x", "LANG": "C.UTF-8"}
    process = it.started(env={**os.environ, **canary})
    link = str(it.directory / "link.sock")
    names = f"imap:{it.ports[0]}=4,smtp:{it.ports[1]}=5"
    front, core, portal = it.facts("front"), it.facts("core"), it.facts("portal")
    assert front["argv"] == ["--link", link, "--listen", names, "--status-fd", "3"]
    assert core["argv"] == ["--config", str(it.config), "--status-fd", "3"]
    assert portal["argv"] == ["--config", str(it.config), "--listen-fd", "4", "--status-fd", "3"]
    allowed = {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "JOURNAL_STREAM", "OPENSSL_CONF", "PYTHONPATH"}
    assert set(front["environment"]) <= allowed | {"SSL_CERT_FILE", "SSL_CERT_DIR"}
    assert set(core["environment"]) - allowed <= {"SSL_CERT_FILE", "SSL_CERT_DIR", "CREDENTIALS_DIRECTORY"}
    assert core["environment"]["CREDENTIALS_DIRECTORY"] == "/run/credentials/x"
    listing = 1  # of /proc/self/fd itself
    assert len(front["descriptors"]) == 6 + listing
    assert len(core["descriptors"]) == 4 + listing
    assert len(portal["descriptors"]) == 5 + listing
    assert front["soft_core"] == "0"
    assert front["parent"] == process.pid


@pytest.mark.parametrize("role", ["core", "front", "portal"])
def test_restarts_what_dies_and_nothing_else(supervised: Callable[..., Supervised], role: str) -> None:
    it = supervised()
    it.started()
    before = it.events()
    os.kill(it.born(role)[0], signal.SIGKILL)
    wait_until(lambda: len(it.events()) == len(before) + 1, "restart")
    assert it.events()[-1][:2] == ("born", role)
    assert it.text().count("\nready\n") == 1


def test_restarts_slow_down_and_a_bad_exit_after_ready_stops_nothing(supervised: Callable[..., Supervised]) -> None:
    it = supervised(workers=1)
    process = it.started()
    (it.directory / "fail-front").write_text("78 the certificate is gone")
    it.order(it.born("front")[0], "exit 1")
    wait_until(lambda: len(it.born("front")) >= 4, "three more tries")
    (it.directory / "fail-front").unlink()
    wait_until(lambda: it.text().count("child ready") == 4, "the front is back")
    assert process.poll() is None
    assert accepts(it.ports[0])


def test_kills_a_child_that_hangs(supervised: Callable[..., Supervised]) -> None:
    it = supervised()
    it.started()
    victim, other = it.born("front")
    it.order(victim, "hang")
    wait_until(lambda: len(it.born("front")) == 3, "another front in its place")
    assert not alive(victim)
    assert alive(other)
    assert "child does not answer, killing it" in it.text()


def test_a_pause_of_its_own_is_not_held_against_the_children(supervised: Callable[..., Supervised]) -> None:
    it = supervised()
    process = it.started()
    before = it.events()
    os.kill(process.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: False, "pause", 2.5)
    except AssertionError:
        os.kill(process.pid, signal.SIGCONT)
    os.kill(process.pid, signal.SIGHUP)
    it.wait_for_log("configuration reloaded")
    assert [event for event in it.events() if event[0] == "born"] == before


def test_obeys_the_core_and_only_for_its_own_fronts(supervised: Callable[..., Supervised]) -> None:
    it = supervised()
    link = socket.socket(socket.AF_UNIX)
    link.bind(str(it.directory / "link.sock"))
    link.listen(1)
    link.settimeout(20)
    it.started()
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        peer, _ = link.accept()
        with link, peer:
            peer.settimeout(20)
            buffer = bytearray(peer.recv(1000))
            (hello,) = messages_from_peer(buffer)
            assert isinstance(hello, Hello)
            assert (hello.role, hello.sessions) == ("supervisor", [])
            core, victim = it.born("core")[0], it.born("front")[0]
            for pid in (bystander.pid, core, victim):
                peer.sendall(encode(Kill(pid=pid, why="no CUT_DONE within a second")))
            wait_until(lambda: len(it.born("front")) == 3, "the front's successor")
        assert not alive(victim)
        assert alive(core)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("code", [1, 75, 78])
def test_a_child_that_gives_up_at_start_stops_everything(supervised: Callable[..., Supervised], code: int) -> None:
    it = supervised()
    (it.directory / "fail-portal").write_text(f"{code} sidegate: portal.tls: cannot be read")
    assert it.start().wait(30) == code
    assert "sidegate: portal.tls: cannot be read\n" in it.text()
    assert "\nready\n" not in it.text()
    assert not any(alive(pid) for _, _, pid in it.events())


def test_a_core_that_gives_up_starts_nobody_else(supervised: Callable[..., Supervised]) -> None:
    it = supervised()
    (it.directory / "fail-core").write_text("78 no store")
    assert it.start().wait(30) == 78
    assert [role for _, role, _ in it.events()] == ["core"]


def test_stops_fronts_and_portal_before_the_core(supervised: Callable[..., Supervised]) -> None:
    it = supervised()
    process = it.started()
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(20) == 0
    ends = [role for event, role, _ in it.events() if event == "SIGTERM"]
    assert sorted(ends[:3]) == ["front", "front", "portal"]
    assert ends[3:] == ["core"]
    assert not any(accepts(port) for port in it.ports)


def test_does_not_wait_for_the_stubborn(supervised: Callable[..., Supervised]) -> None:
    it = supervised(workers=1)
    process = it.started()
    for role in ("front", "core"):
        (it.directory / f"stubborn-{role}").touch()
    process.terminate()
    assert process.wait(20) == 0
    assert it.text().count("child does not stop, killing it") == 2
    assert not any(alive(pid) for _, _, pid in it.events())


def test_a_stop_while_starting_and_while_a_restart_is_due(supervised: Callable[..., Supervised]) -> None:
    it = supervised()
    (it.directory / "never-core").touch()
    process = it.start()
    wait_until(lambda: it.born("core"), "the core")
    process.terminate()
    assert process.wait(20) == 0
    (it.directory / "never-core").unlink()
    process = it.started()
    (it.directory / "fail-portal").write_text("1 gone")
    it.order(it.born("portal")[-1], "exit 1")
    wait_until(lambda: len(it.born("portal")) >= 3, "restarts")
    process.terminate()
    assert process.wait(20) == 0


def test_nobody_outlives_a_killed_supervisor(supervised: Callable[..., Supervised]) -> None:
    it = supervised()
    process = it.started()
    process.kill()
    process.wait()
    wait_until(lambda: not any(alive(pid) for _, _, pid in it.events()), "all children gone", 5)


def test_reload_reaches_core_and_portal(supervised: Callable[..., Supervised]) -> None:
    it = supervised()
    process = it.started()
    it.settings["portal"]["url"] = "https://other.example.org"
    it.write_config()
    os.kill(process.pid, signal.SIGHUP)
    wait_until(lambda: len([1 for event, *_ in it.events() if event == "SIGHUP"]) == 2, "two SIGHUPs")
    assert sorted(role for event, role, _ in it.events() if event == "SIGHUP") == ["core", "portal"]
    assert "configuration reloaded" in it.text()


def test_a_reload_reaches_who_is_still_starting_once_it_is_ready(supervised: Callable[..., Supervised]) -> None:
    """Before, a child may not have said yet what SIGHUP means to it: then it would die of it."""
    it = supervised()
    process = it.started()
    portal = it.born("portal")[-1]
    (it.directory / "never-portal").touch()
    it.order(portal, "exit 1")
    wait_until(lambda: len(it.born("portal")) == 2, "another portal")
    os.kill(process.pid, signal.SIGHUP)
    wait_until(lambda: "SIGHUP" in [event for event, *_ in it.events()], "a SIGHUP")
    it.wait_for_log("configuration reloaded")
    assert [role for event, role, _ in it.events() if event == "SIGHUP"] == ["core"]
    (it.directory / "never-portal").unlink()
    wait_until(lambda: len([1 for event, *_ in it.events() if event == "SIGHUP"]) == 2, "another SIGHUP")
    assert [(role, pid) for event, role, pid in it.events() if event == "SIGHUP"][1] == (
        "portal",
        it.born("portal")[-1],
    )


def test_a_broken_configuration_is_not_loaded(supervised: Callable[..., Supervised]) -> None:
    it = supervised()
    process = it.started()
    it.config.write_text(it.config.read_text() + "colour: blue\n")
    os.kill(process.pid, signal.SIGHUP)
    it.wait_for_log("the old one stays in force")
    assert f"{it.config}:" in it.text()
    assert "colour" in it.text()
    assert [event for event, *_ in it.events() if event == "SIGHUP"] == []
    assert process.poll() is None


def test_a_reload_names_what_needs_a_restart(supervised: Callable[..., Supervised]) -> None:
    it = supervised()
    process = it.started()
    it.settings["workers"] = 1
    it.settings["fronts"].pop()
    del it.settings["backends"]["out"]
    it.write_config()
    os.kill(process.pid, signal.SIGHUP)
    it.wait_for_log('a restart is needed for these changes" changed="fronts, workers"')
    assert [event for event, *_ in it.events() if event == "SIGHUP"] == []


def test_port_in_use(supervised: Callable[..., Supervised]) -> None:
    it = supervised()
    with socket.create_server(("127.0.0.1", it.ports[1])):
        assert it.start().wait(30) == 1
    port = it.ports[1]
    assert f"sidegate: smtp:{port}: cannot listen on 127.0.0.1:{port}: another program listens there" in it.text()
    assert it.events() == []


def test_bad_configuration(supervised: Callable[..., Supervised]) -> None:
    it = supervised()
    it.config.write_text("fronts: 3\n")
    assert it.start().wait(30) == 78
    assert f"{it.config}:1:9: fronts: must be a list" in it.text()
    assert it.events() == []


@pytest.mark.parametrize(("role", "children"), [("core", ["core"]), ("front", ["front"] * 2), ("portal", ["portal"])])
def test_one_role_alone(supervised: Callable[..., Supervised], role: str, children: list[str]) -> None:
    it = supervised()
    process = it.started(role)
    assert [who for _, who, _ in it.events()] == children
    assert "one uid for all processes" not in it.text()
    assert accepts(it.ports[0]) == (role == "front")
    process.terminate()
    assert process.wait(20) == 0


def test_takes_sockets_from_systemd_by_name_or_port(supervised: Callable[..., Supervised]) -> None:
    it = supervised()
    imap, smtp, portal = (socket.create_server(("127.0.0.1", port)) for port in it.ports)
    other = socket.create_server(("127.0.0.1", 0))
    sockets = [smtp, other, imap]
    launcher = [sys.executable, "-m", "tests.systemd.confine", "-", ",".join(str(each.fileno()) for each in sockets)]
    portal.close()  # is bound by the supervisor itself
    with it.log.open("wb") as log:
        it.process = subprocess.Popen(
            [*launcher, sys.executable, "-m", "tests.support.stub_supervisor", str(it.config)],
            cwd=ROOT,
            stderr=log,
            pass_fds=[each.fileno() for each in sockets],
        )
    it.wait_for_log("\nready\n")
    names = {f"imap:{it.ports[0]}": imap, f"smtp:{it.ports[1]}": smtp}
    passed = dict(part.split("=") for part in it.facts("front")["argv"][3].split(","))
    assert set(passed) == set(names)
    for name, sock in names.items():
        theirs = os.stat(f"/proc/{it.born('front')[-1]}/fd/{passed[name]}")
        assert theirs.st_ino == os.fstat(sock.fileno()).st_ino, name
    unwanted = f"('127.0.0.1', {other.getsockname()[1]})"
    assert f'systemd passed a socket that nothing listens on" address="{unwanted}"' in it.text()
    for sock in (*sockets, portal):
        sock.close()
    assert not [name for name in it.facts("core")["environment"] if name.startswith("LISTEN")]


def test_tells_systemd(supervised: Callable[..., Supervised], tmp_path: Path) -> None:
    it = supervised()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        process = it.started(env=environment)
        heard: list[bytes] = []
        while b"READY=1\nSTATUS=2 front workers" not in heard or heard.count(b"WATCHDOG=1") < 4:
            heard.append(systemd.recv(1000))
        assert set(heard) == {b"READY=1\nSTATUS=2 front workers", b"WATCHDOG=1"}
        process.terminate()
        while systemd.recv(1000) != b"STOPPING=1":
            pass
        assert process.wait(20) == 0
