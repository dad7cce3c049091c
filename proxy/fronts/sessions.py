"""Who is logged in through this worker: an index, because a cut must find them without looking at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum

from proxy.domain.model import ClientInfo
from proxy.link.messages import Cut, LiveSession


class Parting(StrEnum):
    """Why we end a session that nothing is wrong with."""

    REVOKED = "revoked"
    CUT = "cut"
    SHUTDOWN = "shutdown"


class Session:
    """One logged-in connection pair, from the core's Accept on (the backend may not have been asked yet)."""

    __slots__ = (
        "account_id",
        "app_password_id",
        "backend",
        "bytes_in",
        "bytes_out",
        "client",
        "cut",
        "generation",
        "id",
        "live",
        "messages",
        "program",
        "protocol",
        "recipients",
        "started",
    )

    def __init__(
        self,
        session_id: str,
        account_id: int,
        app_password_id: int,
        generation: int,
        protocol: str,
        backend: str,
        client: ClientInfo,
        started: float,
        cut: Callable[[Parting, Callable[[], None]], None],
    ) -> None:
        """`started` in seconds since the epoch. `cut` ends it now and calls its argument when nothing more can pass."""
        self.live = False
        """The client has been told OK."""
        self.id = session_id
        self.account_id = account_id
        self.app_password_id = app_password_id
        self.generation = generation
        self.protocol = protocol
        self.backend = backend
        self.client = client
        self.program = client.program
        self.started = started
        self.cut = cut
        self.bytes_in = 0
        self.bytes_out = 0
        self.messages = 0
        self.recipients = 0

    def report(self) -> LiveSession:
        client = self.client
        return LiveSession(
            self.id,
            self.account_id,
            self.app_password_id,
            self.generation,
            self.protocol,
            self.backend,
            client.address,
            client.port,
            client.local_address,
            client.local_port,
            client.tls,
            self.program,
            self.started,
            self.bytes_in,
            self.bytes_out,
            self.messages,
            self.recipients,
        )


def _ended(why: Parting, closed: Callable[[], None]) -> None:
    """Session.cut of one that is over."""
    closed()


class Sessions:
    """The index. Every session is in it from Accept until its backend leg is closed."""

    def __init__(self) -> None:
        self._by_id: dict[str, Session] = {}
        self._by_app_password: dict[int, set[Session]] = {}
        self._by_account: dict[int, set[Session]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, session: Session) -> None:
        self._by_id[session.id] = session
        self._by_app_password.setdefault(session.app_password_id, set()).add(session)
        self._by_account.setdefault(session.account_id, set()).add(session)

    def remove(self, session: Session) -> None:
        if self._by_id.pop(session.id, None) is None:
            return
        for index, key in (
            (self._by_app_password, session.app_password_id),
            (self._by_account, session.account_id),
        ):
            index[key].discard(session)
            if not index[key]:
                del index[key]
        session.cut = _ended  # what it called refers back to it: nothing is left to the garbage collector

    def report(self) -> list[LiveSession]:
        """Every one, for Hello and Census."""
        return [session.report() for session in self._by_id.values()]

    def cut(self, order: Cut, done: Callable[[int], None]) -> None:
        """End what `order` selects; once all of it is closed `done(count)`: how many were live, as the core counts."""
        chosen: set[Session] = set()
        chosen.update(*(self._by_app_password.get(i, ()) for i in order.app_passwords))
        chosen.update(*(self._by_account.get(i, ()) for i in order.accounts))
        chosen.update(self._named(order.sessions))
        self._end(chosen, Parting.REVOKED if order.revoked else Parting.CUT, done)

    def shut_down(self) -> None:
        """End every one."""
        self._end(set(self._by_id.values()), Parting.SHUTDOWN, lambda count: None)

    def _end(self, chosen: set[Session], why: Parting, done: Callable[[int], None]) -> None:
        count = sum(session.live for session in chosen)
        open_ones = len(chosen)
        if not open_ones:
            done(0)
            return

        def one_closed() -> None:
            nonlocal open_ones
            open_ones -= 1
            if not open_ones:
                done(count)

        for session in chosen:
            session.cut(why, one_closed)

    def _named(self, ids: Iterable[str]) -> Iterable[Session]:
        return (self._by_id[i] for i in ids if i in self._by_id)
