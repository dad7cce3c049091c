"""The pages that people see, put together: the routes of every module, and what a browser is told about all of them.

Nothing inline and nothing from elsewhere: the content security policy says so to the browser as well.
"""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxy import logs
from proxy.portal import (
    account,
    app_passwords,
    challenge,
    devices,
    discovery,
    enrolment,
    factors,
    history,
    not_me,
    oidc_sign_in,
    passkey_sign_in,
    push,
    push_api,
    recovery_address,
    sessions,
    setup,
    sign_in,
    staying,
)
from proxy.portal.core_client import CoreUnavailable
from proxy.portal.desk import PortalDesk
from proxy.portal.web import anyone, make_visit, render
from proxy.store.errors import StoreUnavailable

STATIC = Path(__file__).parent / "static"

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Not no-referrer: with that browsers send `Origin: null` with our own forms (Fetch section 3.1).
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every response."""

HSTS = "max-age=31536000"
"""Only where portal.url is https: then every way in is."""

_log = logs.get("portal")

TRY_AGAIN_AFTER = 30
"""Seconds, when something of ours is down."""


def make_pages(desk: PortalDesk) -> ASGIApp:
    """The web application behind `portal.url`, which may have a path.

    It answers under that path and at the root, so that a reverse proxy may strip the path or keep it.
    """
    routes: list[BaseRoute] = [
        Route("/", home),
        Route("/healthz", healthz),
        *sign_in.ROUTES,
        *passkey_sign_in.ROUTES,
        *push.ROUTES,
        *push_api.ROUTES,
        *oidc_sign_in.ROUTES,
        *challenge.ROUTES,
        *staying.ROUTES,
        *enrolment.ROUTES,
        *account.ROUTES,
        *factors.ROUTES,
        *setup.ROUTES,
        *discovery.ROUTES,
        *app_passwords.ROUTES,
        *sessions.ROUTES,
        *devices.ROUTES,
        *history.ROUTES,
        *not_me.ROUTES,
        *recovery_address.ROUTES,
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    # No redirects to add a slash: they would be made from the Host header, which is the asker's.
    under_path: list[BaseRoute] = (
        [Route(desk.base, home), Mount(desk.base, app=Router(routes, redirect_slashes=False))] if desk.base else []
    )
    handlers = dict.fromkeys((HTTPException, CoreUnavailable, StoreUnavailable, Exception), refused)
    application = Starlette(routes=[*under_path, *routes], exception_handlers=handlers)
    application.router.redirect_slashes = False
    application.state.desk = desk
    over_tls = {"Strict-Transport-Security": HSTS} if desk.secure else {}
    return _WithHeaders(application, HEADERS | over_tls)


@anyone
async def home(request: Request) -> Response:
    """What an app password is: every refusal leads here."""
    return render(request, "home.html")


async def healthz(request: Request) -> Response:
    return PlainTextResponse("ok\n", headers={"Cache-Control": "no-store"})


async def refused(request: Request, error: Exception) -> Response:
    """Whatever goes wrong, as a page."""
    headers: dict[str, str] = {}
    if isinstance(error, HTTPException):
        status, headers = error.status_code, dict(error.headers or {})
    elif isinstance(error, CoreUnavailable | StoreUnavailable):
        status, headers = 503, {"Retry-After": str(TRY_AGAIN_AFTER)}
        _log.error("page not served", path=request.url.path, reason=str(error))
    else:
        status = 500
        _log.exception("internal error", path=request.url.path)
    visit = getattr(request.state, "visit", None)
    if visit is None:
        visit = request.state.visit = make_visit(request)
    response = render(request, "error.html", status, status=status)
    response.headers.update(headers)
    return visit.answer(response)


class _WithHeaders:
    """Outermost, so that error pages have the headers as well."""

    def __init__(self, application: ASGIApp, headers: dict[str, str]) -> None:
        self._application = application
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)  # a page that needs another one says so itself
            await send(message)

        await self._application(scope, receive, send_with_headers)
