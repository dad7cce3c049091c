"""The store for an event loop: one writer thread, where revokes go first, and a small pool of readers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from queue import PriorityQueue, SimpleQueue
from typing import Any, Generic, TypeVar, TypeVarTuple

from sqlalchemy import Connection

from proxy.store.engine import Store
from proxy.store.errors import StoreUnavailable

Args = TypeVarTuple("Args")
R = TypeVar("R")

_URGENT, _NORMAL, _LAST = range(3)


class _Job(Generic[R]):
    """A call waiting for its thread. `number` keeps the order among equals."""

    __slots__ = ("args", "fn", "number", "outcome", "rank")

    def __init__(self, rank: int, number: int, fn: Callable[..., R], args: tuple[Any, ...]) -> None:
        self.rank = rank
        self.number = number
        self.fn = fn
        self.args = args
        self.outcome: Future[R] = Future()

    def __lt__(self, other: _Job[Any]) -> bool:
        return (self.rank, self.number) < (other.rank, other.number)


class StoreThreads:
    """Runs functions that take a Connection first, each in a transaction of its own, off the event loop.

    Writes run one at a time in the order given, urgent ones (revokes) before the rest; bulk changes must come in
    slices of at most 50 ms, between which an urgent one gets its turn. The Store stays the caller's to close.
    """

    def __init__(self, store: Store, *, readers: int = 2, timeout: float = 5.0) -> None:
        self.store = store
        self.unheard: Callable[[], None] = lambda: None
        """Called on the loop when a write is over whose caller had stopped waiting: it may have changed anything."""
        self._timeout = timeout
        self._closing = False
        self._numbers = itertools.count()
        self._writes: PriorityQueue[_Job[Any]] = PriorityQueue()
        self._reads: SimpleQueue[_Job[Any]] = SimpleQueue()
        self._threads = [
            threading.Thread(target=_work, args=(self._writes, store.writing), name="store-writer", daemon=True)
        ]
        for n in range(readers):
            self._threads.append(
                threading.Thread(target=_work, args=(self._reads, store.reading), name=f"store-reader-{n}", daemon=True)
            )
        for thread in self._threads:
            thread.start()

    async def read(self, fn: Callable[[Connection, *Args], R], *args: *Args) -> R:
        """`fn(connection, *args)` on a snapshot. StoreUnavailable if it fails, or takes over `timeout` seconds."""
        job = self._job(_NORMAL, fn, args)
        self._reads.put(job)
        return await self._outcome(job, self._timeout)

    async def write(
        self, fn: Callable[[Connection, *Args], R], *args: *Args, urgent: bool = False, patient: bool = False
    ) -> R:
        """`fn(connection, *args)` in a write transaction; returns once it is durable.

        An exception means nothing was written, with one exception: StoreUnavailable that says "may still be done".
        Cancelled or out of time before its turn came, it never runs. `patient`: nobody waits for an answer, so it has
        all the time it takes, and that exception does not occur.
        """
        job = self._job(_URGENT if urgent else _NORMAL, fn, args)
        self._writes.put(job)
        try:
            return await self._outcome(job, None if patient else self._timeout)
        except (StoreUnavailable, asyncio.CancelledError):
            self._listen_on(job)
            raise

    async def close(self) -> None:
        """Finish what was asked for, then end the threads."""
        if not self._closing:
            self._closing = True
            self._writes.put(self._stop())
            for _ in self._threads[1:]:
                self._reads.put(self._stop())
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _job(self, rank: int, fn: Callable[..., R], args: tuple[Any, ...]) -> _Job[R]:
        if self._closing:
            raise StoreUnavailable(f"{self.store.where}: shutting down")
        return _Job(rank, next(self._numbers), fn, args)

    def _stop(self) -> _Job[None]:
        return _Job(_LAST, next(self._numbers), _stop, ())

    async def _outcome(self, job: _Job[R], seconds: float | None) -> R:
        try:
            async with asyncio.timeout(seconds):
                # Cancelling what is awaited here cancels the job itself, unless a thread has begun it.
                return await asyncio.wrap_future(job.outcome)
        except TimeoutError:
            begun = not job.outcome.cancelled()
            raise StoreUnavailable(
                f"{self.store.where}: no answer in {seconds:g} s; what was asked "
                + ("may still be done" if begun else "was not done")
            ) from None

    def _listen_on(self, job: _Job[Any]) -> None:
        """Its caller goes. A job that a thread has begun will be done; nothing follows from one that failed or never
        ran."""
        loop = asyncio.get_running_loop()

        def over(outcome: Future[Any]) -> None:
            if not outcome.cancelled() and outcome.exception() is None:
                with contextlib.suppress(RuntimeError):  # the loop may be closed by then
                    loop.call_soon_threadsafe(self.unheard)

        job.outcome.add_done_callback(over)


def _stop(_: Connection) -> None:
    """Tells a thread to end."""


def _work(
    queue: PriorityQueue[_Job[Any]] | SimpleQueue[_Job[Any]],
    transaction: Callable[[], AbstractContextManager[Connection]],
) -> None:
    while (job := queue.get()).fn is not _stop:
        if not job.outcome.set_running_or_notify_cancel():
            continue
        _run(job, transaction)
        del job  # what it returned must not live until the next one comes


def _run(job: _Job[Any], transaction: Callable[[], AbstractContextManager[Connection]]) -> None:
    try:
        with transaction() as connection:
            result = job.fn(connection, *job.args)
    except BaseException as error:  # the thread must outlive whatever a job raises
        job.outcome.set_exception(error)
    else:
        job.outcome.set_result(result)
