"""The JSON API under /api/v1, served on admin.sock: who may open that socket is the operator of the host, or asks
in the name of a person (the portal).

    bodies.py   errors.py   replies.py    what goes in, what goes wrong, what comes out
    peer.py     who is at the other end of the socket, and what they may ask
    accounts.py  app_passwords.py  sessions.py  audit.py    the routes, by noun

Every error is `{"error": {"code", "message"}}`: the code is stable and for programs, the message for people.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

import proxy
from proxy.admin.desk import ActorKind, Desk
from proxy.portal.api import accounts, app_passwords, audit, sessions
from proxy.portal.api.errors import HANDLERS
from proxy.portal.api.peer import allow
from proxy.portal.api.replies import desk_of, one


def make_api(desk: Desk) -> Starlette:
    """The ASGI application. It runs in the core, on the core's loop; serve it with `peer.PeerHttp`."""
    routes = [
        Route("/status", status),
        *app_passwords.ROUTES,
        *sessions.ROUTES,
        *audit.ROUTES,
        *accounts.ROUTES,
    ]
    app = Starlette(routes=[Mount("/api/v1", routes=routes)], exception_handlers=HANDLERS)
    app.state.desk = desk
    return app


@allow(ActorKind.OPERATOR)
async def status(request: Request) -> Response:
    """That the core runs, and what it is."""
    desk = desk_of(request)
    return one(
        {
            "version": proxy.__version__,
            "node": desk.node,
            "config": str(desk.config.path),
            "sessions": len(desk.sessions),
        }
    )
