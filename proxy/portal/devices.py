"""/devices: the browsers in which a person has signed in here, and forgetting them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.domain.audit import Event
from proxy.domain.sign_in import Stage
from proxy.portal import arrival
from proxy.portal.moments import Moment, tell
from proxy.portal.web import Visit, form_of, need, redirect, render, visit_of
from proxy.store import devices, portal_sessions

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Row:
    """One known device."""

    id: int
    name: str
    address: str
    created: Moment
    seen: Moment
    remembered: Moment | None
    """Until when no factor is asked for in it."""
    here: bool


@need(Stage.IN)
async def listing(request: Request) -> Response:
    return await _list(request, [])


@need(Stage.IN)
async def forget(request: Request) -> Response:
    """One device (`id`), or all but this one, with the sign-ins in them."""
    visit, form = visit_of(request), await form_of(request)
    if form.get("all"):
        count = await visit.desk.store.write(_forget_others, visit)
        said = visit.texts.count("%(num)s device was forgotten.", "%(num)s devices were forgotten.", count)
        return await _list(request, [said])
    try:
        device_id = int(form.get("id", ""))
    except ValueError:
        raise HTTPException(400) from None
    name = await visit.desk.store.write(_forget, visit, device_id)
    if name is None:
        return await _list(request, [visit.say("It was forgotten already.")])
    if device_id == visit.session.device_id:
        visit.end()
        return redirect("/sign-in")
    return await _list(request, [visit.say("“%(name)s” was forgotten.", name=name)])


ROUTES = [Route("/devices", listing), Route("/devices/forget", forget, methods=["POST"])]


async def _list(request: Request, said: Sequence[str]) -> Response:
    visit = visit_of(request)
    now = visit.desk.clock()
    rows = [
        Row(
            id=device.id,
            name=device.name,
            address=device.address,
            created=tell(visit.texts, now, device.created),
            seen=tell(visit.texts, now, device.seen),
            remembered=tell(visit.texts, now, device.remembered_until)
            if device.remembered_until is not None and device.remembered(now)
            else None,
            here=device.id == visit.session.device_id,
        )
        for device in await visit.desk.store.read(devices.of_account, visit.account.id)
    ]
    return render(request, "devices.html", rows=rows, said=said)


def _forget(c: Connection, visit: Visit, device_id: int) -> str | None:
    """The device's name; None when it is none of the account's."""
    known = {device.id: device for device in devices.of_account(c, visit.account.id)}
    if device_id not in known:
        return None
    devices.remove(c, visit.account.id, device_id)
    arrival.note(c, visit, visit.account, Event.DEVICE_REMOVED, detail=known[device_id].name)
    return known[device_id].name


def _forget_others(c: Connection, visit: Visit) -> int:
    """How many; whatever else is signed in ends, known device or not."""
    others = [one for one in devices.of_account(c, visit.account.id) if one.id != visit.session.device_id]
    for one in others:
        devices.remove(c, visit.account.id, one.id)
        arrival.note(c, visit, visit.account, Event.DEVICE_REMOVED, detail=one.name)
    portal_sessions.end_all(c, visit.account.id, but=visit.session.token_hash)
    return len(others)
