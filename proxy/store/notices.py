"""The outbox: what people are to be told, until it was sent or is given up; and what they were told."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from proxy.domain.notices import Channel
from proxy.store.schema import notices as table

KEPT = 30 * 86400.0
"""Seconds that a notice is kept, sent or not."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Times are seconds since the epoch."""

    id: int
    account_id: int
    kind: str
    created: float
    due: float
    """When it is to be tried, again."""
    sent: float | None
    """When somebody took it; over channel `page`, when it was left to that."""
    tries: int
    channel: str
    recipient: str
    text: Mapping[str, Any] = field(repr=False)
    """What the message says: values for its template."""


_due = (
    select(table)
    .where(table.c.sent.is_(None), table.c.due <= bindparam("now"))
    .order_by(table.c.due, table.c.id)
    .limit(bindparam("most"))
)


def add(
    c: Connection,
    account_id: int,
    kind: str,
    *,
    channel: str,
    recipient: str,
    text: Mapping[str, Any],
    now: float,
    due: float | None = None,
) -> int:
    """Put one into the outbox, due at once unless said otherwise; returns its id. For the page alone it is not due."""
    values = {
        "account_id": account_id,
        "kind": str(kind),
        "created": now,
        "due": now if due is None else due,
        "sent": now if channel == Channel.PAGE else None,
        "tries": 0,
        "channel": str(channel),
        "recipient": recipient,
        "text": json.dumps(dict(text)),
    }
    new: int = c.execute(insert(table).values(**values).returning(table.c.id)).scalar_one()
    return new


def due(c: Connection, now: float, limit: int = 100, but: Collection[str] = ()) -> list[Notice]:
    """What is to be sent now, the longest due first. `but`: leave what goes over these channels alone."""
    chosen = _due.where(table.c.channel.not_in([str(channel) for channel in but])) if but else _due
    return [_notice(row) for row in c.execute(chosen, {"now": now, "most": limit})]


def claim(c: Connection, notice: Notice, retry_at: float) -> bool:
    """Before it is sent: count the try and set the next one. False when somebody else has it: it goes out once."""
    mine = (table.c.id == notice.id, table.c.sent.is_(None), table.c.tries == notice.tries)
    return bool(c.execute(update(table).where(*mine).values(tries=notice.tries + 1, due=retry_at)).rowcount)


def sent(c: Connection, notice_id: int, now: float) -> None:
    """It was taken by whoever carries it."""
    c.execute(update(table).where(table.c.id == notice_id).values(sent=now))


def turn(c: Connection, notice: Notice, channel: str, recipient: str, now: float) -> None:
    """Nobody is reached over its channel: go on over this one. `page`: it is given up, and only shown there."""
    sent_at = now if channel == Channel.PAGE else None
    values = {"channel": str(channel), "recipient": recipient, "due": now, "sent": sent_at}
    c.execute(update(table).where(table.c.id == notice.id, table.c.sent.is_(None)).values(**values))


def count_since(c: Connection, account_id: int, since: float, kinds: Collection[str]) -> int:
    """How many of these kinds the account was told since then, or is about to be: one over several channels is one."""
    told = (
        select(table.c.kind, table.c.created)
        .where(table.c.account_id == account_id, table.c.created > since)
        .where(table.c.channel != Channel.PAGE.value, table.c.kind.in_([str(kind) for kind in kinds]))
        .distinct()
    )
    return len(c.execute(told).all())


def last(c: Connection, account_id: int, limit: int) -> list[Notice]:
    """The newest of an account, the newest first."""
    of_it = select(table).where(table.c.account_id == account_id)
    return [_notice(row) for row in c.execute(of_it.order_by(table.c.created.desc(), table.c.id.desc()).limit(limit))]


def since(c: Connection, account_id: int, kind: str, when: float) -> list[Notice]:
    """An account's of a kind that are newer than that, over whatever channel."""
    of_it = (table.c.account_id == account_id, table.c.kind == str(kind), table.c.created > when)
    return [_notice(row) for row in c.execute(select(table).where(*of_it).order_by(table.c.created))]


def told_since(
    c: Connection, account_ids: Collection[int], when: float, *, kind: str | None = None, channel: str | None = None
) -> set[int]:
    """Which of these accounts have one newer than that, of this kind, over this channel."""
    newer = select(table.c.account_id).where(table.c.account_id.in_(list(account_ids)), table.c.created > when)
    if kind is not None:
        newer = newer.where(table.c.kind == str(kind))
    if channel is not None:
        newer = newer.where(table.c.channel == str(channel))
    return set(c.execute(newer.distinct()).scalars())


def by_id(c: Connection, account_id: int, notice_id: int) -> Notice | None:
    """One of an account's."""
    row = c.execute(select(table).where(table.c.account_id == account_id, table.c.id == notice_id)).first()
    return None if row is None else _notice(row)


def prune(c: Connection, now: float) -> int:
    """Forget old ones; returns how many."""
    return c.execute(delete(table).where(table.c.created <= now - KEPT)).rowcount


def _notice(row: Row[Any]) -> Notice:
    return Notice(**{**row._mapping, "text": json.loads(row.text)})
