"""Changing a live app password: its name, and what it is good for, which can only become less.

Whoever has the secret was given no more than the person agreed to when it was made: for more, a new one is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NotRequired, TypedDict

from proxy.admin import values
from proxy.admin.app_passwords import name_taken, views_of
from proxy.admin.cutting import write_then_cut
from proxy.admin.desk import Actor, ChatKick, Conflict, Desk, Invalid
from proxy.admin.lookup import account_named, app_passwords_named, note
from proxy.admin.views import AppPasswordView, stamp
from proxy.domain.audit import Event
from proxy.domain.model import Account, AppPasswordRecord, Protocol
from proxy.domain.networks import lies_in
from proxy.store import app_passwords as store
from proxy.store.errors import NameTaken

if TYPE_CHECKING:
    from sqlalchemy import Connection


class Narrowed(TypedDict):
    """`passwords change --json`."""

    app_password: AppPasswordView
    sessions_cut: int
    chat: NotRequired[list[ChatKick]]
    """As in cutting.Revoked."""


async def rename(
    desk: Desk, actor: Actor, account: str, app_password: str, name: str, *, owner_id: int | None = None
) -> AppPasswordView:
    """Give a live app password of an account, by name or id, another name. Its sessions go on, under the new name.

    `owner_id`: only those that this person minted are seen.
    """
    name = values.label(name, "the name of an app password")

    def write(c: Connection) -> tuple[AppPasswordRecord, AppPasswordView]:
        target, record = _named(c, desk, account, app_password, owner_id)
        if record.name != name:
            try:
                changed = store.change(c, record.id, name=name)
            except NameTaken:
                raise name_taken(target, name) from None
            assert changed is not None  # it was live in this transaction
            detail = f"id={record.id} renamed from {record.name!r}"
            note(c, desk, actor, Event.APP_PASSWORD_CHANGED, target, app_password=name, detail=detail)
            record = changed
        return record, views_of(c, desk, [record], [target])[0]

    record, view = await desk.store.write(write)
    desk.changed(record.account_id)
    for session in desk.sessions.select(app_passwords=[record.id]):
        session.app_password = name
    return view


async def narrow(
    desk: Desk,
    actor: Actor,
    account: str,
    app_password: str,
    *,
    scopes: Sequence[str] = (),
    networks: Sequence[str] = (),
    expires: str | None = None,
    owner_id: int | None = None,
) -> Narrowed:
    """Leave a live app password, by name or id, fewer scopes, smaller networks or less time; what is not given stays.

    With other scopes or networks its sessions are cut, all of them: what may go on comes back. Conflict (`wider`) when
    it would open more than it does. `owner_id` as for rename.
    """
    wanted = _Wanted(desk, scopes, networks, expires)

    def write(c: Connection) -> list[AppPasswordRecord]:
        target, record = _named(c, desk, account, app_password, owner_id)
        less = wanted.than(record)
        if not less:
            return []
        changed = store.change(c, record.id, **less)
        assert changed is not None  # it was live in this transaction
        detail = " ".join([f"id={record.id}", *_told(less)])
        note(c, desk, actor, Event.APP_PASSWORD_CHANGED, target, app_password=record.name, detail=detail)
        return [record] if changed.generation != record.generation else []

    def view(c: Connection) -> AppPasswordView:
        record = store.by_id(c, before.id)
        return views_of(c, desk, [record or before], [target])[0]

    target, before = await desk.store.read(_named, desk, account, app_password, owner_id)
    ends = wanted.than(before).keys() - {"expires"}
    done = await write_then_cut(desk, write, app_passwords=[before] if ends else [], revoked=False)
    desk.changed(target.id)
    narrowed: Narrowed = {"app_password": await desk.store.read(view), "sessions_cut": done["sessions_cut"]}
    if "chat" in done:
        narrowed["chat"] = done["chat"]
    return narrowed


class _Less(TypedDict, total=False):
    """What changes, for store.change."""

    scopes: frozenset[Protocol]
    networks: tuple[str, ...]
    expires: float


class _Wanted:
    """What is asked for, checked by itself; `than` holds it against what an app password is good for."""

    def __init__(self, desk: Desk, scopes: Sequence[str], networks: Sequence[str], expires: str | None) -> None:
        if not scopes and not networks and expires is None:
            raise Invalid("say what it shall be good for from now on: scopes, networks or an earlier end")
        self._scopes = values.scopes(scopes) if scopes else None
        self._networks = values.networks(networks)
        self._expires = values.expiry(expires, desk.clock()) if expires is not None else None

    def than(self, record: AppPasswordRecord) -> _Less:
        """What has to change, and can."""
        less: _Less = {}
        if self._scopes is not None and self._scopes != record.scopes:
            self._refuse_more(record, "scopes", self._scopes - record.scopes)
            less["scopes"] = self._scopes
        if self._networks and set(self._networks) != set(record.networks):
            outside = [one for one in self._networks if record.networks and not lies_in(one, record.networks)]
            self._refuse_more(record, "networks", outside)
            less["networks"] = self._networks
        if self._expires is not None and self._expires != record.expires:
            later = record.expires is not None and self._expires > record.expires
            self._refuse_more(record, "time", [stamp(self._expires)] if later else [])
            less["expires"] = self._expires
        return less

    def _refuse_more(self, record: AppPasswordRecord, what: str, more: Sequence[str] | frozenset[Protocol]) -> None:
        if more:
            raise Conflict(
                f"{record.name!r} was not made for {', '.join(sorted(more))}: its {what} can only become less; "
                "create a new app password for more",
                code="wider",
            )


def _named(
    c: Connection, desk: Desk, account: str, app_password: str, owner_id: int | None
) -> tuple[Account, AppPasswordRecord]:
    target = account_named(c, desk, account)
    return target, app_passwords_named(c, target, [app_password], owner_id)[0]


def _told(less: _Less) -> list[str]:
    """For the audit: what it is good for from now on, as far as that changed."""
    told = []
    if "scopes" in less:
        told.append(f"scopes={','.join(sorted(less['scopes']))}")
    if "networks" in less:
        told.append(f"networks={','.join(less['networks'])}")
    if "expires" in less:
        told.append(f"expires={stamp(less['expires'])}")
    return told
