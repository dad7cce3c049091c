"""Letting a person in for the first time, and back in: what an operator does for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypedDict

from proxy.admin import values
from proxy.admin.accounts import refuse_elsewhere
from proxy.admin.desk import Actor, Conflict, Desk, Invalid
from proxy.admin.lookup import note, person_named
from proxy.admin.views import stamp
from proxy.domain import enrolment_codes, tokens
from proxy.domain.audit import Event
from proxy.domain.model import Account, MfaState
from proxy.domain.notices import Kind
from proxy.domain.sign_in import MINT_WAIT
from proxy.notices.telling import tell
from proxy.store import accounts, challenges, codes, devices, factors, hashing, links, people, portal_sessions
from proxy.store.links import Purpose

if TYPE_CHECKING:
    from sqlalchemy import Connection

CODE_FOR = "7d"
LINK_FOR = "1d"
LONGEST = 90 * 86400.0
"""Seconds that an enrolment code or a link may wait to be used."""
MOST_MINUTES = 24 * 60
"""Of a bypass: it is for a phone left at home, not a way to do without."""


class CodeIssued(TypedDict):
    """The one time an enrolment code is shown."""

    account: str
    code: str
    expires: str
    portal: str


class LinkIssued(TypedDict):
    """The one time a link is shown."""

    account: str
    link: str
    expires: str


class FactorsReset(TypedDict):
    """What a reset did."""

    account: str
    mfa: str
    factors: list[str]
    """Names of those that are gone."""
    devices: int
    sessions: int
    """Portal sessions that were ended."""
    mint_after: str
    """The person makes no app password before, unless they use an enrolment code."""


class Bypassed(TypedDict):
    """Until when a person is let in without a factor."""

    account: str
    until: str | None


class Unblocked(TypedDict):
    """What a report of fraud does no more."""

    account: str
    unblocked: bool
    """False: nothing was blocked."""


async def issue_code(desk: Desk, actor: Actor, account: str, expires: str | None = None) -> CodeIssued:
    """Give a person a one-time enrolment code; an older one works no more. Only its hash is kept."""
    now = desk.clock()
    until = _until(expires or CODE_FOR, now)
    await desk.store.read(person_named, desk, account)
    code = enrolment_codes.mint(desk.randbelow)
    phc = await asyncio.to_thread(hashing.hash_secret, code.reveal())

    def write(c: Connection) -> Account:
        person = person_named(c, desk, account)
        codes.issue_enrolment(c, person.id, phc, now=now, expires=until, issued_by=actor.who)
        note(c, desk, actor, Event.ENROLMENT_CODE_ISSUED, person, detail=f"expires={stamp(until)}")
        return person

    person = await desk.store.write(write)
    return {
        "account": person.address,
        "code": enrolment_codes.grouped(code),
        "expires": stamp(until),
        "portal": desk.config.portal.url,
    }


async def issue_password_link(desk: Desk, actor: Actor, account: str, expires: str | None = None) -> LinkIssued:
    """Give a person a link under which they set an account password, once; an older one works no more."""
    refuse_elsewhere(desk, *(await desk.store.read(person_named, desk, account)).login_names)
    now = desk.clock()
    until = _until(expires or LINK_FOR, now)
    token = tokens.written(desk.randbelow(256**tokens.BYTES).to_bytes(tokens.BYTES, "big")).reveal()

    def write(c: Connection) -> Account:
        person = person_named(c, desk, account)
        links.add(c, tokens.hash_of(token), person.id, Purpose.SET_PASSWORD, now=now, expires=until)
        note(c, desk, actor, Event.PASSWORD_LINK_ISSUED, person, detail=f"expires={stamp(until)}")
        return person

    person = await desk.store.write(write)
    url = f"{desk.config.portal.url.rstrip('/')}/set-password/{token}"
    return {"account": person.address, "link": url, "expires": stamp(until)}


async def reset_factors(desk: Desk, actor: Actor, account: str) -> FactorsReset:
    """Take all of a person's factors, recovery codes and known devices away and sign them out of the portal: they enrol
    anew. App passwords stay, and so does `disabled`; an enrolment code that was not used works no more.

    For a day they mint nothing unless an enrolment code was used: a reset is what an attacker talks an operator into.
    """
    now = desk.clock()

    def write(c: Connection) -> tuple[int, FactorsReset]:
        person = person_named(c, desk, account)
        tell(c, person, Kind.FACTORS_RESET, {}, now)  # before the ways to reach them are gone
        gone = factors.remove_all(c, person.id)
        codes.set_recovery(c, person.id, [])
        codes.withdraw_enrolment(c, person.id)
        challenges.withdraw(c, person.id)
        sessions = portal_sessions.end_all(c, person.id)
        known = devices.remove_all(c, person.id)
        state = MfaState.DISABLED if person.mfa is MfaState.DISABLED else MfaState.ENABLED
        accounts.set_mfa(c, [person.id], state)
        since = None if state is MfaState.DISABLED else now
        people.change(c, person.id, mfa_since=since, mint_after=now + MINT_WAIT, bypass_until=None)
        detail = f"factors={len(gone)} devices={known} sessions={sessions} {person.mfa}->{state}"
        note(c, desk, actor, Event.FACTORS_RESET, person, detail=detail)
        return person.id, {
            "account": person.address,
            "mfa": state.value,
            "factors": [factor.name for factor in gone],
            "devices": known,
            "sessions": sessions,
            "mint_after": stamp(now + MINT_WAIT),
        }

    account_id, done = await desk.store.write(write, urgent=True)
    desk.changed(account_id)
    return done


async def bypass(desk: Desk, actor: Actor, account: str, minutes: int) -> Bypassed:
    """Let a person in without a factor for some minutes, or (0) no longer. What needs a fresh factor still needs it."""
    if not 0 <= minutes <= MOST_MINUTES:
        raise Invalid(f"a bypass takes 1 to {MOST_MINUTES} minutes, or 0 to end it")
    until = desk.clock() + 60.0 * minutes if minutes else None

    def write(c: Connection) -> Bypassed:
        person = person_named(c, desk, account)
        if until is not None and person.mfa is MfaState.DISABLED:
            raise Conflict(f"{person.address} signs in without a factor anyway", code="not_needed")
        if until is not None and not factors.kinds(c, person.id):
            raise Conflict(
                f"{person.address} has no factor that could be bypassed; "
                f"give them a code for their first: sidegate accounts enrolment-code {person.address}",
                code="no_factor",
            )
        people.change(c, person.id, bypass_until=until)
        note(c, desk, actor, Event.MFA_BYPASSED, person, detail=f"minutes={minutes}")
        return {"account": person.address, "until": None if until is None else stamp(until)}

    return await desk.store.write(write)


async def unblock(desk: Desk, actor: Actor, account: str) -> Unblocked:
    """End what a report of fraud began: the person's phones are asked again, and the account password need not be
    changed. For mistakes, and where another directory keeps the passwords."""

    def write(c: Connection) -> Unblocked:
        person = person_named(c, desk, account)
        before = people.by_id(c, person.id)
        blocked = before.push_blocked or before.stopped(desk.clock())
        if blocked:
            people.change(c, person.id, push_blocked=False, must_change=False, stopped_until=None)
            note(c, desk, actor, Event.MFA_UNBLOCKED, person)
        return {"account": person.address, "unblocked": blocked}

    return await desk.store.write(write)


def _until(text: str, now: float) -> float:
    until = values.expiry(text, now)
    if until - now > LONGEST:
        raise Invalid(f"{text!r} is too long; write at most {LONGEST / 86400:g}d")
    return until
