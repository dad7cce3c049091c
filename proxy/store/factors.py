"""The factors that persons have registered."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from proxy.domain.factor_kinds import FactorKind
from proxy.store import codes
from proxy.store.errors import NameTaken
from proxy.store.schema import factors as table

MOST = 20
"""Factors of one account."""


@dataclass(frozen=True, slots=True)
class NewFactor:
    """A factor that has just been proven, to be kept."""

    kind: FactorKind
    name: str
    sealed: bytes | None = field(default=None, repr=False)
    """What only the portal key opens (factors/sealing.py)."""
    public: Mapping[str, Any] = field(default_factory=dict)
    """JSON, no secret."""
    counter: int = 0
    """Of what was just proven: it must not count again."""


@dataclass(frozen=True, slots=True)
class FactorRow:
    """Times are seconds since the epoch."""

    id: int
    account_id: int
    kind: FactorKind
    name: str
    """Unique in the account."""
    created: float
    used: float | None
    sealed: bytes | None = field(repr=False)
    public: Mapping[str, Any]
    counter: int
    """Grows with every proof: a TOTP's time step, a passkey's signature counter."""


_of_account = select(table).where(table.c.account_id == bindparam("id")).order_by(table.c.created, table.c.id)
_one = select(table).where(table.c.account_id == bindparam("account"), table.c.id == bindparam("id"))
_advance = (
    update(table)
    .where(table.c.id == bindparam("which"), table.c.counter < bindparam("to"))
    .values(counter=bindparam("to"))
)


def add(c: Connection, account_id: int, new: NewFactor, now: float) -> FactorRow | None:
    """Keep a factor. NameTaken when the account has one of that name; None when it has MOST already."""
    of_it = select(func.count()).select_from(table).where(table.c.account_id == account_id)
    if c.execute(of_it).scalar_one() >= MOST:
        return None
    values = {
        "account_id": account_id,
        "kind": new.kind.value,
        "name": new.name,
        "created": now,
        "used": None,
        "sealed": new.sealed,
        "public": json.dumps(new.public),
        "counter": new.counter,
    }
    try:
        with c.begin_nested():
            return _row(c.execute(insert(table).values(**values).returning(table)).one())
    except IntegrityError as error:
        if "name" in str(error.orig):
            raise NameTaken("factor", new.name) from None
        raise


def of_account(c: Connection, account_id: int, kind: FactorKind | None = None) -> list[FactorRow]:
    """An account's factors, of all kinds or one, the oldest first. Recovery codes are in codes.py."""
    rows = [_row(row) for row in c.execute(_of_account, {"id": account_id})]
    return [row for row in rows if kind in (None, row.kind)]


def by_id(c: Connection, account_id: int, factor_id: int) -> FactorRow | None:
    """One factor of an account."""
    row = c.execute(_one, {"account": account_id, "id": factor_id}).first()
    return None if row is None else _row(row)


def kinds(c: Connection, account_id: int) -> frozenset[FactorKind]:
    """What a challenge of this account can be satisfied by; recovery codes while some are left."""
    found = {row.kind for row in of_account(c, account_id)}
    return frozenset(found | ({FactorKind.RECOVERY_CODE} if codes.recovery_left(c, account_id) else set()))


def kinds_of_many(c: Connection, account_ids: Collection[int]) -> dict[int, list[str]]:
    """The kinds that each of these accounts has registered, in order; those without any are missing."""
    chosen = select(table.c.account_id, table.c.kind).where(table.c.account_id.in_(list(account_ids))).distinct()
    found: dict[int, list[str]] = {}
    for row in c.execute(chosen.order_by(table.c.account_id, table.c.kind)):
        found.setdefault(row.account_id, []).append(row.kind)
    return found


def advance_counter(c: Connection, factor_id: int, at_least: int) -> bool:
    """Move the counter up to `at_least`; False when it is there or beyond (or the factor is gone): what was shown
    counted once already. Of two at the same time, one is told True."""
    return bool(c.execute(_advance, {"which": factor_id, "to": at_least}).rowcount)


def mark_used(c: Connection, factor_id: int, now: float) -> None:
    """Note when it was last proven."""
    c.execute(update(table).where(table.c.id == factor_id).values(used=now))


def set_public(c: Connection, account_id: int, factor_id: int, public: Mapping[str, Any]) -> bool:
    """Replace what is public about it; False when it is not the account's."""
    return _change(c, account_id, factor_id, public=json.dumps(public))


def rename(c: Connection, account_id: int, factor_id: int, name: str) -> bool:
    """NameTaken when the account has another of that name; False when it is not the account's."""
    try:
        with c.begin_nested():
            return _change(c, account_id, factor_id, name=name)
    except IntegrityError:
        raise NameTaken("factor", name) from None


def remove(c: Connection, account_id: int, factor_id: int) -> bool:
    """Remove one; False when it is not the account's, or its last one: without a factor only an operator helps."""
    others = table.alias("others")
    another = exists().where(others.c.account_id == account_id, others.c.id != factor_id)
    chosen = delete(table).where(table.c.id == factor_id, table.c.account_id == account_id, another)
    return bool(c.execute(chosen).rowcount)


def remove_all(c: Connection, account_id: int) -> list[FactorRow]:
    """An operator's reset; returns what is gone. Recovery codes go with codes.set_recovery."""
    gone = of_account(c, account_id)
    c.execute(delete(table).where(table.c.account_id == account_id))
    return gone


def _change(c: Connection, account_id: int, factor_id: int, **values: str) -> bool:
    chosen = update(table).where(table.c.id == factor_id, table.c.account_id == account_id)
    return bool(c.execute(chosen.values(**values)).rowcount)


def _row(row: Row[Any]) -> FactorRow:
    return FactorRow(**{**row._mapping, "kind": FactorKind(row.kind), "public": json.loads(row.public)})
