"""Telling people: a row in the outbox, in the transaction of the change that it is about.

Neither is anything sent here nor does anything fail here: how they are reached is decided now, and the portal process
sends (outbox.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import Connection

from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account, AccountKind
from proxy.domain.notices import DAY, EVERY_WAY, Channel, Kind, allowance, at_once
from proxy.store import accounts, factors, notices, people

Way = tuple[Channel, str]
"""A channel and who is reached over it: an address, or a push subscription as JSON."""


def tell(c: Connection, account: Account, kind: Kind, facts: Mapping[str, str], now: float) -> None:
    """Have a person told. Whoever has no portal (a shared mailbox, a service) is not.

    Call it before the change, where that takes a channel away: they are reached as they were.
    """
    if account.kind is not AccountKind.PERSON:
        return
    facts = {"account": account.address, **facts}
    counted, _ = allowance(kind)
    today = notices.count_since(c, account.id, now - DAY, counted)
    alike = notices.count_since(c, account.id, now - DAY, [kind])
    # A phone that somebody has just added is no witness of that.
    open_ways = ways(c, account, but=facts.get("factor_id") if kind is Kind.FACTOR_ADDED else None)
    if kind is Kind.MAIL_FAILING:  # no mail about mail
        open_ways = [way for way in open_ways if way[0] is Channel.PUSH]
    if not open_ways or not at_once(kind, today, alike):
        notices.add(c, account.id, kind, channel=Channel.PAGE, recipient="", text=facts, now=now)
        return
    for channel, recipient in open_ways if kind in EVERY_WAY else open_ways[:1]:
        notices.add(c, account.id, kind, channel=channel, recipient=recipient, text=facts, now=now)


def tell_admins(c: Connection, kind: Kind, facts: Mapping[str, str], now: float) -> None:
    """Have every person told who is an admin and not disabled."""
    for admin in accounts.admins(c):
        tell(c, admin, kind, facts, now)


def ways(c: Connection, account: Account, *, but: str | None = None) -> list[Way]:
    """How this person can be reached now, the best first. `but`: not over the factor with this id."""
    theirs = factors.of_account(c, account.id, FactorKind.PUSH)
    phones = [one for one in theirs if "endpoint" in one.public and str(one.id) != but]
    found = [(Channel.PUSH, json.dumps(phone.public)) for phone in sorted(phones, key=lambda one: -(one.used or 0.0))]
    recovery = people.by_id(c, account.id).recovery_address
    if recovery is not None:
        found.append((Channel.RECOVERY, recovery))
    return [*found, (Channel.MAILBOX, account.address)]
