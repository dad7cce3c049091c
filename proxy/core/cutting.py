"""Ends sessions on every worker, and returns once they are ended.

A worker confirms, or its process is gone: nothing else ends the wait for it. A lost link alone does not, for its worker
keeps its sessions and comes back with them; then it hears again what it may have missed.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from proxy import logs
from proxy.admin.desk import StillOpen
from proxy.core import processes
from proxy.core.memory import Memory
from proxy.domain.session_table import Session, SessionTable
from proxy.link.messages import Cut, CutDone, Kill
from proxy.link.server import LinkServer, Peer

CONFIRM = 1.0
"""Seconds that a worker has to confirm, from its Welcome on; then the supervisor kills it."""
KILLED = 1.0
"""Seconds until a worker that is killed must be gone."""
RETURN = 1.5
"""Seconds in which a worker that lost its link is back (link/client.py tries every second), also after our start."""
REMEMBERED = 5.0
"""Seconds for which a cut is told to workers that come back."""
MAX_REMEMBERED = 1000
_WHY = "did not confirm a cut in time"
_EARLIER = 0
"""Stands for the workers of an earlier core, who may not have come back yet. Real peers count from 1."""

_log = logs.get("core")


@dataclass(slots=True)
class _Awaited:
    pid: int
    timer: asyncio.TimerHandle | None = None
    """What happens when its time is over; None while that has not begun."""


class _Pending:
    """One cut: who has to confirm, and how many sessions were closed so far."""

    def __init__(self, order: Cut, given: float) -> None:
        self.order = order
        self.given = given
        """Seconds since the epoch: what started later is not meant."""
        self.awaited: dict[int, _Awaited] = {}
        self.count = 0
        self.stuck: list[int] = []
        """Pids of those that neither confirmed nor died."""
        self.done = asyncio.Event()

    def expect(self, number: int, pid: int) -> None:
        self.awaited.setdefault(number, _Awaited(pid))

    def limit(self, number: int, seconds: float, over: Callable[[_Pending, int], None]) -> None:
        """From now on this worker has so many seconds."""
        one = self.awaited.get(number)
        if one is not None:
            if one.timer is not None:
                one.timer.cancel()
            one.timer = asyncio.get_running_loop().call_later(seconds, over, self, number)

    def settle(self, number: int, count: int) -> None:
        """Nothing more is to come from this worker."""
        one = self.awaited.pop(number, None)
        if one is not None:
            if one.timer is not None:
                one.timer.cancel()
            self.count += count
        self.check()

    def check(self) -> None:
        if not self.awaited:
            self.done.set()

    def abandon(self) -> None:
        for number in list(self.awaited):
            self.settle(number, 0)

    def named(self, sessions: SessionTable) -> list[Session]:
        order = self.order
        return sessions.select(app_passwords=order.app_passwords, accounts=order.accounts, sessions=order.sessions)


class _Lost:
    """A worker without a link whose process may still hold these sessions."""

    def __init__(self, pid: int, sessions: Iterable[Session]) -> None:
        self.pid = pid
        self.watched = False
        """We shall hear when its process ends."""
        self.sessions = SessionTable()
        for session in sessions:
            self.sessions.register(session)


class Cutter:
    """Broadcasts cuts and collects what the workers confirm."""

    def __init__(
        self,
        link: LinkServer,
        table: SessionTable,
        memory: Memory,
        clock: Callable[[], float] = time.time,
        on_end: Callable[[int, Callable[[], None]], bool] = processes.on_end,
    ) -> None:
        self._link = link
        self._table = table
        self._memory = memory
        self._clock = clock
        self._on_end = on_end
        self._number = 0
        self._pending: dict[int, _Pending] = {}
        self._recent: deque[_Pending] = deque(maxlen=MAX_REMEMBERED)
        self._lost: dict[int, _Lost] = {}
        self._unwelcome: set[int] = set()
        """Workers that wait for their Welcome and hear nothing before it."""
        self._kills: dict[tuple[int, int], int] = {}
        """(worker, cut) -> pid of those that must be killed."""
        self._all_back = 0.0
        """On the loop's clock: when the workers of an earlier core have come back."""

    def started(self) -> None:
        """The core is up: workers of an earlier one come back, with sessions that we do not know yet."""
        self._all_back = asyncio.get_running_loop().time() + RETURN

    async def cut(
        self,
        *,
        app_passwords: Sequence[int] = (),
        accounts: Sequence[int] = (),
        sessions: Sequence[str] = (),
        revoked: bool = True,
    ) -> int:
        """End every session that a selector names; returns how many were live. StillOpen if a worker cannot be ended.

        What made them end must be durable and `Memory.forget` called before: then no login in flight survives. The
        Cut is queued before this waits for anything, behind every Accept given so far.
        """
        for account_id in accounts:
            self._memory.forget(account_id)
        if not (app_passwords or accounts or sessions):
            return 0
        self._number += 1
        order = Cut(self._number, list(app_passwords), list(accounts), list(sessions), revoked)
        pending = self._pending[order.cut] = _Pending(order, self._clock())
        self._recent.append(pending)
        workers = self._link.fronts()
        for worker in workers:
            self._expect(pending, worker)
        for number, lost in self._lost.items():
            if pending.named(lost.sessions):
                pending.expect(number, lost.pid)
                self._await_return(pending, number, lost)
        left = self._all_back - asyncio.get_running_loop().time()
        if left > 0:
            pending.expect(_EARLIER, 0)
            pending.limit(_EARLIER, left, lambda pending, number: pending.settle(number, 0))
        for worker in workers:
            worker.send(order)
        pending.check()
        try:
            await pending.done.wait()
        finally:
            pending.abandon()
            del self._pending[order.cut]
        if pending.stuck:
            pids = ", ".join(f"process {pid}" if pid else "one in another PID namespace" for pid in pending.stuck)
            raise StillOpen(f"done, but a front worker still holds sessions that must end; end it by hand: {pids}")
        return pending.count

    def confirmed(self, worker: Peer, message: CutDone) -> None:
        """A worker says that what the Cut named is closed there."""
        self._kills.pop((worker.number, message.cut), None)
        pending = self._pending.get(message.cut)
        if pending is not None and worker.number in pending.awaited:
            pending.settle(worker.number, message.count)

    def gone(self, worker: Peer) -> None:
        """A worker's link is gone; called while its sessions are still in the table."""
        number = worker.number
        self._unwelcome.discard(number)
        lost = self._lost[number] = _Lost(worker.pid, self._table.of_worker(number))
        lost.watched = self._on_end(worker.pid, lambda: self._dead(number))
        if not lost.watched:
            asyncio.get_running_loop().call_later(RETURN, self._dead, number)
        for pending in self._pending.values():
            if (number, pending.order.cut) not in self._kills:
                self._await_return(pending, number, lost)

    def back(self, worker: Peer) -> None:
        """A worker says Hello, and its sessions are in the table: behind its Welcome it hears what it may have missed.

        By the sessions' ids: one that was let in after the cut is not meant by it.
        """
        self._unwelcome.add(worker.number)
        before = [number for number, lost in self._lost.items() if worker.pid and lost.pid == worker.pid]
        forgotten = self._clock() - REMEMBERED
        while self._recent and self._recent[0].given < forgotten:
            self._recent.popleft()
        for pending in self._recent:
            ids = [
                session.id
                for session in pending.named(self._table)
                if session.worker == worker.number and session.started <= pending.given
            ]
            if ids:
                if not pending.done.is_set():
                    self._expect(pending, worker)
                worker.send(Cut(pending.order.cut, [], [], ids, pending.order.revoked))
        for number in before:
            self._forget(number, lambda pending: 0)

    def welcomed(self, worker: Peer) -> None:
        """Its Welcome is queued: from now on it can confirm."""
        self._unwelcome.discard(worker.number)
        for pending in self._pending.values():
            pending.limit(worker.number, CONFIRM, self._late)

    def supervised(self, supervisor: Peer) -> None:
        """A supervisor says Hello: it hears which workers must be killed."""
        for pid in set(self._kills.values()):
            supervisor.send(Kill(pid, _WHY))

    def _expect(self, pending: _Pending, worker: Peer) -> None:
        pending.expect(worker.number, worker.pid)
        if worker.number not in self._unwelcome:
            pending.limit(worker.number, CONFIRM, self._late)

    def _await_return(self, pending: _Pending, number: int, lost: _Lost) -> None:
        if lost.watched:
            pending.limit(number, RETURN, self._late)
        else:  # nobody can tell whether it lives: by then it is taken for dead
            pending.limit(number, RETURN, lambda _, number: self._dead(number))

    def _late(self, pending: _Pending, number: int) -> None:
        pid = pending.awaited[number].pid
        if pid not in self._kills.values():
            _log.error("a front worker did not confirm a cut in time; it is killed", pid=pid)
            for supervisor in self._link.supervisors():
                supervisor.send(Kill(pid, _WHY))
        self._kills[number, pending.order.cut] = pid
        pending.limit(number, KILLED, self._stuck)

    def _stuck(self, pending: _Pending, number: int) -> None:
        pid = pending.awaited[number].pid
        _log.error("a front worker still holds sessions that must end; end it by hand", pid=pid)
        pending.stuck.append(pid)
        pending.settle(number, 0)

    def _dead(self, number: int) -> None:
        """A lost worker's process is gone, and its sessions with it."""
        lost = self._lost.get(number)
        if lost is not None:
            self._forget(number, lambda pending: sum(session.live for session in pending.named(lost.sessions)))

    def _forget(self, number: int, count: Callable[[_Pending], int]) -> None:
        del self._lost[number]
        for key in [key for key in self._kills if key[0] == number]:
            del self._kills[key]
        for pending in list(self._pending.values()):
            if number in pending.awaited:
                pending.settle(number, count(pending))
