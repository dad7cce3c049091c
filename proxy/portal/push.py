"""/phone: the authenticator, which is this site installed on the phone as a web app. And what the browser that waits
for it asks: /challenge/push/….

The pages are shells; static/phone.js keeps the phone's key, and shows what push_api.py answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from proxy.domain import tokens
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.sign_in import Stage
from proxy.factors.push import Push
from proxy.portal.desk import PortalDesk
from proxy.portal.web import anyone, form_of, need, redirect, render, visit_of, wanted_of
from proxy.store import factors, links
from proxy.store.links import Purpose

WITH_CAMERA = {"Permissions-Policy": "camera=(self), geolocation=(), microphone=()"}
"""The authenticator scans numbers."""
WORKER = Path(__file__).parent / "static" / "phone_worker.js"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")


def push_of(desk: PortalDesk) -> Push:
    """HTTPException 404 where there is none."""
    factor = desk.factors.get(FactorKind.PUSH)
    if not isinstance(factor, Push):
        raise HTTPException(404)
    return factor


@anyone
async def phone(request: Request) -> Response:
    desk = visit_of(request).desk
    push_of(desk)
    response = render(request, "phone.html", start="", vapid=_vapid(desk))
    response.headers.update(WITH_CAMERA)
    return response


@anyone
async def add(request: Request) -> Response:
    """The page that a link opens on the phone. It stays where it is when the link is used up: on some phones this is
    where the installed app starts."""
    desk, token = visit_of(request).desk, _token(request)
    push_of(desk)
    good = await desk.store.read(links.find, tokens.hash_of(token), desk.clock(), Purpose.PHONE)
    status = 200 if good is not None and good.sealed is None else 410
    return render(request, "phone_add.html", status, start=token, good=status == 200, vapid=_vapid(desk))


@anyone
async def connected(request: Request) -> Response:
    """Whether a phone has opened the link: for the page that shows it."""
    desk, token = visit_of(request).desk, _token(request)
    push_of(desk)
    link = await desk.store.read(links.find, tokens.hash_of(token), desk.clock(), Purpose.PHONE)
    return JSONResponse({"state": "over" if link is None else "waiting" if link.sealed is None else "answered"})


@anyone
async def manifest(request: Request) -> Response:
    """What makes it an app (https://www.w3.org/TR/appmanifest/). `start`: where a phone that keeps apps apart from its
    browser (iOS) begins, so that the registering goes on there."""
    visit = visit_of(request)
    desk, start = visit.desk, request.query_params.get("start", "")
    push_of(desk)
    icon = f"{desk.base}/static/"
    return JSONResponse(
        {
            "id": f"{desk.base}/phone",
            "name": visit.say("%(site)s: sign-in", site=desk.config.portal.name),
            "short_name": desk.config.portal.name,
            "lang": visit.texts.language,
            "start_url": f"{desk.base}/phone" + (f"/add/{start}" if _TOKEN.fullmatch(start) else ""),
            "scope": f"{desk.base}/",
            "display": "standalone",
            "background_color": "#ffffff",
            "theme_color": "#ffffff",
            "icons": [
                {"src": f"{icon}phone-192.png", "sizes": "192x192", "type": "image/png"},
                {"src": f"{icon}phone-512.png", "sizes": "512x512", "type": "image/png", "purpose": "any maskable"},
            ],
        },
        media_type="application/manifest+json",
    )


@anyone
async def worker(request: Request) -> Response:
    """The service worker, whose scope is the authenticator alone."""
    desk = visit_of(request).desk
    push_of(desk)
    text = WORKER.read_text("utf-8")
    return Response(text, headers={"Service-Worker-Allowed": f"{desk.base}/phone"}, media_type="text/javascript")


@anyone
async def state(request: Request) -> Response:
    """What became of the question that this browser waits for. Signed out meanwhile: it was denied, or is over."""
    visit = visit_of(request)
    push = push_of(visit.desk)
    if visit.stage not in (Stage.CHALLENGE, Stage.IN):
        return JSONResponse({"state": "denied"})
    return JSONResponse({"state": await push.state(visit.account.id, visit.session.token_hash) or "over"})


@anyone
async def wait(request: Request) -> Response:
    """Where a page that waits goes on: itself, or, when its sign-in is over, where it begins."""
    visit = visit_of(request)
    if visit.stage is None:
        return redirect("/sign-in?said=stopped")
    return _back(request.query_params)


@need(Stage.CHALLENGE, Stage.IN, changing=True)
async def more(request: Request) -> Response:
    """More time for this number."""
    visit, form = visit_of(request), await form_of(request)
    await push_of(visit.desk).more_time(visit.account, visit.session.token_hash)
    return _back(form)


@need(Stage.CHALLENGE, Stage.IN, changing=True)
async def again(request: Request) -> Response:
    """Ask the phones once more."""
    visit, form = visit_of(request), await form_of(request)
    if not visit.person.push_blocked:
        rows = await visit.desk.store.read(factors.of_account, visit.account.id, FactorKind.PUSH)
        await push_of(visit.desk).again(visit.account, rows, visit.session.token_hash)
    return _back(form)


ROUTES = [
    Route("/phone", phone),
    Route("/phone/manifest.webmanifest", manifest),
    Route("/phone/worker.js", worker),
    Route("/phone/add/{token}", add),
    Route("/phone/add/{token}/state", connected),
    Route("/challenge/push/state", state),
    Route("/challenge/push/wait", wait),
    Route("/challenge/push/more", more, methods=["POST"]),
    Route("/challenge/push/again", again, methods=["POST"]),
]


def _vapid(desk: PortalDesk) -> str:
    """The key that browsers subscribe with; empty: they are not woken from here."""
    return "" if desk.web_push is None else desk.web_push.public_key


def _token(request: Request) -> str:
    """HTTPException 404 for what is none."""
    token: str = request.path_params["token"]
    if not _TOKEN.fullmatch(token):
        raise HTTPException(404)
    return token


def _back(given: Mapping[str, str]) -> Response:
    """To the page that waits."""
    wanted = wanted_of(given)
    return redirect("/challenge/push" + (f"?next={quote(wanted)}" if wanted else ""))
