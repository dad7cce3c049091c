"""Signing in with a passkey alone: it says whose it is, and is two factors at once.

Nobody is known before the answer, so nothing is stored before it either: the challenge is a digest, under the portal
key, of what a cookie holds. An answer counts in that browser, for five minutes, once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy import logs
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account, AccountKind
from proxy.domain.sign_in import LIFE, Outcome, Stage
from proxy.factors import FactorRow
from proxy.factors.passkey import TOO_LATE, UNKNOWN, WITHIN, Passkey, account_named
from proxy.portal import arrival
from proxy.portal.challenge import enforce
from proxy.portal.desk import PortalDesk
from proxy.portal.web import Visit, anyone, form_of, is_ours, next_of, redirect, render, visit_of
from proxy.store import accounts, challenges, factors
from proxy.store.challenges import Challenge, State
from proxy.store.portal_sessions import PortalSession

if TYPE_CHECKING:
    from sqlalchemy import Connection

_log = logs.get("portal")

NONCE_BYTES = 32
_COOKIE = re.compile(r"([0-9]{1,12})\.[0-9a-f]{64}", re.ASCII)
"""When it was made, in seconds since the epoch, and a random number."""


@anyone
async def asking(request: Request) -> Response:
    """GET /sign-in/passkey"""
    visit = visit_of(request)
    if visit.stage is Stage.IN:
        return redirect(next_of(visit, request.query_params))
    return _ask(request, request.query_params.get("next", ""))


@anyone
async def answered(request: Request) -> Response:
    """POST /sign-in/passkey"""
    visit, form = visit_of(request), await form_of(request)
    desk, passkey = visit.desk, _passkey(visit.desk)
    cookie = request.cookies.get(_cookie_name(desk), "")
    made = _COOKIE.fullmatch(cookie)
    if made is None or int(made[1]) > desk.clock():
        return _ask(request, form.get("next", ""), TOO_LATE)
    challenge, until = _challenge(desk, cookie), int(made[1]) + WITHIN
    id_hash = hashlib.sha256(challenge).digest()
    if await desk.store.read(challenges.by_id, id_hash) is not None:  # before a counter makes a copy of a repetition
        return _ask(request, form.get("next", ""), TOO_LATE)
    account, rows = await desk.store.read(_holder, account_named(form))
    if account is None:
        return _ask(request, form.get("next", ""), UNKNOWN)
    said = await passkey.finish(account, rows, passkey.ask(challenge, rows, until).notes, form)
    if isinstance(said, str):
        _log.info("factor refused", user=account.address, rip=visit.address, factor=FactorKind.PASSKEY.value)
        refused = (visit, account, Outcome.WRONG_FACTOR, FactorKind.PASSKEY.value)
        await desk.store.write(arrival.refuse, *refused)
        return _ask(request, form.get("next", ""), said)
    if not await desk.store.write(_arrive, visit, account, said, id_hash, until):
        return _ask(request, form.get("next", ""), TOO_LATE)
    _log.info("signed in with a passkey", user=account.address, rip=visit.address)
    await enforce(visit)
    return redirect(next_of(visit, form))


ROUTES = [
    Route("/sign-in/passkey", asking),
    Route("/sign-in/passkey", answered, methods=["POST"]),
]


def _ask(request: Request, wanted: str, problem: str | None = None) -> Response:
    """The page, with a challenge of its own each time."""
    visit = visit_of(request)
    desk = visit.desk
    cookie = f"{int(desk.clock())}.{desk.token(NONCE_BYTES).hex()}"
    begun = _passkey(desk).ask(_challenge(desk, cookie), [], desk.clock() + WITHIN)
    response = render(
        request,
        "passkey_sign_in.html",
        200 if problem is None else 400,
        page=begun.page,
        action="/sign-in/passkey",
        next=wanted if is_ours(wanted) else "",
        problems={} if problem is None else {"answer": visit.say(problem)},
    )
    response.set_cookie(
        _cookie_name(desk), cookie, int(WITHIN), secure=desk.secure, httponly=True, samesite="strict", path="/"
    )
    return response


def _arrive(c: Connection, visit: Visit, account: Account, row: FactorRow, id_hash: bytes, until: float) -> bool:
    """Let them in; False when the challenge was answered before."""
    if challenges.by_id(c, id_hash) is not None:
        return False
    now = visit.desk.clock()
    spent = Challenge(id_hash, account.id, b"", FactorKind.PASSKEY, row.id, now, until, State.ANSWERED)
    challenges.add(c, spent)
    factors.mark_used(c, row.id, now)
    device_id = arrival.arrive(c, visit, account, f"{row.kind}: {row.name}")
    session = PortalSession(
        token_hash=b"",
        account_id=account.id,
        stage=Stage.IN,
        created=now,
        seen=now,
        expires=now + LIFE,
        password_time=None,
        factor_time=now,
        device_id=device_id,
        address=visit.address,
        agent=visit.agent,
    )
    visit.begin(c, session)
    return True


def _holder(c: Connection, account_id: int | None) -> tuple[Account | None, Sequence[FactorRow]]:
    """The person that a passkey says it is for, with their passkeys; None unless they may sign in."""
    account = None if account_id is None else accounts.by_id(c, account_id)
    if account is None or not account.enabled or account.kind is not AccountKind.PERSON:
        return None, []
    return account, factors.of_account(c, account.id, FactorKind.PASSKEY)


def _challenge(desk: PortalDesk, cookie: str) -> bytes:
    return desk.sealer.digest(cookie, context="passkey sign-in")


def _passkey(desk: PortalDesk) -> Passkey:
    """HTTPException 404 where this portal.url cannot have passkeys, and where an identity provider is to be asked."""
    passkey = desk.factors.get(FactorKind.PASSKEY)
    if desk.config.portal.sign_in is not None or not isinstance(passkey, Passkey):
        raise HTTPException(404)
    return passkey


def _cookie_name(desk: PortalDesk) -> str:
    return "__Host-sidegate-passkey" if desk.secure else "sidegate-passkey"
