"""Ends sessions on every worker, and returns once they are ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from proxy import logs
from proxy.core.memory import Memory
from proxy.domain.session_table import SessionTable
from proxy.link.messages import Cut, CutDone, Kill
from proxy.link.server import LinkServer, Peer

CONFIRM = 1.0
"""Seconds that a worker has to confirm; then the supervisor kills it."""
KILLED = 1.0
"""Seconds until the link of a killed worker must be gone."""
MAX_OWED = 64
"""Workers remembered for a cut they may not have heard."""

_log = logs.get("core")


class _Pending:
    """One cut: who has to confirm, and how many sessions were closed so far."""

    __slots__ = ("count", "done", "order", "waiting")

    def __init__(self, order: Cut, waiting: set[int]) -> None:
        self.order = order
        self.waiting = waiting
        self.count = 0
        self.done = asyncio.Event()

    def confirmed(self, worker: int, count: int) -> None:
        if worker in self.waiting:
            self.waiting.discard(worker)
            self.count += count
            if not self.waiting:
                self.done.set()


class Cutter:
    """Broadcasts cuts and collects what the workers confirm."""

    def __init__(self, link: LinkServer, table: SessionTable, memory: Memory) -> None:
        self._link = link
        self._table = table
        self._memory = memory
        self._number = 0
        self._pending: dict[int, _Pending] = {}
        self._owed: dict[int, list[Cut]] = {}
        """By pid: what a worker was told just before its link broke, told again if it comes back."""

    async def cut(
        self, *, app_passwords: Sequence[int] = (), accounts: Sequence[int] = (), sessions: Sequence[str] = ()
    ) -> int:
        """End every session that a selector names; returns how many were live.

        What made them end must be durable and `Memory.forget` called before: then no login in flight survives. The
        Cut is queued before this waits for anything, behind every Accept given so far.
        """
        for account_id in accounts:
            self._memory.forget(account_id)
        if not (app_passwords or accounts or sessions):
            return 0
        workers = self._link.fronts()
        if not workers:
            return 0
        self._number += 1
        order = Cut(self._number, list(app_passwords), list(accounts), list(sessions))
        pending = self._pending[order.cut] = _Pending(order, {worker.number for worker in workers})
        for worker in workers:
            worker.send(order)
        try:
            if not await _within(pending.done, CONFIRM):
                await self._kill(pending)
        finally:
            del self._pending[order.cut]
        return pending.count

    def confirmed(self, worker: Peer, message: CutDone) -> None:
        """A worker says that what the Cut named is closed there."""
        pending = self._pending.get(message.cut)
        if pending is not None:
            pending.confirmed(worker.number, message.count)

    def gone(self, worker: Peer) -> None:
        """A worker's link is gone; called while its sessions are still in the table."""
        for pending in self._pending.values():
            if worker.number in pending.waiting:
                order = pending.order
                named = self._table.select(
                    app_passwords=order.app_passwords, accounts=order.accounts, sessions=order.sessions
                )
                pending.confirmed(worker.number, sum(s.live for s in named if s.worker == worker.number))
                if len(self._owed) < MAX_OWED:
                    self._owed.setdefault(worker.pid, []).append(order)

    def back(self, worker: Peer) -> None:
        """A worker says Hello: if its link only broke in the middle of a cut, it hears that cut again."""
        for order in self._owed.pop(worker.pid, ()):
            worker.send(order)

    async def _kill(self, pending: _Pending) -> None:
        for worker in self._late(pending):
            _log.error("a front worker did not confirm a cut in time; it is killed", pid=worker.pid)
            for supervisor in self._link.supervisors():
                supervisor.send(Kill(worker.pid, "did not confirm a cut in time"))
        if not await _within(pending.done, KILLED):
            for worker in self._late(pending):
                _log.error("a front worker still holds sessions that must end; end it by hand", pid=worker.pid)

    def _late(self, pending: _Pending) -> list[Peer]:
        return [worker for worker in self._link.fronts() if worker.number in pending.waiting]


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
