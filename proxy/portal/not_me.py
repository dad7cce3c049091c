"""/history/not-me/ID: what a notice told of was not this person. It is undone, and where somebody must know the account
password for it, another one is asked for.

Notices only say to open the portal; it takes a factor proven just now, or a device that was known before it happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy import logs
from proxy.domain.audit import Event
from proxy.domain.notices import Kind
from proxy.domain.sign_in import Stage
from proxy.notices import words
from proxy.notices.telling import tell_admins
from proxy.portal import arrival
from proxy.portal.core_client import CoreRefusal, CoreUnavailable
from proxy.portal.factors import OnlyOne, take_away
from proxy.portal.moments import tell
from proxy.portal.texts import message
from proxy.portal.web import Visit, challenge, form_of, need, render, visit_of
from proxy.store import codes, devices, factors, notices, people, portal_sessions
from proxy.store.notices import Notice

if TYPE_CHECKING:
    from sqlalchemy import Connection

WILL_END = message("The browser that did it is signed out and forgotten.")
WILL_REVOKE = message("The app password is revoked, and what is connected with it is thrown out.")
WILL_REMOVE = message("The sign-in method is removed.")
WILL_END_OTHERS = message("Every other browser is signed out and forgotten.")
WILL_FORGET_CODES = message("The recovery codes work no more.")
WILL_FORGET_ADDRESS = message("The new recovery address is forgotten.")
UNDOES: dict[str, tuple[str, ...]] = {
    Kind.SIGNED_IN: (WILL_END,),
    Kind.APP_PASSWORD_CREATED: (WILL_REVOKE,),
    Kind.FACTOR_ADDED: (WILL_REMOVE, WILL_END_OTHERS),
    Kind.FACTOR_REMOVED: (WILL_END_OTHERS,),
    Kind.RECOVERY_CODES_MADE: (WILL_FORGET_CODES, WILL_END_OTHERS),
    Kind.RECOVERY_CODE_USED: (WILL_END,),
    Kind.ACCOUNT_PASSWORD_CHANGED: (WILL_END_OTHERS,),
    Kind.RECOVERY_ADDRESS_CHANGED: (WILL_FORGET_ADDRESS, WILL_END_OTHERS),
}
"""What is undone by kind of notice, in words; what has no row here somebody else has to look into."""
LATER = message("That did not work, or not wholly. Please try again in a minute.")
ONLY_ONE = message("It is your only sign-in method, and cannot be removed here. Ask your administrator to reset them.")

_log = logs.get("portal")


def may_say(notice: Notice, device_id: int | None) -> bool:
    """Whether "this was not me" means anything for a notice, read in this device."""
    return notice.kind in UNDOES and not (device_id is not None and notice.text.get("device_id") == str(device_id))


@need(Stage.IN)
async def ask(request: Request) -> Response:
    notice, sure = await _chosen(request)
    return _page(request, notice) if sure else challenge(f"/history/not-me/{notice.id}")


@need(Stage.IN)
async def undo(request: Request) -> Response:
    visit, desk = visit_of(request), visit_of(request).desk
    await form_of(request)
    notice, sure = await _chosen(request)
    if not sure:
        return challenge(f"/history/not-me/{notice.id}")
    if notice.kind == Kind.APP_PASSWORD_CREATED:
        try:
            await desk.core.revoke(visit.account, str(notice.text["account"]), str(notice.text["app_password_id"]))
        except CoreRefusal as refusal:  # it was revoked already, or is no more theirs
            _log.info("nothing to revoke", user=visit.account.address, reason=refusal.code)
        except CoreUnavailable:
            return _page(request, notice, 503, visit.say(LATER))
    try:
        await desk.store.write(_undo, visit, notice)
    except OnlyOne:
        return _page(request, notice, 409, visit.say(ONLY_ONE))
    _log.warning("not them", user=visit.account.address, rip=visit.address, kind=notice.kind)
    return render(
        request,
        "not_me_done.html",
        somebody_knows=_somebody_knows(notice),
        kept_here=desk.config.directory is None,
        elsewhere=desk.config.portal.password_url,
    )


ROUTES = [Route("/history/not-me/{id:int}", ask), Route("/history/not-me/{id:int}", undo, methods=["POST"])]


def _page(request: Request, notice: Notice, status: int = 200, stop: str | None = None) -> Response:
    visit = visit_of(request)
    return render(
        request,
        "not_me.html",
        status,
        stop=stop,
        title=words.title(visit.texts, notice.kind, notice.text),
        details=words.details(visit.texts, notice.kind, notice.text),
        time=tell(visit.texts, visit.desk.clock(), notice.created),
        will=[visit.say(one) for one in UNDOES[notice.kind]],
        new_password=_somebody_knows(notice),
        action=f"/history/not-me/{notice.id}",
    )


async def _chosen(request: Request) -> tuple[Notice, bool]:
    """The notice, and whether whoever asks is its person for sure. HTTPException 404 if it is none of theirs, or none
    that this could be said of."""
    visit = visit_of(request)
    notice, sure = await visit.desk.store.read(_look, visit, request.path_params["id"])
    if notice is None or not may_say(notice, visit.session.device_id):
        raise HTTPException(404)
    return notice, sure


def _look(c: Connection, visit: Visit, notice_id: int) -> tuple[Notice | None, bool]:
    notice = notices.by_id(c, visit.account.id, notice_id)
    if notice is None or visit.fresh or not factors.kinds(c, visit.account.id):  # who has no factor can prove none
        return notice, True
    mine = [one for one in devices.of_account(c, visit.account.id) if one.id == visit.session.device_id]
    return notice, any(device.created < notice.created for device in mine)


def _somebody_knows(notice: Notice) -> bool:
    """Whether it takes the account password. What an operator did does not."""
    return notice.text.get("by") != "operator"


def _undo(c: Connection, visit: Visit, notice: Notice) -> None:
    undo_it = _UNDO.get(notice.kind)
    if undo_it is not None:
        undo_it(c, visit, notice.text)
    if WILL_END_OTHERS in UNDOES[notice.kind]:
        for device in devices.of_account(c, visit.account.id):
            if device.id != visit.session.device_id:
                devices.remove(c, visit.account.id, device.id)
        portal_sessions.end_all(c, visit.account.id, but=visit.session.token_hash)
    if _somebody_knows(notice) and visit.desk.config.directory is None:
        people.change(c, visit.account.id, must_change=True)
    name = str(notice.text.get("name", ""))
    arrival.note(c, visit, visit.account, Event.NOT_ME, reason=notice.kind, detail=name or None)
    facts = {"account": visit.account.address, "what": notice.kind, "name": name}
    tell_admins(c, Kind.NOT_ME, facts, visit.desk.clock())


def _end_device(c: Connection, visit: Visit, facts: Mapping[str, str]) -> None:
    if "device_id" in facts:
        devices.remove(c, visit.account.id, int(facts["device_id"]))


def _remove_factor(c: Connection, visit: Visit, facts: Mapping[str, str]) -> None:
    row = factors.by_id(c, visit.account.id, int(facts.get("factor_id", 0)))
    if row is not None:
        take_away(c, visit, row)


def _forget_codes(c: Connection, visit: Visit, facts: Mapping[str, str]) -> None:
    codes.set_recovery(c, visit.account.id, [])


def _forget_address(c: Connection, visit: Visit, facts: Mapping[str, str]) -> None:
    people.change(c, visit.account.id, recovery_address=None)


_UNDO: dict[str, Callable[[Connection, Visit, Mapping[str, str]], None]] = {
    Kind.SIGNED_IN: _end_device,
    Kind.RECOVERY_CODE_USED: _end_device,
    Kind.FACTOR_ADDED: _remove_factor,
    Kind.RECOVERY_CODES_MADE: _forget_codes,
    Kind.RECOVERY_ADDRESS_CHANGED: _forget_address,
}
