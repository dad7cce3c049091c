"""/account-password: another account password for who is signed in. /set-password/TOKEN: one for whoever has a link.

Both for the embedded directory only; another has pages of its own. Who is signed in with the old one is signed out; app
passwords are what they were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy import logs
from proxy.directory import Checked
from proxy.directory.choosing import MAX_PASSWORD, MIN_PASSWORD, Unfit, unfit
from proxy.directory.embedded import Embedded
from proxy.domain import delays, tokens
from proxy.domain.audit import Event
from proxy.domain.delays import Step
from proxy.domain.model import Account
from proxy.domain.notices import Kind
from proxy.domain.secret import Secret
from proxy.domain.sign_in import Stage
from proxy.portal import arrival
from proxy.portal.desk import PortalDesk
from proxy.portal.sign_in import UNAVAILABLE
from proxy.portal.texts import LANGUAGES, message
from proxy.portal.waiting import patience
from proxy.portal.web import (
    Visit,
    anyone,
    challenge,
    form_of,
    is_ours,
    need,
    redirect,
    render,
    visit_of,
)
from proxy.store import accounts, factors, links, people, portal_sessions, throttles
from proxy.store.links import Link, Purpose

if TYPE_CHECKING:
    from sqlalchemy import Connection

UNFIT = {
    Unfit.TOO_SHORT: message("Your new password needs at least %(least)s characters."),
    Unfit.TOO_LONG: message("Your new password may have at most %(most)s characters."),
    Unfit.COMMON: message("That password is among the first that anybody would try. Choose another one."),
    Unfit.NAME: message("That is your name. Choose a password that nobody can guess from it."),
}

_log = logs.get("portal")


@need(Stage.IN, changing=True)
async def form(request: Request) -> Response:
    visit = visit_of(request)
    if not _is_ours(visit.desk, visit.account):
        return render(request, "account_password_elsewhere.html", elsewhere=visit.desk.config.portal.password_url)
    if await _needs_factor(visit):
        return challenge("/account-password")
    return _form(request)


@need(Stage.IN, changing=True)
async def change(request: Request) -> Response:
    visit, desk = visit_of(request), visit_of(request).desk
    directory = _embedded(desk, visit.account)
    if await _needs_factor(visit):
        return challenge("/account-password")
    given = await form_of(request)
    current, new = Secret(given.get("current", "")), Secret(given.get("new", ""))
    problems = _problems(visit, visit.account, new, given.get("again", ""))
    if not current.reveal():
        problems["current"] = visit.say("Enter your current password.")
    elif current == new:
        problems.setdefault("new", visit.say("That is your current password. Choose another one."))
    if problems:
        return _form(request, 400, problems=problems)
    account_id, device_id = str(visit.account.id), visit.session.device_id
    keys = delays.keys(Step.PASSWORD, account_id, visit.address, device_id, trusted=visit.trusted)
    wait = await desk.store.write(throttles.ahead, keys, desk.clock())
    if wait:
        stop, headers = patience(visit, wait)
        response = _form(request, 429, stop=stop)
        response.headers.update(headers)
        return response
    checked = await directory.check(visit.account, current)
    if checked is Checked.WRONG:
        return _form(request, 400, problems={"current": visit.say("That is not your current password.")})
    phc = None if checked is Checked.UNAVAILABLE else await directory.hash(new)
    if phc is None:
        await desk.store.write(throttles.take_back, keys)
        return _form(request, 503, stop=visit.say(UNAVAILABLE))

    def write(c: Connection) -> None:
        throttles.succeeded(c, keys)
        _set(c, visit, visit.account, phc)
        portal_sessions.end_all(c, visit.account.id, but=visit.session.token_hash)
        visit.step(c, Stage.IN, factor_time=visit.session.factor_time, device_id=visit.session.device_id)

    await desk.store.write(write)
    _log.info("account password changed", user=visit.account.address, rip=visit.address)
    return render(request, "account_password_done.html")


@anyone
async def link_form(request: Request) -> Response:
    """Opening the link uses nothing up: mail scanners open links, and people come back."""
    account = await _linked(request)
    return render(request, "account_set_password.html", account=account, problems={}, **_limits())


@anyone
async def link_set(request: Request) -> Response:
    visit, desk = visit_of(request), visit_of(request).desk
    account = await _linked(request)
    directory = _embedded(desk, account)
    given = await form_of(request)
    new = Secret(given.get("new", ""))
    problems = _problems(visit, account, new, given.get("again", ""))
    if problems:
        return render(request, "account_set_password.html", 400, account=account, problems=problems, **_limits())
    phc = await directory.hash(new)
    if phc is None:
        raise HTTPException(503)
    token_hash = tokens.hash_of(request.path_params["token"])

    def write(c: Connection) -> Link | None:
        link = links.use(c, token_hash, desk.clock(), Purpose.SET_PASSWORD)
        if link is not None:
            _set(c, visit, account, phc)
            portal_sessions.end_all(c, account.id)
        return link

    if await desk.store.write(write) is None:
        raise HTTPException(404)
    _log.info("account password set by link", user=account.address, rip=visit.address)
    visit.end()
    return redirect("/sign-in?said=password-set")


@anyone
async def speak(request: Request) -> Response:
    """POST /language: the one that a person chose, in this browser and, signed in, for mails as well."""
    visit = visit_of(request)
    given = await form_of(request)
    language = given.get("language", "")
    if language not in LANGUAGES:
        raise HTTPException(400)
    visit.speak(language)
    if visit.stage is Stage.IN:
        await visit.desk.store.write(_prefer, visit.account.id, language)
    back = given.get("back", "/")
    return redirect(back if is_ours(back) else "/")


ROUTES = [
    Route("/account-password", form),
    Route("/account-password", change, methods=["POST"]),
    Route("/set-password/{token}", link_form),
    Route("/set-password/{token}", link_set, methods=["POST"]),
    Route("/language", speak, methods=["POST"]),
]


def _is_ours(desk: PortalDesk, account: Account) -> bool:
    """Whether their account password is kept here."""
    config = desk.config
    elsewhere = config.directory is not None and config.portal.sign_in is None
    return not elsewhere and config.portal.keeps_password_of(account.login_names)


def _embedded(desk: PortalDesk, account: Account) -> Embedded:
    """HTTPException 404 where their account password is not ours."""
    if not isinstance(desk.directory, Embedded) or not _is_ours(desk, account):
        raise HTTPException(404)
    return desk.directory


async def _needs_factor(visit: Visit) -> bool:
    """A stolen session alone must not take the account over. Who has no factor cannot prove one."""
    return not visit.fresh and bool(await visit.desk.store.read(factors.kinds, visit.account.id))


def _form(
    request: Request, status: int = 200, *, problems: dict[str, str] | None = None, stop: str | None = None
) -> Response:
    visit = visit_of(request)
    must = visit.must_change
    return render(request, "account_password.html", status, problems=problems or {}, stop=stop, must=must, **_limits())


def _limits() -> dict[str, int]:
    return {"least": MIN_PASSWORD, "most": MAX_PASSWORD}


def _problems(visit: Visit, account: Account, new: Secret, again: str) -> dict[str, str]:
    """What is wrong with a new password, by field."""
    wrong = unfit(new, *account.login_names, account.display_name or "")
    if wrong is not None:
        return {"new": visit.say(UNFIT[wrong], **_limits())}
    if new != Secret(again):
        return {"again": visit.say("The two are not the same. Type your new password once more.")}
    return {}


def _set(c: Connection, visit: Visit, account: Account, phc: str) -> None:
    accounts.set_password_hash(c, account.id, phc, visit.desk.clock())
    people.password_changed(c, account.id)
    arrival.note(c, visit, account, Event.ACCOUNT_PASSWORD_CHANGED)
    arrival.inform(c, visit, account, Kind.ACCOUNT_PASSWORD_CHANGED)


def _prefer(c: Connection, account_id: int, language: str) -> None:
    people.change(c, account_id, language=language)


async def _linked(request: Request) -> Account:
    """Whose password a link sets. HTTPException 404 when it works no more, or never did."""
    desk = visit_of(request).desk
    token_hash = tokens.hash_of(request.path_params["token"])

    def read(c: Connection) -> Account | None:
        link = links.find(c, token_hash, desk.clock(), Purpose.SET_PASSWORD)
        return None if link is None else accounts.by_id(c, link.account_id)

    account = await desk.store.read(read)
    if account is None or not account.enabled or not _is_ours(desk, account):
        raise HTTPException(404)
    return account
