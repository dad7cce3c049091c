"""Two at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection

from proxy.store.engine import Store

R = TypeVar("R")


def race(store: Store, jobs: Sequence[Callable[[Connection], R]]) -> list[R]:
    """Each job in a write transaction of a thread of its own, all let go at once."""
    gate = threading.Barrier(len(jobs))

    def run(job: Callable[[Connection], R]) -> R:
        gate.wait(30)
        with store.writing() as c:
            return job(c)

    with ThreadPoolExecutor(len(jobs)) as threads:
        return list(threads.map(run, jobs))
