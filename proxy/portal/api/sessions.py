"""/sessions."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.admin import sessions
from proxy.admin.desk import Invalid
from proxy.portal.api import bodies
from proxy.portal.api.bodies import body
from proxy.portal.api.peer import actor_of
from proxy.portal.api.replies import desk_of, many, one


async def listing(request: Request) -> Response:
    return many(await sessions.listing(desk_of(request), request.query_params.get("account")))


async def cut(request: Request) -> Response:
    wanted = await body(request, bodies.CutSessions)
    by_name = wanted.account is not None or wanted.app_password is not None
    if by_name == (wanted.id is not None):
        raise Invalid("give an id, or an account or app password")
    count = await sessions.cut(
        desk_of(request),
        actor_of(request),
        account=wanted.account,
        app_password=wanted.app_password,
        session_id=wanted.id,
    )
    return one({"sessions_cut": count})


ROUTES = [Route("/sessions", listing), Route("/sessions/cut", cut, methods=["POST"])]
