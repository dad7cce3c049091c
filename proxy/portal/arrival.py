"""What is remembered about a sign-in, whichever way it went: history, audit, and the device that it was made in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from proxy.domain import tokens
from proxy.domain.audit import AuditEvent, Event
from proxy.domain.model import Account
from proxy.domain.networks import network_of
from proxy.domain.notices import Kind, is_new_place
from proxy.domain.sign_in import Outcome
from proxy.notices.telling import tell, tell_admins
from proxy.portal.agents import agent_name
from proxy.portal.web import Visit, new_token
from proxy.store import audit, devices, sign_ins
from proxy.store.devices import Device
from proxy.store.sign_ins import SignIn

if TYPE_CHECKING:
    from sqlalchemy import Connection

DAY = 86400.0
PROVIDER = "provider"
"""In place of a factor, for who came in through the identity provider."""


def known_device(c: Connection, account_id: int, device_tokens: Sequence[str]) -> tuple[str, Device] | None:
    """The device of this account that one of a browser's tokens names, with that token."""
    for token in device_tokens:
        device = devices.by_token(c, account_id, tokens.hash_of(token))
        if device is not None:
            return token, device
    return None


def arrive(
    c: Connection,
    visit: Visit,
    account: Account,
    factor: str | None,
    *,
    remember: bool = False,
    told: bool = False,
    by_provider: bool = False,
) -> int:
    """Somebody is in: the id of the device, which is known from now on. `factor`: which one was proven, for people;
    `remember`: they want no factor to be asked for in this browser for a while; `told`: the person is told of it by
    something else that they are told; `by_provider`: the identity provider has just vouched for them."""
    desk, now = visit.desk, visit.desk.clock()
    known = known_device(c, account.id, visit.device_tokens)
    before = sign_ins.networks(c, [account.id]).get(account.id, set())
    if known is None:
        token = new_token(desk)
        device = devices.add(c, account.id, tokens.hash_of(token), agent_name(visit.agent), now, visit.address)
    else:
        token, device = known
        devices.seen(c, device.id, now, visit.address)
    visit.know_device(token)
    if not told and (known is None or is_new_place(network_of(visit.address), before)):
        inform(c, visit, account, Kind.SIGNED_IN, device_id=str(device.id))
    _record(c, visit, account, Outcome.SIGNED_IN, factor, device.id)
    note(c, visit, account, Event.SIGNED_IN, detail=factor)
    if desk.config.portal.sign_in is not None and not (by_provider or visit.by_provider):
        note(c, visit, account, Event.BREAK_GLASS_USED)
        facts = {"account": account.address, "address": visit.address, "agent": agent_name(visit.agent)}
        tell_admins(c, Kind.BREAK_GLASS, facts, now)
    days = desk.config.portal.remember_days
    if remember and days:
        devices.remember(c, account.id, device.id, now + days * DAY)
        note(c, visit, account, Event.DEVICE_REMEMBERED, detail=f"{device.name} for {days} days")
    return device.id


def refuse(
    c: Connection,
    visit: Visit,
    account: Account,
    outcome: Outcome,
    factor: str | None = None,
    device_id: int | None = None,
) -> None:
    """Somebody is not in."""
    _record(c, visit, account, outcome, factor, device_id)
    note(c, visit, account, Event.SIGN_IN_REFUSED, reason=outcome.value, detail=factor)


def refuse_disabled(c: Connection, visit: Visit, account: Account) -> None:
    """The identity provider vouches for them, but the account is disabled."""
    note(c, visit, account, Event.SIGN_IN_REFUSED, reason="account_disabled")


def note(
    c: Connection, visit: Visit, account: Account, event: Event, *, reason: str | None = None, detail: str | None = None
) -> None:
    """The audit record of something that a person does now, in the transaction that does it."""
    record = AuditEvent(
        time=visit.desk.clock(),
        event=event,
        actor=f"person:{account.address}" if event is not Event.SIGN_IN_REFUSED else "client",
        account=account.address,
        account_id=account.id,
        network=network_of(visit.address),
        reason=reason,
        detail=detail,
    )
    audit.append(c, visit.desk.config.node, [record])


def inform(c: Connection, visit: Visit, account: Account, kind: Kind, **facts: str) -> None:
    """Tell the person what is done now in this browser, in the transaction that does it."""
    where = {"agent": agent_name(visit.agent), "address": visit.address}
    tell(c, account, kind, {**where, **facts}, visit.desk.clock())


def _record(
    c: Connection, visit: Visit, account: Account, outcome: Outcome, factor: str | None, device_id: int | None
) -> None:
    row = SignIn(
        account_id=account.id,
        time=visit.desk.clock(),
        outcome=outcome,
        factor=factor,
        address=visit.address,
        network=network_of(visit.address),
        agent=visit.agent,
        device_id=device_id,
    )
    sign_ins.record(c, row)
