"""MFA states of accounts, in bulk."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, TypedDict

from proxy.admin.desk import Actor, Desk, Invalid, NotFound
from proxy.admin.lookup import account_pages, change, note_all
from proxy.domain.audit import Event
from proxy.domain.login_names import canonical
from proxy.domain.model import Account, AccountKind, MfaState
from proxy.store import accounts as store
from proxy.store import people

if TYPE_CHECKING:
    from sqlalchemy import Connection

SLICE = 100
"""Accounts a transaction, audit records included: under the 50 ms that a bulk change may hold the writer."""


class StateSet(TypedDict):
    """What set_state did, or with dry_run would do."""

    job: str
    """In the `detail` of every audit record of this run."""
    state: str
    changed: list[str]
    """Addresses."""
    unchanged: int
    dry_run: bool


async def set_state(
    desk: Desk, actor: Actor, state: MfaState, names: Sequence[str] | None, *, dry_run: bool = False
) -> StateSet:
    """Set the MFA state of these accounts, or of every person (`names` None).

    Nothing is changed when a name leads to no person: NotFound or Invalid lists all such names.
    """
    chosen = await (_every_person(desk) if names is None else _named(desk, names))
    targets = [account for account in chosen if account.mfa is not state]
    job = f"{desk.randbelow(2**32):08x}"
    changed: list[str] = []

    def write(c: Connection, part: Sequence[Account]) -> list[str]:
        ids = set(store.set_mfa(c, [account.id for account in part], state))
        people.mfa_set(c, sorted(ids), state, desk.clock())
        done = [account for account in part if account.id in ids]
        record = partial(change, desk, actor, Event.MFA_CHANGED)
        note_all(c, desk, [record(account, detail=f"{account.mfa}->{state} job={job}") for account in done])
        return [account.address for account in done]

    if dry_run:
        changed = [account.address for account in targets]
    else:
        for start in range(0, len(targets), SLICE):
            part = targets[start : start + SLICE]
            changed += await desk.store.write(write, part)
            for account in part:
                desk.changed(account.id)
    return {
        "job": job,
        "state": state.value,
        "changed": changed,
        "unchanged": len(chosen) - len(changed),
        "dry_run": dry_run,
    }


async def _every_person(desk: Desk) -> list[Account]:
    rows = [row async for page in account_pages(desk) for row in page]
    return [row.account for row in rows if row.account.kind is AccountKind.PERSON]


async def _named(desk: Desk, names: Sequence[str]) -> list[Account]:
    def read(c: Connection) -> list[Account]:
        found: dict[int, Account] = {}
        missing, others = [], []
        for name in names:
            spelled = canonical(name, desk.config.default_domain)
            account = store.by_login_name(c, spelled) if spelled is not None else None
            if account is None:
                missing.append(repr(name))
            elif account.kind is not AccountKind.PERSON:
                others.append(account.address)
            else:
                found[account.id] = account
        if missing:
            raise NotFound(f"nothing was changed: there is no account {', '.join(missing)}")
        if others:
            raise Invalid(f"nothing was changed: only persons sign in with a second factor, not {', '.join(others)}")
        return list(found.values())

    return await desk.store.read(read)
