"""Signing in at an identity provider (`portal.sign_in`), which checks the account password and perhaps a second factor.

GET /sign-in/provider sends the browser there, /sign-in/callback is where it comes back to. Nobody is known before, so
nothing is stored: a cookie holds a random number, when it was made and what is wanted, and state, nonce and PKCE
verifier are digests of it under the portal key. An answer counts in that browser only, and once: its code does.

Our cookies are SameSite=Strict: a browser that comes from another site does not send them. So the page that it comes
back to does nothing but lead on to one that it asks for from here.
"""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy import logs
from proxy.directory.oidc import Person, Provider, ProviderDown, Refused, Secrets
from proxy.domain.id_tokens import is_new
from proxy.domain.login_names import canonical
from proxy.domain.model import Account, AccountKind
from proxy.domain.sign_in import LIFE, Stage, after_password
from proxy.portal import arrival
from proxy.portal.desk import PortalDesk
from proxy.portal.sign_in import form_page
from proxy.portal.texts import message
from proxy.portal.web import Visit, anyone, is_ours, next_of, redirect, render, visit_of, wanted_of
from proxy.store import accounts, factors, people
from proxy.store.portal_sessions import PortalSession

if TYPE_CHECKING:
    from sqlalchemy import Connection

WITHIN = 900
"""Seconds from leaving to coming back: time for a password and a factor."""
TRY_AGAIN_AFTER = 30
"""Seconds, when the provider is down."""
MAX_WANTED = 2500
"""Characters: it travels in a cookie, of which browsers keep 4,096."""
CARRIED = ("code", "state", "iss", "error")
"""What of the provider's answer is used."""
MAX_CARRIED = 2048

DOWN = message(
    "%(provider)s cannot be reached just now, so nobody can sign in. Try again in a minute. Mail programs with app "
    "passwords go on working."
)
LATE = message("That took too long, or it began in another browser. Begin again.")
REFUSED = message("%(provider)s did not confirm who you are. Try again, or ask your administrator if it goes on.")
NO_ACCOUNT = message("You are signed in at %(provider)s, but you have no account here. Ask your administrator for one.")
DISABLED = message("Your account here is disabled. Ask your administrator why.")
ANOTHER = message("You signed in at %(provider)s as somebody else. Sign out there, and try again.")
NOT_AGAIN = message(
    "%(provider)s did not ask you once more who you are, which is needed for that. Sign out there, and try again."
)

_COOKIE = re.compile(r"([0-9]{1,12})\.[0-9a-f]{64}\.([01])\.([A-Za-z0-9_-]*)", re.ASCII)
"""When it was made, in seconds since the epoch; a random number; whether to prove it once more; where to then."""

_log = logs.get("portal")


@dataclass(frozen=True, slots=True)
class _Pending:
    """What a browser left for."""

    made: float
    again: bool
    """Somebody who is in proves once more who they are."""
    wanted: str
    secrets: Secrets


@anyone
async def leave(request: Request) -> Response:
    """GET /sign-in/provider"""
    visit = visit_of(request)
    desk, provider = visit.desk, _provider(visit.desk)
    if visit.stage is Stage.IN and not visit.by_provider:
        return redirect(visit.goal())
    again, wanted = visit.stage is Stage.IN, wanted_of(request.query_params)
    if len(wanted) > MAX_WANTED:
        wanted = ""
    carried = base64.urlsafe_b64encode(wanted.encode()).rstrip(b"=").decode()
    cookie = f"{int(desk.clock())}.{desk.token(32).hex()}.{again:d}.{carried}"
    try:
        where = await provider.address(_secrets(desk, cookie), again=again)
    except ProviderDown as error:
        return _down(request, error)
    response = Response(status_code=303, headers={"Location": where})
    response.set_cookie(
        _cookie_name(desk), cookie, WITHIN, secure=desk.secure, httponly=True, samesite="strict", path="/"
    )
    return response


@anyone
async def come_back(request: Request) -> Response:
    """GET /sign-in/callback"""
    desk = visit_of(request).desk
    _provider(desk)
    given = {key: value for key in CARRIED if (value := request.query_params.get(key)) is not None}
    if any(len(value) > MAX_CARRIED for value in given.values()):
        return _stopped(request, 400, LATE)
    return render(request, "sign_in_returning.html", to=f"{desk.base}/sign-in/returned?{urlencode(given)}")


@anyone
async def returned(request: Request) -> Response:
    """GET /sign-in/returned"""
    visit = visit_of(request)
    desk, provider = visit.desk, _provider(visit.desk)
    pending = _pending(desk, request.cookies.get(_cookie_name(desk), ""))
    if pending is None or not hmac.compare_digest(
        request.query_params.get("state", "").encode(), pending.secrets.state.encode()
    ):
        return _stopped(request, 400, LATE)
    try:
        person = await provider.person(dict(request.query_params), pending.secrets)
    except ProviderDown as error:
        response = _down(request, error)
    except Refused as error:
        _log.warning("sign-in refused by the identity provider", rip=visit.address, reason=str(error))
        response = _stopped(request, 403, REFUSED)
    else:
        welcome = _again if pending.again else _sign_in
        response = await welcome(request, pending, person)
    response.delete_cookie(_cookie_name(desk), path="/", secure=desk.secure, httponly=True, samesite="strict")
    return response


@anyone
async def break_glass(request: Request) -> Response:
    """GET /sign-in/break-glass: with a password of ours, for the one account that has one."""
    visit = visit_of(request)
    settings = visit.desk.config.portal.sign_in
    if settings is None or not settings.break_glass:
        raise HTTPException(404)
    if visit.stage is not None:
        return redirect(visit.goal())
    return form_page(request, wanted_of(request.query_params))


