"""/app-passwords: what a person has, and creating, renaming and revoking.

app_password_form.py   the form of a new one        app_password_rows.py   the list
shown_once.py          the secret's way to the page that shows it
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.datastructures import ImmutableMultiDict
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.admin.values import MAX_NAME
from proxy.domain.secret import Secret
from proxy.domain.sign_in import Stage
from proxy.portal import app_password_form as forms
from proxy.portal import app_password_rows as rows
from proxy.portal import setup, shown_once
from proxy.portal.app_password_form import Choice, Offer
from proxy.portal.app_password_rows import Mailbox, Row
from proxy.portal.core_client import CoreRefusal, CoreUnavailable
from proxy.portal.web import Visit, challenge, form_of, need, redirect, render, visit_of
from proxy.store import accounts
from proxy.store.errors import StoreUnavailable


@need(Stage.IN)
async def listing(request: Request) -> Response:
    return await _list(request, [])


@need(Stage.IN)
async def new(request: Request) -> Response:
    """The form; a query has what was chosen before a factor was asked for."""
    visit = visit_of(request)
    offer = await _offer(visit)
    own = visit.account.address
    if "name" in request.query_params:
        choice = forms.read(ImmutableMultiDict(request.query_params.multi_items()), own)
    else:
        account = request.query_params.get("account", own)
        account = account if account in offer.accounts else own
        views = await visit.desk.core.app_passwords(visit.account, account)
        taken = {view["name"] for view in views if view["revoked"] is None}
        choice = forms.suggestion(visit.texts, offer, account, visit.agent, taken)
        if len(taken) >= visit.desk.config.policy.app_password_limit:
            return _form(request, offer, choice, stop=_full(visit, account), hopeless=True)
    wait = _must_wait(visit)
    if wait is not None:
        return _form(request, offer, choice, stop=wait, hopeless=True)
    if not visit.fresh:
        return challenge(f"/app-passwords/new?{choice.query()}")
    return _form(request, offer, choice)


@need(Stage.IN, keep=True)
async def create(request: Request) -> Response:
    visit = visit_of(request)
    choice = forms.read(await form_of(request), visit.account.address)
    offer = await _offer(visit)
    problems = forms.problems(visit.texts, offer, choice)
    if problems:
        return _form(request, offer, choice, 400, problems=problems)
    if not visit.fresh:
        return challenge(f"/app-passwords/new?{choice.query()}")
    try:
        created = await visit.desk.core.create(
            visit.account,
            choice.account,
            choice.name,
            scopes=sorted(choice.scopes),
            networks=choice.cidrs(offer),
            expires=choice.expires or None,
        )
    except CoreRefusal as refusal:
        return _refused(request, offer, choice, refusal.code)
    except CoreUnavailable:
        stop = visit.say(
            "That did not work just now. Look first whether it is in your list; if it is not, try again in a minute."
        )
        return _form(request, offer, choice, 503, stop=stop)
    secret = Secret(created["secret"])
    try:
        await shown_once.keep(visit, str(created["id"]), secret)
    except StoreUnavailable:  # it exists, and nobody else has it: better shown without the detour than lost
        return await _created(request, created, secret)
    return redirect(f"/app-passwords/{created['id']}/created")


@need(Stage.IN)
async def created(request: Request) -> Response:
    """The secret, once: whoever comes again finds the list."""
    visit, app_password_id = visit_of(request), request.path_params["id"]
    views = await visit.desk.core.app_passwords(visit.account)
    view = next((view for view in views if str(view["id"]) == app_password_id), None)
    secret = await shown_once.take(visit, app_password_id) if view is not None else None
    if view is None or secret is None:
        return redirect("/app-passwords")
    return await _created(request, view, secret)


@need(Stage.IN)
async def rename_form(request: Request) -> Response:
    row = await _live(request)
    typed = request.query_params.get("name", row.name)[:MAX_NAME]
    return render(request, "app_passwords_rename.html", row=row, typed=typed, problems={})


@need(Stage.IN, keep=True)
async def rename(request: Request) -> Response:
    visit, row = visit_of(request), await _live(request)
    name = (await form_of(request)).get("name", "").strip()
    if not name or not name.isprintable() or len(name) > MAX_NAME:
        problem, status = visit.say("Give it a name of at most %(most)s characters.", most=MAX_NAME), 400
    else:
        try:
            await visit.desk.core.rename(visit.account, row.account, row.id, name)
            return redirect("/app-passwords")
        except CoreRefusal as refusal:
            if refusal.code != "name_taken":
                raise
            problem, status = _taken(visit, name), 409
    problems = {"name": problem}
    return render(request, "app_passwords_rename.html", status, row=row, typed=name[:MAX_NAME], problems=problems)


@need(Stage.IN)
async def revoke_form(request: Request) -> Response:
    row = await _live(request)
    if not visit_of(request).fresh:
        return challenge(f"/app-passwords/{row.id}/revoke")
    return render(request, "app_passwords_revoke.html", row=row, stop=None)


@need(Stage.IN, back="/app-passwords/{id}/revoke")
async def revoke(request: Request) -> Response:
    visit = visit_of(request)
    row = await _row(request)
    if row.ended is not None:  # a reload of the answer, or somebody was quicker
        return await _list(request, [visit.say("“%(name)s” was revoked already.", name=row.name)])
    if not visit.fresh:
        return challenge(f"/app-passwords/{row.id}/revoke")
    try:
        done = await visit.desk.core.revoke(visit.account, row.account, row.id)
    except CoreUnavailable:
        stop = visit.say(
            "That did not work, or not wholly. Look in a minute whether it is still in your list, and try again."
        )
        return render(request, "app_passwords_revoke.html", 503, row=row, stop=stop)
    return await _list(request, _consequences(visit, row, done))


ROUTES = [
    Route("/app-passwords", listing),
    Route("/app-passwords/new", new),
    Route("/app-passwords/new", create, methods=["POST"]),
    Route("/app-passwords/{id}/created", created),
    Route("/app-passwords/{id}/rename", rename_form),
    Route("/app-passwords/{id}/rename", rename, methods=["POST"]),
    Route("/app-passwords/{id}/revoke", revoke_form),
    Route("/app-passwords/{id}/revoke", revoke, methods=["POST"]),
]


async def _list(request: Request, said: Sequence[str]) -> Response:
    mailboxes = await _mailboxes(visit_of(request))
    trying = [row for mailbox in mailboxes for row in mailbox.ended if row.tries is not None]
    return render(request, "app_passwords.html", mailboxes=mailboxes, trying=trying, said=said)


async def _mailboxes(visit: Visit) -> list[Mailbox]:
    desk = visit.desk
    chosen, tries = await desk.store.read(rows.mailboxes, visit.account)
    views = await desk.core.app_passwords(visit.account)
    return rows.arrange(visit.texts, desk.clock(), chosen, views, tries)


async def _row(request: Request) -> Row:
    """The app password that the address names; HTTPException 404 if it is none of the person's."""
    for mailbox in await _mailboxes(visit_of(request)):
        for row in [*mailbox.live, *mailbox.ended]:
            if str(row.id) == request.path_params["id"]:
                return row
    raise HTTPException(404)


