"""/audit, /accounts/…/refusals and /auth-test: what happened, and what would."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.admin import audit, refusals, rehearsal
from proxy.admin.desk import ActorKind
from proxy.domain.secret import Secret
from proxy.portal.api import bodies
from proxy.portal.api.bodies import body
from proxy.portal.api.peer import allow
from proxy.portal.api.replies import desk_of, lines, many, one


@allow(ActorKind.OPERATOR)
async def read(request: Request) -> Response:
    desk, query = desk_of(request), request.query_params
    account, since = query.get("account"), query.get("since")
    pages = audit.follow if query.get("follow") == "true" else audit.read
    return await lines(pages(desk, account=account, since=since))


@allow(ActorKind.OPERATOR)
async def verify(request: Request) -> Response:
    return one({"problems": await audit.verify(desk_of(request))})


@allow(ActorKind.OPERATOR)
async def why(request: Request) -> Response:
    return many(await refusals.why(desk_of(request), request.path_params["account"]))


@allow(ActorKind.OPERATOR)
async def rehearse(request: Request) -> Response:
    wanted = await body(request, bodies.Rehearsal)
    answer = await rehearsal.rehearse(
        desk_of(request),
        wanted.login_name,
        Secret(wanted.secret),
        protocol=wanted.protocol,
        address=wanted.address,
    )
    return one(answer)


ROUTES = [
    Route("/audit", read),
    Route("/audit/verify", verify),
    Route("/accounts/{account:path}/refusals", why),
    Route("/auth-test", rehearse, methods=["POST"]),
]
