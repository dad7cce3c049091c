"""The table of sessions: listed, counted, cut. Kept by the core; indexed by what a cut can name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from proxy.domain.model import ClientInfo, Protocol

NOBODY = 0
"""Stands for the account and the app password of a session that has none. The store counts from 1."""


@dataclass(slots=True)
class Session:
    """One logged-in connection pair, from the moment the verdict is made (`live` once the backend took it)."""

    id: str
    worker: int
    """Which front worker holds it: the link server's number for that peer."""
    account_id: int
    account: str
    app_password_id: int
    app_password: str | None
    """None: a service that was passed through. Its `account` is its DN, and both ids are NOBODY."""
    generation: int
    protocol: Protocol
    backend: str
    client: ClientInfo
    started: float
    """Seconds since the epoch."""
    mechanism: str = ""
    """LOGIN, PLAIN, …: for the log line."""
    backend_address: str = ""
    program: str | None = None
    live: bool = False


class SessionTable:
    """Sessions by id, app password, account and worker. Ids are unique; registering one twice is an error."""

    def __init__(self) -> None:
        self._by_id: dict[str, Session] = {}
        self._by_app_password: defaultdict[int, set[str]] = defaultdict(set)
        self._by_account: defaultdict[int, set[str]] = defaultdict(set)
        self._by_worker: defaultdict[int, set[str]] = defaultdict(set)

    def register(self, session: Session) -> None:
        """Add a session; ValueError if its id is taken."""
        if session.id in self._by_id:
            raise ValueError("session id is taken")
        self._by_id[session.id] = session
        for index, key in self._indexes(session):
            index[key].add(session.id)

    def end(self, session_id: str) -> Session | None:
        """Take a session out; None if it is not there (any more)."""
        session = self._by_id.pop(session_id, None)
        if session is not None:
            for index, key in self._indexes(session):
                ids = index[key]
                ids.discard(session_id)
                if not ids:
                    del index[key]
        return session

    def get(self, session_id: str) -> Session | None:
        return self._by_id.get(session_id)

    def select(
        self,
        *,
        app_passwords: list[int] | None = None,
        accounts: list[int] | None = None,
        sessions: list[str] | None = None,
    ) -> list[Session]:
        """The sessions that any of the selectors names, each once."""
        ids: dict[str, None] = {}
        for app_password in app_passwords or ():
            ids.update(dict.fromkeys(self._by_app_password.get(app_password, ())))
        for account in accounts or ():
            ids.update(dict.fromkeys(self._by_account.get(account, ())))
        ids.update(dict.fromkeys(sessions or ()))
        return [self._by_id[i] for i in ids if i in self._by_id]

    def of_worker(self, worker: int) -> list[Session]:
        return [self._by_id[i] for i in self._by_worker.get(worker, ())]

    def count_app_password(self, app_password_id: int) -> int:
        return len(self._by_app_password.get(app_password_id, ()))

    def count_account(self, account_id: int) -> int:
        return len(self._by_account.get(account_id, ()))

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_id.values()))

    def _indexes(self, session: Session) -> list[tuple[defaultdict[int, set[str]], int]]:
        return [
            (self._by_app_password, session.app_password_id),
            (self._by_account, session.account_id),
            (self._by_worker, session.worker),
        ]
