"""/sessions: the programs that are connected now, and cutting them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.domain.sign_in import Stage
from proxy.portal.core_client import CoreRefusal
from proxy.portal.moments import Moment, tell
from proxy.portal.web import Visit, form_of, need, render, visit_of


@dataclass(frozen=True, slots=True)
class Row:
    """One session."""

    id: str
    protocol: str
    address: str
    program: str | None
    started: Moment


@dataclass(frozen=True, slots=True)
class Group:
    """What is connected with one app password."""

    app_password_id: int | None
    """None: it ended while this was read."""
    account: str
    name: str
    sessions: Sequence[Row]


@need(Stage.IN)
async def listing(request: Request) -> Response:
    return await _list(request, [])


@need(Stage.IN)
async def cut(request: Request) -> Response:
    """One session (`id`), or all of one app password (`account`, `app_password`)."""
    visit, form = visit_of(request), await form_of(request)
    one, account, app_password = (form.get(name) for name in ("id", "account", "app_password"))
    if (one is None) == (account is None or app_password is None):
        raise HTTPException(400)
    try:
        count = await visit.desk.core.cut(visit.account, account=account, app_password=app_password, session_id=one)
    except CoreRefusal as refusal:
        if refusal.code != "not_found":
            raise
        return await _list(request, [visit.say("It had ended already.")])
    said = [visit.texts.count("%(num)s session was cut.", "%(num)s sessions were cut.", count)]
    return await _list(request, said)


ROUTES = [Route("/sessions", listing), Route("/sessions/cut", cut, methods=["POST"])]


async def _list(request: Request, said: Sequence[str]) -> Response:
    visit = visit_of(request)
    core = visit.desk.core
    live = {
        (view["account"], view["name"]): view["id"]
        for view in await core.app_passwords(visit.account)
        if view["revoked"] is None
    }
    groups: dict[tuple[str, str], list[Row]] = {}
    for session in await core.sessions(visit.account):
        groups.setdefault((session["account"], session["app_password"]), []).append(_row(visit, session))
    chosen = [Group(live.get(key), *key, sessions) for key, sessions in sorted(groups.items())]
    return render(request, "sessions.html", groups=chosen, said=said)


def _row(visit: Visit, session: dict[str, Any]) -> Row:
    return Row(
        id=session["id"],
        protocol=session["protocol"].upper(),
        address=session["client"].rpartition(":")[0].strip("[]"),
        program=session["program"],
        started=tell(visit.texts, visit.desk.clock(), session["started"]),
    )
