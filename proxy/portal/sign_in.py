"""/sign-in and /sign-out: the account password, which the directory checks.

A wrong password, an unknown account and a disabled one get the same sentence after the same time. Tries are delayed
before anything is verified (domain/delays.py); nobody waits for what others do at a device that they are known by.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy import logs
from proxy.directory import Checked
from proxy.domain import delays
from proxy.domain.delays import Step
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.login_names import canonical
from proxy.domain.model import Account, AccountKind, MfaState
from proxy.domain.secret import Secret
from proxy.domain.sign_in import LIFE, Outcome, Stage, after_password
from proxy.portal import arrival
from proxy.portal.texts import message
from proxy.portal.waiting import patience
from proxy.portal.web import Visit, anyone, form_of, next_of, redirect, render, visit_of, wanted_of
from proxy.store import accounts, factors, people, portal_sessions, throttles
from proxy.store.devices import Device
from proxy.store.errors import StoreUnavailable
from proxy.store.portal_sessions import PortalSession

if TYPE_CHECKING:
    from sqlalchemy import Connection

REFUSED = message("The name or the password is not right. Check both and try again.")
UNAVAILABLE = message("Your password cannot be checked just now. That is our fault: please try again in a minute.")
EXPIRED = message("Your password is right, but it must be changed before you can sign in.")
SIGNED_OUT_HERE = "signed-out-here"
SAID = {
    "signed-out": message("You are signed out."),
    SIGNED_OUT_HERE: message("You are signed out here. At %(provider)s you may still be signed in."),
    "password-set": message("Your new password is set. Sign in with it."),
    "stopped": message(
        "That sign-in was stopped, on your phone or because it took too long. Was it you? Sign in again."
    ),
}
"""What another page may have this one say, by a word in its address."""
MAX_NAME = 256

_log = logs.get("portal")


@dataclass(frozen=True, slots=True)
class _Who:
    """Whom a name leads to, and what tries count against."""

    account: Account | None
    """None also for what cannot sign in: disabled accounts, shared mailboxes, services, and whoever does so at the
    identity provider."""
    device: Device | None
    keys: tuple[str, ...]
    shown: str
    """For the log: the account, or what stands for a name that is none (people type passwords there)."""
    known: Account | None
    """Whose history the try belongs to."""


@anyone
async def form(request: Request) -> Response:
    visit = visit_of(request)
    if visit.stage is not None:
        return redirect(visit.goal())
    provider, word = visit.desk.provider, request.query_params.get("said", "")
    said = visit.say(SAID[word], provider=visit.desk.config.portal.provider_name) if word in SAID else None
    wanted = wanted_of(request.query_params)
    if provider is None:
        return form_page(request, wanted, said=said)
    there = await provider.sign_out_address(visit.desk.config.portal.url) if word == SIGNED_OUT_HERE else ""
    return render(request, "sign_in_provider.html", next=wanted, said=said, sign_out_there=there)


@anyone
async def submit(request: Request) -> Response:
    visit, desk = visit_of(request), visit_of(request).desk
    if desk.provider is not None and not desk.provider.settings.break_glass:
        raise HTTPException(404)
    release = asyncio.get_running_loop().time() + desk.config.limits.refusal_delay
    given = await form_of(request)
    name, password = given.get("name", "").strip(), Secret(given.get("password", ""))
    wanted = wanted_of(given)
    if not name or not password.reveal():
        problems = {} if name else {"name": visit.say("Enter your e-mail address.")}
        if not password.reveal():
            problems["password"] = visit.say("Enter your password.")
        return form_page(request, wanted, name, 400, problems=problems)
    who = await desk.store.read(_who, visit, name)
    wait = await desk.store.write(throttles.ahead, who.keys, desk.clock())
    if wait:
        _log.info("sign-in delayed", user=who.shown, rip=visit.address)
        stop, headers = patience(visit, wait)
        response = form_page(request, wanted, name, 429, stop=stop)
        response.headers.update(headers)
        return response
    checked = await desk.directory.check(who.account, password)
    if checked is Checked.UNAVAILABLE:
        await desk.store.write(throttles.take_back, who.keys)
        return form_page(request, wanted, name, 503, stop=visit.say(UNAVAILABLE))
    if checked is Checked.WRONG or who.account is None:
        _log.info("sign-in refused", user=who.shown, rip=visit.address)
        await asyncio.sleep(release - asyncio.get_running_loop().time())
        response = form_page(request, wanted, name, 400, stop=visit.say(REFUSED))
        if who.known is not None:  # behind the answer, whose time must not tell that there is something to write down
            response.background = BackgroundTask(_remember, visit, who.known, who.device)
        return response
    if checked is Checked.MUST_CHANGE and desk.config.directory is not None and desk.provider is None:
        # Ours are changed here, after the second step; an LDAP server's are not.
        _log.info("account password must be changed", user=who.shown, rip=visit.address)
        await desk.store.write(throttles.take_back, who.keys)
        return form_page(request, wanted, name, 403, stop=visit.say(EXPIRED), elsewhere=desk.config.portal.password_url)
    stage = await desk.store.write(_enter, visit, who.account, who.device, who.keys)
    _log.info("account password right", user=who.account.address, rip=visit.address, next=stage.value)
    if stage is Stage.IN:
        return redirect(next_of(visit, given))
    return redirect(visit.goal() + (f"?next={quote(wanted)}" if stage is Stage.CHALLENGE and wanted else ""))


@anyone
async def sign_out(request: Request) -> Response:
    visit = visit_of(request)
    by_provider = visit.by_provider
    if visit.loaded is not None:
        await visit.desk.store.write(portal_sessions.end, visit.session.token_hash)
        visit.end()
    return redirect(f"/sign-in?said={SIGNED_OUT_HERE if by_provider else 'signed-out'}")


ROUTES = [
    Route("/sign-in", form),
    Route("/sign-in", submit, methods=["POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
]


def form_page(
    request: Request,
    wanted: str,
    name: str = "",
    status: int = 200,
    *,
    said: str | None = None,
    stop: str | None = None,
    problems: dict[str, str] | None = None,
    elsewhere: str = "",
) -> Response:
    """The form that asks for an account password."""
    desk = visit_of(request).desk
    return render(
        request,
        "sign_in.html",
        status,
        next=wanted,
        name=name[:MAX_NAME],
        said=said,
        stop=stop,
        problems=problems or {},
        elsewhere=elsewhere,
        passkeys=FactorKind.PASSKEY in desk.factors and desk.config.portal.sign_in is None,
    )


def _who(c: Connection, visit: Visit, name: str) -> _Who:
    desk = visit.desk
    spelled = canonical(name, desk.config.default_domain)
    found = accounts.by_login_name(c, spelled) if spelled is not None else None
    if found is None:
        stranger = desk.sealer.digest(spelled or name[:MAX_NAME], context="sign-in name").hex()[:32]
        keys = delays.keys(Step.PASSWORD, stranger, visit.address, None, trusted=visit.trusted)
        return _Who(None, None, keys, f"?{stranger[:12]}", None)
    known = arrival.known_device(c, found.id, visit.device_tokens)
    device = known[1] if known is not None else None
    device_id = device.id if device is not None else None
    keys = delays.keys(Step.PASSWORD, str(found.id), visit.address, device_id, trusted=visit.trusted)
    signs_in = found.enabled and found.kind is AccountKind.PERSON
    signs_in = signs_in and desk.config.portal.keeps_password_of(found.login_names)
    return _Who(found if signs_in else None, device, keys, found.address, found)


async def _remember(visit: Visit, account: Account, device: Device | None) -> None:
    """A wrong password, in the account's history."""
    device_id = device.id if device is not None else None
    try:
        await visit.desk.store.write(arrival.refuse, visit, account, Outcome.WRONG_PASSWORD, None, device_id)
    except StoreUnavailable as error:
        _log.error("a refused sign-in is not in the history", user=account.address, reason=str(error))


def _enter(c: Connection, visit: Visit, account: Account, device: Device | None, keys: tuple[str, ...]) -> Stage:
    """The password was right: begin the session at the stage that follows."""
    now = visit.desk.clock()
    throttles.succeeded(c, keys)
    person = people.by_id(c, account.id)
    remembered = device is not None and device.remembered(now)
    mfa, bypassed = account.mfa, person.bypassed(now)
    if visit.desk.config.portal.sign_in is not None:  # past the identity provider nobody is let in without a factor
        mfa, remembered, bypassed = MfaState.ENFORCED, False, False
    stage = after_password(mfa, factors.kinds(c, account.id), remembered=remembered, bypassed=bypassed)
    device_id = device.id if device is not None else None
    if stage is Stage.IN:
        device_id = arrival.arrive(c, visit, account, None)
    session = PortalSession(
        token_hash=b"",
        account_id=account.id,
        stage=stage,
        created=now,
        seen=now,
        expires=now + LIFE,
        password_time=now,
        factor_time=None,
        device_id=device_id,
        address=visit.address,
        agent=visit.agent,
    )
    visit.begin(c, session)
    return stage
