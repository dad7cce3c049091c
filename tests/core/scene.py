"""What tests of the core share: peers without sockets, a store on disk, the parts wired as the service does."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.config.settings import (
    Address,
    Backend,
    BackendTls,
    ClientAddress,
    Config,
    Front,
    FrontTls,
    Limits,
    Login,
    Portal,
    Strategy,
    TlsPair,
)
from proxy.core.census import CensusTaker
from proxy.core.conversation import Conversation
from proxy.core.cutting import Cutter
from proxy.core.decide import Decider
from proxy.core.memory import KEY_BYTES, Memory
from proxy.core.reports import Reports
from proxy.core.write_behind import WriteBehind
from proxy.domain import app_passwords as letters_of
from proxy.domain.backend_login import XclientLogin
from proxy.domain.gatekeeper import Rules
from proxy.domain.limits import LimitRules, RefusalLimiter
from proxy.domain.model import DEFAULT_SCOPES, Account, AppPasswordRecord, Protocol
from proxy.domain.secret import Secret
from proxy.domain.session_table import SessionTable
from proxy.link import messages as m
from proxy.store import accounts, app_passwords, hashing
from proxy.store.engine import Store

PEPPERS = {1: bytes(32)}
ISSUED = 1_790_000_000.0


def config(tmp_path: Path = Path("/nowhere"), limits: Limits | None = None) -> Config:
    """One imap and one smtp front."""
    login = Login(Strategy.XCLIENT)

    def backend(name: str, protocol: Protocol) -> Backend:
        address = (Address("127.0.0.1", 143),)
        return Backend(name, protocol, address, BackendTls.NONE, None, None, "{local}", login, ClientAddress.NONE)

    return Config(
        path=tmp_path / "sidegate.yaml",
        store=f"sqlite:{tmp_path}/sidegate.db",
        state_dir=tmp_path / "state",
        run_dir=tmp_path / "run",
        workers=1,
        tls=(TlsPair(Path("/cert.pem"), Path("/key.pem")),),
        portal=Portal("https://login.example.org", Address("127.0.0.1", 8080), None),
        default_domain="example.org",
        domains=("example.org",),
        hostname="mx.example.org",
        fronts=(
            Front("imap:993", Protocol.IMAP, Address("127.0.0.1", 993), FrontTls.IMPLICIT, "mail"),
            Front("smtp:465", Protocol.SMTP, Address("127.0.0.1", 465), FrontTls.IMPLICIT, "submission"),
        ),
        backends={"mail": backend("mail", Protocol.IMAP), "submission": backend("submission", Protocol.SMTP)},
        limits=limits or Limits(),
    )


@dataclass(eq=False)
class FakePeer:
    """Stands for a link.server.Peer; `sent` is what its process would receive, in order."""

    number: int
    role: str = "front"
    pid: int = 0
    closed: bool = False
    sent: list[m.Message] = field(default_factory=list)
    held: list[m.Message] | None = None
    on_send: Callable[[m.Message], None] = lambda message: None

    def send(self, message: m.Message) -> None:
        if self.closed:
            return
        if self.held is not None:
            self.held.append(message)
            return
        self.sent.append(message)
        self.on_send(message)

    def welcome(self, message: m.Welcome) -> None:
        held, self.held = self.held, None
        self.send(message)
        for later in held or ():
            self.send(later)

    def close(self, why: str) -> None:
        self.closed = True

    def take(self) -> list[m.Message]:
        taken, self.sent = self.sent, []
        return taken


class FakeLink:
    """Stands for a link.server.LinkServer."""

    def __init__(self, *peers: FakePeer) -> None:
        self.peers = list(peers)

    def fronts(self) -> list[FakePeer]:
        return [peer for peer in self.peers if peer.role == "front" and not peer.closed]

    def supervisors(self) -> list[FakePeer]:
        return [peer for peer in self.peers if peer.role == "supervisor" and not peer.closed]

    def front(self, number: int) -> FakePeer | None:
        return next((peer for peer in self.fronts() if peer.number == number), None)

    def to_fronts(self, message: m.Message) -> None:
        for peer in self.fronts():
            peer.send(message)

    def close(self) -> None:
        for peer in self.peers:
            peer.close("the core stops")


class Scene:
    """The core's parts over fake peers. `store` and `verifier` are the test's; `now` is the wall clock."""

    def __init__(self, store: Any, verifier: Any, peers: int = 1, limits: Limits | None = None) -> None:
        self.now = ISSUED
        self.monotonic = 1000.0
        self.config = config(limits=limits)
        self.table = SessionTable()
        self.memory = Memory(secrets.token_bytes(KEY_BYTES))
        self.behind = WriteBehind(store, "node1")
        self.reports = Reports(self.behind, b"k" * 32, lambda: self.now, lambda: self.monotonic)
        self.decider = Decider(
            store=store,
            peppers=PEPPERS,
            verifier=verifier,
            memory=self.memory,
            table=self.table,
            clock=lambda: self.now,
        )
        chosen = self.config.limits
        self.decider.rules = Rules(
            "example.org", frozenset({"example.org"}), chosen.sessions_per_app_password, chosen.sessions_per_account
        )
        self.decider.strategies = dict.fromkeys(self.config.backends, lambda account: XclientLogin(account.address))
        self.conversation = Conversation(
            config=self.config,
            store=store,
            decider=self.decider,
            memory=self.memory,
            table=self.table,
            reports=self.reports,
            limiter=RefusalLimiter(
                LimitRules(chosen.shaped_per_network, chosen.shaped_per_account_and_network, chosen.window)
            ),
            monotonic=lambda: self.monotonic,
        )
        self.peers = [FakePeer(number + 1, pid=4000 + number) for number in range(peers)]
        self.link = FakeLink(*self.peers)
        self.ends: dict[int, Callable[[], None]] = {}
        """By pid: what is called when this process ends. Pid 0 cannot be watched."""
        self.cutter = Cutter(self.link, self.table, self.memory, lambda: self.now, self.watch)  # type: ignore[arg-type]
        self.conversation.link = self.link  # type: ignore[assignment]
        self.conversation.cutter = self.cutter
        self.conversation.census = CensusTaker(self.link, self.table)  # type: ignore[arg-type]

    def watch(self, pid: int, ended: Callable[[], None]) -> bool:
        """Stands for core.processes.on_end."""
        self.ends[pid] = ended
        return pid != 0

    def loses(self, peer: FakePeer) -> None:
        """A worker's link breaks; the process lives."""
        peer.close("broken")
        self.conversation.gone(peer)  # type: ignore[arg-type]

    def dies(self, peer: FakePeer) -> None:
        """A worker's process ends."""
        self.loses(peer)
        self.ends.pop(peer.pid)()

    def greets(self, peer: FakePeer, sessions: list[m.LiveSession] | None = None) -> None:
        """A worker says Hello; it hears nothing before its Welcome."""
        peer.held = []
        if peer not in self.link.peers:
            self.link.peers.append(peer)
        self.conversation.hello(peer, m.Hello(1, "front", sessions or []))  # type: ignore[arg-type]

    def says(self, peer: FakePeer, message: m.FromPeer) -> None:
        """A worker's message arrives."""
        self.conversation.received(peer, message)  # type: ignore[arg-type]


