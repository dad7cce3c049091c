"""Sign-in methods: the page of a person's factors, and how they add, rename and remove them.

All but the list needs a factor that was proven a moment ago. The first one is registered at enrolment (enrolment.py),
which asks for more than the account password; the last one is removed by an operator only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.domain.factor_kinds import FactorKind
from proxy.domain.notices import Kind
from proxy.domain.sign_in import Stage
from proxy.factors import Begun, FactorRow, NewFactor, keeping
from proxy.portal import arrival
from proxy.portal.agents import agent_name
from proxy.portal.challenge import status_of
from proxy.portal.factor_texts import KINDS
from proxy.portal.moments import tell
from proxy.portal.texts import message
from proxy.portal.web import Visit, challenge, form_of, need, redirect, render, visit_of
from proxy.store import codes, factors, portal_sessions
from proxy.store.errors import NameTaken

if TYPE_CHECKING:
    from sqlalchemy import Connection

MAX_NAME = 64
FEW_LEFT = 3
"""Recovery codes: from here on the page says that it is time for new ones."""

BAD_NAME = message("Give it a name of at most 64 characters.")
NAME_TAKEN = message("You have another one of that name. Choose a name that tells them apart.")
TOO_MANY = message("You have as many sign-in methods as there can be. Remove one first.")
LAST_ONE = message("This is your only sign-in method. Add another one first, or ask your administrator.")
ADDED = message("“%(name)s” was added.")
RENAMED = message("It is called “%(name)s” now.")
REMOVED = message("“%(name)s” was removed.")
NEW_CODES = message("Your new recovery codes work from now on; the old ones no longer do.")


class OnlyOne(Exception):
    """Without this factor only an operator could let the person in."""


@need(Stage.IN)
async def listing(request: Request) -> Response:
    """GET /factors"""
    visit = visit_of(request)
    rows, left = await visit.desk.store.read(_methods, visit.account.id)
    said = visit.session.notes.get("said")
    if said is not None:
        await visit.desk.store.write(portal_sessions.set_notes, visit.session.token_hash, {})
    now = visit.desk.clock()
    methods = [
        {
            "id": row.id,
            "name": row.name,
            "label": KINDS[row.kind].label,
            "number": row.public.get("shown"),
            "created": tell(visit.texts, now, row.created),
            "used": None if row.used is None else tell(visit.texts, now, row.used),
        }
        for row in rows
    ]
    return render(
        request,
        "factors.html",
        methods=methods,
        left=left,
        few_left=left <= FEW_LEFT,
        offered={kind: KINDS[kind] for kind in visit.desk.factors if kind is not FactorKind.RECOVERY_CODE},
        said=None if said is None else visit.say(said["text"], name=said["name"]),
    )


@need(Stage.IN, fresh=True)
async def add(request: Request) -> Response:
    """GET /factors/add/KIND"""
    visit, kind = visit_of(request), _kind(request)
    rows, _ = await visit.desk.store.read(_methods, visit.account.id)
    if not rows:
        return redirect("/enrol")
    waiting = _waiting(visit.session.notes, kind)
    if waiting is None:
        begun = await visit.desk.factors[kind].begin_registration(visit.account, _suggested(visit, kind, rows))
    else:
        begun = await visit.desk.factors[kind].resume_registration(visit.account, waiting)
    return await _ask(request, kind, begun, begun.notes.get("name", ""))


@need(Stage.IN, back="/factors/add/{kind}")
async def added(request: Request) -> Response:
    """POST /factors/add/KIND. The factor had to be fresh when its page was opened; who then takes ten minutes to find
    their way about an app is not sent away with a key that they have scanned (WCAG 2.2.1)."""
    visit, kind, form = visit_of(request), _kind(request), await form_of(request)
    desk = visit.desk
    # Taken, not read: what a challenge is answered with counts once, whatever it comes to.
    notes = await desk.store.write(portal_sessions.take_notes, visit.session.token_hash)
    waiting = _waiting(notes or {}, kind)
    if waiting is None:
        return redirect(f"/factors/add/{kind}")
    name, problems, status = form.get("name", "").strip(), {}, 400
    new = await desk.factors[kind].finish_registration(visit.account, waiting, form)
    if isinstance(new, Begun):
        return await _go_on(request, kind, new)
    if isinstance(new, str):
        problems["answer"], status = visit.say(new), status_of(new)
    if kind is not FactorKind.RECOVERY_CODE and not is_factor_name(name):
        problems["name"] = visit.say(BAD_NAME)
    if isinstance(new, NewFactor) and not problems:
        try:
            kept = await desk.store.write(keep, visit, replace(new, name=name))
        except NameTaken:
            problems["name"], status = visit.say(NAME_TAKEN), 409
        else:
            if kept:
                return await _done(visit, NEW_CODES if kind is FactorKind.RECOVERY_CODE else ADDED, name)
            problems["answer"], status = visit.say(TOO_MANY), 409
    if not visit.fresh:  # what the page shows is not for whoever finds the session
        return challenge(f"/factors/add/{kind}")
    again = await desk.factors[kind].resume_registration(visit.account, waiting)
    return await _ask(request, kind, again, name, status, problems)


@need(Stage.IN, fresh=True)
async def change(request: Request) -> Response:
    """GET /factors/ID"""
    row, others = await _chosen(request)
    return _changing(request, row, others, request.query_params.get("name", row.name)[:MAX_NAME])


@need(Stage.IN, fresh=True, back="/factors/{id}", keep=True)
async def rename(request: Request) -> Response:
    """POST /factors/ID/rename"""
    visit, form = visit_of(request), await form_of(request)
    row, others = await _chosen(request)
    name = form.get("name", "").strip()
    if not is_factor_name(name):
        return _changing(request, row, others, name, 400, {"name": visit.say(BAD_NAME)})
    desk = visit.desk
    try:
        await desk.store.write(keeping.rename, desk.config.node, visit.account, row, name, desk.clock())
    except NameTaken:
        return _changing(request, row, others, name, 409, {"name": visit.say(NAME_TAKEN)})
    return await _done(visit, RENAMED, name)


@need(Stage.IN, fresh=True, back="/factors/{id}")
async def remove(request: Request) -> Response:
    """POST /factors/ID/remove"""
    visit = visit_of(request)
    row, others = await _chosen(request)
    desk = visit.desk
    try:
        await desk.store.write(take_away, visit, row)
    except OnlyOne:
        return _changing(request, row, others, row.name, 409, {"remove": visit.say(LAST_ONE)})
    return await _done(visit, REMOVED, row.name)


ROUTES = [
    Route("/factors", listing),
    Route("/factors/add/{kind}", add),
    Route("/factors/add/{kind}", added, methods=["POST"]),
    Route("/factors/{id:int}", change),
    Route("/factors/{id:int}/rename", rename, methods=["POST"]),
    Route("/factors/{id:int}/remove", remove, methods=["POST"]),
]


async def _go_on(request: Request, kind: FactorKind, begun: Begun) -> Response:
    """The next page of a registration that has several."""
    visit, name = visit_of(request), str(begun.notes.get("name", ""))
    if begun.problem:
        problems = {"answer": visit.say(begun.problem)}
        return await _ask(request, kind, begun, name, status_of(begun.problem), problems)
    answer = await _ask(request, kind, begun, name)
    return redirect(f"/factors/add/{kind}") if visit.fresh else answer


async def _ask(
    request: Request,
    kind: FactorKind,
    begun: Begun,
    name: str,
    status: int = 200,
    problems: Mapping[str, str] | None = None,
) -> Response:
    """The page of a registration; what it waits for is in the session."""
    visit = visit_of(request)
    notes = {"adding": {"kind": kind.value, "notes": dict(begun.notes)}}
    await visit.desk.store.write(portal_sessions.set_notes, visit.session.token_hash, notes)
    return render(
        request,
        "factors_add.html",
        status,
        kind=kind,
        words=KINDS[kind],
        page=begun.page,
        action=f"/factors/add/{kind}",
        name=name,
        problems=problems or {},
    )


def _changing(
    request: Request,
    row: FactorRow,
    others: bool,
    name: str,
    status: int = 200,
    problems: Mapping[str, str] | None = None,
) -> Response:
    return render(request, "factors_change.html", status, row=row, others=others, name=name, problems=problems or {})


async def _done(visit: Visit, text: str, name: str) -> Response:
    """Back to the list, which says so."""
    notes = {"said": {"text": text, "name": name}}
    await visit.desk.store.write(portal_sessions.set_notes, visit.session.token_hash, notes)
    return redirect("/factors")


async def _chosen(request: Request) -> tuple[FactorRow, bool]:
    """The factor that the address names, and whether there are others. HTTPException 404 if it is not theirs."""
    visit = visit_of(request)
    rows, _ = await visit.desk.store.read(_methods, visit.account.id)
    row = next((row for row in rows if row.id == request.path_params["id"]), None)
    if row is None:
        raise HTTPException(404)
    return row, len(rows) > 1


def keep(c: Connection, visit: Visit, new: NewFactor) -> bool:
    """As keeping.keep, and tell the person."""
    account = visit.account
    if not keeping.keep(c, visit.desk.config.node, account, new, visit.desk.clock()):
        return False
    if new.kind is FactorKind.RECOVERY_CODE:
        arrival.inform(c, visit, account, Kind.RECOVERY_CODES_MADE)
    else:
        (row,) = (row for row in factors.of_account(c, account.id) if row.name == new.name)
        facts = {"factor": row.kind.value, "name": row.name, "factor_id": str(row.id)}
        arrival.inform(c, visit, account, Kind.FACTOR_ADDED, **facts)
    return True


def take_away(c: Connection, visit: Visit, row: FactorRow) -> None:
    """As keeping.remove, and tell the person, on that phone if it is one. OnlyOne if there is no other."""
    arrival.inform(c, visit, visit.account, Kind.FACTOR_REMOVED, factor=row.kind.value, name=row.name)
    if not keeping.remove(c, visit.desk.config.node, visit.account, row, visit.desk.clock()):
        raise OnlyOne


def _methods(c: Connection, account_id: int) -> tuple[list[FactorRow], int]:
    """An account's factors, and how many recovery codes are left."""
    return factors.of_account(c, account_id), codes.recovery_left(c, account_id)


def _kind(request: Request) -> FactorKind:
    """The kind that the address names. HTTPException 404 if it is none that is offered here."""
    offered = visit_of(request).desk.factors
    kind = next((kind for kind in offered if kind.value == request.path_params["kind"]), None)
    if kind is None:
        raise HTTPException(404)
    return kind


def _waiting(notes: Mapping[str, Any], kind: FactorKind) -> Mapping[str, Any] | None:
    """What a registration of this kind left in the session."""
    adding = notes.get("adding", {})
    return adding["notes"] if adding.get("kind") == kind else None


def _suggested(visit: Visit, kind: FactorKind, rows: Sequence[FactorRow]) -> str:
    """A name that is free."""
    taken = {row.name for row in rows}
    usual = agent_name(visit.agent) if kind is FactorKind.PASSKEY else visit.say(KINDS[kind].label)
    return next(name for n in range(1, len(taken) + 2) if (name := usual if n == 1 else f"{usual} {n}") not in taken)


def is_factor_name(name: str) -> bool:
    """Whether a factor may be called that."""
    return 0 < len(name) <= MAX_NAME and name.isprintable()
