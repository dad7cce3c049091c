"""The core as a process: its sockets, its signals, its exit statuses, and a revoke from end to end."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from proxy.backends import keys
from proxy.config import ConfigErrors, load
from proxy.core import service
from proxy.domain.model import DEFAULT_SCOPES, EndReason
from proxy.domain.secret import Secret
from proxy.link import messages as m
from proxy.store import accounts, app_passwords, audit
from proxy.store.accounts import NewAccount
from proxy.store.app_passwords import NewAppPassword
from proxy.supervisor.slot import Pace
from tests.core.scene import Disk, ask

PORTAL = "https://login.example.org"


class Core:
    """A core of its own in a folder, with an account alice."""

    def __init__(self, root: Path, *, start: bool = True) -> None:
        self.root = root
        self.disk = Disk(root)
        keys.create(root / "state")
        self.pepper = keys.load(root / "state").peppers[1]
        self.settings: dict[str, Any] = {
            "store": f"sqlite:{root}/sidegate.db",
            "state_dir": f"{root}/state",
            "run_dir": f"{root}/run",
            "workers": 1,
            "tls": {"certificate": "/nowhere/cert.pem", "key": "/nowhere/key.pem"},
            "portal": {"url": PORTAL, "listen": "127.0.0.1:1"},
            "default_domain": "example.org",
            "node": "node1",
            "fronts": [{"protocol": "imap", "listen": "127.0.0.1:993", "tls": "implicit", "backend": "mail"}],
            "backends": {
                "mail": {
                    "protocol": "imap",
                    "address": "127.0.0.1:143",
                    "tls": "none",
                    "username": "{local}",
                    "login": {"strategy": "dovecot_token", "issuer": PORTAL, "client_id": "sidegate"},
                }
            },
        }
        self.config = root / "sidegate.yaml"
        self.write()
        self.log = root / "core.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.status = -1
        if start:
            self.start()

    def write(self) -> None:
        self.config.write_text(yaml.safe_dump(self.settings))
        self.config.chmod(0o600)

    def start(self) -> None:
        self.status, theirs = os.pipe()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "proxy.core", "--config", str(self.config), "--status-fd", str(theirs)],
                pass_fds=[theirs],
                stderr=log,
            )
        os.close(theirs)
        assert os.read(self.status, 1) == b"R", self.said()

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(20)
        os.close(self.status)
        self.process = None
        return code

    def said(self) -> str:
        return self.log.read_text()

    def api(self) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.root / "run" / "admin.sock"))
        return httpx.Client(transport=transport, base_url="http://core/api/v1", timeout=30)

    def mint(self, name: str) -> tuple[int, str]:
        with self.api() as api:
            answer = api.post("/accounts/alice/app-passwords", json={"name": name})
        assert answer.status_code == 201, answer.text
        made = answer.json()
        return made["id"], made["secret"]


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    """One for the tests that leave it running: starting it is most of their time."""
    yield from running(tmp_path_factory.mktemp("core"))


@pytest.fixture
def own_core(tmp_path: Path) -> Iterator[Core]:
    """One for the tests that stop it or change its configuration."""
    yield from running(tmp_path)


def running(folder: Path) -> Iterator[Core]:
    it = Core(folder)
    yield it
    if it.process is not None:
        it.stop()
    it.disk.store.close()


class Worker:
    """A front worker's end of the link: obeys cuts like one, and keeps what it was told."""

    def __init__(
        self,
        core: Core,
        sessions: list[m.LiveSession] | None = None,
        *,
        obeys: bool = True,
        link: socket.socket | None = None,
    ) -> None:
        self.socket = link or socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        if link is None:
            self.socket.connect(str(core.root / "run" / "link.sock"))
        self.buffer = bytearray()
        self.inbox: list[m.FromCore] = []
        self.live: dict[str, int] = {}
        self.obeys = obeys
        self.cut_at: float | None = None
        self.send(m.Hello(1, "front", sessions or []))

    def send(self, *messages: m.Message) -> None:
        self.socket.sendall(b"".join(m.encode(message) for message in messages))

    def receive(self) -> m.FromCore:
        while not self.inbox:
            data = self.socket.recv(1 << 16)
            assert data, "the core closed the link"
            self.buffer += data
            self.inbox += m.messages_from_core(self.buffer)
        return self.inbox.pop(0)

    def log_in(self, secret: str, session_id: str) -> m.FromCore:
        self.send(ask(secret, session_id))
        answer = self.receive()
        if isinstance(answer, m.Accept):
            self.live[session_id] = answer.app_password_id
            self.send(m.Started(session_id, "127.0.0.1:143", None))
        return answer

    def obey(self) -> m.FromCore:
        """The next message; a cut is carried out."""
        message = self.receive()
        if isinstance(message, m.Cut) and self.obeys:
            self.cut_at = time.perf_counter()
            gone = [i for i, app in self.live.items() if app in message.app_passwords or i in message.sessions]
            for session_id in gone:
                del self.live[session_id]
                self.send(m.Ended(session_id, "cut", 0, 0))
            self.send(m.CutDone(message.cut, len(gone)))
        if isinstance(message, m.TakeCensus):
            self.send(m.Census(message.census, []))
        return message

    def in_background(self) -> threading.Thread:
        def run() -> None:
            try:
                while True:
                    self.obey()
            except (AssertionError, OSError):
                pass

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_login_a_revoke_and_what_is_written(own_core: Core):
    app_password_id, secret = own_core.mint("phone")
    other_id, other = own_core.mint("laptop")
    worker = Worker(own_core)
    welcome = worker.receive()
    assert isinstance(welcome, m.Welcome)
    accept = worker.log_in(secret, "s1")
    assert isinstance(accept, m.Accept)
    assert (accept.login.kind, accept.login.authcid, accept.login.secret.count(".")) == ("bearer", "alice", 2)
    worker.log_in(secret, "s2")
    worker.log_in(other, "s3")
    thread = worker.in_background()
    with own_core.api() as api:
        done = api.post("/app-passwords/revoke", json={"account": "alice", "names": ["phone"]}).json()
    assert done == {"revoked": [app_password_id], "sessions_cut": 2}
    assert worker.live == {"s3": other_id}
    worker.close()
    thread.join(20)
    again = Worker(own_core)
    again.receive()
    refused = again.log_in(secret, "s4")
    assert isinstance(refused, m.Refuse)
    assert refused.reason == "revoked"
    again.close()
    assert own_core.stop() == 0

    with own_core.disk.store.reading() as c:
        told = [record.event.event for record in audit.read(c)]
        assert audit.verify(c) == []
    assert sorted(told) == sorted(
        ["app_password_created"] * 2 + ["login_accepted"] * 3 + ["app_password_revoked", "login_refused"]
    )
    said = own_core.said()
    canaries = (
        secret,
        other,
        secret.replace("-", ""),
        own_core.pepper.hex(),
        accept.login.secret,
        "$argon2",
        "PRIVATE",
    )
    assert not [canary for canary in canaries if canary in said]


