"""Programs that were not let in: which of them their person is told of at once ("your old phone still tries").

Everything else is on the history page, and in the weekly digest.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from proxy.domain.model import Account
from proxy.domain.networks import network_of
from proxy.domain.notices import WEEK, Kind, Past, is_own_fault, is_their_own
from proxy.notices.telling import tell
from proxy.store import accounts, app_passwords, notices, sign_ins
from proxy.store.history import RefusalRecord

SAME_AGAIN = WEEK
"""Seconds in which a person is told of one program once."""


def tell_of_own(c: Connection, refused: Sequence[RefusalRecord]) -> None:
    """Have people told of those of these refusals that look like their own program. All of them are looked at together:
    this is on the way of every refusal into the store."""
    candidates = [row for row in refused if is_own_fault(row.reason)]
    if not candidates:
        return
    known = pasts(c, {row.account_id for row in candidates})
    nothing = Past()
    for row in candidates:
        past = known.get(row.account_id, nothing)
        if is_their_own(past, row.reason, row.network, row.program, row.app_password_id is not None):
            _tell(c, row)


def pasts(c: Connection, account_ids: set[int]) -> dict[int, Past]:
    """Where these accounts' programs and browsers were let in before, and what the programs call themselves."""
    networks = sign_ins.networks(c, account_ids)
    programs: dict[int, set[str]] = {}
    for account_id, address, program in app_passwords.last_uses(c, account_ids):
        networks.setdefault(account_id, set()).add(network_of(address))
        if program is not None:
            programs.setdefault(account_id, set()).add(program)
    return {
        account_id: Past(frozenset(seen), frozenset(programs.get(account_id, ())))
        for account_id, seen in networks.items()
    }


def _tell(c: Connection, row: RefusalRecord) -> None:
    name, person = _about(c, row)
    if person is None:
        return
    facts = {"reason": str(row.reason), "protocol": str(row.protocol), "network": row.network, "name": name}
    if row.program is not None:
        facts["program"] = row.program
    for told in notices.since(c, person.id, Kind.OLD_PROGRAM, row.time - SAME_AGAIN):
        if all(told.text.get(key) == facts.get(key) for key in ("reason", "name", "program")):
            return
    account = accounts.by_id(c, row.account_id)
    if account is not None:
        tell(c, person, Kind.OLD_PROGRAM, {"account": account.address, **facts}, row.time)


def _about(c: Connection, row: RefusalRecord) -> tuple[str, Account | None]:
    """The name of the app password that was sent, if it once was one, and whose program it is."""
    record = None if row.app_password_id is None else app_passwords.by_id(c, row.app_password_id)
    if record is None:
        return "", accounts.by_id(c, row.account_id)
    return record.name, accounts.by_id(c, record.owner_id)
