"""A whole sidegate under attack: backends that note every contact, and live sessions that must never notice."""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

from tests.hostile.directory import SERVICE_PASSWORD, Directory, bound
from tests.peers.process import free_ports, wait_until
from tests.peers.slapd import person
from tests.real.ldap.client import Ldap
from tests.support.fake_backend import FakeBackend, Peer, imap_log_in, smtp_greet
from tests.support.sidegate import Certificates, Sidegate
from tests.support.talk import Talk, plain

MASTER_PASSWORD = "canary-master-Zq7vXw"
ACCOUNT_PASSWORD = "canary-account-Jk9pLm"
CANARY = "canary@example.org"
ALICE = "alice@example.org"

URL = "https://login.example.org"
NOT_APP_PASSWORD = f"Application-specific password required: {URL}"
NOT_ACCEPTED = f"App password not accepted: {URL}"
IMAP_UNAVAILABLE = "t NO [UNAVAILABLE] Temporary authentication failure"
SMTP_UNAVAILABLE = "454 4.7.0 Temporary authentication failure"
IMAP_LIMITED = "t NO [LIMIT] Too many attempts, try again later"
SMTP_LIMITED = "454 4.7.0 Too many attempts, try again later"

MARK = "xyzzy7"
"""Stands in what hostile clients send; never to be seen in an answer."""

IDLE = 600.0
"""Seconds that a backend waits for a session's next word."""


def mailbox(peer: Peer) -> None:
    """An IMAP backend; answers every line after login with itself."""
    peer.login = imap_log_in(peer)  # type: ignore[attr-defined]
    peer.sock.settimeout(IDLE)
    while line := peer.line():
        tag, _, rest = line.partition(b" ")
        peer.send(b"* ECHO " + rest + tag + b" OK done\r\n")


class Submission:
    """An SMTP backend that keeps what it is sent after login, byte for byte; ends a message where RFC 5321 does."""

    def __init__(self) -> None:
        self.xclient: list[bytes] = []
        self.heard: list[bytes] = []
        """Commands after login, all connections together."""
        self.messages: list[bytes] = []
        """Those that came to their end."""
        self.unfinished: list[bytes] = []

    def script(self, peer: Peer) -> None:
        smtp_greet(peer, b"CHUNKING")
        peer.sock.settimeout(IDLE)
        self.xclient.append(getattr(peer, "xclient", b""))
        while line := peer.line():
            self.heard.append(line)
            verb = line[:4].upper()
            if verb == b"DATA":
                peer.send(b"354 go on\r\n")
                message = b""
                while not message.endswith(b"\r\n.\r\n") and message != b".\r\n":
                    byte = peer.read(1)
                    if not byte:
                        self.unfinished.append(message)
                        return
                    message += byte
                self.messages.append(message)
                peer.send(b"250 2.0.0 Ok: queued\r\n")
            elif verb == b"QUIT":
                peer.send(b"221 2.0.0 Bye\r\n")
                return
            elif verb == b"EHLO":
                peer.send(
                    b"250-backend\r\n250-XCLIENT NAME ADDR LOGIN\r\n250-AUTH PLAIN\r\n250-STARTTLS\r\n250 SIZE 9\r\n"
                )
            else:
                peer.send(b"250 2.1.0 Ok\r\n")


PROBED_AGAIN = 290
"""Seconds: a little less than the workers wait between two probes."""