def test_a_rename_keeps_sessions_and_a_narrowing_ends_them(own_core: Core):
    app_password_id, secret = own_core.mint("phone")
    worker = Worker(own_core)
    worker.receive()
    assert isinstance(worker.log_in(secret, "s1"), m.Accept)
    thread = worker.in_background()
    rename = {"account": "alice", "app_password": "phone", "name": "tablet"}
    narrow = {"account": "alice", "app_password": "tablet", "scopes": ["smtp"]}
    with own_core.api() as api:
        renamed = api.post("/app-passwords/rename", json=rename).json()
        assert (renamed["id"], renamed["name"], renamed["sessions"]) == (app_password_id, "tablet", 1)
        assert worker.live == {"s1": app_password_id}
        narrowed = api.post("/app-passwords/change", json=narrow).json()
    assert (narrowed["sessions_cut"], narrowed["app_password"]["scopes"]) == (1, ["smtp"])
    assert worker.live == {}
    worker.close()
    thread.join(20)
    again = Worker(own_core)
    again.receive()
    refused = again.log_in(secret, "s2")
    assert isinstance(refused, m.Refuse)
    assert refused.reason == "wrong_scope"  # and not "revoked": the record was not remembered as it was
    again.close()


def test_a_revoke_is_over_within_a_second(core: Core):
    """p99 250 ms is promised on one node with the workers' own work; here is the core's share, on a busy machine."""
    worker = Worker(core)
    worker.receive()
    minted = [core.mint(f"app{n}") for n in range(30)]
    for number, (_, secret) in enumerate(minted):
        for n in range(3):
            assert isinstance(worker.log_in(secret, f"s{number}.{n}"), m.Accept)
    worker.in_background()
    took = []
    with core.api() as api:
        for app_password_id, _ in minted:
            begun = time.perf_counter()
            body = {"account": "alice", "names": [str(app_password_id)]}
            assert api.post("/app-passwords/revoke", json=body).json()["sessions_cut"] == 3
            took.append(time.perf_counter() - begun)
    print(f"revoke to cut confirmed: median {statistics.median(took) * 1e3:.1f} ms, max {max(took) * 1e3:.1f} ms")
    assert statistics.median(took) < 0.25
    assert max(took) < 1.0
    worker.close()


