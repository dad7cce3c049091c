"""The pages that people see. For now one: it explains app passwords to whoever was refused and followed the address.

No script, nothing from elsewhere, nothing inline: the content security policy says so to the browser as well.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HERE = Path(__file__).parent

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every response."""

HSTS = "max-age=31536000"
"""Only where portal.url is https: then every way in is."""


def make_pages(url: str) -> ASGIApp:
    """The web application behind `portal.url`, which may have a path.

    It answers under that path and at the root, so that a reverse proxy may strip the path or keep it.
    """
    base = urlsplit(url).path.rstrip("/")
    templates = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )

    def page(name: str, status: int = 200) -> Response:
        html = templates.get_template(name).render(base=base, status=status)
        return HTMLResponse(html, status, headers={"Cache-Control": "no-cache"})

    async def home(request: Request) -> Response:
        return page("home.html")

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n", headers={"Cache-Control": "no-store"})

    async def refused(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        response = page("error.html", status)
        if isinstance(error, HTTPException):
            response.headers.update(error.headers or {})
        return response

    routes: list[BaseRoute] = [
        Route("/", home),
        Route("/healthz", healthz),
        Mount("/static", StaticFiles(directory=_HERE / "static")),
    ]
    # No redirects to add a slash: they would be made from the Host header, which is the asker's.
    under_path: list[BaseRoute] = (
        [Route(base, home), Mount(base, app=Router(routes, redirect_slashes=False))] if base else []
    )
    application = Starlette(
        routes=[*under_path, *routes], exception_handlers={HTTPException: refused, Exception: refused}
    )
    application.router.redirect_slashes = False
    over_tls = {"Strict-Transport-Security": HSTS} if url.startswith("https:") else {}
    return _WithHeaders(application, HEADERS | over_tls)


class _WithHeaders:
    """Outermost, so that error pages have the headers as well."""

    def __init__(self, application: ASGIApp, headers: dict[str, str]) -> None:
        self._application = application
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._application(scope, receive, send_with_headers)
