"""/sessions."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.admin import own, sessions
from proxy.admin.desk import ActorKind, Invalid
from proxy.portal.api import bodies
from proxy.portal.api.bodies import body
from proxy.portal.api.peer import actor_of, allow
from proxy.portal.api.replies import desk_of, many, one


@allow(ActorKind.OPERATOR, ActorKind.PERSON)
async def listing(request: Request) -> Response:
    desk, actor = desk_of(request), actor_of(request)
    if actor.kind is ActorKind.PERSON:
        return many(await own.live_sessions(desk, actor))
    return many(await sessions.listing(desk, request.query_params.get("account")))


@allow(ActorKind.OPERATOR, ActorKind.PERSON)
async def cut(request: Request) -> Response:
    wanted = await body(request, bodies.CutSessions)
    by_name = wanted.account is not None or wanted.app_password is not None
    if by_name == (wanted.id is not None):
        raise Invalid("give an id, or an account or app password")
    actor = actor_of(request)
    end = own.cut if actor.kind is ActorKind.PERSON else sessions.cut
    count = await end(
        desk_of(request),
        actor,
        account=wanted.account,
        app_password=wanted.app_password,
        session_id=wanted.id,
    )
    return one({"sessions_cut": count})


ROUTES = [Route("/sessions", listing), Route("/sessions/cut", cut, methods=["POST"])]
