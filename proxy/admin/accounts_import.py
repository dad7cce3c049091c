"""Adding many accounts from a CSV file (import_file.py describes it), in slices that let logins and revokes between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, TypedDict

from proxy.admin import backend_names
from proxy.admin.accounts import taken, with_owner
from proxy.admin.desk import Actor, Conflict, Desk
from proxy.admin.import_file import Known, Row
from proxy.admin.import_file import read as read_file
from proxy.admin.lookup import account_pages, change, note_all, person_named
from proxy.domain.audit import Event
from proxy.domain.model import Account, AccountKind
from proxy.store import accounts as store
from proxy.store.errors import NameTaken

if TYPE_CHECKING:
    from sqlalchemy import Connection

SLICE = 50
"""Accounts a transaction, audit records included: about 15 ms of the 50 that a bulk change may hold the writer."""


class Imported(TypedDict):
    """What an import did, or with dry_run would do."""

    job: str
    """In the `detail` of every audit record of this run."""
    added: int
    already_there: int
    dry_run: bool


async def import_accounts(desk: Desk, actor: Actor, name: str, text: str, *, dry_run: bool = False) -> Imported:
    """Add the accounts of a CSV file; rows whose address is an account already are left as they are.

    All errors are found before anything is written (FileErrors). Should the run end early, the same file goes on
    where it ended.
    """
    known = await _known(desk)
    rows, there = await asyncio.to_thread(read_file, desk, name, text, known)
    job = f"{desk.randbelow(2**32):08x}"
    if not dry_run:
        added = 0
        for part in slices(rows):
            try:
                added += await desk.store.write(_write, desk, actor, part, job)
            except NameTaken as error:
                raise Conflict(
                    f"{added} accounts were added, then {taken(error)}: another change came between. Run it again",
                    code="name_taken",
                ) from None
    return {"job": job, "added": len(rows), "already_there": there, "dry_run": dry_run}


def slices(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """The rows in transactions: persons in earlier ones than what they own or are members of."""
    persons = [row for row in rows if row.new.kind is AccountKind.PERSON]
    others = [row for row in rows if row.new.kind is not AccountKind.PERSON]
    return [part[start : start + SLICE] for part in (persons, others) for start in range(0, len(part), SLICE)]


async def _known(desk: Desk) -> Known:
    known = Known({}, {}, {})
    async for page in account_pages(desk):
        for row in page:
            account = row.account
            known.addresses[account.address] = account.kind
            known.login_names.update(dict.fromkeys(account.login_names, account.address))
            called = backend_names.called(desk.config, account.address, account.backend_name)
            known.called.update(dict.fromkeys(called, account.address))
    return known


def _write(c: Connection, desk: Desk, actor: Actor, part: Sequence[Row], job: str) -> int:
    people: dict[str, Account] = {}

    def person(name: str) -> Account:
        if name not in people:
            people[name] = person_named(c, desk, name)
        return people[name]

    new = [with_owner(row.new, person(row.owner) if row.owner is not None else None) for row in part]
    added = store.add_many(c, new)
    for row, account in zip(part, added, strict=True):
        for member in row.members:
            store.add_member(c, account.id, person(member).id)
    record = partial(change, desk, actor, Event.ACCOUNT_ADDED)
    note_all(c, desk, [record(account, detail=f"kind={account.kind} job={job}") for account in added])
    return len(added)