CONNECTS = """
import socket, sys, time
link = socket.socket(socket.AF_UNIX)
link.connect(sys.argv[1])
socket.send_fds(socket.socket(fileno=0), [b"."], [link.fileno()])
link.close()
time.sleep(60)
"""


def linked_elsewhere(core: Core) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """A link to the core at whose end the core sees another process than ours."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        path = str(core.root / "run" / "link.sock")
        process = subprocess.Popen([sys.executable, "-c", CONNECTS, path], stdin=theirs)
        return socket.socket(fileno=socket.recv_fds(ours, 1, 1)[1][0]), process


def test_revokes_are_quick_while_much_else_is_written(own_core: Core):
    """P2 with the writer busy: history of a flood, and a bulk revoke in slices. The promise is 250 ms on one node."""
    people = [f"p{n}@example.org" for n in range(200)]
    with own_core.disk.store.writing() as c:
        for number, account in enumerate(accounts.add_many(c, [NewAccount(name, 1.0) for name in people])):
            for n in range(10):
                idle = NewAppPassword(
                    account.id, account.id, f"idle{n}", DEFAULT_SCOPES, (), 1.0, None, 1, number * 10 + n, Secret("-")
                )
                app_passwords.add(c, idle)
    minted = [own_core.disk.mint(f"app{n}") for n in range(200)]
    worker = Worker(own_core)
    worker.receive()
    worker.in_background()
    link, process = linked_elsewhere(own_core)
    noisy = Worker(own_core, link=link)
    noisy.in_background()
    done = threading.Event()

    def flood() -> None:
        turn = 0
        while not done.wait(0.2):
            turn += 1
            address = f"10.0.{turn % 200}.1"
            noisy.send(
                m.Refusals(
                    [
                        m.RefusalRow("imap", "not_app_password", "", address, name, None, "PLAIN", None, "s", 1)
                        for name in people
                    ],
                    0,
                )
            )

    flooding = threading.Thread(target=flood)
    flooding.start()
    bulk: list[Any] = []

    def revoke_idle() -> None:
        with own_core.api() as api:
            bulk.append(api.post("/app-passwords/revoke", json={"unused_for": "180d"}).json())

    revoking = threading.Thread(target=revoke_idle)
    took = []
    with own_core.api() as api:
        for turn, (record, _) in enumerate(minted):
            if turn == 20:
                revoking.start()
            begun = time.perf_counter()
            body = {"account": "alice", "names": [str(record.id)]}
            assert api.post("/app-passwords/revoke", json=body).json()["revoked"] == [record.id]
            took.append(time.perf_counter() - begun)
    done.set()
    flooding.join()
    revoking.join()
    assert len(bulk[0]["revoked"]) == 2000
    took = sorted(took[1:])  # the first waits for workers of an earlier core
    p99 = took[int(len(took) * 0.99)]
    print(f"revoke in a crowd: median {statistics.median(took) * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms")
    assert statistics.median(took) < 0.25
    assert p99 < 1.0
    noisy.close()
    worker.close()
    process.kill()
    process.wait()


def test_a_worker_that_hangs_is_killed_by_the_supervisor(core: Core):
    _, secret = core.mint("hanging")
    link, process = linked_elsewhere(core)
    worker = Worker(core, obeys=False, link=link)
    worker.receive()
    worker.log_in(secret, "s1")
    supervisor = socket.socket(socket.AF_UNIX)
    supervisor.settimeout(20)
    supervisor.connect(str(core.root / "run" / "link.sock"))
    supervisor.sendall(m.encode(m.Hello(1, "supervisor", [])))
    orders: list[m.FromCore] = []

    def kill() -> None:
        orders.extend(m.messages_from_core(bytearray(supervisor.recv(1 << 16))))
        worker.close()
        process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    begun = time.monotonic()
    with core.api() as api:
        done = api.post("/app-passwords/revoke", json={"account": "alice", "names": ["hanging"]}).json()
    assert done["sessions_cut"] == 1
    assert 1.0 <= time.monotonic() - begun < 10
    killer.join(20)
    process.wait(20)
    assert orders == [m.Kill(process.pid, "did not confirm a cut in time")]
    supervisor.close()


def test_the_supervisor_waits_for_the_last_records():
    assert Pace().stop > service.API_STOPS_WITHIN + service.FLUSH_WITHIN


def test_sessions_outlive_a_core_and_a_revoke_between_is_not_missed(own_core: Core):
    kept_id, kept = own_core.mint("kept")
    gone_id, gone = own_core.mint("gone")
    worker = Worker(own_core)
    worker.receive()
    worker.log_in(kept, "s1")
    worker.log_in(gone, "s2")
    assert own_core.stop() == 0
    assert "session ended" not in own_core.said()  # they go on
    with own_core.disk.store.writing() as c:  # as a core that died between its commit and its cut
        app_passwords.end(c, [gone_id], 1.0, EndReason.REVOKED)
    own_core.start()
    live = [
        m.LiveSession(
            i, own_core.disk.alice.id, app, 1, "imap", "mail", "203.0.113.9", 5, "::1", 993, None, None, 1.0, 0, 0
        )
        for i, app in (("s1", kept_id), ("s2", gone_id))
    ]
    back = Worker(own_core, live)
    welcome = back.receive()
    assert isinstance(welcome, m.Welcome)
    assert welcome.cut == ["s2"]
    back.close()


def test_hangup_takes_a_new_configuration_and_keeps_the_old_when_it_is_broken(own_core: Core):
    worker = Worker(own_core)
    worker.receive()
    assert own_core.process is not None
    own_core.settings["hostname"] = "mx2.example.org"
    own_core.write()
    own_core.process.send_signal(signal.SIGHUP)
    reload = worker.receive()
    assert isinstance(reload, m.Reload)
    assert reload.hostname == "mx2.example.org"

    own_core.settings["hostnam"] = "typo.example.org"
    own_core.write()
    own_core.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "the new configuration is not taken" in own_core.said())
    assert "unknown key" in own_core.said()
    _, secret = own_core.mint("phone")
    assert isinstance(worker.log_in(secret, "s1"), m.Accept)  # and it still answers
    worker.close()


def test_sockets_and_process_are_closed_to_others(core: Core):
    assert core.process is not None
    for name in ("admin.sock", "link.sock"):
        assert os.stat(core.root / "run" / name).st_mode & 0o777 == 0o660
    assert os.stat(core.root / "run").st_mode & 0o777 == 0o711  # fronts of another uid pass through, whatever the umask
    limits = Path(f"/proc/{core.process.pid}/limits").read_text()
    (cores,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert cores.split()[4:6] == ["0", "0"]


def test_a_second_core_says_so_and_leaves_the_first_alone(core: Core):
    second = run(core)
    assert second.returncode == 1
    assert "another core serves it" in second.stderr
    with core.api() as api:
        assert api.get("/status").status_code == 200


def test_the_core_goes_with_its_supervisor(own_core: Core):
    assert own_core.process is not None
    os.close(own_core.status)
    assert own_core.process.wait(20) == 0
    own_core.process = None


def run(core: Core) -> subprocess.CompletedProcess[str]:
    """Start it without a supervisor; for starts that fail."""
    return subprocess.run(
        [sys.executable, "-m", "proxy.core", "--config", str(core.config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Core]:
    it = Core(tmp_path, start=False)
    yield it
    it.disk.store.close()


def test_who_follows_the_audit_does_not_hold_the_stop(own_core: Core):
    with own_core.api() as api, api.stream("GET", "/audit", params={"follow": "true", "since": "1h"}) as answer:
        lines = answer.iter_lines()
        next(lines)
        begun = time.monotonic()
        assert own_core.stop() == 0
        assert time.monotonic() - begun < service.API_STOPS_WITHIN
        assert not any(lines)  # to a regular end
    assert "Cancel" not in own_core.said()


def break_config(core: Core) -> None:
    core.settings["workerz"] = 1
    core.write()


def open_pepper(core: Core) -> None:
    (core.root / "state" / "keys" / "pepper-1").chmod(0o644)


def lose_keys(core: Core) -> None:
    (core.root / "state" / "keys").rename(core.root / "elsewhere")


def lose_store(core: Core) -> None:
    core.disk.store.close()
    (core.root / "sidegate.db").unlink()


def empty_store(core: Core) -> None:
    lose_store(core)
    (core.root / "sidegate.db").touch(0o600)


def ruin_store(core: Core) -> None:
    lose_store(core)
    (core.root / "sidegate.db").write_bytes(b"text" * 1000)


@pytest.mark.parametrize(
    ("damage", "status", "sentences"),
    [
        (break_config, 78, ["sidegate.yaml:28:1: workerz: unknown key"]),
        (open_pepper, 78, ["pepper-1 may be read by others than its owner (mode 0644); run: chmod 600"]),
        (lose_keys, 78, ["is not there; run: sidegate init"]),
        (lose_store, 78, ["sidegate.db: is not there: run `sidegate init`"]),
        (empty_store, 78, ["sidegate.db: has no schema yet: run `sidegate migrate`"]),
        (ruin_store, 75, ["sidegate.db: the file is not a sidegate store"]),
    ],
)
def test_what_keeps_it_from_starting_is_one_sentence(stopped: Core, damage: Any, status: int, sentences: list[str]):
    damage(stopped)
    done = run(stopped)
    assert done.returncode == status, done.stderr
    for sentence in sentences:
        assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_users_whose_processes_may_connect(stopped: Core):
    stopped.settings["link_users"] = ["nobody"]
    stopped.write()
    config = load(stopped.config, certificates=False)
    assert service.uids(config) == {pwd.getpwnam("nobody").pw_uid}
    stopped.settings["link_users"] = ["no such user"]
    stopped.write()
    with pytest.raises(ConfigErrors, match=r"link_users\[0\]: is no user of this machine"):
        load(stopped.config, certificates=False)


def test_a_run_dir_that_cannot_be(stopped: Core):
    (stopped.root / "run").write_text("a file")
    done = run(stopped)
    assert done.returncode == 1
    assert str(stopped.root / "run") in done.stderr
    assert "Traceback" not in done.stderr