def ask(
    secret: str,
    session_id: str = "s1",
    *,
    question: int = 1,
    name: str = "alice",
    front: str = "imap:993",
    authzid: str = "",
    address: str = "203.0.113.9",
    bearer: bool = False,
) -> m.Ask:
    """A question as a front worker puts it."""
    return m.Ask(
        question, session_id, front, "imap", name, authzid, bearer, secret, "PLAIN", address, 5555, "198.51.100.1", 993,
        "TLSv1.3", "tb",
    )  # fmt: skip


def a_secret() -> str:
    return letters_of.mint(secrets.randbelow).reveal()


class Disk:
    """A store of its own with one account and what the test mints."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(f"sqlite:{folder}/sidegate.db")
        self.store.migrate()
        self.alice = self.account("alice@example.org")

    def account(self, address: str, **fields: Any) -> Account:
        with self.store.writing() as c:
            return accounts.add(c, accounts.NewAccount(address, time.time(), **fields))

    def mint(self, name: str = "phone", account: Account | None = None, **fields: Any) -> tuple[AppPasswordRecord, str]:
        secret = a_secret()
        account = account or self.alice
        values = {
            "account_id": account.id,
            "owner_id": account.id,
            "name": name,
            "scopes": DEFAULT_SCOPES,
            "networks": (),
            "created": ISSUED,
            "expires": None,
            "pepper_version": 1,
            "tag": letters_of.tag(PEPPERS[1], account.id, secret),
            "hash": Secret(hashing.hash_secret(secret)),
            **fields,
        }
        with self.store.writing() as c:
            return app_passwords.add(c, app_passwords.NewAppPassword(**values)), secret
