"""Links that work once. The address holds a random token; kept is its SHA-256."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from proxy.store.schema import links as table


class Purpose(StrEnum):
    """What a link is for: it opens nothing else."""

    SET_PASSWORD = "set_password"
    MOBILECONFIG = "mobileconfig"
    APP_PASSWORD = "app_password"
    """The page that shows a new one."""
    RECOVERY_ADDRESS = "recovery_address"
    """A code that proves one, sent there."""
    PHONE = "phone"
    """Registers a phone; what the phone proved is handed over."""


@dataclass(frozen=True, slots=True)
class Link:
    """Times are seconds since the epoch."""

    token_hash: bytes = field(repr=False)
    account_id: int
    purpose: Purpose
    created: float
    expires: float
    used: float | None
    sealed: bytes | None = field(repr=False)
    """What it hands over, if anything; only the portal key opens it."""


_good = (
    table.c.token_hash == bindparam("hash"),
    table.c.purpose == bindparam("what"),
    table.c.used.is_(None),
    table.c.expires > bindparam("now"),
)
_find = select(table).where(*_good)
_use = update(table).where(*_good).values(used=bindparam("now"))


def add(
    c: Connection,
    token_hash: bytes,
    account_id: int,
    purpose: Purpose,
    *,
    now: float,
    expires: float,
    sealed: bytes | None = None,
) -> None:
    """Let a link work once until it expires. Of those that set an account password, or register a phone, only
    the newest does."""
    if purpose in (Purpose.SET_PASSWORD, Purpose.PHONE):
        withdraw(c, account_id, purpose)
    values = {
        "token_hash": token_hash,
        "account_id": account_id,
        "purpose": purpose.value,
        "created": now,
        "expires": expires,
        "used": None,
        "sealed": sealed,
    }
    c.execute(insert(table), values)


def find(c: Connection, token_hash: bytes, now: float, purpose: Purpose) -> Link | None:
    """The link of a token, if it still works for this; it stays good (mail scanners open links, people come back)."""
    row = c.execute(_find, {"hash": token_hash, "what": purpose.value, "now": now}).first()
    return None if row is None else _link(row)


def newest(c: Connection, account_id: int, now: float, purpose: Purpose) -> Link | None:
    """The account's newest for this that still works."""
    still = (table.c.account_id == account_id, table.c.purpose == purpose.value, table.c.used.is_(None))
    row = c.execute(select(table).where(*still, table.c.expires > now).order_by(table.c.created.desc())).first()
    return None if row is None else _link(row)


def use(c: Connection, token_hash: bytes, now: float, purpose: Purpose) -> Link | None:
    """As find, and use it up, with what it handed over. Of two at the same time, one gets it."""
    link = find(c, token_hash, now, purpose)
    if link is None or not c.execute(_use, {"hash": token_hash, "what": purpose.value, "now": now}).rowcount:
        return None
    c.execute(update(table).where(table.c.token_hash == token_hash).values(sealed=None))
    return link


def leave(c: Connection, token_hash: bytes, now: float, purpose: Purpose, sealed: bytes) -> bool:
    """Put something into a link that still works and is empty; of two at the same time, one does."""
    empty = update(table).where(*_good, table.c.sealed.is_(None)).values(sealed=sealed)
    return bool(c.execute(empty, {"hash": token_hash, "what": purpose.value, "now": now}).rowcount)


def withdraw(c: Connection, account_id: int, purpose: Purpose | None = None) -> int:
    """Let the account's links (of one purpose) work no more; returns how many there were."""
    chosen = delete(table).where(table.c.account_id == account_id)
    return c.execute(chosen if purpose is None else chosen.where(table.c.purpose == purpose.value)).rowcount


def prune(c: Connection, now: float) -> int:
    """Forget links that have expired; returns how many."""
    return c.execute(delete(table).where(table.c.expires <= now)).rowcount


def _link(row: Row[Any]) -> Link:
    return Link(**{**row._mapping, "purpose": Purpose(row.purpose)})
