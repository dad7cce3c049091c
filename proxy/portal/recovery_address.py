"""/recovery-address: another address at which a person is told what they should know. It counts once a code that was
mailed there was typed in here; the old one is told.
"""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy import logs
from proxy.domain import delays
from proxy.domain.app_passwords import ALPHABET
from proxy.domain.audit import Event
from proxy.domain.delays import Step
from proxy.domain.login_names import canonical
from proxy.domain.notices import DAY, Channel, Kind
from proxy.domain.sign_in import Stage
from proxy.notices import words
from proxy.notices.mailer import Mailer, Posted, is_address
from proxy.portal import arrival
from proxy.portal.texts import message
from proxy.portal.waiting import patience
from proxy.portal.web import Visit, form_of, need, render, visit_of
from proxy.store import links, notices, people, throttles
from proxy.store.links import Link, Purpose

if TYPE_CHECKING:
    from sqlalchemy import Connection

LETTERS = 8
"""36 bits, behind the growing delay of wrong ones."""
GOOD_FOR = 3600.0
"""Seconds for which a code counts."""
CODES_A_DAY = 5
"""Mails to addresses that somebody typed."""

NO_ADDRESS = message("Enter an e-mail address, such as you@example.net.")
THE_SAME = message(
    "That is the address of this account. Enter another one, which you can read when this one is closed."
)
NOT_TAKEN = message("No mail can be sent to that address. Check it, or use another one.")
NOT_NOW = message("The mail could not be sent just now. That is our fault: please try again in a few minutes.")
ENOUGH = message("That is enough codes for today. Try again tomorrow.")
WRONG = message("That is not the code in the newest mail, or it has run out. Check it, or have another one sent.")
SENT = message("A code was sent to %(address)s. Type it in below.")
SET = message("What you should know is sent to %(address)s from now on.")
REMOVED = message("Your recovery address was removed.")

_log = logs.get("portal")


@need(Stage.IN, fresh=True)
async def form(request: Request) -> Response:
    _mailer(visit_of(request))
    return await _page(request)


@need(Stage.IN, fresh=True, back="/recovery-address")
async def send(request: Request) -> Response:
    visit, desk = visit_of(request), visit_of(request).desk
    mailer = _mailer(visit)
    typed = (await form_of(request)).get("address", "").strip()
    address = canonical(typed, "") or ""
    if not is_address(address):
        return await _page(request, 400, typed=typed, problem=visit.say(NO_ADDRESS))
    if address in visit.account.login_names:
        return await _page(request, 400, typed=typed, problem=visit.say(THE_SAME))
    now = desk.clock()
    kinds = [Kind.RECOVERY_ADDRESS_CODE]
    if await desk.store.read(notices.count_since, visit.account.id, now - DAY, kinds) >= CODES_A_DAY:
        return await _page(request, 429, typed=typed, problem=visit.say(ENOUGH))
    code = _mint(visit)
    await desk.store.write(_await, visit, address, code)
    subject, body = words.code_mail(visit.texts, _grouped(code), account=visit.account.address, site=_site(visit))
    host = urlsplit(desk.config.portal.url).hostname or desk.config.hostname
    message_id = f"{desk.token(12).hex()}@{host}"
    posted, why = await mailer.send(address, subject, body, message_id=message_id, date=formatdate(now))
    if posted is not Posted.TAKEN:
        _log.warning("code for a recovery address not sent", user=visit.account.address, reason=why)
        refused = posted is Posted.REFUSED
        problem = visit.say(NOT_TAKEN if refused else NOT_NOW)
        return await _page(request, 400 if refused else 503, typed=typed, problem=problem)
    await desk.store.write(_sent, visit, address)
    return await _page(request, said=visit.say(SENT, address=address))


@need(Stage.IN, fresh=True, back="/recovery-address")
async def prove(request: Request) -> Response:
    visit, desk = visit_of(request), visit_of(request).desk
    _mailer(visit)
    code = "".join(c for c in (await form_of(request)).get("code", "").lower()[:80] if c in ALPHABET)
    account_id, device_id = str(visit.account.id), visit.session.device_id
    keys = delays.keys(Step.RECOVERY_ADDRESS, account_id, visit.address, device_id, trusted=visit.trusted)
    wait = await desk.store.write(throttles.ahead, keys, desk.clock())
    if wait:
        stop, headers = patience(visit, wait)
        response = await _page(request, 429, wrong=stop)
        response.headers.update(headers)
        return response
    address = await desk.store.write(_take, visit, code, keys)
    if address is None:
        return await _page(request, 400, wrong=visit.say(WRONG))
    _log.info("recovery address set", user=visit.account.address, rip=visit.address)
    return await _page(request, said=visit.say(SET, address=address))


