"""The last refusals of each account with the true reason, for `sidegate why` and the account's owner."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from proxy.domain.model import Protocol
from proxy.domain.verdicts import Reason
from proxy.store.schema import accounts, refusals

KEPT = 200
"""Rows per account."""
MERGED_WITHIN = 3600.0
"""Seconds. An old phone tries every minute: its refusals are one row as long as they come this close together,
so that they do not push everything else out."""


@dataclass(frozen=True, slots=True)
class RefusalRecord:
    """Like refusals of one account. `time` is that of the last of `count`, `first` of the first (None: the same)."""

    account_id: int
    time: float
    reason: Reason | str
    protocol: Protocol | str
    """Of a row that another version wrote, reason and protocol may be text that this one has no word for."""
    network: str
    """/32 or /64 of the client."""
    program: str | None = None
    app_password_id: int | None = None
    """What the secret matched, when it matched a tombstone or one that may not do this."""
    count: int = 1
    first: float | None = None


_same = (
    refusals.c.account_id == bindparam("of_account"),
    refusals.c.reason == bindparam("of_reason"),
    refusals.c.protocol == bindparam("of_protocol"),
    refusals.c.network == bindparam("of_network"),
    refusals.c.program.is_not_distinct_from(bindparam("of_program")),
    refusals.c.app_password_id.is_not_distinct_from(bindparam("of_app_password")),
)
_latest_same = select(refusals.c.id, refusals.c.time).where(*_same).order_by(refusals.c.time.desc()).limit(1)
_merge = (
    update(refusals)
    .where(refusals.c.id == bindparam("into"))
    .values(time=bindparam("at"), count=refusals.c.count + bindparam("more"))
)
_last = (
    select(refusals)
    .where(refusals.c.account_id == bindparam("id"))
    .order_by(refusals.c.time.desc(), refusals.c.id.desc())
    .limit(bindparam("most"))
)
_newest = _last.with_only_columns(refusals.c.id)
_too_many = select(refusals.c.account_id).group_by(refusals.c.account_id).having(func.count() > KEPT)
_prune = delete(refusals).where(refusals.c.account_id == bindparam("id"), refusals.c.id.not_in(_newest))


def record(c: Connection, rows: Iterable[RefusalRecord]) -> list[RefusalRecord]:
    """Add refusals, oldest first, merging like ones, and prune. Rows of accounts that are gone are dropped. Returns
    those that are like nothing of late."""
    chosen = _merged(rows)
    ids = {row.account_id for row in chosen}
    known = set(c.execute(select(accounts.c.id).where(accounts.c.id.in_(ids))).scalars())
    merges, inserts, new = [], [], []
    for row in chosen:
        if row.account_id not in known:
            continue
        same = c.execute(_latest_same, _key(row)).first()
        if same is not None and _first(row) - same.time <= MERGED_WITHIN:
            merges.append({"into": same.id, "at": max(row.time, same.time), "more": row.count})
        else:
            inserts.append(_values(row))
            new.append(row)
    if merges:
        c.execute(_merge, merges)
    if inserts:
        c.execute(insert(refusals), inserts)
        grown = {values["account_id"] for values in inserts}
        for account_id in c.execute(_too_many.where(refusals.c.account_id.in_(grown))).scalars():
            c.execute(_prune, {"id": account_id, "most": KEPT})
    return new


def _merged(rows: Iterable[RefusalRecord]) -> list[RefusalRecord]:
    """Like ones that follow each other closely, as one: a flood is few rows before it reaches the store."""
    merged: list[RefusalRecord] = []
    latest: dict[tuple[object, ...], int] = {}
    for row in rows:
        key = tuple(_key(row).values())
        place = latest.get(key)
        if place is not None and _first(row) - merged[place].time <= MERGED_WITHIN:
            same = merged[place]
            merged[place] = replace(
                same, first=_first(same), time=max(row.time, same.time), count=same.count + row.count
            )
        else:
            latest[key] = len(merged)
            merged.append(row)
    return merged


def _first(row: RefusalRecord) -> float:
    return row.time if row.first is None else row.first


def _key(row: RefusalRecord) -> dict[str, object]:
    return {
        "of_account": row.account_id,
        "of_reason": str(row.reason),
        "of_protocol": str(row.protocol),
        "of_network": row.network,
        "of_program": row.program,
        "of_app_password": row.app_password_id,
    }


def last(c: Connection, account_id: int, limit: int = KEPT) -> list[RefusalRecord]:
    """The newest refusals of an account, the newest first."""
    return [_record(row) for row in c.execute(_last, {"id": account_id, "most": limit})]


def refused_since(c: Connection, account_ids: Collection[int], when: float) -> set[int]:
    """Which of these accounts have refusals that are newer than that."""
    newer = (refusals.c.account_id.in_(list(account_ids)), refusals.c.time > when)
    return set(c.execute(select(refusals.c.account_id).where(*newer).distinct()).scalars())


def _values(row: RefusalRecord) -> dict[str, object]:
    return {
        "account_id": row.account_id,
        "first": _first(row),
        "time": row.time,
        "reason": str(row.reason),
        "protocol": str(row.protocol),
        "network": row.network,
        "program": row.program,
        "app_password_id": row.app_password_id,
        "count": row.count,
    }


def _record(row: Row[Any]) -> RefusalRecord:
    return RefusalRecord(
        account_id=row.account_id,
        time=row.time,
        reason=row.reason,
        protocol=row.protocol,
        network=row.network,
        program=row.program,
        app_password_id=row.app_password_id,
        count=row._mapping["count"],
        first=row.first,
    )
