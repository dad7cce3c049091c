"""Finding what a request names, and the audit record of a change. All of it takes an open connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from proxy.admin.desk import Actor, ActorKind, Conflict, Desk, Invalid, NotFound
from proxy.domain.audit import AuditEvent, Event
from proxy.domain.login_names import canonical
from proxy.domain.model import Account, AccountKind, AppPasswordRecord, MfaState
from proxy.store import accounts, app_passwords, audit
from proxy.store.accounts import AccountRow

if TYPE_CHECKING:
    from sqlalchemy import Connection


PAGE = 500
"""Accounts a read: logins use the same readers and must not wait for a long list."""


async def account_pages(
    desk: Desk, *, mfa: MfaState | None = None, no_app_passwords: bool = False
) -> AsyncIterator[list[AccountRow]]:
    """All accounts by address, a page at a time; each page is a snapshot of its own."""

    def read(c: Connection, after: str | None) -> list[AccountRow]:
        return accounts.listing(c, mfa=mfa, no_app_passwords=no_app_passwords, after=after, limit=PAGE)

    after: str | None = None
    while page := await desk.store.read(read, after):
        after = page[-1].account.address
        yield page


def account_named(c: Connection, desk: Desk, name: str) -> Account:
    """The account any login name leads to. NotFound says how to see which there are."""
    spelled = canonical(name, desk.config.default_domain)
    account = accounts.by_login_name(c, spelled) if spelled is not None else None
    if account is None:
        raise NotFound(f"there is no account {name!r}; `sidegate accounts list` shows all")
    return account


def person_named(c: Connection, desk: Desk, name: str) -> Account:
    """As account_named; Invalid unless it is a person."""
    account = account_named(c, desk, name)
    if account.kind is not AccountKind.PERSON:
        raise Invalid(f"{account.address} is a {account.kind} account, not a person")
    return account


def app_passwords_named(
    c: Connection, account: Account, names: Sequence[str], owner_id: int | None = None
) -> list[AppPasswordRecord]:
    """The live app passwords of an account, or those of them that a person minted, that these names or ids mean, each
    one. NotFound names the first that means none, Conflict one that means two."""
    found: dict[int, AppPasswordRecord] = {}
    for name in names:
        live = [
            record
            for record in app_passwords.find(c, account.id, name)
            if record.ended is None and owner_id in (None, record.owner_id)
        ]
        if not live:
            raise NotFound(
                f"{account.address} has no live app password {name!r}; "
                f"`sidegate passwords list {account.address}` shows them"
            )
        if len(live) > 1:
            raise means_several(name, account.address, {record.id: record.name for record in live})
        found[live[0].id] = live[0]
    return list(found.values())


def live_of(c: Connection, account: Account, owner_id: int | None = None) -> list[AppPasswordRecord]:
    """The live app passwords of an account, or those of them that a person minted."""
    live = app_passwords.of_account(c, account.id, live_only=True)
    return [record for record in live if owner_id in (None, record.owner_id)]


def means_several(name: str, address: str, found: Mapping[int, str]) -> Conflict:
    """What is said when a name is one app password's name and another's id; `found`: their names by id."""
    each = " and ".join(f"{other!r} (id {number})" for number, other in found.items())
    return Conflict(f"{name!r} means {each} of {address}: name the one you mean by its other name")


def note(
    c: Connection,
    desk: Desk,
    actor: Actor,
    event: Event,
    account: Account | None,
    *,
    app_password: str | None = None,
    detail: str | None = None,
) -> None:
    """Write the audit record of a change into the change's own transaction."""
    note_all(c, desk, [change(desk, actor, event, account, app_password=app_password, detail=detail)])


def by(actor: Actor) -> dict[str, str]:
    """For a notice: who did it, if it was not the person."""
    return {"by": "operator"} if actor.kind is ActorKind.OPERATOR else {}


def note_all(c: Connection, desk: Desk, events: Sequence[AuditEvent]) -> None:
    """As note, for several at once."""
    if events:
        audit.append(c, desk.node, list(events))


def change(
    desk: Desk,
    actor: Actor,
    event: Event,
    account: Account | None,
    *,
    app_password: str | None = None,
    detail: str | None = None,
) -> AuditEvent:
    """The audit record of a change that is made now."""
    return AuditEvent(
        time=desk.clock(),
        event=event,
        actor=actor.who,
        account=account.address if account is not None else None,
        account_id=account.id if account is not None else None,
        app_password=app_password,
        detail=detail,
    )
