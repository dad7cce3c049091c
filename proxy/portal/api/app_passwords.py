"""/app-passwords."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.admin import app_password_changes, app_passwords
from proxy.admin.desk import Invalid
from proxy.portal.api import bodies
from proxy.portal.api.bodies import body
from proxy.portal.api.peer import actor_of
from proxy.portal.api.replies import desk_of, many, one


async def listing(request: Request) -> Response:
    unused_for = request.query_params.get("unused_for")
    if unused_for is not None:
        return many(await app_passwords.unused(desk_of(request), unused_for))
    return many(await app_passwords.listing(desk_of(request), request.query_params.get("account")))


async def create(request: Request) -> Response:
    new = await body(request, bodies.NewAppPassword)
    created = await app_passwords.create(
        desk_of(request),
        actor_of(request),
        request.path_params["account"],
        new.name,
        scopes=new.scopes,
        networks=new.networks,
        expires=new.expires,
        owner=new.owner,
    )
    return one(created, 201)


async def revoke(request: Request) -> Response:
    wanted = await body(request, bodies.Revoke)
    desk, actor = desk_of(request), actor_of(request)
    if wanted.unused_for is not None and wanted.account is None and not wanted.names and not wanted.all:
        return one(await app_passwords.revoke_unused(desk, actor, wanted.unused_for))
    if wanted.unused_for is None and wanted.account is not None and wanted.all != bool(wanted.names):
        return one(await app_passwords.revoke(desk, actor, wanted.account, wanted.names, every=wanted.all))
    raise Invalid("give an account with names or all, or unused_for alone")


async def rename(request: Request) -> Response:
    wanted = await body(request, bodies.Rename)
    renamed = await app_password_changes.rename(
        desk_of(request), actor_of(request), wanted.account, wanted.app_password, wanted.name
    )
    return one(renamed)


async def narrow(request: Request) -> Response:
    wanted = await body(request, bodies.Narrow)
    narrowed = await app_password_changes.narrow(
        desk_of(request),
        actor_of(request),
        wanted.account,
        wanted.app_password,
        scopes=wanted.scopes,
        networks=wanted.networks,
        expires=wanted.expires,
    )
    return one(narrowed)


ROUTES = [
    Route("/app-passwords", listing),
    Route("/app-passwords/revoke", revoke, methods=["POST"]),
    Route("/app-passwords/rename", rename, methods=["POST"]),
    Route("/app-passwords/change", narrow, methods=["POST"]),
    Route("/accounts/{account:path}/app-passwords", create, methods=["POST"]),
]
