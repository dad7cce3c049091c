"""Codes that were sent to phone numbers, counted strictly: restarts and nodes lift no limit (domain/phone_codes.py)."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, insert, select, update

from proxy.domain.factor_kinds import FactorKind
from proxy.domain.phone_codes import DAY, HOUR, Sent
from proxy.store.schema import sent_codes as table


def sent(c: Connection, account_id: int, kind: FactorKind, prefix: str, now: float) -> Sent:
    """How many there were. What no gateway took counts for the account only: it cost nothing."""
    count = select(func.count()).select_from(table)
    hour, taken = table.c.time > now - HOUR, table.c.taken.is_(True)
    return Sent(
        account=c.execute(count.where(hour, table.c.account_id == account_id)).scalar_one(),
        prefix=c.execute(count.where(hour, taken, table.c.prefix == prefix)).scalar_one(),
        day=c.execute(count.where(table.c.time > now - DAY, taken, table.c.kind == kind.value)).scalar_one(),
    )


def add(c: Connection, account_id: int, kind: FactorKind, prefix: str, now: float) -> int:
    """Count one, before it is sent: of many at once none slips by. Its id."""
    values = {"account_id": account_id, "kind": kind.value, "prefix": prefix, "time": now, "taken": True}
    return int(c.execute(insert(table).values(**values).returning(table.c.id)).scalar_one())


def not_taken(c: Connection, sent_id: int) -> None:
    """It certainly did not go out."""
    c.execute(update(table).where(table.c.id == sent_id).values(taken=False))


def prune(c: Connection, now: float) -> int:
    """Forget those that no limit looks back to; returns how many."""
    return c.execute(delete(table).where(table.c.time <= now - DAY)).rowcount
