"""What the authenticator (static/phone.js) asks: small JSON in, and pieces of pages out, in the reader's language.

There is no session: a phone signs each request with its key (factors/phones.py). Whose signature is not right is told
that the phone is not registered, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from proxy import logs
from proxy.domain.networks import network_of
from proxy.domain.phones import TRIES, Answered, Claim, Decision
from proxy.domain.sign_in import Stage
from proxy.factors import phones
from proxy.factors.phones import Asked, Phone
from proxy.portal import fraud
from proxy.portal.agents import agent_name
from proxy.portal.core_client import CoreRefusal, CoreUnavailable
from proxy.portal.moments import tell
from proxy.portal.push import push_of
from proxy.portal.push_waking import SUBSCRIPTION
from proxy.portal.texts import message
from proxy.portal.web import Visit, anyone, render, visit_of
from proxy.store import factors
from proxy.store.challenges import Challenge

if TYPE_CHECKING:
    from sqlalchemy import Connection

MAX_BODY = 16 * 1024
"""Bytes."""
MAX_CUT = 100
SAID = {
    Answered.CONFIRMED: message("Confirmed. Go on where you sign in."),
    Answered.WRONG: message("That is not the number that the page shows. Look again."),
    Answered.ENDED: message("Those were too many wrong numbers. Start again where you sign in."),
    Answered.DENIED: message("That sign-in was stopped."),
    Answered.REPORTED: message("Reported. That sign-in was stopped, and your administrators are told."),
    Answered.OVER: message("That sign-in is over already: it was answered, or it took too long."),
}
_HASH = re.compile(r"[0-9a-f]{64}")
_MARK = re.compile(r"[0-9a-f]{32}")

_log = logs.get("portal")


@dataclass(frozen=True, slots=True)
class Connected:
    """The programs that are connected with one app password now."""

    account: str
    name: str
    count: int

    @property
    def mark(self) -> str:
        """What a phone names it by: names may hold anything."""
        return hashlib.sha256(f"{self.account}\n{self.name}".encode()).hexdigest()[:32]


@anyone
async def add(request: Request) -> Response:
    """POST /phone/add/TOKEN: a phone leaves its key in the link that it opened."""
    visit, desk = visit_of(request), visit_of(request).desk
    push_of(desk)
    given = await _body(request)
    key, signature = _text(given, "key"), _text(given, "signature")
    accepts = desk.web_push.accepts if desk.web_push is not None else lambda endpoint: False
    phone = {
        "key": key,
        "agent": agent_name(visit.agent),
        "language": visit.texts.language,
        **phones.subscription_of(given.get("subscription"), accepts),
    }
    token = request.path_params["token"]
    account = await desk.store.write(phones.connect, desk.sealer, desk.origin, token, phone, signature, desk.clock())
    if account is None:
        raise HTTPException(410)
    _log.info("phone connected", user=account.address, rip=visit.address, woken="endpoint" in phone)
    return JSONResponse({"account": account.id, "address": account.address, "id": phones.key_id(key)})


@anyone
async def ask(request: Request) -> Response:
    """POST /phone/ask: what this phone is asked now."""
    desk = visit_of(request).desk
    phone = await _phone(request, "ask")
    asked = await desk.store.read(phones.waiting, phone.account.id, desk.clock())
    return _waiting(request, phone, asked)


@anyone
async def subscribe(request: Request) -> Response:
    """POST /phone/subscribe: how it is woken from now on."""
    desk = visit_of(request).desk
    given = await _body(request)
    phone = await _phone(request, "subscribe")
    accepts = desk.web_push.accepts if desk.web_push is not None else lambda endpoint: False
    fresh = phones.subscription_of(given.get("subscription"), accepts)

    def write(c: Connection) -> None:
        current = factors.by_id(c, phone.account.id, phone.row.id)
        if current is not None:
            kept = {name: value for name, value in current.public.items() if name not in SUBSCRIPTION}
            factors.set_public(c, phone.account.id, phone.row.id, kept | fresh)

    await desk.store.write(write)
    return JSONResponse({"woken": bool(fresh)})


@anyone
async def suspect(request: Request) -> Response:
    """POST /phone/suspect: before a report, what it does, and the programs that are connected now."""
    desk = visit_of(request).desk
    given = await _body(request)
    id_hash = _challenge(given)
    phone = await _phone(request, "suspect", id_hash.hex())
    challenge = await desk.store.read(phones.of_account, phone.account.id, id_hash)
    if challenge is None:
        raise HTTPException(404)
    connected: Sequence[Connected] | None
    try:
        connected = _grouped(await desk.core.sessions(phone.account))
    except (CoreRefusal, CoreUnavailable):
        connected = None
    return render(request, "_phone_report.html", challenge=id_hash.hex(), connected=connected, account=phone.account)


@anyone
async def answer(request: Request) -> Response:
    """POST /phone/answer: confirm, deny or report."""
    visit, desk = visit_of(request), visit_of(request).desk
    given = await _body(request)
    id_hash, number, cut = _challenge(given), _text(given, "number"), _cut(given)
    try:
        decision = Decision(_text(given, "decision"))
    except ValueError:
        raise HTTPException(400, "no decision") from None
    phone = await _phone(request, "answer", id_hash.hex(), decision.value, number, ",".join(cut))

    def write(c: Connection) -> tuple[Answered, Challenge | None]:
        came_to, challenge = phones.answer(c, desk.sealer, phone, id_hash, decision, number, desk.clock())
        if came_to in (Answered.DENIED, Answered.REPORTED):
            assert challenge is not None
            follow = fraud.deny if came_to is Answered.DENIED else fraud.report
            follow(c, desk, phone, challenge)
        return came_to, challenge

    came_to, challenge = await desk.store.write(write)
    _log.info("phone answered", user=phone.account.address, rip=visit.address, factor=phone.row.name, result=came_to)
    said = [visit.say(SAID[came_to])]
    if came_to is Answered.WRONG and challenge is not None:
        left = TRIES - 1 - challenge.tries
        said.append(visit.texts.count("You can try %(num)s more time.", "You can try %(num)s more times.", left))
        asked = await desk.store.read(phones.waiting, phone.account.id, desk.clock())
        return _waiting(request, phone, asked, said, 400)
    if came_to is Answered.REPORTED:
        said += await _after_report(visit, phone, cut)
    status = 409 if came_to in (Answered.OVER, Answered.ENDED) else 200
    response = render(request, "_phone_done.html", status, said=said, good=came_to is Answered.CONFIRMED)
    response.headers["Sidegate-Answered"] = came_to.value
    return response


ROUTES = [
    Route("/phone/add/{token}", add, methods=["POST"]),
    Route("/phone/ask", ask, methods=["POST"]),
    Route("/phone/subscribe", subscribe, methods=["POST"]),
    Route("/phone/suspect", suspect, methods=["POST"]),
    Route("/phone/answer", answer, methods=["POST"]),
]


def _waiting(
    request: Request, phone: Phone, asked: Sequence[Asked], said: Sequence[str] = (), status: int = 200
) -> Response:
    visit = visit_of(request)
    now = visit.desk.clock()
    rows = [
        {
            "id": one.challenge.id_hash.hex(),
            "address": one.session.address,
            "network": network_of(one.session.address),
            "agent": agent_name(one.session.agent),
            "created": tell(visit.texts, now, one.challenge.created),
            "signing_in": one.session.stage is Stage.CHALLENGE,
        }
        for one in asked
    ]
    return render(request, "_phone_waiting.html", status, rows=rows, account=phone.account, said=said)


async def _after_report(visit: Visit, phone: Phone, cut: Sequence[str]) -> list[str]:
    """Cut what was ticked, and say what comes next."""
    said, count = [], 0
    try:
        for row in _grouped(await visit.desk.core.sessions(phone.account)) if cut else ():
            if row.mark in cut:
                count += await visit.desk.core.cut(phone.account, account=row.account, app_password=row.name)
        if cut:
            said.append(visit.texts.count("%(num)s session was cut.", "%(num)s sessions were cut.", count))
    except (CoreRefusal, CoreUnavailable):
        said.append(visit.say("The programs could not be cut just now. Do it under Devices once you have signed in."))
    said.append(
        visit.say(
            "Now change your account password: sign in with a passkey, a code or a recovery code. Until then nothing "
            "is sent to your phone."
        )
    )
    return said


def _grouped(sessions: Sequence[Mapping[str, Any]]) -> list[Connected]:
    """By app password, in order."""
    counted = Counter((row["account"], row["app_password"]) for row in sessions if row["app_password"] is not None)
    return [Connected(account, name, count) for (account, name), count in counted.items()]


async def _phone(request: Request, verb: str, *parts: str) -> Phone:
    """The phone that signed this request: now, if it does not name a challenge. HTTPException 403 if none did, with the
    time, so that a phone whose clock is wrong can ask again."""
    desk = visit_of(request).desk
    push_of(desk)
    given = await _body(request)
    account, key, time = given.get("account"), _text(given, "id"), _text(given, "time")
    if not isinstance(account, int) or isinstance(account, bool) or not 0 < account < 2**63:
        raise HTTPException(400, "no account")
    claim = Claim(account, key)
    signature = _text(given, "signature")
    now = desk.clock()
    phone = await desk.store.read(phones.phone_of, desk.origin, claim, verb, (time, *parts), signature)
    if phone is None:
        raise HTTPException(403, "not a registered phone")
    if not phones.is_now(time, now):
        raise HTTPException(425, "another time", {"Sidegate-Time": str(int(now * 1000))})
    return phone


async def _body(request: Request) -> Mapping[str, Any]:
    """The JSON object that was sent. HTTPException 400 or 413."""
    cached: Mapping[str, Any] | None = getattr(request.state, "json", None)
    if cached is not None:
        return cached
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(400, "no JSON")
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY:
            raise HTTPException(413)
    try:
        given = json.loads(raw)
    except (ValueError, RecursionError):
        raise HTTPException(400, "no JSON") from None
    if not isinstance(given, dict):
        raise HTTPException(400, "no JSON")
    request.state.json = given
    return given


def _text(given: Mapping[str, Any], name: str) -> str:
    """A text in it; empty where there is none."""
    value = given.get(name, "")
    return value if isinstance(value, str) and len(value) <= 1024 else ""


def _challenge(given: Mapping[str, Any]) -> bytes:
    """HTTPException 400 if none is named."""
    named = _text(given, "challenge")
    if not _HASH.fullmatch(named):
        raise HTTPException(400, "no challenge")
    return bytes.fromhex(named)


def _cut(given: Mapping[str, Any]) -> list[str]:
    """The app passwords whose sessions are to be cut."""
    named = given.get("cut", [])
    if not isinstance(named, list) or len(named) > MAX_CUT or not all(isinstance(one, str) for one in named):
        raise HTTPException(400)
    return [one for one in named if _MARK.fullmatch(one)]
