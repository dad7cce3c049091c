"""What a person may do with what is their own: app passwords of their account, those that they minted for shared
mailboxes they are a member of, and the sessions of these. The portal asks in their name (`Actor.account`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from proxy.admin import app_password_changes, app_passwords, sessions
from proxy.admin.app_password_changes import Narrowed
from proxy.admin.cutting import Revoked
from proxy.admin.desk import Actor, Conflict, Desk, Forbidden, NotFound
from proxy.admin.lookup import live_of, note
from proxy.admin.views import AppPasswordView, CreatedView, SessionView
from proxy.domain.audit import Event
from proxy.domain.login_names import canonical
from proxy.domain.model import Account, MfaState
from proxy.store import accounts, factors, people
from proxy.store import app_passwords as store

if TYPE_CHECKING:
    from sqlalchemy import Connection


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
    """As app_passwords.create; the person is its owner. Conflict `wait` for a while after a reset of their factors."""

    def read(c: Connection) -> Account:
        if not people.by_id(c, _self(actor).id).may_mint(desk.clock()):
            raise Conflict(
                f"the factors of {_self(actor).address} were reset a short while ago: nothing is minted yet",
                code="wait",
            )
        if owner is not None and canonical(owner, desk.config.default_domain) not in _self(actor).login_names:
            raise Forbidden("a person mints for nobody else")
        return _mine(c, desk, actor, account)

    target = await desk.store.read(read)
    person = _self(actor).address
    return await app_passwords.create(
        desk, actor, target.address, name, scopes=scopes, networks=networks, expires=expires, owner=person
    )


async def listing(desk: Desk, actor: Actor, account: str | None = None) -> list[AppPasswordView]:
    """The person's app passwords, for one account or for all that are theirs; tombstones behind the live ones."""

    def read(c: Connection) -> list[AppPasswordView]:
        chosen = [_mine(c, desk, actor, account)] if account is not None else _all_mine(c, actor)
        every = [record for one in chosen for record in store.of_account(c, one.id)]
        records = [record for record in every if record.owner_id == _self(actor).id]
        return app_passwords.views_of(c, desk, records, chosen)

    return await desk.store.read(read)


async def revoke(desk: Desk, actor: Actor, account: str, names: Sequence[str], *, every: bool = False) -> Revoked:
    """As app_passwords.revoke, of those that are the person's own."""
    target = await desk.store.read(_mine, desk, actor, account)
    return await app_passwords.revoke(desk, actor, target.address, names, every=every, owner_id=_self(actor).id)


async def rename(desk: Desk, actor: Actor, account: str, app_password: str, name: str) -> AppPasswordView:
    """As app_password_changes.rename, of one that is the person's own."""
    target = await desk.store.read(_mine, desk, actor, account)
    return await app_password_changes.rename(desk, actor, target.address, app_password, name, owner_id=_self(actor).id)


async def narrow(
    desk: Desk,
    actor: Actor,
    account: str,
    app_password: str,
    *,
    scopes: Sequence[str] = (),
    networks: Sequence[str] = (),
    expires: str | None = None,
) -> Narrowed:
    """As app_password_changes.narrow, of one that is the person's own."""
    target = await desk.store.read(_mine, desk, actor, account)
    return await app_password_changes.narrow(
        desk,
        actor,
        target.address,
        app_password,
        scopes=scopes,
        networks=networks,
        expires=expires,
        owner_id=_self(actor).id,
    )


async def live_sessions(desk: Desk, actor: Actor) -> list[SessionView]:
    """The sessions of the person's app passwords, the oldest first."""
    ids = await desk.store.read(_owned_ids, actor)
    return [view async for view in sessions.views(desk, lambda session: session.app_password_id in ids)]


async def cut(
    desk: Desk,
    actor: Actor,
    *,
    account: str | None = None,
    app_password: str | None = None,
    session_id: str | None = None,
) -> int:
    """As sessions.cut, among the sessions of the person's app passwords."""

    def read(c: Connection) -> tuple[frozenset[int], int | None]:
        return _owned_ids(c, actor), None if account is None else _mine(c, desk, actor, account).id

    ids, account_id = await desk.store.read(read)
    return await sessions.cut_chosen(desk, actor, account_id, app_password, session_id, among=ids)


async def enrolled(desk: Desk, actor: Actor) -> MfaState:
    """From enabled to enforced: the person has registered a factor, the store says so. The only change of an MFA state
    that a person can make; returns the state that holds now."""

    def write(c: Connection) -> MfaState:
        account = accounts.by_id(c, _self(actor).id)
        if account is None:
            raise NotFound("the account was removed meanwhile")
        if account.mfa is not MfaState.ENABLED:
            return account.mfa
        if not factors.of_account(c, account.id):
            raise Conflict(f"{account.address} has no factor yet", code="no_factor")
        accounts.set_mfa(c, [account.id], MfaState.ENFORCED)
        note(c, desk, actor, Event.MFA_CHANGED, account, detail=f"{MfaState.ENABLED}->{MfaState.ENFORCED}")
        return MfaState.ENFORCED

    state = await desk.store.write(write)
    desk.changed(_self(actor).id)
    return state


def _self(actor: Actor) -> Account:
    assert actor.account is not None
    return actor.account


def _all_mine(c: Connection, actor: Actor) -> list[Account]:
    return [_self(actor), *accounts.memberships(c, _self(actor).id)]


def _mine(c: Connection, desk: Desk, actor: Actor, name: str) -> Account:
    """The person's own account, or a shared mailbox of theirs, that a login name leads to. Whatever else it may lead to
    is not said."""
    spelled = canonical(name, desk.config.default_domain)
    for account in _all_mine(c, actor):
        if spelled in account.login_names:
            return account
    raise Forbidden("that is neither the person's own account nor a shared mailbox of theirs")


def _owned_ids(c: Connection, actor: Actor) -> frozenset[int]:
    """Of the person's live app passwords."""
    return frozenset(record.id for one in _all_mine(c, actor) for record in live_of(c, one, _self(actor).id))
