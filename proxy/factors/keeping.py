"""What becomes of a person's factors once a page is done: one transaction each, with its audit record."""

from __future__ import annotations

from sqlalchemy import Connection

from proxy.domain.audit import AuditEvent, Event
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account
from proxy.store import audit, codes, factors
from proxy.store.factors import FactorRow, NewFactor


def keep(c: Connection, node: str, account: Account, new: NewFactor, now: float) -> bool:
    """Keep what was just registered. NameTaken if the account has one of that name; False if it has factors.MOST.

    Recovery codes are not rows among the others: new ones replace all that there were.
    """
    if new.kind is FactorKind.RECOVERY_CODE:
        codes.set_recovery(c, account.id, [bytes.fromhex(one) for one in new.public["hashes"]])
        _record(c, node, account, Event.RECOVERY_CODES_MADE, None, now)
        return True
    row = factors.add(c, account.id, new, now)
    if row is None:
        return False
    _record(c, node, account, Event.FACTOR_ADDED, _told(row), now)
    return True


def rename(c: Connection, node: str, account: Account, row: FactorRow, name: str, now: float) -> None:
    """NameTaken if the account has another of that name."""
    if name != row.name and factors.rename(c, account.id, row.id, name):
        _record(c, node, account, Event.FACTOR_CHANGED, f"{_told(row)}, from now on {name}", now)


def remove(c: Connection, node: str, account: Account, row: FactorRow, now: float) -> bool:
    """False if it is the last one: without a factor only an operator could let the person in."""
    if not factors.remove(c, account.id, row.id):
        return False
    _record(c, node, account, Event.FACTOR_REMOVED, _told(row), now)
    return True


def _told(row: FactorRow) -> str:
    return f"{row.kind}: {row.name}"


def _record(c: Connection, node: str, account: Account, event: Event, detail: str | None, now: float) -> None:
    who = f"person:{account.address}"
    audit.append(c, node, [AuditEvent(now, event, who, account=account.address, account_id=account.id, detail=detail)])
