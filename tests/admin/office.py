"""A desk over a real SQLite store, with sessions that a fake cut ends."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from proxy.admin.desk import Actor, ChatKick, Desk
from proxy.config.settings import (
    Address,
    Backend,
    BackendTls,
    ClientAddress,
    Config,
    Front,
    FrontTls,
    Login,
    Portal,
    Strategy,
)
from proxy.domain.model import Account, ClientInfo, Protocol
from proxy.domain.session_table import Session, SessionTable
from proxy.link.messages import LiveSession
from proxy.store import accounts, app_passwords, audit
from proxy.store.engine import Store
from proxy.store.threads import StoreThreads

OPERATOR = Actor("operator:1000")
NOW = 1_790_000_000.0


def configuration(tmp_path: Path) -> Config:
    login = Login(Strategy.XCLIENT)
    return Config(
        path=tmp_path / "sidegate.yaml",
        store=f"sqlite:{tmp_path}/sidegate.db",
        state_dir=tmp_path,
        run_dir=tmp_path,
        workers=1,
        tls=(),
        portal=Portal("https://login.example.org", Address("127.0.0.1", 8080), None),
        default_domain="example.org",
        domains=("example.org",),
        hostname="mail.example.org",
        fronts=(
            Front("imap:993", Protocol.IMAP, Address("::", 993), FrontTls.IMPLICIT, "mail"),
            Front("smtp:587", Protocol.SMTP, Address("::", 587), FrontTls.STARTTLS, "submission"),
        ),
        backends={
            "submission": Backend(
                "submission",
                Protocol.SMTP,
                (Address("127.0.0.1", 25),),
                BackendTls.NONE,
                None,
                None,
                "{local}",
                login,
                ClientAddress.XCLIENT,
            )
        },
        node="node1",
    )


class Office:
    """A desk, and what happened at it: `log` holds the order of writes, drops and cuts."""

    def __init__(self, config: Config) -> None:
        self.now = NOW
        self.log: list[str] = []
        self.revoked: bool | None = None
        """What the last cut said."""
        self.services: list[str] = []
        """DNs of services whose chat users can be thrown out."""
        self.kicked: list[tuple[set[int], list[str]]] = []
        """Each time: ids of the accounts, and the addresses of those that were handed over."""
        self.store = Store(config.store)
        self.store.migrate()
        self.threads = StoreThreads(self.store)
        self.sessions = SessionTable()
        self.desk = Desk(
            store=self.threads,
            config=config,
            peppers={1: b"old pepper", 2: b"new pepper"},
            node=config.node,
            clock=lambda: self.now,
            randbelow=random.Random(7).randrange,
            sessions=self.sessions,
            changed=lambda account_id: self.log.append(f"changed {account_id}"),
            cut=self._cut,
            kick=self._kick,
            census=self._census,
        )

    async def _cut(
        self,
        *,
        app_passwords: Sequence[int] = (),
        accounts: Sequence[int] = (),
        sessions: Sequence[str] = (),
        revoked: bool = True,
    ) -> int:
        self.revoked = revoked
        self.log.append(f"cut app_passwords={list(app_passwords)} accounts={list(accounts)} sessions={list(sessions)}")
        chosen = self.sessions.select(
            app_passwords=list(app_passwords), accounts=list(accounts), sessions=list(sessions)
        )
        for session in chosen:
            self.sessions.end(session.id)
        return len(chosen)

    async def _kick(self, account_ids: Collection[int], known: Collection[Account] = ()) -> list[ChatKick]:
        if not account_ids or not self.services:
            return []
        self.kicked.append((set(account_ids), [account.address for account in known]))
        return [{"service": dn, "users": len(account_ids), "problem": None} for dn in self.services]

    async def _census(self) -> list[LiveSession]:
        return [
            LiveSession(
                session_id=s.id,
                account_id=s.account_id,
                app_password_id=s.app_password_id,
                generation=s.generation,
                protocol=s.protocol.value,
                backend=s.backend,
                address=s.client.address,
                port=s.client.port,
                local_address=s.client.local_address,
                local_port=s.client.local_port,
                tls=s.client.tls,
                program=s.program,
                started=s.started,
                bytes_in=10,
                bytes_out=2048,
            )
            for s in self.sessions
        ]

    def connect(self, session_id: str, app_password_id: int, *, started: float = NOW) -> None:
        """A live session with this app password, which must be in the store."""
        with self.store.reading() as c:
            record = app_passwords.by_id(c, app_password_id)
            assert record is not None
            account = accounts.by_id(c, record.account_id)
        assert account is not None
        self.sessions.register(
            Session(
                id=session_id,
                worker=1,
                account_id=account.id,
                account=account.address,
                app_password_id=record.id,
                app_password=record.name,
                generation=record.generation,
                protocol=Protocol.IMAP,
                backend="mail",
                client=ClientInfo("192.0.2.7", 40000, "192.0.2.1", 993, "TLSv1.3"),
                started=started,
                backend_address="10.0.0.5:143",
                program="Thunderbird",
                live=True,
            )
        )

    def events(self) -> list[tuple[str, str | None, str | None, str | None]]:
        """The audit: event, account, app password, detail."""
        with self.store.reading() as c:
            found = [record.event for record in audit.read(c)]
        return [(event.event, event.account, event.app_password, event.detail) for event in found]


@contextmanager
def open_office(tmp_path: Path) -> Iterator[Office]:
    import asyncio

    office = Office(configuration(tmp_path))
    try:
        yield office
    finally:
        asyncio.run(office.threads.close())
        office.store.close()