class Stand:
    """One running sidegate, the accounts of ALICE (with an app password) and CANARY, and CANARY's two live sessions."""

    def __init__(
        self,
        root: Path,
        certificates: Certificates,
        *,
        limits: dict[str, Any] | None = None,
        workers: int = 1,
        proxies: list[str] | None = None,
        directory: bool = False,
        start: bool = True,
    ) -> None:
        """With `directory` there is an LDAP front, too."""
        self.certificates = certificates
        self.ca = certificates.ca
        self.mail = FakeBackend(mailbox)
        self.submission = Submission()
        self.smtp = FakeBackend(self.submission.script)
        self.directory = Directory() if directory else None
        self.backends = [self.mail, self.smtp, *([self.directory.backend] if self.directory else [])]
        root.mkdir(parents=True, exist_ok=True)
        password = root / "master-password"
        password.write_text(MASTER_PASSWORD)
        password.chmod(0o600)
        self.gate = Sidegate(
            root,
            certificates,
            {
                "mail": {
                    "protocol": "imap",
                    "address": self.mail.address,
                    "tls": "none",
                    "login": {"strategy": "master_user", "user": "master", "password_file": str(password)},
                    "client_address": "id",
                },
                "submission": {
                    "protocol": "smtp",
                    "address": self.smtp.address,
                    "tls": "none",
                    "login": {"strategy": "xclient"},
                },
                **({"directory": self.directory.setting(root)} if self.directory else {}),
            },
            extra={"limits": {"refusal_delay": "50ms", "shaped_per_network": 10000, **(limits or {})}},
            workers=workers,
        )
        self.workers = workers
        self._earned = 0
        self._probed = 0.0
        """When the backends were first probed."""
        self._lock = threading.Lock()
        self.secrets = [MASTER_PASSWORD, ACCOUNT_PASSWORD, SERVICE_PASSWORD]
        self.canaries: dict[str, Talk] = {}
        self.ldap_canary: Ldap | None = None
        if proxies:
            for protocol, backend in (("imap", "mail"), ("smtp", "submission")):
                port = self.gate.ports[protocol, "proxied"] = free_ports(1)[0]
                self.gate.settings["fronts"].append(
                    {
                        "protocol": protocol,
                        "listen": f"127.0.0.1:{port}",
                        "tls": "implicit",
                        "backend": backend,
                        "proxy_protocol_from": proxies,
                    }
                )
            self.gate.write_config()
        if start:
            self.start()

    # ---- running -----------------------------------------------------------------------------

    def start(self) -> None:
        self.gate.start()
        wait_until(lambda: self.contacts() >= self.workers * len(self.backends), "probes of all backends")
        self.earn(self.contacts() - self.earned())
        self._probed = time.monotonic()
        for address in (ALICE, CANARY):
            if self.gate.cli("accounts", "show", address).returncode:
                self.gate.add_account(address)
        scopes = ["--scope", "imap,smtp,ldap"] if self.directory else []
        self.right = self.mint(ALICE, "laptop", *scopes)
        self.canary_secret = self.mint(CANARY, "canary", *scopes)
        self.canaries = {
            "imap": self.imap(CANARY, self.canary_secret, source="127.0.99.1"),
            "smtp": self.smtp_session(CANARY, self.canary_secret, source="127.0.99.1"),
        }
        if self.directory:
            self.ldap_canary = self.ldap("canary", self.canary_secret, source="127.0.99.1")
        self.ping()

    def stop(self) -> None:
        for canary in (*self.canaries.values(), *([self.ldap_canary] if self.ldap_canary else [])):
            canary.close()
        self.gate.stop()
        for backend in self.backends:
            backend.close()

    @property
    def supervisor(self) -> int:
        assert self.gate.server is not None
        return self.gate.server.process.pid

    def children(self) -> dict[str, list[int]]:
        """Pids of the supervisor's children by role: core, front, portal."""
        found: dict[str, list[int]] = {"core": [], "front": [], "portal": []}
        for pid in Path(f"/proc/{self.supervisor}/task/{self.supervisor}/children").read_text().split():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            for role, module in (
                ("core", b"proxy.core"),
                ("front", b"proxy.front_worker"),
                ("portal", b"proxy.portal"),
            ):
                if module in command:
                    found[role].append(int(pid))
        return found

    def signal_child(self, role: str, number: signal.Signals) -> int:
        """Send a signal to the first child of a role; its pid."""
        pid = self.children()[role][0]
        os.kill(pid, number)
        return pid

    # ---- what must not happen ------------------------------------------------------------------

    def contacts(self) -> int:
        return sum(len(backend.connections) for backend in self.backends)

    def earn(self, contacts: int = 1) -> None:
        """A right app password is about to be sent (or the probes were): so many contacts are due."""
        with self._lock:
            self._earned += contacts

    def earned(self) -> int:
        """Contacts that should have been made so far."""
        return self._earned

    def ping(self) -> None:
        """The live sessions answer."""
        assert self.canaries["imap"].imap("NOOP canary") == ["* ECHO NOOP canary", "t OK done"]
        assert self.canaries["smtp"].smtp("NOOP") == ["250 2.1.0 Ok"]
        if self.ldap_canary:
            assert self.ldap_canary.whoami().value == f"dn:{person('canary')}"

    def unharmed(self) -> None:
        """No contact that nobody earned, the live sessions answer, and no word of an error of ours in the log."""
        self.ping()
        again = int((time.monotonic() - self._probed) // PROBED_AGAIN) * self.workers * len(self.backends)
        assert 0 <= self.contacts() - self.earned() <= again
        assert_clean(self.gate.log())

    # ---- clients -------------------------------------------------------------------------------

    def mint(self, account: str, name: str, *options: str) -> str:
        secret = self.gate.mint(account, name, *options)
        self.secrets.append(secret)
        return secret

    def talk(self, protocol: str, tls: str = "implicit", *, source: str = "127.0.0.1") -> Talk:
        """A greeted connection, in the clear on a front with STARTTLS."""
        talk = Talk(self.gate.ports[protocol, tls], self.ca, tls=tls == "implicit", source=source)
        talk.line()
        return talk

    def imap(self, name: str, secret: str, *, source: str = "127.0.0.1") -> Talk:
        """Logged in."""
        talk = self.talk("imap", source=source)
        self.earn()
        answer = talk.imap(f'LOGIN "{name}" "{secret}"')
        assert answer[-1].startswith("t OK "), answer
        return talk

    def smtp_session(self, name: str, secret: str, *, source: str = "127.0.0.1", hello: str = "client") -> Talk:
        """Logged in."""
        talk = self.talk("smtp", source=source)
        talk.smtp(f"EHLO {hello}")
        self.earn()
        assert talk.smtp(f"AUTH PLAIN {plain(name, secret)}") == ["235 2.7.0 Authentication successful"]
        return talk

    def ldap(self, name: str, secret: str, *, source: str = "127.0.0.1") -> Ldap:
        """Logged in."""
        self.earn()
        return bound(self.gate.ports["ldap", "implicit"], self.ca, name, secret, source=source)

    def refusal(
        self, protocol: str, name: str, secret: str, *, authzid: str = "", source: str = "127.0.0.1"
    ) -> list[str]:
        """The whole answer to one AUTHENTICATE PLAIN on a connection of its own."""
        talk = self.talk(protocol, source=source)
        try:
            if protocol == "imap":
                return talk.imap(f"AUTHENTICATE PLAIN {plain(name, secret, authzid)}")
            talk.smtp("EHLO client")
            return talk.smtp(f"AUTH PLAIN {plain(name, secret, authzid)}")
        finally:
            talk.close()


def refused(protocol: str, text: str) -> list[str]:
    """What a client hears with one of the two sentences of the refusal table."""
    if protocol == "imap":
        return [f"* OK [ALERT] {text}", f"t NO [AUTHENTICATIONFAILED] {text}"]
    return [f"534 5.7.9 {text}" if text == NOT_APP_PASSWORD else f"535 5.7.8 {text}"]


def unavailable(protocol: str) -> list[str]:
    return [IMAP_UNAVAILABLE if protocol == "imap" else SMTP_UNAVAILABLE]


def limited(protocol: str) -> list[str]:
    return [IMAP_LIMITED if protocol == "imap" else SMTP_LIMITED]


def shaped(number: int) -> str:
    """An app password by its looks that nobody was given; another one for each number."""
    alphabet = "abcdefghjkmnpqrstuvwxyz"
    letters = []
    for _ in range(19):
        number, digit = divmod(number, 23)
        letters.append(digit)
    check = sum(i * value for i, value in enumerate(letters, 1)) % 23
    return "".join(alphabet[value] for value in [*letters, check])


def assert_clean(log: str) -> None:
    """No traceback, no exception and no bug of ours in a log."""
    bad = [line for line in log.splitlines() if re.search(r"Traceback|exception=|internal.error|  File \"", line)]
    assert not bad, "\n".join(bad[:10])


def rest(sock: socket.socket) -> bytes:
    """Everything up to the end of the connection (an orderly one, or a reset); AssertionError if it does not end."""
    received = b""
    try:
        while data := sock.recv(65536):
            received += data
    except TimeoutError as error:
        raise AssertionError(f"not closed; got {received[-200:]!r}") from error
    except OSError:  # a reset, or TLS cut short
        pass
    return received


def together(jobs: list[Any]) -> list[Any]:
    """Run callables in threads; their results in order, the first exception raised."""
    results: list[Any] = [None] * len(jobs)

    def run(index: int) -> None:
        try:
            results[index] = jobs[index]()
        except BaseException as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def rss(pid: int) -> int:
    """Resident bytes of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
