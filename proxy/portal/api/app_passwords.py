"""/app-passwords."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.admin import app_password_changes, app_passwords, own
from proxy.admin.desk import Actor, ActorKind, Forbidden, Invalid
from proxy.portal.api import bodies
from proxy.portal.api.bodies import body
from proxy.portal.api.peer import actor_of, allow
from proxy.portal.api.replies import desk_of, many, one


@allow(ActorKind.OPERATOR, ActorKind.PERSON)
async def listing(request: Request) -> Response:
    desk, actor = desk_of(request), actor_of(request)
    account, unused_for = request.query_params.get("account"), request.query_params.get("unused_for")
    if unused_for is not None:
        _operators_only(actor)
        return many(await app_passwords.unused(desk, unused_for))
    if actor.kind is ActorKind.PERSON:
        return many(await own.listing(desk, actor, account))
    return many(await app_passwords.listing(desk, account))


@allow(ActorKind.OPERATOR, ActorKind.PERSON)
async def create(request: Request) -> Response:
    new = await body(request, bodies.NewAppPassword)
    actor = actor_of(request)
    mint = own.create if actor.kind is ActorKind.PERSON else app_passwords.create
    created = await mint(
        desk_of(request),
        actor,
        request.path_params["account"],
        new.name,
        scopes=new.scopes,
        networks=new.networks,
        expires=new.expires,
        owner=new.owner,
    )
    return one(created, 201)


@allow(ActorKind.OPERATOR, ActorKind.PERSON)
async def revoke(request: Request) -> Response:
    wanted = await body(request, bodies.Revoke)
    desk, actor = desk_of(request), actor_of(request)
    if wanted.unused_for is not None and wanted.account is None and not wanted.names and not wanted.all:
        _operators_only(actor)
        return one(await app_passwords.revoke_unused(desk, actor, wanted.unused_for))
    if wanted.unused_for is None and wanted.account is not None and wanted.all != bool(wanted.names):
        end = own.revoke if actor.kind is ActorKind.PERSON else app_passwords.revoke
        return one(await end(desk, actor, wanted.account, wanted.names, every=wanted.all))
    raise Invalid("give an account with names or all, or unused_for alone")


@allow(ActorKind.OPERATOR, ActorKind.PERSON)
async def rename(request: Request) -> Response:
    wanted = await body(request, bodies.Rename)
    actor = actor_of(request)
    give = own.rename if actor.kind is ActorKind.PERSON else app_password_changes.rename
    return one(await give(desk_of(request), actor, wanted.account, wanted.app_password, wanted.name))


@allow(ActorKind.OPERATOR, ActorKind.PERSON)
async def narrow(request: Request) -> Response:
    wanted = await body(request, bodies.Narrow)
    actor = actor_of(request)
    leave = own.narrow if actor.kind is ActorKind.PERSON else app_password_changes.narrow
    narrowed = await leave(
        desk_of(request),
        actor,
        wanted.account,
        wanted.app_password,
        scopes=wanted.scopes,
        networks=wanted.networks,
        expires=wanted.expires,
    )
    return one(narrowed)


def _operators_only(actor: Actor) -> None:
    if actor.kind is not ActorKind.OPERATOR:
        raise Forbidden("only an operator of this host may do that to those of everybody")


ROUTES = [
    Route("/app-passwords", listing),
    Route("/app-passwords/revoke", revoke, methods=["POST"]),
    Route("/app-passwords/rename", rename, methods=["POST"]),
    Route("/app-passwords/change", narrow, methods=["POST"]),
    Route("/accounts/{account:path}/app-passwords", create, methods=["POST"]),
]