async def _live(request: Request) -> Row:
    row = await _row(request)
    if row.ended is not None:
        raise HTTPException(404)
    return row


async def _offer(visit: Visit) -> Offer:
    shared = await visit.desk.store.read(accounts.memberships, visit.account.id)
    addresses = [visit.account.address, *(mailbox.address for mailbox in shared)]
    return forms.offer(visit.desk.config, addresses, visit.address)


def _must_wait(visit: Visit) -> str | None:
    """Why nothing can be minted yet, and until when."""
    after = visit.person.mint_after
    if visit.person.may_mint(visit.desk.clock()) or after is None:
        return None
    return visit.say(
        "Your sign-in methods were reset. To protect you, new app passwords can be created only from %(time)s on. "
        "If you did not ask for that reset, tell your administrator now.",
        time=datetime.datetime.fromtimestamp(after, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _form(
    request: Request,
    offer: Offer,
    choice: Choice,
    status: int = 200,
    *,
    problems: Mapping[str, str] | None = None,
    stop: str | None = None,
    hopeless: bool = False,
) -> Response:
    """`stop`: what speaks against it as a whole; `hopeless`: the form cannot help it."""
    texts = visit_of(request).texts
    return render(
        request,
        "app_passwords_new.html",
        status,
        offer=offer,
        scopes=[(scope.value, texts.say(forms.SCOPES[scope])) for scope in offer.scopes],
        lengths=[(length, forms.length_text(texts, length)) for length in offer.lengths],
        choice=choice,
        network=rows.host(offer.here),
        problems=problems or {},
        stop=stop,
        hopeless=hopeless,
    )


def _refused(request: Request, offer: Offer, choice: Choice, code: str) -> Response:
    """The core said no: each reason that a person can do something about, in words."""
    visit = visit_of(request)
    if code == "name_taken":
        return _form(request, offer, choice, 409, problems={"name": _taken(visit, choice.name)})
    if code == "limit":
        return _form(request, offer, choice, 409, stop=_full(visit, choice.account))
    if code == "wait":  # the reset came while the form was filled in
        stop = visit.say("Your sign-in methods were reset a moment ago: for now no app password can be created.")
        return _form(request, offer, choice, 409, stop=stop, hopeless=True)
    stop = visit.say("An app password like this cannot be created here. Ask your administrator.")
    return _form(request, offer, choice, 409, stop=stop)


def _full(visit: Visit, account: str) -> str:
    return visit.say(
        "%(account)s has %(limit)s app passwords, and more are not possible. Revoke one that is not used any more: "
        "the list says when each was used.",
        account=account,
        limit=visit.desk.config.policy.app_password_limit,
    )


def _taken(visit: Visit, name: str) -> str:
    return visit.say("Another app password is called “%(name)s” already. Choose another name.", name=name)


async def _created(request: Request, view: Mapping[str, Any], secret: Secret) -> Response:
    set_up = await setup.offer(visit_of(request), view, secret)
    return render(request, "app_passwords_created.html", view=view, secret=secret.reveal(), set_up=set_up)


def _consequences(visit: Visit, row: Row, done: Mapping[str, Any]) -> list[str]:
    """What a revoke brought with it, a sentence each."""
    texts, cut = visit.texts, done["sessions_cut"]
    said = [visit.say("“%(name)s” is revoked.", name=row.name)]
    if cut:
        said.append(texts.count("%(num)s session was cut.", "%(num)s sessions were cut.", cut))
    else:
        said.append(visit.say("No session had to be cut: nobody was connected with it."))
    chat = done.get("chat", [])
    kicked = sum(kick["users"] or 0 for kick in chat)
    if kicked:
        said.append(texts.count("%(num)s chat session was ended.", "%(num)s chat sessions were ended.", kicked))
    elif any(kick["users"] is None and kick["problem"] is None for kick in chat):
        said.append(visit.say("The chat server was told to end its sessions."))
    if any(kick["problem"] is not None for kick in chat):
        said.append(visit.say("A chat server could not be reached: chats that were open may go on for a while."))
    return said