@need(Stage.IN, fresh=True, back="/recovery-address")
async def remove(request: Request) -> Response:
    visit = visit_of(request)
    await form_of(request)
    await visit.desk.store.write(_change, visit, None)
    return await _page(request, said=visit.say(REMOVED))


ROUTES = [
    Route("/recovery-address", form),
    Route("/recovery-address", send, methods=["POST"]),
    Route("/recovery-address/prove", prove, methods=["POST"]),
    Route("/recovery-address/remove", remove, methods=["POST"]),
]


async def _page(
    request: Request, status: int = 200, *, said: str | None = None, typed: str = "", problem: str = "", wrong: str = ""
) -> Response:
    """`problem`: with the address, `wrong`: with the code."""
    visit = visit_of(request)
    current, waiting = await visit.desk.store.read(_state, visit)
    return render(
        request,
        "recovery_address.html",
        status,
        current=current,
        waiting=waiting,
        said=[said] if said else [],
        typed=typed,
        problems={"address": problem} if problem else {"code": wrong} if wrong else {},
    )


def _mailer(visit: Visit) -> Mailer:
    """HTTPException 404 where no mail is sent."""
    if visit.desk.mailer is None:
        raise HTTPException(404)
    return visit.desk.mailer


def _site(visit: Visit) -> str:
    return visit.desk.config.portal.name


def _mint(visit: Visit) -> str:
    number = int.from_bytes(visit.desk.token(16), "big")  # 23 ** 8 divides 2 ** 128 evenly enough
    return "".join(ALPHABET[number // 23**place % 23] for place in range(LETTERS))


def _grouped(code: str) -> str:
    return f"{code[:4]}-{code[4:]}"


def _context(visit: Visit) -> str:
    return f"recovery address:{visit.account.id}"


def _hash(visit: Visit, code: str) -> bytes:
    return visit.desk.sealer.digest(code, context=_context(visit))


def _await(c: Connection, visit: Visit, address: str, code: str) -> None:
    """From now on this code proves this address, and no other one any."""
    links.withdraw(c, visit.account.id, Purpose.RECOVERY_ADDRESS)
    now = visit.desk.clock()
    sealed = visit.desk.sealer.seal(address.encode(), context=_context(visit))
    code_hash = _hash(visit, code)
    links.add(c, code_hash, visit.account.id, Purpose.RECOVERY_ADDRESS, now=now, expires=now + GOOD_FOR, sealed=sealed)


def _sent(c: Connection, visit: Visit, address: str) -> None:
    """For the history, and to be counted."""
    now = visit.desk.clock()
    facts = {"recovery_address": address}
    kind = Kind.RECOVERY_ADDRESS_CODE
    added = notices.add(c, visit.account.id, kind, channel=Channel.RECOVERY, recipient=address, text=facts, now=now)
    notices.sent(c, added, now)


def _take(c: Connection, visit: Visit, code: str, keys: tuple[str, ...]) -> str | None:
    """The address that this code proves, which counts then."""
    link = links.use(c, _hash(visit, code), visit.desk.clock(), Purpose.RECOVERY_ADDRESS)
    if link is None or link.account_id != visit.account.id:
        return None
    throttles.succeeded(c, keys)
    address = _address(visit, link)
    _change(c, visit, address)
    return address


def _change(c: Connection, visit: Visit, address: str | None) -> None:
    if people.by_id(c, visit.account.id).recovery_address == address:
        return
    instead = address or visit.account.address
    arrival.inform(c, visit, visit.account, Kind.RECOVERY_ADDRESS_CHANGED, recovery_address=instead)
    people.change(c, visit.account.id, recovery_address=address)
    arrival.note(c, visit, visit.account, Event.RECOVERY_ADDRESS_CHANGED)


def _state(c: Connection, visit: Visit) -> tuple[str | None, str | None]:
    """The recovery address, and the one that waits for its code."""
    link = links.newest(c, visit.account.id, visit.desk.clock(), Purpose.RECOVERY_ADDRESS)
    waiting = None if link is None else _address(visit, link)
    return people.by_id(c, visit.account.id).recovery_address, waiting


def _address(visit: Visit, link: Link) -> str:
    assert link.sealed is not None
    return visit.desk.sealer.open(link.sealed, context=_context(visit)).decode()
