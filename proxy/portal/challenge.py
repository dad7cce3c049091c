"""/challenge: the second step of a sign-in, and a factor once more before something that needs a fresh one.

A challenge is made when its page is shown, and kept in the session's notes until it is answered, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy import logs
from proxy.domain import delays
from proxy.domain.audit import Event
from proxy.domain.delays import Step
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import MfaState
from proxy.domain.notices import Kind
from proxy.domain.sign_in import Outcome, Stage
from proxy.factors import FactorRow, Failing, Sends, TooMany
from proxy.portal import arrival
from proxy.portal.core_client import CoreRefusal, CoreUnavailable
from proxy.portal.texts import message
from proxy.portal.waiting import patience
from proxy.portal.web import Visit, form_of, need, next_of, redirect, render, visit_of, wanted_of
from proxy.store import factors, portal_sessions, throttles

if TYPE_CHECKING:
    from sqlalchemy import Connection

BEST = (
    FactorKind.PASSKEY,
    FactorKind.PUSH,
    FactorKind.TOTP,
    FactorKind.SMS,
    FactorKind.CALL,
    FactorKind.RECOVERY_CODE,
)
"""The first that a person has is asked for; the others are links."""
PHONE = frozenset({FactorKind.PUSH, FactorKind.SMS, FactorKind.CALL})
"""What reaches a person who has not asked for it: not offered once they reported fraud."""
WAYS = {
    FactorKind.PASSKEY: message("Use a passkey"),
    FactorKind.PUSH: message("Confirm on your phone"),
    FactorKind.TOTP: message("Enter a code from your authenticator app"),
    FactorKind.SMS: message("Get a code by text message"),
    FactorKind.CALL: message("Get a phone call"),
    FactorKind.RECOVERY_CODE: message("Use a recovery code"),
}

_log = logs.get("portal")


@need(Stage.CHALLENGE, Stage.IN, changing=True)
async def best(request: Request) -> Response:
    visit = visit_of(request)
    kinds = await _kinds(visit)
    if kinds:
        return await _show(request, kinds[0], kinds, wanted_of(request.query_params))
    if visit.stage is Stage.IN and visit.by_provider:  # which has to say once more that it is them
        return redirect(f"/sign-in/provider?next={quote(wanted_of(request.query_params))}")
    # Something needs a factor, and there is none yet; or there are some, and none is offered here any more.
    if visit.stage is Stage.IN and not await visit.desk.store.read(factors.kinds, visit.account.id):
        return redirect("/enrol")
    return render(request, "challenge_none.html", 403)


@need(Stage.CHALLENGE, Stage.IN, changing=True)
async def one(request: Request) -> Response:
    kind, kinds = await _chosen(request)
    return await _show(request, kind, kinds, wanted_of(request.query_params))


@need(Stage.CHALLENGE, Stage.IN, changing=True)
async def answer(request: Request) -> Response:
    visit, desk = visit_of(request), visit_of(request).desk
    kind, kinds = await _chosen(request)
    given = await form_of(request)
    who = f"{visit.account.id}:{kind}"
    keys = delays.keys(Step.FACTOR, who, visit.address, visit.session.device_id, trusted=visit.trusted)
    wait = await desk.store.write(throttles.ahead, keys, desk.clock())
    if wait:
        stop, headers = patience(visit, wait)
        response = await _show(request, kind, kinds, wanted_of(given), 429, stop=stop)
        response.headers.update(headers)
        return response
    rows, notes = await desk.store.write(_take, visit, kind)
    if (
        notes is None
    ):  # answered already, or the page of another way was opened since: only what needs no notes can pass
        notes = (await desk.factors[kind].begin(visit.account, rows, visit.session.token_hash)).notes
    proven = await desk.factors[kind].finish(visit.account, rows, notes, dict(given))
    if isinstance(proven, str):
        _log.info("factor refused", user=visit.account.address, rip=visit.address, factor=kind.value)
        refused = (visit, visit.account, Outcome.WRONG_FACTOR, kind.value, visit.session.device_id)
        await desk.store.write(arrival.refuse, *refused)
        return await _show(request, kind, kinds, wanted_of(given), status_of(proven), problem=visit.say(proven))
    await desk.store.write(_pass, visit, proven, keys, given.get("remember") == "on")
    _log.info("factor proven", user=visit.account.address, rip=visit.address, factor=kind.value)
    await enforce(visit)
    return redirect(next_of(visit, given))


@need(Stage.CHALLENGE, Stage.IN, changing=True)
async def send(request: Request) -> Response:
    """Send what this kind sends: a code. The page of the challenge never does that by itself."""
    visit, desk = visit_of(request), visit_of(request).desk
    kind, kinds = await _chosen(request)
    factor, given = desk.factors[kind], await form_of(request)
    if not isinstance(factor, Sends):
        raise HTTPException(404)
    rows = await desk.store.read(factors.of_account, visit.account.id, kind)
    problem = await factor.send(visit.account, rows, visit.session.token_hash, dict(given))
    if problem is not None:
        return await _show(request, kind, kinds, wanted_of(given), status_of(problem), problem=visit.say(problem))
    wanted = wanted_of(given)
    return redirect(f"/challenge/{kind}?next={quote(wanted)}" if wanted else f"/challenge/{kind}")


def status_of(said: str) -> int:
    """What a factor says was wrong, as HTTP has it."""
    if isinstance(said, TooMany):
        return 429
    return 503 if isinstance(said, Failing) else 400


ROUTES = [
    Route("/challenge", best),
    Route("/challenge/{kind}", one),
    Route("/challenge/{kind}", answer, methods=["POST"]),
    Route("/challenge/{kind}/send", send, methods=["POST"]),
]


async def enforce(visit: Visit) -> None:
    """Somebody who has a factor is enforced from now on. The core changes that state and nobody else: what verdicts
    depend on has one writer. If it cannot now, the next challenge makes up for it."""
    if visit.account.mfa is MfaState.ENABLED:
        try:
            await visit.desk.core.enrolled(visit.account)
        except (CoreRefusal, CoreUnavailable) as error:
            _log.warning("not enforced yet", user=visit.account.address, reason=str(error))


async def _kinds(visit: Visit) -> list[FactorKind]:
    """What this person may be asked for, the best first."""
    theirs = await visit.desk.store.read(factors.kinds, visit.account.id)
    offered = theirs & visit.desk.factors.keys()
    return [kind for kind in BEST if kind in offered and not (visit.person.push_blocked and kind in PHONE)]


async def _chosen(request: Request) -> tuple[FactorKind, list[FactorKind]]:
    kinds = await _kinds(visit_of(request))
    for kind in kinds:
        if kind.value == request.path_params["kind"]:
            return kind, kinds
    raise HTTPException(404)


async def _show(
    request: Request,
    kind: FactorKind,
    kinds: list[FactorKind],
    wanted: str,
    status: int = 200,
    *,
    problem: str | None = None,
    stop: str | None = None,
) -> Response:
    visit, desk = visit_of(request), visit_of(request).desk
    rows = await desk.store.read(factors.of_account, visit.account.id, kind)
    begun = await desk.factors[kind].begin(visit.account, rows, visit.session.token_hash)
    notes = {"challenge": kind.value, "begun": dict(begun.notes)}
    await desk.store.write(portal_sessions.set_notes, visit.session.token_hash, notes)
    return render(
        request,
        "challenge.html",
        status,
        page=begun.page,
        kind=kind.value,
        action=f"/challenge/{kind}",
        others=[(other.value, visit.say(WAYS[other])) for other in kinds if other is not kind],
        next=wanted,
        days=desk.config.portal.remember_days if visit.stage is Stage.CHALLENGE else 0,
        problems={} if problem is None else {"answer": problem},
        stop=stop,
    )


def _take(c: Connection, visit: Visit, kind: FactorKind) -> tuple[list[FactorRow], Mapping[str, Any] | None]:
    """The factors of this kind, and the notes of the challenge that was shown; they are gone then."""
    rows = factors.of_account(c, visit.account.id, kind)
    notes = portal_sessions.take_notes(c, visit.session.token_hash)
    if notes is None or notes.get("challenge") != kind.value:
        return rows, None
    return rows, notes["begun"]


def _pass(c: Connection, visit: Visit, proven: FactorRow, keys: tuple[str, ...], remember: bool) -> None:
    now = visit.desk.clock()
    shown = f"{proven.kind}: {proven.name}" if proven.name else proven.kind.value
    throttles.succeeded(c, keys)
    if proven.kind is FactorKind.RECOVERY_CODE:
        arrival.note(c, visit, visit.account, Event.RECOVERY_CODE_USED, detail=f"left={proven.public['left']}")
    else:
        factors.mark_used(c, proven.id, now)
    device_id, by_code = visit.session.device_id, proven.kind is FactorKind.RECOVERY_CODE
    if visit.stage is Stage.CHALLENGE:
        device_id = arrival.arrive(c, visit, visit.account, shown, remember=remember, told=by_code)
    if by_code:
        facts = {"left": str(proven.public["left"])} | ({} if device_id is None else {"device_id": str(device_id)})
        arrival.inform(c, visit, visit.account, Kind.RECOVERY_CODE_USED, **facts)
    visit.step(c, Stage.IN, factor_time=now, device_id=device_id)
