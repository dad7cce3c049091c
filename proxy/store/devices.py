"""Known devices: browsers in which a person has signed in before. The cookie holds a token; kept is its SHA-256."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from proxy.store.schema import devices as table
from proxy.store.schema import portal_sessions

MOST = 50
"""Of one account; the longest unseen go first."""


@dataclass(frozen=True, slots=True)
class Device:
    """Times are seconds since the epoch."""

    id: int
    account_id: int
    token_hash: bytes = field(repr=False)
    name: str
    created: float
    seen: float
    address: str
    """Where it was seen last."""
    remembered_until: float | None
    """Until then no factor is asked for in it."""

    def remembered(self, now: float) -> bool:
        """Whether no factor is asked for in it now."""
        return self.remembered_until is not None and now < self.remembered_until


_by_token = select(table).where(table.c.token_hash == bindparam("hash"), table.c.account_id == bindparam("id"))
_of_account = (
    select(table).where(table.c.account_id == bindparam("id")).order_by(table.c.seen.desc(), table.c.id.desc())
)


def add(c: Connection, account_id: int, token_hash: bytes, name: str, now: float, address: str) -> Device:
    """A browser in which the account has just signed in for the first time."""
    values = {
        "account_id": account_id,
        "token_hash": token_hash,
        "name": name,
        "created": now,
        "seen": now,
        "address": address,
        "remembered_until": None,
    }
    new = c.execute(insert(table).values(**values).returning(table)).one()
    newest = _of_account.with_only_columns(table.c.id).limit(MOST)
    for stale in (
        c.execute(
            select(table.c.id).where(table.c.account_id == account_id, table.c.id.not_in(newest)), {"id": account_id}
        )
        .scalars()
        .all()
    ):
        remove(c, account_id, stale)
    return Device(**new._mapping)


def by_token(c: Connection, account_id: int, token_hash: bytes) -> Device | None:
    """The device of a cookie, if this account has signed in on it."""
    row = c.execute(_by_token, {"hash": token_hash, "id": account_id}).first()
    return None if row is None else Device(**row._mapping)


def of_account(c: Connection, account_id: int) -> list[Device]:
    """The account's devices, the last seen first."""
    return [Device(**row._mapping) for row in c.execute(_of_account, {"id": account_id})]


def seen(c: Connection, device_id: int, now: float, address: str) -> None:
    """Note a sign-in on it."""
    c.execute(update(table).where(table.c.id == device_id).values(seen=now, address=address))


def remember(c: Connection, account_id: int, device_id: int, until: float | None) -> bool:
    """Ask for no factor in it until then, or (None) always again; False when it is not the account's."""
    return _change(c, account_id, device_id, remembered_until=until)


def rename(c: Connection, account_id: int, device_id: int, name: str) -> bool:
    """False when it is not the account's."""
    return _change(c, account_id, device_id, name=name)


def remove(c: Connection, account_id: int, device_id: int) -> bool:
    """Know it no more, and end the portal sessions in it; False when it is not the account's."""
    c.execute(
        delete(portal_sessions).where(
            portal_sessions.c.device_id == device_id, portal_sessions.c.account_id == account_id
        )
    )
    chosen = delete(table).where(table.c.id == device_id, table.c.account_id == account_id)
    return bool(c.execute(chosen).rowcount)


def remove_all(c: Connection, account_id: int) -> int:
    """Know none of the account's any more; returns how many there were. Sessions stay: portal_sessions.end_all."""
    return c.execute(delete(table).where(table.c.account_id == account_id)).rowcount


def _change(c: Connection, account_id: int, device_id: int, **values: str | float | None) -> bool:
    chosen = update(table).where(table.c.id == device_id, table.c.account_id == account_id)
    return bool(c.execute(chosen.values(**values)).rowcount)
