"""Who asks over admin.sock, and what they may ask.

The kernel says which user of the host is at the other end; so that the audit can say which operator it was. The portal
asks in the name of a person: that header takes rights away and gives none. Where it has a user of its own
(`portal.user`), that user is no operator, and may ask nothing without the header.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from functools import cache, wraps

from starlette.requests import Request
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from proxy.admin.desk import Actor, ActorKind, Forbidden, Invalid
from proxy.domain.model import AccountKind
from proxy.portal.api.replies import desk_of
from proxy.store import accounts

Handler = Callable[[Request], Awaitable[Response]]

_CREDENTIALS = struct.Struct("3i")
_PREFIX = "uid:"
SUDO_HEADER = "sidegate-sudo-uid"
"""Who became root to do this, as the command line tells it; believed only from root, who could do without."""
PERSON_HEADER = "sidegate-person"
"""Id of the account in whose name the portal asks."""


class PeerHttp(H11Protocol):
    """uvicorn's HTTP protocol (`uvicorn.Config(http=PeerHttp)`) with the peer's uid in `scope["client"]`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family == socket.AF_UNIX:
            raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            pid, uid, _ = _CREDENTIALS.unpack(raw)
            self.client = (f"{_PREFIX}{uid}", pid)


def allow(*kinds: ActorKind) -> Callable[[Handler], Handler]:
    """Who may call a route; every route says so. For anybody else it raises Forbidden before it looks at anything."""

    def guard(handler: Handler) -> Handler:
        @wraps(handler)
        async def guarded(request: Request) -> Response:
            actor = await _actor(request)
            if actor.kind not in kinds:
                raise Forbidden("only an operator of this host may do that")
            request.state.actor = actor
            return await handler(request)

        return guarded

    return guard


def actor_of(request: Request) -> Actor:
    """Who asks: one of those that the route allows."""
    actor = request.state.actor
    assert isinstance(actor, Actor)
    return actor


async def _actor(request: Request) -> Actor:
    """`person:ADDRESS` where the header names one; else the operator, `operator:UID` or `operator:0(sudo:UID)`."""
    if PERSON_HEADER in request.headers:
        return await _person(request, request.headers[PERSON_HEADER])
    host = request.client.host if request.client is not None else ""
    uid = host.removeprefix(_PREFIX) if host.startswith(_PREFIX) else "?"
    portal = desk_of(request).config.portal.user
    if portal is not None and uid == str(_uid(portal)) != str(os.geteuid()):
        raise Forbidden("the portal asks in the name of a person, and of nobody else")
    sudo = request.headers.get(SUDO_HEADER, "")
    if uid == "0" and re.fullmatch(r"[0-9]{1,10}", sudo):
        return Actor(f"operator:0(sudo:{sudo})")
    return Actor(f"operator:{uid}")


@cache
def _uid(user: str) -> int:
    return pwd.getpwnam(user).pw_uid


async def _person(request: Request, written: str) -> Actor:
    if not re.fullmatch(r"[1-9][0-9]{0,17}", written, re.ASCII):
        raise Invalid(f"{PERSON_HEADER} is the id of an account")
    account = await desk_of(request).store.read(accounts.by_id, int(written))
    if account is None or account.kind is not AccountKind.PERSON or not account.enabled:
        raise Forbidden("this person may do nothing here: there is no such account, or it is disabled")
    return Actor(f"person:{account.address}", ActorKind.PERSON, account)
