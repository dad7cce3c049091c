"""Accounts: add, list, show, enable, disable, remove, their aliases, and the members of shared mailboxes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from proxy.admin import backend_names, values
from proxy.admin.cutting import Revoked, write_then_cut
from proxy.admin.desk import Actor, Conflict, Desk, Invalid
from proxy.admin.lookup import account_named, account_pages, by, change, note, note_all, person_named
from proxy.admin.views import AccountDetail, AccountView, stamp, stamp_or_none
from proxy.directory.choosing import MAX_PASSWORD, MIN_PASSWORD, Unfit, unfit
from proxy.domain.audit import Event
from proxy.domain.login_names import canonical
from proxy.domain.model import Account, AccountKind, AppPasswordRecord, EndReason, MfaState
from proxy.domain.notices import Kind
from proxy.domain.secret import Secret
from proxy.notices.telling import tell
from proxy.store import accounts as store
from proxy.store import app_passwords, factors, hashing, people, portal_sessions, sign_ins
from proxy.store.accounts import AccountRow, NewAccount
from proxy.store.errors import NameTaken

if TYPE_CHECKING:
    from sqlalchemy import Connection

_UNFIT = {
    Unfit.TOO_SHORT: f"an account password has {MIN_PASSWORD} to {MAX_PASSWORD} characters",
    Unfit.TOO_LONG: f"an account password has {MIN_PASSWORD} to {MAX_PASSWORD} characters",
    Unfit.COMMON: "this account password is among the first that anybody would try; choose another",
    Unfit.NAME: "an account password must not be the account's name; choose another",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """An account to add, as it was asked for: nothing is checked yet."""

    address: str
    kind: str = AccountKind.PERSON
    aliases: tuple[str, ...] = ()
    backend_name: str | None = None
    name: str | None = None
    owner: str | None = None
    """Login name of the person who answers for a service account."""
    members: tuple[str, ...] = ()
    """Login names of the persons who may mint for a shared mailbox."""
    admin: bool = False
    password: Secret | None = None


class Closed(Revoked):
    """What disabling or removing an account, or ending a membership, did."""

    account: str


def checked(desk: Desk, wanted: Wanted) -> NewAccount:
    """The account to write, names canonical, rules of kinds held; Invalid names what is wrong. Owner and members are
    looked up later."""
    config = desk.config
    try:
        kind = AccountKind(wanted.kind)
    except ValueError:
        raise Invalid(f"{wanted.kind!r} is no kind of account; kinds are {', '.join(AccountKind)}") from None
    address = values.address(wanted.address, config.default_domain, config.domains)
    if (kind is AccountKind.SERVICE) != (wanted.owner is not None):
        raise Invalid(
            f"{address}: a service account needs an owner, the person who answers for it"
            if kind is AccountKind.SERVICE
            else f"{address}: only a service account has an owner"
        )
    if wanted.members and kind is not AccountKind.SHARED:
        raise Invalid(f"{address}: only a shared mailbox has members")
    if kind is not AccountKind.PERSON and (wanted.admin or wanted.password is not None):
        raise Invalid(f"{address}: only a person signs in at the portal: no account password and no admin right")
    aliases = dict.fromkeys(values.alias(alias, config) for alias in wanted.aliases)
    if wanted.password is not None:
        refuse_elsewhere(desk, address, *aliases)
        _refuse_unfit(wanted.password, address, *aliases)
    aliases.pop(address, None)
    return NewAccount(
        address=address,
        created=desk.clock(),
        kind=kind,
        aliases=tuple(aliases),
        backend_name=values.backend_name(wanted.backend_name) if wanted.backend_name else None,
        display_name=values.label(wanted.name, "a display name", 128) if wanted.name else None,
        admin=wanted.admin,
    )


def taken(error: NameTaken) -> Conflict:
    """The sentence for a name that is in use."""
    return Conflict(f"the {error.what} {error.name!r} is taken already", code="name_taken")


async def add(desk: Desk, actor: Actor, wanted: Wanted) -> AccountDetail:
    """Add one account. Conflict when one of its names is taken."""
    new = checked(desk, wanted)
    phc = None
    if wanted.password is not None:
        phc = await asyncio.to_thread(hashing.hash_account_password, wanted.password.reveal())

    def write(c: Connection) -> AccountDetail:
        owner = person_named(c, desk, wanted.owner) if wanted.owner is not None else None
        members = [person_named(c, desk, member) for member in wanted.members]
        if (other := backend_names.holder(c, desk.config, new)) is not None:
            raise Conflict(
                f"a backend would take {new.address} for {other}: give it another backend name", code="name_taken"
            )
        try:
            account = store.add(c, with_owner(new, owner))
        except NameTaken as error:
            raise taken(error) from None
        for member in members:
            store.add_member(c, account.id, member.id)
        if phc is not None:
            store.set_password_hash(c, account.id, phc, desk.clock())
        note(c, desk, actor, Event.ACCOUNT_ADDED, account, detail=f"kind={account.kind}")
        return _detail(c, AccountRow(account, 0))

    return await desk.store.write(write)


def with_owner(new: NewAccount, owner: Account | None) -> NewAccount:
    """The same account, owned."""
    return new if owner is None else replace(new, owner_id=owner.id)


async def set_password(desk: Desk, actor: Actor, name: str, password: Secret) -> None:
    """Give a person another account password (for the portal; it never opens a session on a front) and sign them out
    there."""
    account = await desk.store.read(person_named, desk, name)
    refuse_elsewhere(desk, *account.login_names)
    _refuse_unfit(password, *account.login_names)
    phc = await asyncio.to_thread(hashing.hash_account_password, password.reveal())

    def write(c: Connection) -> None:
        account = person_named(c, desk, name)
        store.set_password_hash(c, account.id, phc, desk.clock())
        people.password_changed(c, account.id)
        tell(c, account, Kind.ACCOUNT_PASSWORD_CHANGED, by(actor), desk.clock())
        portal_sessions.end_all(c, account.id)
        note(c, desk, actor, Event.ACCOUNT_PASSWORD_CHANGED, account)

    await desk.store.write(write)


def refuse_elsewhere(desk: Desk, *login_names: str) -> None:
    """Conflict where an LDAP directory or an identity provider keeps the password of the account with these login
    names: one in the store would open nothing."""
    config, provider = desk.config, desk.config.portal.sign_in
    if provider is not None and not config.portal.keeps_password_of(login_names):
        kept_by = f"the identity provider {provider.issuer} keeps"
    elif provider is None and config.directory is not None:
        kept_by = f"the directory {config.directory.url} keeps"
    else:
        return
    url = config.portal.password_url
    then = f"people change theirs at {url}" if url else "change it there"
    raise Conflict(f"{kept_by} the account passwords; {then}", code="kept_elsewhere")


def _refuse_unfit(password: Secret, *names: str) -> None:
    problem = unfit(password, *names)
    if problem is not None:
        raise Invalid(_UNFIT[problem])


async def listing(desk: Desk, *, mfa: MfaState | None = None, no_app_passwords: bool = False) -> list[AccountView]:
    """Every account, by address; narrowed to an MFA state, or to those without a live app password."""
    pages = account_pages(desk, mfa=mfa, no_app_passwords=no_app_passwords)
    views: list[AccountView] = []
    async for page in pages:
        known = await desk.store.read(_known, [row.account.id for row in page])
        views += [_view(row, known) for row in page]
    return views


async def show(desk: Desk, name: str) -> AccountDetail:
    """Everything about one account but its app passwords."""

    def read(c: Connection) -> AccountDetail:
        account = account_named(c, desk, name)
        return _detail(c, AccountRow(account, app_passwords.count_live(c, account.id)))

    return await desk.store.read(read)


async def enable(desk: Desk, actor: Actor, name: str) -> AccountView:
    """Let an account log in again. Its app passwords are what they were."""

    def write(c: Connection) -> tuple[Account, AccountView]:
        account = account_named(c, desk, name)
        if store.set_enabled(c, account.id, True):
            note(c, desk, actor, Event.ACCOUNT_ENABLED, account)
        enabled = replace(account, enabled=True)
        row = AccountRow(enabled, app_passwords.count_live(c, account.id))
        return account, _view(row, _known(c, [account.id]))

    account, view = await desk.store.write(write)
    desk.changed(account.id)
    return view


async def disable(desk: Desk, actor: Actor, name: str) -> Closed:
    """Let nobody log in to an account and cut its sessions.

    Its own app passwords stay and work again when it is enabled. Those that its person minted for shared mailboxes
    are revoked: they open another account, which goes on.
    """
    account, elsewhere = await desk.store.read(_with_minted_elsewhere, desk, name)

    def write(c: Connection) -> list[AppPasswordRecord]:
        if store.set_enabled(c, account.id, False):
            note(c, desk, actor, Event.ACCOUNT_DISABLED, account)
        _, minted = _with_minted_elsewhere(c, desk, account.address)
        ended = app_passwords.end(c, [record.id for record in minted], desk.clock(), EndReason.REVOKED)
        note_ended(c, desk, actor, ended, "its person was disabled")
        return ended

    done = await write_then_cut(desk, write, app_passwords=elsewhere, accounts=[account])
    return {"account": account.address, **done}


async def remove(desk: Desk, actor: Actor, name: str) -> Closed:
    """Remove an account with its names and app passwords, and cut its sessions. There is no way back."""
    account, elsewhere = await desk.store.read(_with_minted_elsewhere, desk, name)

    def write(c: Connection) -> list[AppPasswordRecord]:
        current = account_named(c, desk, account.address)
        ended = store.remove(c, current.id, desk.clock())
        note(c, desk, actor, Event.ACCOUNT_REMOVED, current, detail=f"app_passwords={len(ended)}")
        others = [record for record in ended if record.account_id != current.id]
        note_ended(c, desk, actor, others, "its person was removed")
        return ended

    done = await write_then_cut(desk, write, app_passwords=elsewhere, accounts=[account])
    return {"account": account.address, **done}


def _with_minted_elsewhere(c: Connection, desk: Desk, name: str) -> tuple[Account, list[AppPasswordRecord]]:
    """An account and the live app passwords that its person minted for shared mailboxes."""
    account = account_named(c, desk, name)
    mailboxes = store.memberships(c, account.id)
    minted = [record for mailbox in mailboxes for record in app_passwords.of_account(c, mailbox.id, live_only=True)]
    return account, [record for record in minted if record.owner_id == account.id]


async def change_aliases(
    desk: Desk, actor: Actor, name: str, add: Sequence[str], remove: Sequence[str]
) -> AccountDetail:
    """Have further login names lead to an account, and others no more, all or none. Its sessions go on.

    What is removed may be added to another account by the next call. Conflict for a name that leads elsewhere, or is to
    be removed and leads not here.
    """
    added = [values.alias(alias, desk.config) for alias in add]

    def write(c: Connection) -> tuple[int, AccountDetail]:
        account = account_named(c, desk, name)
        removed = [_alias_of(account, alias, desk.config.default_domain) for alias in remove]
        store.remove_login_names(c, account.id, removed)
        try:
            new = store.add_login_names(c, account.id, added)
        except NameTaken as error:
            raise taken(error) from None
        for what, changed in (("removed", removed), ("added", new)):
            if changed:
                note(c, desk, actor, Event.ACCOUNT_CHANGED, account, detail=f"aliases {what}: {'; '.join(changed)}")
        now = account_named(c, desk, account.address)
        return account.id, _detail(c, AccountRow(now, app_passwords.count_live(c, account.id)))

    account_id, detail = await desk.store.write(write)
    desk.changed(account_id)
    return detail


def _alias_of(account: Account, alias: str, default_domain: str) -> str:
    spelled = canonical(alias, default_domain)
    if spelled == account.address:
        raise Conflict(f"{account.address} is the account's address, which stays", code="is_address")
    if spelled not in account.login_names:
        raise Conflict(f"{alias!r} is no login name of {account.address}", code="no_alias")
    return spelled


async def add_members(desk: Desk, actor: Actor, name: str, members: Sequence[str]) -> AccountDetail:
    """Let persons mint app passwords for a shared mailbox."""

    def write(c: Connection) -> AccountDetail:
        mailbox = _shared(c, desk, name)
        added = [
            person.address
            for person in (person_named(c, desk, member) for member in members)
            if store.add_member(c, mailbox.id, person.id)
        ]
        if added:
            note(c, desk, actor, Event.ACCOUNT_CHANGED, mailbox, detail=f"members added: {' '.join(added)}")
        return _detail(c, AccountRow(mailbox, app_passwords.count_live(c, mailbox.id)))

    return await desk.store.write(write)


async def remove_member(desk: Desk, actor: Actor, name: str, member: str) -> Closed:
    """End a membership: what the person minted for the mailbox is revoked and its sessions are cut."""

    def read(c: Connection) -> tuple[Account, Account, list[AppPasswordRecord]]:
        mailbox = _shared(c, desk, name)
        person = account_named(c, desk, member)
        if person.id not in {m.id for m in store.members(c, mailbox.id)}:
            raise Conflict(f"{person.address} is no member of {mailbox.address}", code="no_member")
        live = app_passwords.of_account(c, mailbox.id, live_only=True)
        return mailbox, person, [record for record in live if record.owner_id == person.id]

    mailbox, person, minted = await desk.store.read(read)

    def write(c: Connection) -> list[AppPasswordRecord]:
        ended = store.remove_member(c, mailbox.id, person.id, desk.clock())
        note(c, desk, actor, Event.ACCOUNT_CHANGED, mailbox, detail=f"member removed: {person.address}")
        note_ended(c, desk, actor, ended, "its person is no member any more")
        return ended

    return {"account": mailbox.address, **await write_then_cut(desk, write, app_passwords=minted)}


def note_ended(c: Connection, desk: Desk, actor: Actor, ended: Sequence[AppPasswordRecord], why: str) -> None:
    """One audit record for each app password that was revoked."""
    owners = {record.account_id: store.by_id(c, record.account_id) for record in ended}
    note_all(
        c,
        desk,
        [
            change(
                desk,
                actor,
                Event.APP_PASSWORD_REVOKED,
                owners[record.account_id],
                app_password=record.name,
                detail=f"id={record.id} {why}",
            )
            for record in ended
        ],
    )


def _shared(c: Connection, desk: Desk, name: str) -> Account:
    mailbox = account_named(c, desk, name)
    if mailbox.kind is not AccountKind.SHARED:
        raise Invalid(f"{mailbox.address} is a {mailbox.kind} account; only a shared mailbox has members")
    return mailbox


@dataclass(frozen=True, slots=True)
class _Known:
    """What the portal knows of accounts, by id."""

    factors: Mapping[int, list[str]]
    last_sign_in: Mapping[int, float]


def _known(c: Connection, account_ids: Sequence[int]) -> _Known:
    return _Known(factors.kinds_of_many(c, account_ids), sign_ins.last_times(c, account_ids))


def _view(row: AccountRow, known: _Known) -> AccountView:
    account = row.account
    return {
        "id": account.id,
        "account": account.address,
        "kind": account.kind.value,
        "login_names": list(account.login_names),
        "mfa": account.mfa.value,
        "enabled": account.enabled,
        "app_passwords": row.app_passwords,
        "factors": known.factors.get(account.id, []),
        "last_sign_in": stamp_or_none(known.last_sign_in.get(account.id)),
    }


def _detail(c: Connection, row: AccountRow) -> AccountDetail:
    account = row.account
    owner = store.by_id(c, account.owner_id) if account.owner_id is not None else None
    return {
        **_view(row, _known(c, [account.id])),
        "name": account.display_name,
        "backend_name": account.backend_name,
        "admin": account.admin,
        "owner": owner.address if owner is not None else None,
        "members": [member.address for member in store.members(c, account.id)],
        "created": stamp(account.created),
    }
