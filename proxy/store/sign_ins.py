"""The history of sign-ins, for the person."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from proxy.domain.sign_in import Outcome
from proxy.store.schema import sign_ins as table

KEPT = 100
"""Rows per account of sign-ins, and as many of tries that were none: a flood of those pushes out no sign-in."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """One sign-in, or a try. Of a row that another version wrote, `outcome` may be text this one has no word for."""

    account_id: int
    time: float
    outcome: Outcome | str
    factor: str | None
    """The factor's kind and name, as the person knows it."""
    address: str
    network: str
    """/32 or /64 of the address."""
    agent: str
    device_id: int | None = None


_last = (
    select(table)
    .where(table.c.account_id == bindparam("id"))
    .order_by(table.c.time.desc(), table.c.id.desc())
    .limit(bindparam("most"))
)


def record(c: Connection, row: SignIn) -> None:
    """Add one, and forget the oldest of its kind."""
    c.execute(insert(table), {**asdict(row), "outcome": str(row.outcome)})
    signed_in = table.c.outcome == Outcome.SIGNED_IN.value
    alike = (table.c.account_id == row.account_id, signed_in if row.outcome == Outcome.SIGNED_IN else ~signed_in)
    newest = select(table.c.id).where(*alike).order_by(table.c.time.desc(), table.c.id.desc()).limit(KEPT)
    c.execute(delete(table).where(*alike, table.c.id.not_in(newest)))


def last(c: Connection, account_id: int, limit: int = 2 * KEPT) -> list[SignIn]:
    """The newest of an account, the newest first."""
    rows = c.execute(_last.with_only_columns(*_columns), {"id": account_id, "most": limit})
    return [SignIn(**row._mapping) for row in rows]


def last_times(c: Connection, account_ids: Collection[int]) -> dict[int, float]:
    """When each of these accounts last signed in; those that never did are missing."""
    newest = (
        select(table.c.account_id, func.max(table.c.time).label("time"))
        .where(table.c.account_id.in_(list(account_ids)), table.c.outcome == Outcome.SIGNED_IN.value)
        .group_by(table.c.account_id)
    )
    return {row.account_id: row.time for row in c.execute(newest)}


def networks(c: Connection, account_ids: Collection[int]) -> dict[int, set[str]]:
    """Where each of these accounts signed in from; those that never did are missing."""
    signed_in = (table.c.account_id.in_(list(account_ids)), table.c.outcome == Outcome.SIGNED_IN.value)
    found: dict[int, set[str]] = {}
    for row in c.execute(select(table.c.account_id, table.c.network).where(*signed_in).distinct()):
        found.setdefault(row.account_id, set()).add(row.network)
    return found


_columns = [column for column in table.c if column.name != "id"]
