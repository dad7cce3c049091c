"""What the portal knows about persons, apart from what a login reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict, Unpack

from sqlalchemy import Connection, bindparam, exists, insert, select, update

from proxy.domain.model import MfaState
from proxy.store import links
from proxy.store.links import Purpose
from proxy.store.schema import accounts
from proxy.store.schema import people as table


@dataclass(frozen=True, slots=True)
class Person:
    """Times are seconds since the epoch; without a row everything is as it is here."""

    account_id: int
    language: str | None = None
    """As they chose it at the portal; None: the browser's."""
    recovery_address: str | None = None
    """Where they are told what the mailbox behind sidegate must not be the only one to know."""
    mfa_since: float | None = None
    """When a second factor became due; the deadline of an open enrolment counts from it."""
    mint_after: float | None = None
    """After a reset of factors: nothing is minted before, unless an enrolment code was used."""
    bypass_until: float | None = None
    """Until then an operator lets them in without a factor."""
    must_change: bool = False
    """The account password is to be changed at the next sign-in."""
    push_blocked: bool = False
    """They reported fraud: push, sms and call are not offered until the account password is another."""
    stopped_until: float | None = None
    """They reported fraud where nobody comes in at the portal for some days after that, not even they."""

    def bypassed(self, now: float) -> bool:
        """Whether they are let in without a factor now."""
        return self.bypass_until is not None and now < self.bypass_until

    def stopped(self, now: float) -> bool:
        """Whether the portal is closed to them now."""
        return self.stopped_until is not None and now < self.stopped_until

    def may_mint(self, now: float) -> bool:
        """Whether no reset stands in the way."""
        return self.mint_after is None or now >= self.mint_after


class Changes(TypedDict, total=False):
    """Columns of a person that `change` sets."""

    language: str | None
    recovery_address: str | None
    mfa_since: float | None
    mint_after: float | None
    bypass_until: float | None
    must_change: bool
    push_blocked: bool
    stopped_until: float | None


_by_id = select(table).where(table.c.account_id == bindparam("id"))


def by_id(c: Connection, account_id: int) -> Person:
    """What is known about a person."""
    row = c.execute(_by_id, {"id": account_id}).first()
    return Person(account_id) if row is None else Person(**row._mapping)


def change(c: Connection, account_id: int, **changes: Unpack[Changes]) -> bool:
    """Set these columns; False when the account is gone."""
    _ensure(c, [account_id])
    return bool(c.execute(update(table).where(table.c.account_id == account_id).values(**changes)).rowcount)


def mfa_set(c: Connection, account_ids: Sequence[int], state: MfaState, now: float) -> None:
    """A factor became due for these persons, whose MFA state has just changed to `state`, or is due no more.

    It stays due since when it was: who is enforced after having been enabled has no more time than before.
    """
    if state is MfaState.DISABLED:
        c.execute(update(table).where(table.c.account_id.in_(account_ids)).values(mfa_since=None))
        return
    _ensure(c, account_ids)
    since_now = update(table).where(table.c.account_id.in_(account_ids), table.c.mfa_since.is_(None))
    c.execute(since_now.values(mfa_since=now))


def password_changed(c: Connection, account_id: int) -> None:
    """The account password is another: what waited for that is over, and links that would set one work no more."""
    c.execute(update(table).where(table.c.account_id == account_id).values(must_change=False, push_blocked=False))
    links.withdraw(c, account_id, Purpose.SET_PASSWORD)


def _ensure(c: Connection, account_ids: Iterable[int]) -> None:
    """A row for each of these accounts that is there."""
    missing = (
        select(accounts.c.id)
        .where(accounts.c.id.in_(list(account_ids)))
        .where(~exists().where(table.c.account_id == accounts.c.id))
    )
    c.execute(insert(table).from_select(["account_id"], missing))
