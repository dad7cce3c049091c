"""A real front worker process between a fake core and fake backends."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from proxy.link.messages import BackendSetting, Census, FrontSetting, LimitSetting, ServiceSetting, TakeCensus, TlsFiles
from tests.support.fake_backend import FakeBackend, Peer, imap_echo, ldap_directory, smtp_greet
from tests.support.fake_core import FakeCore, accept_all, welcome

ROOT = Path(__file__).parents[2]
CHAT = "cn=chat,ou=services,dc=example,dc=org"
ELSEWHERE = "cn=elsewhere,ou=services,dc=example,dc=org"
"""Services of the directory: one may come from here, the other not."""


@dataclass(frozen=True)
class Certificates:
    """A CA, the fronts' certificates and one for backends."""

    ca: Path
    tls: list[TlsFiles]
    backend: ssl.SSLContext


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    pairs = []
    for name in ("mail.example.test", "other.example.test", "*.wild.example.test"):
        leaf = authority.issue_cert(name, "127.0.0.1")
        leaf.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
        leaf.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        pairs.append(TlsFiles(str(folder / f"{name}.pem"), str(folder / f"{name}.key")))
    backend = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("backend.example.test", "127.0.0.1").configure_cert(backend)
    return Certificates(folder / "ca.pem", pairs, backend)


def small(sock: socket.socket, size: int = 4096) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


@dataclass
class Rig:
    """What a test has its hands on."""

    certificates: Certificates
    core: FakeCore
    imap: FakeBackend
    smtp: FakeBackend
    ldap: FakeBackend
    ports: dict[str, int]
    listeners: list[socket.socket]
    process: subprocess.Popen[bytes]
    log: Path
    peers: list[Peer] = field(default_factory=list)
    log_start: int = 0

    def client_context(self, *, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.certificates.ca))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context

    def raw(self, front: str, *, size: int | None = None, source: str = "127.0.0.1") -> Peer:
        """A TCP connection to a front."""
        sock = socket.socket()
        if size:
            small(sock, size)
        sock.settimeout(20)
        sock.bind((source, 0))
        sock.connect(("127.0.0.1", self.ports[front]))
        peer = Peer(sock)
        self.peers.append(peer)
        return peer

    def tls(
        self,
        front: str,
        *,
        version: ssl.TLSVersion | None = None,
        size: int | None = None,
        context: ssl.SSLContext | None = None,
        name: str = "mail.example.test",
        source: str = "127.0.0.1",
    ) -> Peer:
        """A connection with implicit TLS; the greeting is still to be read."""
        peer = self.raw(front, size=size, source=source)
        peer.start_tls(context or self.client_context(version=version), server_side=False, server_hostname=name)
        return peer

    def log_in(self, front: str = "imaps", **options: object) -> Peer:
        """Logged in over IMAP."""
        peer = self.tls(front, **options)  # type: ignore[arg-type]
        assert peer.line().startswith(b"* OK")
        peer.send(b"a1 LOGIN alice abcd-efgh-jkmn-pqrs-tuvd\r\n")
        assert peer.line() == b"a1 OK [CAPABILITY IMAP4rev1 SASL-IR ID ENABLE IDLE LITERAL+ UIDPLUS MOVE] Logged in\r\n"
        return peer

    def wait_for(self, true: Callable[[], object], timeout: float = 10.0) -> None:
        end = time.monotonic() + timeout
        while not true():
            assert time.monotonic() < end, "did not happen in time"
            time.sleep(0.01)

    def logged(self, text: str) -> bool:
        """Since the test began."""
        return text.encode() in self.log.read_bytes()[self.log_start :]

    def reset(self) -> None:
        """Ready for the next test: nobody connected, nothing said, scripts and verdicts as at the start."""
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.close()
        self.peers.clear()
        self.imap.script, self.smtp.script, self.ldap.script = imap_echo, smtp_echo, ldap_directory
        self.imap.heard.clear()
        self.core.decide = accept_all
        for attempt in range(1000):
            self.core.send(TakeCensus(attempt))
            (census,) = self.core.wait(Census, where=lambda m, n=attempt: m.census == n)  # type: ignore[misc]
            if not census.sessions:  # type: ignore[union-attr]
                break
            time.sleep(0.02)
        self.core.clear()
        self.log_start = self.log.stat().st_size


def quick_limits() -> LimitSetting:
    return LimitSetting(refusal_delay=0.05, question_timeout=0.5, connect_timeout=1.0, backend_timeout=1.0)


@pytest.fixture
def limits() -> LimitSetting:
    """For make_rig; a test changes what it needs otherwise."""
    return quick_limits()


def smtp_echo(peer: Peer) -> None:
    """After login answers 250 to everything but QUIT."""
    smtp_greet(peer)
    while line := peer.line():
        quit_ = line[:4].upper() == b"QUIT"
        peer.send(b"221 2.0.0 Bye\r\n" if quit_ else b"250 2.0.0 Ok\r\n")
        if quit_:
            return


