"""Setting up a program: what the page that shows a new app password has below it, and the profile for Apple's Mail.

That page is shown once, and all that holds the secret is on it: the codes to scan are in the page itself. Only Apple's
devices have to fetch theirs, by a link that works once, for ten minutes, and without signing in on the device.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy import logs
from proxy.domain import tokens
from proxy.domain.addresses import domain_of
from proxy.domain.model import Protocol
from proxy.domain.secret import Secret
from proxy.factors import qr
from proxy.onboarding import deltachat, instructions, mobileconfig, thunderbird_android
from proxy.onboarding.handover import Handover
from proxy.onboarding.instructions import Group, Program
from proxy.onboarding.mobileconfig import CannotSign
from proxy.onboarding.servers import mail_servers
from proxy.portal.desk import PortalDesk
from proxy.portal.texts import message
from proxy.portal.web import Visit, anyone, render, visit_of
from proxy.store import accounts, links
from proxy.store.errors import StoreUnavailable
from proxy.store.links import Purpose

if TYPE_CHECKING:
    from sqlalchemy import Connection

LINK_KEPT = 600.0
"""Seconds."""

_log = logs.get("portal")


@dataclass(frozen=True, slots=True)
class Choice:
    """One program on the page."""

    program: Program
    code_title: str = ""
    code: str = ""
    """To be scanned, as SVG."""
    link: str = ""
    """To be followed on the device itself."""


@dataclass(frozen=True, slots=True)
class SetUp:
    """What _set_up.html shows."""

    address: str
    choices: list[Choice]
    groups: list[Group]
    signed: bool
    """Whether an Apple device will know whom a profile comes from."""


async def offer(visit: Visit, view: Mapping[str, Any], secret: Secret) -> SetUp:
    """For a new app password, as the API shows it. The link in it works from now on.

    Without the store there is no link, but all the rest: the secret will not be shown another time.
    """
    desk = visit.desk
    try:
        account = await desk.store.read(accounts.by_login_name, view["account"])
    except StoreUnavailable:
        account = None
    handover = Handover(
        id=str(view["id"]),
        address=view["account"],
        display_name=(account.display_name if account is not None else None) or "",
        scopes=frozenset(map(Protocol, view["scopes"])),
        secret=secret,
    )
    choices = [await _choice(visit, handover, program) for program in instructions.programs(desk.config, handover)]
    groups = instructions.groups(desk.config, handover)
    return SetUp(handover.address, choices, groups, signed=desk.config.portal.profile_signer is not None)


async def _choice(visit: Visit, handover: Handover, program: Program) -> Choice:
    mail = mail_servers(visit.desk.config)
    if mail is None or program.id not in CODES:
        return Choice(program)
    if program.id == "thunderbird-android":
        return Choice(program, CODES[program.id], qr.picture(thunderbird_android.payload(handover, mail)))
    if program.id == "delta-chat":
        url = deltachat.url(handover, mail)
        return Choice(program, CODES[program.id], qr.picture(url), url)
    try:
        path = await _keep(visit, handover)
    except StoreUnavailable:
        return Choice(program)
    url = visit.desk.config.portal.url.rstrip("/") + path
    return Choice(program, CODES[program.id], qr.picture(url), visit.desk.base + path)


CODES = {
    "thunderbird-android": message("Code for Thunderbird. The app password is in it: show it to nobody."),
    "apple": message("Code with the link to the profile. It works once: show it to nobody."),
    "delta-chat": message("Code for Delta Chat. The app password is in it: show it to nobody."),
}
"""Programs with a code to scan, and what it is called."""


# ---- the profile --------------------------------------------------------------------------------


async def profile(request: Request) -> Response:
    """The profile, once. A HEAD is no use of the link: whoever looks ahead does not take it away."""
    visit = visit_of(request)
    desk = visit.desk
    token_hash = tokens.hash_of(request.path_params["token"])
    if request.method == "HEAD":
        link = await desk.store.read(links.find, token_hash, desk.clock(), Purpose.MOBILECONFIG)
    else:
        link = await desk.store.write(links.use, token_hash, desk.clock(), Purpose.MOBILECONFIG)
    if link is None or link.sealed is None:
        return render(request, "set_up_gone.html", 410)
    handover = _opened(desk, token_hash, link.sealed)
    title = visit.say("Mail of %(account)s", account=handover.address)
    description = visit.say("Sets up %(account)s on this device, with an app password.", account=handover.address)
    document = mobileconfig.profile(desk.config, handover, title, description)
    if document is None:  # a front has gone since the link was made
        return render(request, "set_up_gone.html", 410)
    name = domain_of(handover.address) or "mail"
    return Response(
        await _signed(desk, document),
        media_type=mobileconfig.CONTENT_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{name}.mobileconfig"'},
    )


ROUTES = [Route("/profile/{token}.mobileconfig", anyone(profile))]


async def _keep(visit: Visit, handover: Handover) -> str:
    """The path of a link that hands the profile out."""
    desk, now, account_id = visit.desk, visit.desk.clock(), visit.account.id
    token = tokens.written(desk.token(tokens.BYTES)).reveal()
    token_hash = tokens.hash_of(token)
    sealed = desk.sealer.seal(_packed(handover), context=_context(token_hash))

    def write(c: Connection) -> None:
        links.add(c, token_hash, account_id, Purpose.MOBILECONFIG, now=now, expires=now + LINK_KEPT, sealed=sealed)

    await desk.store.write(write)
    return f"/profile/{token}.mobileconfig"


def _packed(handover: Handover) -> bytes:
    fields = (handover.id, handover.address, handover.display_name, sorted(handover.scopes), handover.revealed())
    return json.dumps(fields).encode("ascii")


def _opened(desk: PortalDesk, token_hash: bytes, sealed: bytes) -> Handover:
    """What _keep put there."""
    packed = desk.sealer.open(sealed, context=_context(token_hash))
    app_password_id, address, display_name, scopes, secret = json.loads(packed)
    return Handover(app_password_id, address, display_name, frozenset(map(Protocol, scopes)), Secret(secret))


def _context(token_hash: bytes) -> str:
    return f"mobileconfig:{token_hash.hex()}"


async def _signed(desk: PortalDesk, document: bytes) -> bytes:
    """The profile, signed where there is what signs it."""
    pair = desk.config.portal.profile_signer
    if pair is None:
        return document

    def sign() -> bytes:
        return mobileconfig.signed(document, pair.certificate.read_bytes(), pair.key.read_bytes())

    try:
        return await asyncio.to_thread(sign)
    except (OSError, CannotSign) as error:
        _log.warning("a profile goes out unsigned", certificate=str(pair.certificate), detail=str(error))
        return document
