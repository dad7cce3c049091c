"""Every live session with its bytes so far, as the workers count them now.

A census also shows what is in our table and nowhere else: sessions that ended while their worker had no link.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from proxy.domain.session_table import Session, SessionTable
from proxy.link.messages import LiveSession, TakeCensus
from proxy.link.server import LinkServer, Peer

WITHIN = 1.0
"""Seconds that workers have to report; a slower one's sessions are listed without bytes."""


class _Count:
    __slots__ = ("done", "found", "waiting")

    def __init__(self, table: SessionTable, workers: list[Peer]) -> None:
        self.waiting = {worker.number: table.of_worker(worker.number) for worker in workers}
        """Who has to report, and the sessions that it has or had when it was asked."""
        self.found: list[LiveSession] = []
        self.done = asyncio.Event()


class CensusTaker:
    """Asks all workers at once."""

    def __init__(self, link: LinkServer, table: SessionTable) -> None:
        self._link = link
        self._table = table
        self._number = 0
        self._counts: dict[int, _Count] = {}

    async def take(self) -> list[LiveSession]:
        """In no order."""
        workers = self._link.fronts()
        if not workers:
            return []
        number, count = self._ask(workers)
        try:
            async with asyncio.timeout(WITHIN):
                await count.done.wait()
        except TimeoutError:
            late = [session for session in self._table if session.live and session.worker in count.waiting]
            count.found += [_row(session, None) for session in late]
        finally:
            self._counts.pop(number, None)
        return count.found

    def compare(self, worker: Peer) -> None:
        """Ask one worker for the sake of what `reported` returns."""
        self._ask([worker])

    def reported(self, worker: Peer, number: int, sessions: Iterable[LiveSession]) -> list[Session]:
        """A worker's answer; what is not its own is left out. Returns those in the table that it does not have (any
        more): the link keeps the order, so it had heard of all of them when it answered."""
        count = self._counts.get(number)
        if count is None or worker.number not in count.waiting:
            return []
        had = count.waiting.pop(worker.number)
        reported: set[str] = set()
        for one in sessions:
            session = self._table.get(one.session_id)
            if session is not None and session.worker == worker.number and session.id not in reported:
                reported.add(session.id)
                count.found.append(_row(session, one))
        self._check(number, count)
        return [session for session in had if session.id not in reported and self._table.get(session.id) is session]

    def gone(self, worker: Peer) -> None:
        """A worker that will not answer any more."""
        for number, count in list(self._counts.items()):
            count.waiting.pop(worker.number, None)
            self._check(number, count)

    def _ask(self, workers: list[Peer]) -> tuple[int, _Count]:
        self._number += 1
        count = self._counts[self._number] = _Count(self._table, workers)
        for worker in workers:
            worker.send(TakeCensus(self._number))
        return self._number, count

    def _check(self, number: int, count: _Count) -> None:
        if not count.waiting:
            del self._counts[number]
            count.done.set()


def _row(session: Session, counted: LiveSession | None) -> LiveSession:
    """What we know of the session ourselves, with what its worker has counted."""
    client = session.client
    return LiveSession(
        session.id,
        session.account_id,
        session.app_password_id,
        session.generation,
        session.protocol,
        session.backend,
        client.address,
        client.port,
        client.local_address,
        client.local_port,
        client.tls,
        session.program,
        session.started,
        *(counted.bytes_in, counted.bytes_out, counted.messages, counted.recipients) if counted is not None else (0, 0),
    )