@dataclass
class Shape:
    """What a test may change of its rig before the worker starts."""

    limits: LimitSetting
    backend_tls: str = "none"
    client_address: str = "id"
    proxies: list[str] = field(default_factory=list)
    server_name: str | None = "backend.example.test"
    extra_arguments: list[str] = field(default_factory=list)
    prefix: list[str] = field(default_factory=list)
    buffers: int | None = None
    smtp_client_address: str = "xclient"
    smtp_script: Callable[[Peer], None] = smtp_echo
    bind_only: bool = False


def start_rig(tmp_path: Path, certificates: Certificates, shape: Shape) -> Rig:
    imap = FakeBackend(imap_echo, rcvbuf=shape.buffers)
    smtp = FakeBackend(shape.smtp_script)
    ldap = FakeBackend(ldap_directory)
    fronts, listeners, ports = [], {}, {}
    for name, protocol, tls in (
        ("imaps", "imap", "implicit"),
        ("imap", "imap", "starttls"),
        ("smtps", "smtp", "implicit"),
        ("smtp", "smtp", "starttls"),
        ("ldaps", "ldap", "implicit"),
        ("ldap", "ldap", "starttls"),
    ):
        sock = socket.socket()
        if shape.buffers:
            small(sock, shape.buffers)
        sock.bind(("127.0.0.1", 0))
        sock.listen(512)
        listeners[name], ports[name] = sock, sock.getsockname()[1]
        backend = {"imap": "mail", "smtp": "submission", "ldap": "directory"}[protocol]
        fronts.append(FrontSetting(name, protocol, tls, backend, shape.proxies))
    ca = str(certificates.ca) if shape.backend_tls != "none" else None
    backends = [
        BackendSetting("mail", "imap", [imap.address], shape.backend_tls, ca, shape.server_name, shape.client_address),
        BackendSetting("submission", "smtp", [smtp.address], "none", None, None, shape.smtp_client_address),
        BackendSetting(
            "directory",
            "ldap",
            [ldap.address],
            "none",
            None,
            None,
            "none",
            account_dn="uid={local},ou=people,dc=example,dc=org",
            domains=["example.org"],
            services=[ServiceSetting(CHAT, ["127.0.0.1/32"]), ServiceSetting(ELSEWHERE, ["192.0.2.1/32"])],
            bind_only=shape.bind_only,
        ),
    ]
    core = FakeCore(
        tmp_path / "link.sock",
        welcome(tls=certificates.tls, fronts=fronts, backends=backends, limits=shape.limits),
    )
    read_end, write_end = os.pipe()
    log = tmp_path / "worker.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                *shape.prefix,
                sys.executable,
                "-m",
                "proxy.front_worker",
                "--link",
                str(core.path),
                "--listen",
                ",".join(f"{name}={sock.fileno()}" for name, sock in listeners.items()),
                "--status-fd",
                str(write_end),
                "--log-level",
                "debug",
                *shape.extra_arguments,
            ],
            cwd=ROOT,
            pass_fds=[write_end, *(sock.fileno() for sock in listeners.values())],
            stderr=out,
        )
    os.close(write_end)
    first = os.read(read_end, 1) if select.select([read_end], [], [], 20)[0] else b""
    rig = Rig(certificates, core, imap, smtp, ldap, ports, list(listeners.values()), process, log)
    rig.status = read_end  # type: ignore[attr-defined]
    if first != b"R":
        stop_rig(rig)
        raise AssertionError(f"no ready: {log.read_text()}")
    return rig


def stop_rig(rig: Rig) -> None:
    for peer in rig.peers:
        with contextlib.suppress(OSError):
            peer.close()
    rig.process.terminate()
    try:
        rig.process.wait(10)
    finally:
        rig.process.kill()
        rig.core.close()
        rig.imap.close()
        rig.smtp.close()
        rig.ldap.close()
        for sock in rig.listeners:
            sock.close()
        os.close(rig.status)  # type: ignore[attr-defined]
    log = rig.log.read_text(errors="replace")
    assert "internal error" not in log, log
    assert "Traceback" not in log, log


@pytest.fixture
def make_rig(tmp_path: Path, certificates: Certificates, limits: LimitSetting) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(**changes: object) -> Rig:
        shape = Shape(limits)
        for key, value in changes.items():
            assert hasattr(shape, key), key
            setattr(shape, key, value)
        rigs.append(start_rig(tmp_path, certificates, shape))
        return rigs[-1]

    yield make
    for rig in rigs:
        stop_rig(rig)


@pytest.fixture(scope="module")
def shared_rig(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Rig]:
    rig = start_rig(tmp_path_factory.mktemp("rig"), certificates, Shape(quick_limits()))
    yield rig
    stop_rig(rig)


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    """One worker for a whole module: a process of one's own costs a second. Tests that break it take make_rig."""
    shared_rig.reset()
    return shared_rig
