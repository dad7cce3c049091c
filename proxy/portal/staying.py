"""/stay: a person who is told that they will be signed out soon says that they are still there (WCAG 2.2.1).

Every page says how long its session lasts if nothing happens in it, and static/staying.js speaks up in time. Who
comes too late anyway loses nothing: what was typed goes along to the sign-in and comes back (web.need).
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from proxy.domain.sign_in import Stage
from proxy.portal.web import need, visit_of


@need(*Stage, changing=True)
async def stay(request: Request) -> Response:
    """POST /stay"""
    visit = visit_of(request)
    await visit.stay()
    return JSONResponse({"left": visit.left})


ROUTES = [Route("/stay", stay, methods=["POST"])]
