"""Wrong answers to what has few bits, counted strictly per account and kind: for limits that no number of sessions, and
no moment to begin at, gets around. (Delays are in throttles.py.)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from proxy.domain.factor_kinds import FactorKind
from proxy.store.schema import tries as table


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many within any stretch of so many seconds."""

    most: int
    seconds: float


def allowed(c: Connection, account_id: int, kind: FactorKind, limits: Sequence[Limit], now: float) -> bool:
    """Whether one more may be looked at."""
    times = list(c.execute(select(table.c.time).where(*_of(account_id, kind))).scalars())
    return all(sum(time > now - limit.seconds for time in times) < limit.most for limit in limits)


def count(c: Connection, account_id: int, kind: FactorKind, limits: Sequence[Limit], now: float) -> None:
    """Note a wrong one, and forget those that are older than every limit looks back."""
    oldest = now - max(limit.seconds for limit in limits)
    c.execute(delete(table).where(*_of(account_id, kind), table.c.time <= oldest))
    c.execute(insert(table), {"account_id": account_id, "kind": kind.value, "time": now})


def _of(account_id: int, kind: FactorKind) -> tuple[ColumnElement[bool], ...]:
    return table.c.account_id == account_id, table.c.kind == kind.value
