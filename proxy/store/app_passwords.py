"""App passwords as stored: found by tag at a login, ended into tombstones, never deleted while their account lives."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from proxy.domain.model import AppPasswordRecord, EndReason, LastUse, Protocol
from proxy.domain.secret import Secret
from proxy.store.errors import NameTaken, TagTaken
from proxy.store.schema import accounts
from proxy.store.schema import app_passwords as table

_PART = 500
"""Ids per statement."""


@dataclass(frozen=True, slots=True)
class NewAppPassword:
    """An app password to add; fields as in AppPasswordRecord. `hash` is the PHC string."""

    account_id: int
    owner_id: int
    name: str
    scopes: frozenset[Protocol]
    networks: tuple[str, ...]
    created: float
    expires: float | None
    pepper_version: int
    tag: int
    hash: Secret


@dataclass(frozen=True, slots=True)
class Use:
    """What one batch adds to an app password: its newest use, and what was sent with it since the last batch."""

    app_password_id: int
    last_used: LastUse | None
    messages: int = 0
    recipients: int = 0


_all = select(table).order_by(table.c.id)
_by_id = select(table).where(table.c.id == bindparam("id"))
_in_force = (
    select(table.c.id, table.c.account_id, table.c.generation)
    .join(accounts, accounts.c.id == table.c.account_id)
    .where(table.c.id.in_(bindparam("ids", expanding=True)), table.c.ended.is_(None), accounts.c.enabled)
)
_by_tag = select(table).where(
    table.c.account_id == bindparam("account_id"),
    table.c.tag == bindparam("tag"),
    table.c.pepper_version == bindparam("pepper_version"),
)
_due = _all.where(table.c.ended.is_(None), table.c.expires.is_not(None), table.c.expires <= bindparam("now"))
# Two ranges of one partial index, each said in full: anything shorter makes SQLite read every row.
_unused_since = select(table).where(
    or_(
        and_(table.c.ended.is_(None), table.c.used_time < bindparam("when")),
        and_(table.c.ended.is_(None), table.c.used_time.is_(None), table.c.created < bindparam("when")),
    )
)
_count_use = (
    update(table)
    .where(table.c.id == bindparam("app_password_id"))
    .values(
        messages=table.c.messages + bindparam("more_messages"),
        recipients=table.c.recipients + bindparam("more_recipients"),
    )
)
# A session that ends reports its own login, which may be older than another session's.
_last_use = (
    update(table)
    .where(
        table.c.id == bindparam("app_password_id"),
        or_(table.c.used_time.is_(None), table.c.used_time <= bindparam("time")),
    )
    .values(
        used_time=bindparam("time"),
        used_address=bindparam("address"),
        used_protocol=bindparam("protocol"),
        used_program=bindparam("program"),
    )
)


def by_tags(c: Connection, account_id: int, tags: Sequence[tuple[int, int]]) -> list[AppPasswordRecord]:
    """Those of an account, tombstones included, that a secret with these (pepper version, tag) pairs may be.

    One index probe per pair, and there is a pair per pepper version in use: nearly always one. On the login path.
    """
    found: list[AppPasswordRecord] = []
    for pepper_version, tag in tags:
        values = {"account_id": account_id, "pepper_version": pepper_version, "tag": tag}
        found += map(_record, c.execute(_by_tag, values))
    return found


def by_id(c: Connection, app_password_id: int) -> AppPasswordRecord | None:
    """The app password or tombstone with this id."""
    row = c.execute(_by_id, {"id": app_password_id}).one_or_none()
    return None if row is None else _record(row)


def by_ids(c: Connection, ids: Iterable[int]) -> dict[int, AppPasswordRecord]:
    """Those of these app passwords and tombstones that exist, by id."""
    found: dict[int, AppPasswordRecord] = {}
    wanted = sorted(set(ids))
    for i in range(0, len(wanted), _PART):
        rows = c.execute(select(table).where(table.c.id.in_(wanted[i : i + _PART])))
        found.update((row.id, _record(row)) for row in rows)
    return found


def in_force(c: Connection, app_password_ids: Iterable[int]) -> dict[int, tuple[int, int]]:
    """id -> (account id, generation) of those that have not ended and whose account is enabled."""
    found: dict[int, tuple[int, int]] = {}
    wanted = sorted(set(app_password_ids))
    for i in range(0, len(wanted), _PART):
        for row in c.execute(_in_force, {"ids": wanted[i : i + _PART]}):
            found[row.id] = (row.account_id, row.generation)
    return found


def of_account(c: Connection, account_id: int | None, *, live_only: bool = False) -> list[AppPasswordRecord]:
    """All of an account, or of every account, by id; tombstones too unless `live_only`."""
    chosen = _all
    if account_id is not None:
        chosen = chosen.where(table.c.account_id == account_id)
    if live_only:
        chosen = chosen.where(table.c.ended.is_(None))
    return [_record(row) for row in c.execute(chosen)]


def count_live(c: Connection, account_id: int) -> int:
    """How many of an account have not ended: what `policy.app_password_limit` limits."""
    live = select(func.count()).where(table.c.account_id == account_id, table.c.ended.is_(None))
    return c.execute(live).scalar_one()


def find(c: Connection, account_id: int | None, name_or_id: str) -> list[AppPasswordRecord]:
    """Those of an account, or of every account, with this name or id: live ones first, then tombstones, newest first.

    More than one live result of one account means that one's name is another's id.
    """
    matches = table.c.name == name_or_id
    # isascii: int() takes other scripts' digits. 18 digits: more do not fit the column.
    if name_or_id.isascii() and name_or_id.isdigit() and len(name_or_id) <= 18:
        matches = or_(matches, table.c.id == int(name_or_id))
    chosen = select(table).where(matches).order_by(table.c.id.desc())
    if account_id is not None:
        chosen = chosen.where(table.c.account_id == account_id)
    records = [_record(row) for row in c.execute(chosen)]
    return sorted(records, key=lambda record: record.ended is not None)


def add(c: Connection, new: NewAppPassword) -> AppPasswordRecord:
    """Store a minted app password. Raises NameTaken (among the account's live ones) or TagTaken (tombstones count)."""
    values = {
        "account_id": new.account_id,
        "owner_id": new.owner_id,
        "name": new.name,
        "scopes": ",".join(sorted(new.scopes)),
        "networks": ",".join(new.networks),
        "created": new.created,
        "expires": new.expires,
        "pepper_version": new.pepper_version,
        "tag": new.tag,
        "hash": new.hash.reveal(),
    }
    try:
        with c.begin_nested():
            return _record(c.execute(insert(table).values(values).returning(table)).one())
    except IntegrityError:
        # Asked only now: what holds is the constraint, and engines name it differently in their errors.
        of_it = table.c.account_id == new.account_id
        if c.execute(select(exists().where(of_it, table.c.name == new.name, table.c.ended.is_(None)))).scalar():
            raise NameTaken("app password", new.name) from None
        if c.execute(select(exists().where(of_it, table.c.tag == new.tag))).scalar():
            raise TagTaken("the tag is taken") from None
        raise


def change(
    c: Connection,
    app_password_id: int,
    *,
    name: str | None = None,
    scopes: frozenset[Protocol] | None = None,
    networks: tuple[str, ...] | None = None,
    expires: float | None = None,
) -> AppPasswordRecord | None:
    """Give a live one these; what is None stays. Returns it as it is now, None if it is not live.

    Other scopes or networks raise its generation. Raises NameTaken (among the account's live ones).
    """
    values: dict[str, object] = {}
    if name is not None:
        values["name"] = name
    if scopes is not None:
        values["scopes"] = ",".join(sorted(scopes))
    if networks is not None:
        values["networks"] = ",".join(networks)
    if expires is not None:
        values["expires"] = expires
    if scopes is not None or networks is not None:
        values["generation"] = table.c.generation + 1
    statement = update(table).where(table.c.id == app_password_id, table.c.ended.is_(None)).values(values)
    try:
        with c.begin_nested():
            row = c.execute(statement.returning(table)).one_or_none()
    except IntegrityError:
        if name is None:
            raise
        raise NameTaken("app password", name) from None
    return None if row is None else _record(row)


def end(c: Connection, ids: Iterable[int], when: float, reason: EndReason) -> list[AppPasswordRecord]:
    """Make tombstones. Returns those that were live until now, as ended, by id; the others stay as they were."""
    ended: list[AppPasswordRecord] = []
    wanted = sorted(set(ids))
    for i in range(0, len(wanted), _PART):
        statement = (
            update(table)
            .where(table.c.id.in_(wanted[i : i + _PART]), table.c.ended.is_(None))
            .values(ended=when, end_reason=reason.value, generation=table.c.generation + 1)
            .returning(table)
        )
        ended += map(_record, c.execute(statement))
    return sorted(ended, key=lambda record: record.id)


def raise_generation(c: Connection, account_id: int) -> None:
    """Mark every live app password of an account as changed, so that a login in flight is noticed."""
    c.execute(
        update(table)
        .where(table.c.account_id == account_id, table.c.ended.is_(None))
        .values(generation=table.c.generation + 1)
    )


def live_ids(c: Connection, *, account_id: int | None = None, owner_id: int | None = None) -> list[int]:
    """Ids of those that have not ended, for an account, minted by a person, or both."""
    chosen = select(table.c.id).where(table.c.ended.is_(None))
    if account_id is not None:
        chosen = chosen.where(table.c.account_id == account_id)
    if owner_id is not None:
        chosen = chosen.where(table.c.owner_id == owner_id)
    return list(c.execute(chosen).scalars())


def due(c: Connection, now: float) -> list[AppPasswordRecord]:
    """Those past `expires` that have not been ended yet."""
    return [_record(row) for row in c.execute(_due, {"now": now})]


def unused_since(c: Connection, when: float, ids: Sequence[int] | None = None) -> list[AppPasswordRecord]:
    """Live ones last used, or else created, before `when`; by id. With `ids` (a few hundred) only those among them."""
    chosen = _unused_since if ids is None else _unused_since.where(table.c.id.in_(ids))
    return sorted((_record(row) for row in c.execute(chosen, {"when": when})), key=lambda record: record.id)


def last_uses(c: Connection, account_ids: Collection[int]) -> list[tuple[int, str, str | None]]:
    """Account, address and program of the last use of every app password of these accounts, tombstones too."""
    used = select(table.c.account_id, table.c.used_address, table.c.used_program).where(
        table.c.account_id.in_(list(account_ids)), table.c.used_address.is_not(None)
    )
    return [(row.account_id, row.used_address, row.used_program) for row in c.execute(used)]


def record_uses(c: Connection, uses: Iterable[Use]) -> None:
    """Write behind what logins and sessions did; a batch, never on the login path."""
    batch = list(uses)
    counts = [
        {"app_password_id": u.app_password_id, "more_messages": u.messages, "more_recipients": u.recipients}
        for u in batch
        if u.messages or u.recipients
    ]
    last = [
        {
            "app_password_id": use.app_password_id,
            "time": use.last_used.time,
            "address": use.last_used.address,
            "protocol": use.last_used.protocol.value,
            "program": use.last_used.program,
        }
        for use in batch
        if use.last_used is not None
    ]
    if counts:
        c.execute(_count_use, counts)
    if last:
        c.execute(_last_use, last)


@lru_cache(maxsize=64)
def _scopes(text: str) -> frozenset[Protocol]:
    return frozenset(Protocol(word) for word in text.split(",") if word)


def _record(row: Row[Any]) -> AppPasswordRecord:
    return AppPasswordRecord(
        id=row.id,
        account_id=row.account_id,
        owner_id=row.owner_id,
        name=row.name,
        scopes=_scopes(row.scopes),
        networks=tuple(row.networks.split(",")) if row.networks else (),
        created=row.created,
        expires=row.expires,
        ended=row.ended,
        end_reason=None if row.end_reason is None else EndReason(row.end_reason),
        generation=row.generation,
        pepper_version=row.pepper_version,
        tag=row.tag,
        hash=Secret(row.hash),
        last_used=None
        if row.used_time is None
        else LastUse(row.used_time, row.used_address, Protocol(row.used_protocol), row.used_program),
        messages=row.messages,
        recipients=row.recipients,
    )
