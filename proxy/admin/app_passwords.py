"""App passwords: create, list, revoke. What a person may do of it is in own.py."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from proxy.admin import values
from proxy.admin.accounts import note_ended
from proxy.admin.cutting import Revoked, cut, write_then_cut
from proxy.admin.desk import Actor, ChatKick, Conflict, Desk, Invalid, NotFound, Refusal
from proxy.admin.lookup import account_named, account_pages, app_passwords_named, by, live_of, note, person_named
from proxy.admin.views import AppPasswordView, CreatedView, LastUseView, stamp, stamp_or_none
from proxy.domain import app_passwords as secrets
from proxy.domain.audit import Event
from proxy.domain.model import DEFAULT_SCOPES, Account, AccountKind, AppPasswordRecord, EndReason
from proxy.domain.notices import Kind
from proxy.domain.secret import Secret
from proxy.notices.telling import tell
from proxy.store import accounts, hashing
from proxy.store import app_passwords as store
from proxy.store.app_passwords import NewAppPassword
from proxy.store.errors import NameTaken, TagTaken

if TYPE_CHECKING:
    from sqlalchemy import Connection

_MINTS = 8
"""Tries until a tag of 32 bits is free: with 40 app passwords a second one is needed once in 100 million."""


async def create(
    desk: Desk,
    actor: Actor,
    account: str,
    name: str,
    *,
    scopes: Sequence[str] = (),
    networks: Sequence[str] = (),
    expires: str | None = None,
    owner: str | None = None,
) -> CreatedView:
    """Mint an app password. The answer holds the secret, grouped; it is kept nowhere and never shown again.

    `scopes` empty means imap and smtp. `owner` matters for a shared mailbox only: the member it is for; it may be left
    out when there is one member. A person owns their own, a service account's are its owner's.
    """
    now = desk.clock()
    name = values.label(name, "the name of an app password")
    scope_set = values.scopes(scopes) if scopes else DEFAULT_SCOPES
    cidrs = values.networks(networks)
    until = _until(desk, expires, now)
    target = await desk.store.read(account_named, desk, account)
    pepper_version = max(desk.peppers)
    for _ in range(_MINTS):
        secret = secrets.mint(desk.randbelow)
        letters = secret.reveal()
        new = NewAppPassword(
            account_id=target.id,
            owner_id=target.id,
            name=name,
            scopes=scope_set,
            networks=cidrs,
            created=now,
            expires=until,
            pepper_version=pepper_version,
            tag=secrets.tag(desk.peppers[pepper_version], target.id, letters),
            hash=Secret(await asyncio.to_thread(hashing.hash_secret, letters)),
        )
        try:
            view = await desk.store.write(_write_new, desk, actor, new, owner)
        except TagTaken:
            continue
        desk.changed(target.id)
        return {**view, "secret": secrets.grouped(secret)}
    raise Refusal("no free tag was found for a new app password; try again")


async def listing(desk: Desk, account: str | None = None) -> list[AppPasswordView]:
    """App passwords of one account or of all, tombstones behind the live ones."""

    def of_accounts(c: Connection, chosen: Sequence[Account]) -> list[AppPasswordView]:
        records = [record for one in chosen for record in store.of_account(c, one.id)]
        return views_of(c, desk, records, chosen)

    if account is not None:
        return await desk.store.read(of_accounts, [await desk.store.read(account_named, desk, account)])
    found: list[AppPasswordView] = []
    async for page in account_pages(desk):
        found += await desk.store.read(of_accounts, [row.account for row in page])
    return found


async def revoke(
    desk: Desk,
    actor: Actor,
    account: str,
    names: Sequence[str],
    *,
    every: bool = False,
    owner_id: int | None = None,
) -> Revoked:
    """Revoke app passwords of an account by name or id, or `every` live one. Returns once their sessions are closed.

    `owner_id`: only those that this person minted are seen.
    """

    def choose(c: Connection) -> list[AppPasswordRecord]:
        target = account_named(c, desk, account)
        chosen = live_of(c, target, owner_id) if every else app_passwords_named(c, target, names, owner_id)
        if not chosen:
            raise NotFound(f"{target.address} has no live app password")
        return chosen

    def write(c: Connection) -> list[AppPasswordRecord]:
        return _end(c, desk, actor, choose(c), "revoked")

    return await write_then_cut(desk, write, app_passwords=await desk.store.read(choose))


async def unused(desk: Desk, unused_for: str) -> list[AppPasswordView]:
    """The live app passwords that were not used for this long, nor made in it, and that nobody is connected with."""
    before = desk.clock() - values.duration(unused_for)

    def read(c: Connection) -> list[AppPasswordView]:
        return views_of(c, desk, _idle(c, desk, before))

    return await desk.store.read(read)


async def revoke_unused(desk: Desk, actor: Actor, unused_for: str) -> Revoked:
    """Revoke what `unused` lists. In slices: logins and other revokes go between."""
    before = desk.clock() - values.duration(unused_for)
    total: Revoked = {"revoked": [], "sessions_cut": 0}

    def write(c: Connection, ids: list[int]) -> list[AppPasswordRecord]:
        return _end(c, desk, actor, _idle(c, desk, before, ids), f"unused for {unused_for}")

    ids = [record.id for record in await desk.store.read(_idle, desk, before)]
    for start in range(0, len(ids), _SLICE):
        done = await cut(desk, await desk.store.write(write, ids[start : start + _SLICE]))
        total["revoked"] += done["revoked"]
        total["sessions_cut"] += done["sessions_cut"]
        if "chat" in done:
            total["chat"] = _together(total.get("chat", []), done["chat"])
    return total


def _together(some: list[ChatKick], more: list[ChatKick]) -> list[ChatKick]:
    """The rows of two slices, service by service."""
    rows = {row["service"]: row for row in some}
    for row in more:
        before = rows.setdefault(row["service"], {"service": row["service"], "users": 0, "problem": None})
        if before["users"] is not None:
            before["users"] = None if row["users"] is None else before["users"] + row["users"]
        before["problem"] = before["problem"] or row["problem"]
    return list(rows.values())


_SLICE = 100
"""App passwords a transaction: under the 50 ms that a bulk change may hold the writer."""


def _idle(c: Connection, desk: Desk, before: float, ids: Sequence[int] | None = None) -> list[AppPasswordRecord]:
    # The last use is that of the last login: a session may have stood for longer.
    return [record for record in store.unused_since(c, before, ids) if not desk.sessions.count_app_password(record.id)]


def _until(desk: Desk, expires: str | None, now: float) -> float | None:
    longest = desk.config.policy.app_password_max_age
    until = values.expiry(expires, now) if expires is not None else None
    if longest is None:
        return until
    if until is not None and until > now + longest:
        raise Invalid(f"an app password may live {longest / 86400:g} days at most (policy.app_password_max_age)")
    return until if until is not None else now + longest


def _write_new(c: Connection, desk: Desk, actor: Actor, new: NewAppPassword, owner: str | None) -> AppPasswordView:
    account = accounts.by_id(c, new.account_id)
    if account is None:
        raise NotFound("the account was removed meanwhile")
    if not account.enabled:
        raise Conflict(f"{account.address} is disabled; `sidegate accounts enable {account.address}` first")
    limit = desk.config.policy.app_password_limit
    if store.count_live(c, account.id) >= limit:
        raise Conflict(
            f"{account.address} has {limit} app passwords, which is the limit (policy.app_password_limit); "
            f"revoke one that is not used any more, see `sidegate passwords list {account.address}`",
            code="limit",
        )
    person = _owner(c, desk, account, owner)
    try:
        record = store.add(c, replace(new, owner_id=person.id))
    except NameTaken:
        raise name_taken(account, new.name) from None
    scope = ",".join(sorted(record.scopes))
    detail = f"id={record.id} scopes={scope} owner={person.address}"
    note(c, desk, actor, Event.APP_PASSWORD_CREATED, account, app_password=record.name, detail=detail)
    facts = {"name": record.name, "account": account.address, "app_password_id": str(record.id), **by(actor)}
    tell(c, person, Kind.APP_PASSWORD_CREATED, facts, new.created)
    return views_of(c, desk, [record], [account])[0]


def name_taken(account: Account, name: str) -> Conflict:
    """What is said when another live app password of the account has the name."""
    return Conflict(
        f"{account.address} has a live app password {name!r} already; choose another name or revoke that one",
        code="name_taken",
    )


def _owner(c: Connection, desk: Desk, account: Account, owner: str | None) -> Account:
    if account.kind is AccountKind.SHARED:
        return _member(c, desk, account, owner)
    person: Account | None = account
    if account.kind is AccountKind.SERVICE:
        person = accounts.by_id(c, account.owner_id) if account.owner_id is not None else None
        if person is None:
            raise Conflict(f"nobody answers for the service account {account.address}: its owner was removed")
    assert person is not None
    if owner is not None and person_named(c, desk, owner).id != person.id:
        raise Invalid(f"app passwords of {account.address} belong to {person.address} and to nobody else")
    return person


def _member(c: Connection, desk: Desk, mailbox: Account, owner: str | None) -> Account:
    members = accounts.members(c, mailbox.id)
    if owner is None:
        if len(members) == 1:
            return members[0]
        raise Invalid(
            f"{mailbox.address} is a shared mailbox: say for which member the app password is, with --owner"
            if members
            else f"{mailbox.address} has no members; add one with `sidegate accounts members {mailbox.address} --add`"
        )
    person = person_named(c, desk, owner)
    if person.id not in {member.id for member in members}:
        raise Conflict(f"{person.address} is no member of {mailbox.address}", code="no_member")
    return person


def _end(
    c: Connection, desk: Desk, actor: Actor, records: Sequence[AppPasswordRecord], why: str
) -> list[AppPasswordRecord]:
    ended = store.end(c, [record.id for record in records], desk.clock(), EndReason.REVOKED)
    note_ended(c, desk, actor, ended, why)
    return ended


def views_of(
    c: Connection, desk: Desk, records: Sequence[AppPasswordRecord], known: Sequence[Account] = ()
) -> list[AppPasswordView]:
    """As they are listed. `known` saves reading these accounts."""
    addresses: dict[int, str | None] = {account.id: account.address for account in known}

    def address_of(account_id: int) -> str | None:
        if account_id not in addresses:
            found = accounts.by_id(c, account_id)
            addresses[account_id] = found.address if found is not None else None
        return addresses[account_id]

    def place(record: AppPasswordRecord) -> tuple[str, bool, float, str]:
        return address_of(record.account_id) or "", record.ended is not None, -(record.ended or 0.0), record.name

    return [
        {
            "id": record.id,
            "account": address_of(record.account_id) or "",
            "owner": address_of(record.owner_id),
            "name": record.name,
            "scopes": sorted(record.scopes),
            "networks": list(record.networks),
            "created": stamp(record.created),
            "expires": stamp_or_none(record.expires),
            "last_used": _last_use(record),
            "sessions": desk.sessions.count_app_password(record.id),
            "revoked": stamp_or_none(record.ended) if record.end_reason is not EndReason.EXPIRED else None,
        }
        for record in sorted(records, key=place)
    ]


def _last_use(record: AppPasswordRecord) -> LastUseView | None:
    use = record.last_used
    if use is None:
        return None
    return {"time": stamp(use.time), "address": use.address, "protocol": use.protocol.value, "program": use.program}
