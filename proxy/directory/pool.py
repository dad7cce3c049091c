"""Threads of a directory's own: as many checks at a time as there are threads, and a queue that is bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

WAITING = 64
"""Checks at most, under way and waiting: a flood must not grow without bound, nor keep everybody waiting."""

P = ParamSpec("P")
R = TypeVar("R")


class Busy(Exception):
    """Too many ask at once."""


class Pool:
    """`threads` of them, with a name for whoever looks at the process."""

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._free = threading.BoundedSemaphore(WAITING)

    async def run(self, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What fn returns. Busy, at once, when WAITING are asked for, or closed. Who is cancelled leaves the queue."""
        if not self._free.acquire(blocking=False):
            raise Busy
        try:
            job = self._pool.submit(fn, *args, **kwargs)
        except RuntimeError:  # closed: a reload has put another in its place
            self._free.release()
            raise Busy from None
        job.add_done_callback(lambda _: self._free.release())  # not when its caller goes: the thread may be still at it
        return await asyncio.wrap_future(job)

    async def close(self) -> None:
        """Finish what was asked for, then end the threads."""
        await asyncio.to_thread(self._pool.shutdown)
