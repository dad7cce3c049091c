"""A sign-in that a person denies on their phone, or reports: somebody else has their account password.

A report ends that sign-in and every other one that is half way, stops what reaches phones unasked (push, text
messages, calls), wants another account password, and tells the admins. What the person has to fetch themselves, a
passkey, a code or a recovery code, still opens the portal to them, unless `portal.fraud_stop_days` closes it. A new
account password ends it, or an operator (`sidegate mfa unblock`), who alone opens what was closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.domain.audit import AuditEvent, Event
from proxy.domain.networks import network_of
from proxy.domain.notices import DAY, Kind
from proxy.domain.sign_in import Outcome, Stage
from proxy.factors.phones import Phone
from proxy.notices.telling import tell_admins
from proxy.portal.agents import agent_name
from proxy.portal.desk import PortalDesk
from proxy.store import audit, challenges, people, portal_sessions, sign_ins
from proxy.store.challenges import Challenge
from proxy.store.sign_ins import SignIn

if TYPE_CHECKING:
    from sqlalchemy import Connection


def deny(c: Connection, desk: PortalDesk, phone: Phone, challenge: Challenge) -> None:
    """It was not them, or a mistake: that sign-in is over."""
    _record(c, desk, phone, challenge, Outcome.DENIED)
    portal_sessions.end(c, challenge.session_hash)


def report(c: Connection, desk: PortalDesk, phone: Phone, challenge: Challenge) -> None:
    """Somebody else has their account password."""
    account, now = phone.account, desk.clock()
    address, agent = _record(c, desk, phone, challenge, Outcome.FRAUD)
    for session in portal_sessions.of_account(c, account.id, now):
        if session.stage is not Stage.IN or session.token_hash == challenge.session_hash:
            portal_sessions.end(c, session.token_hash)
    challenges.withdraw(c, account.id)
    days = desk.config.portal.fraud_stop_days
    people.change(c, account.id, push_blocked=True, stopped_until=now + days * DAY if days else None)
    if desk.config.directory is None:  # another directory has pages of its own: an operator ends it there
        people.change(c, account.id, must_change=True)
    facts = {"account": account.address, "address": address, "agent": agent_name(agent), "factor": phone.row.name}
    tell_admins(c, Kind.FRAUD_REPORTED, facts, now)


def _record(c: Connection, desk: PortalDesk, phone: Phone, challenge: Challenge, outcome: Outcome) -> tuple[str, str]:
    """In history and audit; returns where it came from, and with which browser, as far as that is known still."""
    account, now = phone.account, desk.clock()
    session = portal_sessions.by_token(c, challenge.session_hash, now)
    address = "0.0.0.0" if session is None else session.address  # noqa: S104 - nobody in particular
    agent = "" if session is None else session.agent
    factor = f"{phone.row.kind}: {phone.row.name}"
    network = network_of(address)
    device_id = None if session is None else session.device_id
    sign_ins.record(c, SignIn(account.id, now, outcome, factor, address, network, agent, device_id))
    event = Event.FRAUD_REPORTED if outcome is Outcome.FRAUD else Event.SIGN_IN_REFUSED
    actor = f"person:{account.address}"
    told = AuditEvent(
        now,
        event,
        actor,
        account=account.address,
        account_id=account.id,
        network=network,
        reason=outcome.value,
        detail=factor,
    )
    audit.append(c, desk.config.node, [told])
    return address, agent
