"""/accounts and /mfa."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.admin import accounts, accounts_import, enrolment, mfa, own
from proxy.admin.desk import ActorKind, Invalid
from proxy.domain.model import MfaState
from proxy.domain.secret import Secret
from proxy.portal.api import bodies
from proxy.portal.api.bodies import body
from proxy.portal.api.peer import actor_of, allow
from proxy.portal.api.replies import desk_of, many, one


@allow(ActorKind.OPERATOR)
async def listing(request: Request) -> Response:
    state = request.query_params.get("mfa")
    try:
        wanted = MfaState(state) if state is not None else None
    except ValueError:
        raise Invalid(f"{state!r} is no MFA state; states are {', '.join(MfaState)}") from None
    nobody = request.query_params.get("no_app_passwords") == "true"
    return many(await accounts.listing(desk_of(request), mfa=wanted, no_app_passwords=nobody))


@allow(ActorKind.OPERATOR)
async def add(request: Request) -> Response:
    new = await body(request, bodies.NewAccount)
    wanted = accounts.Wanted(
        address=new.account,
        kind=new.kind,
        aliases=tuple(new.aliases),
        backend_name=new.backend_name,
        name=new.name,
        owner=new.owner,
        members=tuple(new.members),
        admin=new.admin,
        password=Secret(new.password) if new.password is not None else None,
    )
    return one(await accounts.add(desk_of(request), actor_of(request), wanted), 201)


@allow(ActorKind.OPERATOR)
async def import_file(request: Request) -> Response:
    file = await body(request, bodies.ImportFile)
    done = await accounts_import.import_accounts(
        desk_of(request), actor_of(request), file.name, file.text, dry_run=file.dry_run
    )
    return one(done)


@allow(ActorKind.OPERATOR)
async def show(request: Request) -> Response:
    return one(await accounts.show(desk_of(request), request.path_params["account"]))


@allow(ActorKind.OPERATOR)
async def change(request: Request) -> Response:
    wanted = await body(request, bodies.AccountChange)
    desk, actor, name = desk_of(request), actor_of(request), request.path_params["account"]
    if (wanted.enabled is None) == (wanted.password is None):
        raise Invalid("give exactly one of enabled and password")
    if wanted.password is not None:
        await accounts.set_password(desk, actor, name, Secret(wanted.password))
        return one(await accounts.show(desk, name))
    if wanted.enabled:
        return one(await accounts.enable(desk, actor, name))
    return one(await accounts.disable(desk, actor, name))


@allow(ActorKind.OPERATOR)
async def remove(request: Request) -> Response:
    return one(await accounts.remove(desk_of(request), actor_of(request), request.path_params["account"]))


@allow(ActorKind.OPERATOR)
async def change_aliases(request: Request) -> Response:
    wanted = await body(request, bodies.Aliases)
    desk, actor, account = desk_of(request), actor_of(request), request.path_params["account"]
    return one(await accounts.change_aliases(desk, actor, account, wanted.add, wanted.remove))


@allow(ActorKind.OPERATOR)
async def add_members(request: Request) -> Response:
    wanted = await body(request, bodies.Members)
    account = request.path_params["account"]
    return one(await accounts.add_members(desk_of(request), actor_of(request), account, wanted.members))


@allow(ActorKind.OPERATOR)
async def remove_member(request: Request) -> Response:
    account, member = request.path_params["account"], request.path_params["member"]
    return one(await accounts.remove_member(desk_of(request), actor_of(request), account, member))


@allow(ActorKind.OPERATOR)
async def set_mfa(request: Request) -> Response:
    wanted = await body(request, bodies.MfaChange)
    if wanted.all == bool(wanted.accounts):
        raise Invalid("give either accounts or all")
    names = None if wanted.all else wanted.accounts
    done = await mfa.set_state(desk_of(request), actor_of(request), wanted.state, names, dry_run=wanted.dry_run)
    return one(done)


@allow(ActorKind.PERSON)
async def enrolled(request: Request) -> Response:
    return one({"state": await own.enrolled(desk_of(request), actor_of(request))})


@allow(ActorKind.OPERATOR)
async def enrolment_code(request: Request) -> Response:
    wanted = await body(request, bodies.Expiring)
    account = request.path_params["account"]
    return one(await enrolment.issue_code(desk_of(request), actor_of(request), account, wanted.expires), 201)


@allow(ActorKind.OPERATOR)
async def password_link(request: Request) -> Response:
    wanted = await body(request, bodies.Expiring)
    account = request.path_params["account"]
    return one(await enrolment.issue_password_link(desk_of(request), actor_of(request), account, wanted.expires), 201)


@allow(ActorKind.OPERATOR)
async def reset_factors(request: Request) -> Response:
    return one(await enrolment.reset_factors(desk_of(request), actor_of(request), request.path_params["account"]))


@allow(ActorKind.OPERATOR)
async def bypass(request: Request) -> Response:
    wanted = await body(request, bodies.Bypass)
    account = request.path_params["account"]
    return one(await enrolment.bypass(desk_of(request), actor_of(request), account, wanted.minutes))


@allow(ActorKind.OPERATOR)
async def unblock(request: Request) -> Response:
    return one(await enrolment.unblock(desk_of(request), actor_of(request), request.path_params["account"]))


ROUTES = [
    Route("/mfa", set_mfa, methods=["POST"]),
    Route("/mfa/enrolled", enrolled, methods=["POST"]),
    Route("/accounts", listing),
    Route("/accounts", add, methods=["POST"]),
    Route("/accounts/import", import_file, methods=["POST"]),
    Route("/accounts/{account:path}/enrolment-code", enrolment_code, methods=["POST"]),
    Route("/accounts/{account:path}/password-link", password_link, methods=["POST"]),
    Route("/accounts/{account:path}/factors", reset_factors, methods=["DELETE"]),
    Route("/accounts/{account:path}/bypass", bypass, methods=["POST"]),
    Route("/accounts/{account:path}/unblock", unblock, methods=["POST"]),
    Route("/accounts/{account:path}/aliases", change_aliases, methods=["POST"]),
    Route("/accounts/{account:path}/members", add_members, methods=["POST"]),
    Route("/accounts/{account:path}/members/{member:path}", remove_member, methods=["DELETE"]),
    Route("/accounts/{account:path}", show),
    Route("/accounts/{account:path}", change, methods=["PATCH"]),
    Route("/accounts/{account:path}", remove, methods=["DELETE"]),
]
"""Login names may hold a slash: what ends in a word of its own stands first, here and in make_api."""
