"""Failures at the portal, counted for its delays (domain/delays.py): across sessions, restarts and nodes."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, delete, func, insert, select, update

from proxy.domain import delays
from proxy.domain.delays import Bucket
from proxy.store.schema import throttles as table

MOST = 65_536
"""Buckets. A full table forgets those with the fewest failures first: of what floods it, not what was hit hard."""


def wait(c: Connection, keys: Collection[str], now: float) -> float:
    """Seconds until a try that counts against these keys is looked at; 0: now. Asked before anything is verified."""
    return delays.wait(_buckets(c, keys), now)


def ahead(c: Connection, keys: Collection[str], now: float) -> float:
    """As wait; where it is 0 the try is looked at, and counts as failed until `succeeded` or `take_back`: of many at
    once, from many sessions, one is looked at."""
    waiting = wait(c, keys, now)
    if not waiting:
        failed(c, keys, now)
    return waiting


def failed(c: Connection, keys: Collection[str], now: float) -> None:
    """Count a failure."""
    counted = delays.failed(_buckets(c, keys), now)
    _drop(c, [bucket.key for bucket in counted])
    c.execute(insert(table), [{"key": b.key, "failures": b.failures, "last": b.last} for b in counted])


def succeeded(c: Connection, keys: Collection[str]) -> None:
    """The try that was counted ahead was right: forget the failures that this proves to have been the person's own."""
    take_back(c, keys)
    _drop(c, [key for key in keys if delays.is_cleared(key)])


def take_back(c: Connection, keys: Collection[str]) -> None:
    """The try that was counted ahead was none."""
    counted = update(table).where(table.c.key.in_(list(keys)), table.c.failures > 0)
    c.execute(counted.values(failures=table.c.failures - 1))


def prune(c: Connection, now: float) -> int:
    """Forget what counts no more, and what is too much; returns how many."""
    gone = c.execute(delete(table).where(table.c.last <= now - delays.DAY)).rowcount
    excess = c.execute(select(func.count()).select_from(table)).scalar_one() - MOST
    if excess > 0:
        least = select(table.c.key).order_by(table.c.failures, table.c.last).limit(excess)
        gone += c.execute(delete(table).where(table.c.key.in_(least))).rowcount
    return gone


def _buckets(c: Connection, keys: Collection[str]) -> list[Bucket]:
    found = {row.key: Bucket(*row) for row in c.execute(select(table).where(table.c.key.in_(list(keys))))}
    return [found.get(key, Bucket(key)) for key in keys]


def _drop(c: Connection, keys: Collection[str]) -> None:
    c.execute(delete(table).where(table.c.key.in_(list(keys))))
