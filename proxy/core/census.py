"""Every live session with its bytes so far, as the workers count them now."""

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

    def __init__(self, workers: Iterable[Peer]) -> None:
        self.waiting = {worker.number for worker in workers}
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
        self._number += 1
        number = self._number
        count = self._counts[number] = _Count(workers)
        for worker in workers:
            worker.send(TakeCensus(number))
        try:
            async with asyncio.timeout(WITHIN):
                await count.done.wait()
        except TimeoutError:
            late = [session for session in self._table if session.live and session.worker in count.waiting]
            count.found += [_without_bytes(session) for session in late]
        finally:
            del self._counts[number]
        return count.found

    def reported(self, worker: Peer, number: int, sessions: Iterable[LiveSession]) -> None:
        """A worker's answer; what is not its own is left out."""
        count = self._counts.get(number)
        if count is None or worker.number not in count.waiting:
            return
        count.waiting.discard(worker.number)
        for one in sessions:
            session = self._table.get(one.session_id)
            if session is not None and session.worker == worker.number:
                count.found.append(one)
        if not count.waiting:
            count.done.set()

    def gone(self, worker: Peer) -> None:
        """A worker that will not answer any more."""
        for number in list(self._counts):
            self.reported(worker, number, ())


def _without_bytes(session: Session) -> LiveSession:
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
        0,
        0,
    )