ROUTES = [
    Route("/sign-in/provider", leave),
    Route("/sign-in/callback", come_back),
    Route("/sign-in/returned", returned),
    Route("/sign-in/break-glass", break_glass),
]


async def _sign_in(request: Request, pending: _Pending, person: Person) -> Response:
    visit = visit_of(request)
    desk = visit.desk
    account = await desk.store.read(_account, desk, person.name)
    if account is None or not account.enabled:
        shown = desk.sealer.digest(person.name, context="sign-in name").hex()[:12]
        _log.info("sign-in refused", user=account.address if account is not None else f"?{shown}", rip=visit.address)
        if account is not None:
            await desk.store.write(arrival.refuse_disabled, visit, account)
        return _stopped(request, 403, NO_ACCOUNT if account is None else DISABLED)
    stage = await desk.store.write(_enter, visit, account, person)
    _log.info("identity provider vouches", user=account.address, rip=visit.address, next=stage.value)
    if stage is Stage.IN:
        return redirect(pending.wanted or visit.goal())
    waits = f"?next={quote(pending.wanted)}" if stage is Stage.CHALLENGE and pending.wanted else ""
    return redirect(visit.goal() + waits)


async def _again(request: Request, pending: _Pending, person: Person) -> Response:
    visit = visit_of(request)
    desk = visit.desk
    if visit.stage is not Stage.IN or not visit.by_provider:  # signed out meanwhile
        return redirect(visit.goal())
    account = await desk.store.read(_account, desk, person.name)
    if account is None or account.id != visit.account.id:
        _log.warning("somebody else came back from the provider", user=visit.account.address, rip=visit.address)
        return _stopped(request, 403, ANOTHER)
    if not person.has_factor:
        return redirect("/enrol")
    if not is_new(person.proof, pending.made, desk.clock()):
        _log.warning("the provider asked nobody once more", user=account.address, rip=visit.address)
        return _stopped(request, 403, NOT_AGAIN)

    def step(c: Connection) -> None:
        proven = person.proof.auth_time
        visit.step(
            c, Stage.IN, factor_time=proven, device_id=visit.session.device_id, provider_time=proven or desk.clock()
        )

    await desk.store.write(step)
    _log.info("identity provider vouches once more", user=account.address, rip=visit.address)
    return redirect(next_of(visit, {"next": pending.wanted}))


def _account(c: Connection, desk: PortalDesk, name: str) -> Account | None:
    """The person whom the provider's name for them leads to."""
    spelled = canonical(name, desk.config.default_domain)
    account = None if spelled is None else accounts.by_login_name(c, spelled)
    return account if account is not None and account.kind is AccountKind.PERSON else None


def _enter(c: Connection, visit: Visit, account: Account, person: Person) -> Stage:
    """Begin the session, at the stage that follows from what the provider says."""
    now = visit.desk.clock()
    known = arrival.known_device(c, account.id, visit.device_tokens)
    device = known[1] if known is not None else None
    stage = Stage.IN
    if not person.has_factor:
        remembered = device is not None and device.remembered(now)
        bypassed = people.by_id(c, account.id).bypassed(now)
        stage = after_password(account.mfa, factors.kinds(c, account.id), remembered=remembered, bypassed=bypassed)
    device_id = device.id if device is not None else None
    if stage is Stage.IN:
        device_id = arrival.arrive(c, visit, account, arrival.PROVIDER, by_provider=True)
    session = PortalSession(
        token_hash=b"",
        account_id=account.id,
        stage=stage,
        created=now,
        seen=now,
        expires=now + LIFE,
        password_time=None,
        factor_time=person.proof.auth_time if person.has_factor else None,
        device_id=device_id,
        address=visit.address,
        agent=visit.agent,
        provider_time=now if person.proof.auth_time is None else person.proof.auth_time,
    )
    visit.begin(c, session)
    return stage


def _down(request: Request, error: Exception) -> Response:
    _log.error("identity provider not usable", reason=str(error))
    response = _stopped(request, 503, DOWN)
    response.headers["Retry-After"] = str(TRY_AGAIN_AFTER)
    return response


def _stopped(request: Request, status: int, text: str) -> Response:
    """Why it does not go on, and where it does."""
    visit = visit_of(request)
    said = visit.say(text, provider=visit.desk.config.portal.provider_name)
    return render(request, "sign_in_stopped.html", status, said=said, down=status == 503)


def _provider(desk: PortalDesk) -> Provider:
    """HTTPException 404 where people sign in here."""
    if desk.provider is None:
        raise HTTPException(404)
    return desk.provider


def _pending(desk: PortalDesk, cookie: str) -> _Pending | None:
    """What a cookie of ours says, while it counts."""
    found = _COOKIE.fullmatch(cookie)
    if found is None or not 0 <= desk.clock() - int(found[1]) < WITHIN:
        return None
    try:
        wanted = base64.urlsafe_b64decode(found[3] + "=" * (-len(found[3]) % 4)).decode("ascii")
    except ValueError:
        return None
    return _Pending(int(found[1]), found[2] == "1", wanted if is_ours(wanted) else "", _secrets(desk, cookie))


def _secrets(desk: PortalDesk, cookie: str) -> Secrets:
    def derived(purpose: str) -> str:
        return desk.sealer.digest(cookie, context=f"provider {purpose}").hex()

    return Secrets(state=derived("state"), nonce=derived("nonce"), verifier=derived("verifier"))


def _cookie_name(desk: PortalDesk) -> str:
    return "__Host-sidegate-provider" if desk.secure else "sidegate-provider"
