"""Challenges that are answered elsewhere than in the browser that waits: on a phone, or with a code that was sent."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from proxy.domain.factor_kinds import FactorKind
from proxy.store.schema import challenges as table

KEPT = 86400.0
"""Seconds that one is kept once it has expired: fraud may be reported late, and the hour's are counted."""


class State(StrEnum):
    """Of a challenge. What it has come to, it stays."""

    OPEN = "open"
    ANSWERED = "answered"
    DENIED = "denied"
    FRAUD = "fraud"
    USED = "used"
    """Answered, and the browser that waited went on."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """Times are seconds since the epoch."""

    id_hash: bytes = field(repr=False)
    """SHA-256 of the random id."""
    account_id: int
    session_hash: bytes = field(repr=False)
    """The portal session that waits for it (its token's hash)."""
    kind: FactorKind
    factor_id: int | None
    created: float
    expires: float
    state: State = State.OPEN
    tries: int = 0
    sealed: bytes | None = field(default=None, repr=False)
    """What the answer is checked with."""


_by_id = select(table).where(table.c.id_hash == bindparam("hash"))
_answer = (
    update(table)
    .where(table.c.id_hash == bindparam("hash"), table.c.state == bindparam("from"))
    .values(state=bindparam("to"))
)


def add(c: Connection, challenge: Challenge) -> None:
    """Begin one."""
    c.execute(insert(table), {**asdict(challenge), "kind": challenge.kind.value, "state": challenge.state.value})


def by_id(c: Connection, id_hash: bytes) -> Challenge | None:
    """In whatever state, also expired."""
    row = c.execute(_by_id, {"hash": id_hash}).first()
    return None if row is None else _challenge(row)


def open_of(c: Connection, account_id: int, now: float, kind: FactorKind | None = None) -> list[Challenge]:
    """The account's open ones, of all kinds or one, the oldest first."""
    waiting = (table.c.account_id == account_id, table.c.state == State.OPEN.value, table.c.expires > now)
    rows = c.execute(select(table).where(*waiting).order_by(table.c.created))
    return [found for found in map(_challenge, rows) if kind in (None, found.kind)]


def count_since(c: Connection, account_id: int, kind: FactorKind, since: float) -> int:
    """How many of a kind the account was sent since then, whatever became of them."""
    sent = (table.c.account_id == account_id, table.c.created > since, table.c.kind == kind.value)
    return c.execute(select(func.count()).select_from(table).where(*sent)).scalar_one()


def last_of_session(c: Connection, account_id: int, session_hash: bytes, kind: FactorKind) -> Challenge | None:
    """The newest that a portal session waits or waited for, in whatever state."""
    mine = (table.c.account_id == account_id, table.c.session_hash == session_hash, table.c.kind == kind.value)
    row = c.execute(
        select(table).where(*mine).order_by(table.c.created.desc(), table.c.expires.desc()).limit(1)
    ).first()
    return None if row is None else _challenge(row)


def answer(
    c: Connection, id_hash: bytes, from_state: State, to_state: State, now: float, *, factor_id: int | None = None
) -> bool:
    """Whether it was in `from_state`, and is in `to_state` from now on: of two answers at once, one counts.
    `factor_id`: by which factor.

    An expired one can no more be answered, but denied and reported.
    """
    moved = _answer if to_state is not State.ANSWERED else _answer.where(table.c.expires > now)
    if factor_id is not None:
        moved = moved.values(factor_id=factor_id)
    return bool(c.execute(moved, {"hash": id_hash, "from": from_state.value, "to": to_state.value}).rowcount)


def extend(c: Connection, id_hash: bytes, until: float, now: float) -> bool:
    """Let an open one wait until then; False when it is over, or waits as long already."""
    waiting = (table.c.id_hash == id_hash, table.c.state == State.OPEN.value, table.c.expires > now)
    return bool(c.execute(update(table).where(*waiting, table.c.expires < until).values(expires=until)).rowcount)


def end(c: Connection, id_hash: bytes, now: float) -> None:
    """Nobody waits for an open one any more. It is still counted, and may still be reported."""
    waiting = (table.c.id_hash == id_hash, table.c.state == State.OPEN.value, table.c.expires > now)
    c.execute(update(table).where(*waiting).values(expires=now))


def count_try(c: Connection, id_hash: bytes) -> int:
    """Count a wrong answer to an open one; returns how many there were, 0 when it is not open."""
    counted = update(table).where(table.c.id_hash == id_hash, table.c.state == State.OPEN.value)
    return c.execute(counted.values(tries=table.c.tries + 1).returning(table.c.tries)).scalar() or 0


def withdraw(c: Connection, account_id: int) -> int:
    """Nobody waits for the account's open ones any more; returns how many there were."""
    return c.execute(delete(table).where(table.c.account_id == account_id, table.c.state == State.OPEN.value)).rowcount


def prune(c: Connection, now: float) -> int:
    """Forget those that are long over; returns how many."""
    return c.execute(delete(table).where(table.c.expires <= now - KEPT)).rowcount


def _challenge(row: Row[Any]) -> Challenge:
    return Challenge(**{**row._mapping, "kind": FactorKind(row.kind), "state": State(row.state)})
