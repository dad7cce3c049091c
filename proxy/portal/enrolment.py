"""/enrol: the first factor. It takes more than the account password, which may be stolen: a one-time enrolment code, a
trusted network, an identity provider that has just seen another factor, or, where `portal.enrolment` is open, the
fortnight after MFA was enabled for the account.

Choose a method, set it up, prove it; recovery codes, shown once; then the first app password.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from proxy import logs
from proxy.config.settings import Enrolment
from proxy.domain import delays, enrolment_codes
from proxy.domain.delays import Step
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.sign_in import Stage, may_enrol_first
from proxy.factors import Begun, NewFactor, keeping
from proxy.portal import arrival
from proxy.portal.agents import agent_name
from proxy.portal.challenge import PHONE, enforce, status_of
from proxy.portal.factor_texts import KINDS
from proxy.portal.factors import BAD_NAME, is_factor_name, keep
from proxy.portal.texts import message
from proxy.portal.waiting import patience
from proxy.portal.web import Overtaken, Visit, form_of, need, redirect, render, visit_of
from proxy.store import codes, factors, people, portal_sessions, throttles

if TYPE_CHECKING:
    from sqlalchemy import Connection

OPEN_FOR = 14 * 86400.0
"""Seconds from MFA being enabled for an account in which `enrolment: open` holds."""
MISTYPED = message("That is no enrolment code. Twenty letters are expected: check each of them.")
WRONG_CODE = message("That is not your enrolment code, or it has run out. Check it, or ask for a new one.")
SPENT = message("Your enrolment code has been used or withdrawn meanwhile. Ask for a new one.")

_log = logs.get("portal")


@dataclass(frozen=True, slots=True)
class _Right:
    """Whether a first factor may be registered, and by which code."""

    given: bool
    issued: float | None
    """When the enrolment code that was right was issued."""


@need(Stage.ENROL, Stage.IN)
async def choose(request: Request) -> Response:
    visit = visit_of(request)
    if await _has_factors(visit):
        return _elsewhere(visit)
    if not _right(visit).given:
        return render(request, "enrol_code.html", problem=None, stop=None)
    return _methods(request)


@need(Stage.ENROL, Stage.IN)
async def code(request: Request) -> Response:
    """The enrolment code. It stays good until the factor that it was shown for is registered."""
    visit, desk = visit_of(request), visit_of(request).desk
    if await _has_factors(visit):
        return _elsewhere(visit)
    letters = enrolment_codes.normalize((await form_of(request)).get("code", ""))
    if letters is None:  # mistyped: the check letter says so, and nobody has guessed
        return render(request, "enrol_code.html", 400, problem=visit.say(MISTYPED), stop=None)
    account_id, device_id = str(visit.account.id), visit.session.device_id
    keys = delays.keys(Step.ENROLMENT_CODE, account_id, visit.address, device_id, trusted=visit.trusted)
    wait = await desk.store.write(throttles.ahead, keys, desk.clock())
    if wait:
        stop, headers = patience(visit, wait)
        response = render(request, "enrol_code.html", 429, problem=None, stop=stop)
        response.headers.update(headers)
        return response
    issued = await desk.store.read(codes.enrolment_right, visit.account.id, letters, desk.clock())
    if issued is None:
        _log.info("enrolment code refused", user=visit.account.address, rip=visit.address)
        return render(request, "enrol_code.html", 400, problem=visit.say(WRONG_CODE), stop=None)

    def remember(c: Connection) -> None:
        throttles.succeeded(c, keys)
        portal_sessions.set_notes(c, visit.session.token_hash, {"issued": issued})

    await desk.store.write(remember)
    return redirect("/enrol")


@need(Stage.ENROL, Stage.IN)
async def set_up(request: Request) -> Response:
    visit = visit_of(request)
    kind = _kind(request)
    if await _has_factors(visit):
        return _elsewhere(visit)
    if not _right(visit).given:
        return redirect("/enrol")
    return await _show(request, kind, visit.session.notes.get("begun") if _waits_for(visit, kind) else None)


@need(Stage.ENROL, Stage.IN)
async def prove(request: Request) -> Response:
    visit, desk = visit_of(request), visit_of(request).desk
    kind, right = _kind(request), _right(visit)
    given = await form_of(request)
    if await _has_factors(visit):
        return _elsewhere(visit)
    if not right.given or not _waits_for(visit, kind):
        return redirect("/enrol")
    # Gone while it is looked at: of two answers to one challenge, one counts.
    notes = await desk.store.write(portal_sessions.take_notes, visit.session.token_hash)
    if notes is None or notes.get("kind") != kind.value:
        raise Overtaken
    name, problems = given.get("name", "").strip(), {}
    if not is_factor_name(name):
        problems["name"] = visit.say(BAD_NAME)
    new = await desk.factors[kind].finish_registration(visit.account, notes["begun"], dict(given))
    if isinstance(new, Begun):
        if new.problem:
            problems = {"answer": visit.say(new.problem)}
            return await _show(request, kind, new, status_of(new.problem), problems=problems)
        kept = {"issued": right.issued, "kind": kind.value, "begun": dict(new.notes)}
        await desk.store.write(portal_sessions.set_notes, visit.session.token_hash, kept)
        return redirect(f"/enrol/{kind}")
    if isinstance(new, str):
        _log.info("factor not registered", user=visit.account.address, rip=visit.address, factor=kind.value)
        problems["answer"] = visit.say(new)
    if isinstance(new, str) or problems:
        status = status_of(new) if isinstance(new, str) else 400
        return await _show(request, kind, notes["begun"], status, name=name, problems=problems)
    new = replace(new, name=name)
    made = await desk.factors[FactorKind.RECOVERY_CODE].begin_registration(visit.account, "")
    if not await desk.store.write(_finish, visit, right, new, made):
        return render(request, "enrol_code.html", 409, problem=visit.say(SPENT), stop=None)
    _log.info("enrolled", user=visit.account.address, rip=visit.address, factor=kind.value)
    await enforce(visit)
    return redirect("/enrol/recovery-codes")


@need(Stage.IN)
async def recovery_codes(request: Request) -> Response:
    listed = _recovery_codes(visit_of(request))
    if listed is None:
        return redirect(visit_of(request).goal())
    return render(request, "enrol_recovery_codes.html", codes=listed)


@need(Stage.IN)
async def recovery_codes_text(request: Request) -> Response:
    """To print and to save."""
    visit = visit_of(request)
    listed = _recovery_codes(visit)
    if listed is None:
        return redirect(visit.goal())
    head = visit.say(
        "Recovery codes for %(account)s at %(site)s", account=visit.account.address, site=visit.desk.origin
    )
    once = visit.say("Each can be used once.")
    return PlainTextResponse("\n".join([head, once, "", *listed, ""]))


@need(Stage.IN)
async def recovery_codes_kept(request: Request) -> Response:
    """The person says that the codes are in a safe place: they are never shown again."""
    visit = visit_of(request)
    await form_of(request)
    if _recovery_codes(visit) is not None:
        await visit.desk.store.write(portal_sessions.set_notes, visit.session.token_hash, {})
    return redirect("/app-passwords/new")


ROUTES = [
    Route("/enrol", choose),
    Route("/enrol", code, methods=["POST"]),
    Route("/enrol/recovery-codes", recovery_codes),
    Route("/enrol/recovery-codes", recovery_codes_kept, methods=["POST"]),
    Route("/enrol/recovery-codes.txt", recovery_codes_text),
    Route("/enrol/{kind}", set_up),
    Route("/enrol/{kind}", prove, methods=["POST"]),
]


def _right(visit: Visit) -> _Right:
    issued = visit.session.notes.get("issued")
    since = visit.person.mfa_since
    is_open = visit.desk.config.portal.enrolment is Enrolment.OPEN and since is not None
    given = may_enrol_first(
        visit.desk.clock(),
        code_right=issued is not None,
        trusted_network=visit.trusted,
        provider_says=visit.by_provider and visit.fresh,
        open_until=since + OPEN_FOR if is_open and since is not None else None,
    )
    return _Right(given, issued)


async def _has_factors(visit: Visit) -> bool:
    return bool(await visit.desk.store.read(factors.of_account, visit.account.id))


def _elsewhere(visit: Visit) -> Response:
    """There is a first factor by now. Who only had to register it is to sign in again, with it."""
    if visit.stage is Stage.IN:
        return redirect("/factors")
    visit.end()
    return redirect("/sign-in")


def _kind(request: Request) -> FactorKind:
    """HTTPException 404 for a method that there is not, here."""
    for kind in visit_of(request).desk.factors:
        if kind.value == request.path_params["kind"] and kind is not FactorKind.RECOVERY_CODE:
            return kind
    raise HTTPException(404)


def _waits_for(visit: Visit, kind: FactorKind) -> bool:
    return visit.session.notes.get("kind") == kind.value


def _methods(request: Request) -> Response:
    visit = visit_of(request)
    offered = [
        (kind.value, visit.say(KINDS[kind].label), visit.say(KINDS[kind].hint))
        for kind in visit.desk.factors
        if kind is not FactorKind.RECOVERY_CODE and not (visit.person.push_blocked and kind in PHONE)
    ]
    return render(request, "enrol.html", methods=offered)


async def _show(
    request: Request,
    kind: FactorKind,
    begun: Begun | Mapping[str, Any] | None,
    status: int = 200,
    *,
    name: str | None = None,
    problems: Mapping[str, str] | None = None,
) -> Response:
    """The page that sets a factor up, or goes on with one that was begun: from its notes, if they are what there is."""
    visit, desk = visit_of(request), visit_of(request).desk
    factor = desk.factors[kind]
    if begun is None:
        begun = await factor.begin_registration(visit.account, _name(visit, kind))
    elif not isinstance(begun, Begun):
        begun = await factor.resume_registration(visit.account, begun)
    notes = {"issued": _right(visit).issued, "kind": kind.value, "begun": dict(begun.notes)}
    await desk.store.write(portal_sessions.set_notes, visit.session.token_hash, notes)
    return render(
        request,
        "enrol_set_up.html",
        status,
        page=begun.page,
        kind=kind.value,
        title=visit.say(KINDS[kind].label),
        action=f"/enrol/{kind}",
        name=_name(visit, kind) if name is None else name,
        problems=problems or {},
    )


def _name(visit: Visit, kind: FactorKind) -> str:
    """What a first factor is called until its person finds a better name."""
    return agent_name(visit.agent) if kind is FactorKind.PASSKEY else visit.say(KINDS[kind].label)


def _finish(c: Connection, visit: Visit, right: _Right, new: NewFactor, made: Begun) -> bool:
    """Keep the factor and the recovery codes, and let the person in. False when their enrolment code was used up or
    withdrawn meanwhile; Overtaken when there is a factor by now."""
    desk, account, now = visit.desk, visit.account, visit.desk.clock()
    if factors.of_account(c, account.id):
        raise Overtaken
    if right.issued is not None:
        if not codes.spend_enrolment(c, account.id, right.issued, now):
            return False
        people.change(c, account.id, mint_after=None)
    keep(c, visit, new)
    hashes = NewFactor(FactorKind.RECOVERY_CODE, "", public={"hashes": made.notes["hashes"]})
    keeping.keep(c, desk.config.node, account, hashes, now)
    # Whoever else is at this door with the password must now prove the factor.
    portal_sessions.end_all(c, account.id, but=visit.session.token_hash)
    device_id = visit.session.device_id
    if visit.stage is Stage.ENROL:
        device_id = arrival.arrive(c, visit, account, f"{new.kind}: {new.name}", told=True)
    visit.step(c, Stage.IN, factor_time=now, device_id=device_id)
    sealed = desk.sealer.seal(json.dumps(made.page["codes"]).encode(), context=_context(visit))
    portal_sessions.set_notes(c, visit.session.token_hash, {"recovery_codes": sealed.hex()})
    return True


def _recovery_codes(visit: Visit) -> list[str] | None:
    """Those that were made a moment ago, until the person has them."""
    sealed = visit.session.notes.get("recovery_codes")
    if sealed is None:
        return None
    listed: list[str] = json.loads(visit.desk.sealer.open(bytes.fromhex(sealed), context=_context(visit)))
    return listed


def _context(visit: Visit) -> str:
    return f"recovery codes shown:{visit.account.id}"
