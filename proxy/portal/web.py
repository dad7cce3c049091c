"""A request at the portal: whose it is, how far that person has come, and how it is answered.

    @need(Stage.IN)
    async def handler(request: Request) -> Response:
        visit = visit_of(request)
        return render(request, "name.html", …)      or      return redirect("/somewhere")

Anybody who is not at the stage that a page needs is sent to where they have to go on. Sessions are rows in the store;
the cookie is a random token, another one after each step. Changes must come from our own pages (senders.py).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import ImmutableMultiDict
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from proxy.domain import tokens
from proxy.domain.model import Account
from proxy.domain.sign_in import IDLE, LIFE, Stage, is_fresh
from proxy.portal import texts
from proxy.portal.desk import PortalDesk, desk_of
from proxy.portal.moments import tell
from proxy.portal.senders import address_of, from_elsewhere
from proxy.portal.templating import template
from proxy.portal.texts import LANGUAGES, Texts
from proxy.store import accounts, people, portal_sessions
from proxy.store.people import Person
from proxy.store.portal_sessions import TOUCHED_AFTER, PortalSession

if TYPE_CHECKING:
    from sqlalchemy import Connection

Handler = Callable[[Request], Awaitable[Response]]

MAX_FORM = 64 * 1024
"""Bytes."""
MAX_FIELDS = 200
MAX_DEVICES = 4
"""People who share a browser, each with a known device in its cookie."""
DEVICE_LIFE = 400 * 86400
"""Seconds: as long as browsers keep a cookie."""
LANGUAGE_COOKIE = "sidegate-language"
MAX_AGENT = 256
MAX_NEXT = 4000
"""Characters: a form that had to wait for a factor comes back in its query."""
_NEXT = re.compile(r"/(?!/)(?:[A-Za-z0-9._~-]+/?)*(?:\?[A-Za-z0-9._~%&=+-]*)?", re.ASCII)


class Overtaken(Exception):
    """Another request with the same cookie took the session on, or ended it: what this one did is undone."""


@dataclass(slots=True)
class Visit:
    """One request, and what its answer sets."""

    desk: PortalDesk
    path: str
    """Of the page, below that of portal.url."""
    address: str
    """The client's."""
    agent: str
    """The browser, as it calls itself."""
    texts: Texts
    device_tokens: list[str]
    """Of every person that uses this browser, the last one first."""
    loaded: tuple[PortalSession, Account, Person] | None = None
    """None: nobody is signed in, or on the way there."""
    _cookies: dict[str, tuple[str, int | None]] = field(default_factory=dict, repr=False)

    @property
    def stage(self) -> Stage | None:
        """How far they have come; None: no password was right yet."""
        return None if self.loaded is None else self.session.stage

    @property
    def session(self) -> PortalSession:
        assert self.loaded is not None
        return self.loaded[0]

    @property
    def account(self) -> Account:
        """Whose password was right."""
        assert self.loaded is not None
        return self.loaded[1]

    @property
    def person(self) -> Person:
        assert self.loaded is not None
        return self.loaded[2]

    @property
    def actor(self) -> str:
        """For the audit."""
        return f"person:{self.account.address}"

    @property
    def fresh(self) -> bool:
        """Whether a factor was proven a moment ago: app passwords and factors are made and removed only then."""
        return is_fresh(self.desk.clock(), self.session.factor_time)

    @property
    def by_provider(self) -> bool:
        """Whether the identity provider vouches for them, and no password of ours."""
        return self.loaded is not None and self.session.provider_time is not None

    @property
    def must_change(self) -> bool:
        """Whether they must change their account password before anything else. A provider's is not our business."""
        return self.person.must_change and not self.by_provider

    @property
    def trusted(self) -> bool:
        """Whether they are in one of portal.trusted_networks."""
        return self.address in self.desk.trusted

    @property
    def left(self) -> int:
        """Seconds until the session ends if nothing happens in it."""
        return int(min(self.session.seen + IDLE, self.session.expires) - self.desk.clock())

    def say(self, text: str, **values: object) -> str:
        """A message in their language."""
        return self.texts.say(text, **values)

    def goal(self) -> str:
        """Where they have to go on."""
        if self.loaded is None:
            return "/sign-in"
        if self.stage is Stage.IN:
            return "/account-password" if self.must_change else "/app-passwords"
        return "/challenge" if self.stage is Stage.CHALLENGE else "/enrol"

    def begin(self, c: Connection, session: PortalSession) -> None:
        """In place of the session of the request, if any, begin this one; its token_hash is filled in. The account must
        be there."""
        if self.loaded is not None:
            portal_sessions.end(c, self.session.token_hash)
        token = new_token(self.desk)
        session = replace(session, token_hash=tokens.hash_of(token))
        portal_sessions.add(c, session)
        account = accounts.by_id(c, session.account_id)
        assert account is not None  # the session's foreign key holds it
        self._go_on(token, session, account, people.by_id(c, account.id))

    def step(
        self,
        c: Connection,
        stage: Stage,
        *,
        factor_time: float | None,
        device_id: int | None,
        provider_time: float | None = None,
    ) -> None:
        """The session goes on at this stage under a new token; notes are gone. `provider_time`: if it is another.
        Raises Overtaken."""
        was, now = self.session, self.desk.clock()
        token = new_token(self.desk)
        session = replace(
            was,
            token_hash=tokens.hash_of(token),
            stage=stage,
            seen=now,
            expires=was.expires if was.stage is stage else now + LIFE,
            factor_time=factor_time,
            device_id=device_id,
            provider_time=was.provider_time if provider_time is None else provider_time,
            notes={},
        )
        if not portal_sessions.rotate(c, was.token_hash, session):
            raise Overtaken
        self._go_on(token, session, self.account, self.person)

    async def stay(self) -> None:
        """Note that the session is used: it does not end for idling now."""
        session, account, person = replace(self.session, seen=self.desk.clock()), self.account, self.person
        await self.desk.store.write(portal_sessions.touch, session.token_hash, session.seen)
        self.loaded = session, account, person

    def end(self) -> None:
        """The browser forgets the session."""
        self._cookies[_session_cookie(self.desk)] = ("", 0)

    def know_device(self, token: str) -> None:
        """The browser keeps this device token, beside those of others who use it."""
        kept = [token, *(other for other in self.device_tokens if other != token)][:MAX_DEVICES]
        self._cookies[_device_cookie(self.desk)] = (".".join(kept), DEVICE_LIFE)

    def speak(self, language: str) -> None:
        """The browser keeps the language that was chosen."""
        self._cookies[LANGUAGE_COOKIE] = (language, DEVICE_LIFE)

    def _go_on(self, token: str, session: PortalSession, account: Account, person: Person) -> None:
        self.loaded = session, account, person
        self._cookies[_session_cookie(self.desk)] = (token, None)

    def answer(self, response: Response) -> Response:
        """The response with what this visit sets."""
        desk = self.desk
        for name, (value, age) in self._cookies.items():
            response.set_cookie(name, value, age, path="/", secure=desk.secure, httponly=True, samesite="strict")
        response.headers.setdefault("Cache-Control", "no-store")
        if isinstance(response, RedirectResponse):
            response.headers["Location"] = desk.base + response.headers["Location"]
        return response


def visit_of(request: Request) -> Visit:
    return cast(Visit, request.state.visit)


def need(
    *stages: Stage, fresh: bool = False, back: str | None = None, keep: bool = False, changing: bool = False
) -> Callable[[Handler], Handler]:
    """Pages for people at these stages.

    `fresh`: and who has proven a factor in the last minutes; `back` is where they come back to after that, or after a
    sign-in that was due, if not here. `keep`: with what they typed in the query; there must be no secret among it.
    `changing`: also for those who must change their account password before anything else.
    """

    def guard(handler: Handler) -> Handler:
        @wraps(handler)
        async def guarded(request: Request) -> Response:
            visit = await _begin(request)
            if visit.stage is None:
                here = await _here(request, back, keep)
                return visit.answer(redirect(f"/sign-in?next={quote(here)}" if here else "/sign-in"))
            until, now = visit.person.stopped_until, visit.desk.clock()
            if until is not None and visit.person.stopped(now):
                return visit.answer(render(request, "stopped.html", 403, until=tell(visit.texts, now, until)))
            must_change = visit.stage is Stage.IN and visit.must_change and not changing
            if visit.stage not in stages or must_change:
                return visit.answer(redirect(visit.goal()))
            if fresh and not visit.fresh:
                return visit.answer(challenge(await _here(request, back, keep)))
            try:
                return visit.answer(await handler(request))
            except Overtaken:
                return visit.answer(redirect(visit.goal()))

        return guarded

    return guard


def anyone(handler: Handler) -> Handler:
    """Pages for everybody."""

    @wraps(handler)
    async def guarded(request: Request) -> Response:
        visit = await _begin(request)
        return visit.answer(await handler(request))

    return guarded


def render(request: Request, name: str, status: int = 200, /, **context: object) -> Response:
    """A page. Templates have, besides `context`: desk, visit, base, and `_` and `ngettext` in the reader's language."""
    visit = visit_of(request)
    here = visit.path if status == 200 and request.method == "GET" and is_ours(visit.path) else "/"
    html = template(name, visit.texts).render(
        desk=visit.desk, base=visit.desk.base, visit=visit, here=here, languages=LANGUAGES, **context
    )
    return HTMLResponse(html, status)


def redirect(path: str) -> Response:
    """303 to another page of ours; the path of portal.url is put before it."""
    assert is_ours(path.partition("?")[0]), path
    return RedirectResponse(path, 303)


def challenge(back: str) -> Response:
    """A factor first, and then there."""
    return redirect(f"/challenge?next={quote(back)}")


def is_ours(path: str) -> bool:
    """Whether a path that somebody sent along is one of ours to go on at: neither another site nor anything clever."""
    return len(path) <= MAX_NEXT and _NEXT.fullmatch(path) is not None and ".." not in path.partition("?")[0]


def wanted_of(given: Mapping[str, str]) -> str:
    """Where a form or query says that they wanted to go, if that is one of our pages; else nothing."""
    wanted = given.get("next", "")
    return wanted if is_ours(wanted) else ""


def next_of(visit: Visit, given: Mapping[str, str]) -> str:
    """Where they wanted to go, or else where they have to, at the stage that they have come to."""
    return wanted_of(given) or visit.goal()


async def form_of(request: Request) -> ImmutableMultiDict[str, str]:
    """The fields of a form. HTTPException 400 or 413 if it is none that our pages send."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HTTPException(400, "no form")
    raw = bytearray()
    try:
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > MAX_FORM:
                raise HTTPException(413, "a form that is too large")
    except ClientDisconnect:
        raise HTTPException(400, "half a form") from None
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise HTTPException(400, "no form") from None
    return ImmutableMultiDict(pairs)


def new_token(desk: PortalDesk) -> str:
    """For a cookie."""
    return tokens.written(desk.token(tokens.BYTES)).reveal()


async def _here(request: Request, back: str | None, keep: bool) -> str:
    """Where somebody comes back to; nothing where that goes without saying, or is no page."""
    path = visit_of(request).path if back is None else back.format(**request.path_params)
    if request.method != "GET" and keep:
        return f"{path}?{urlencode((await form_of(request)).multi_items())}"
    return path if path != "/app-passwords" and (request.method == "GET" or back is not None) else ""


async def _begin(request: Request) -> Visit:
    """Who asks. HTTPException 403 for a change that another site wants."""
    desk = desk_of(request)
    visit = make_visit(request)
    request.state.visit = visit
    if request.method not in ("GET", "HEAD") and from_elsewhere(request, desk):
        raise HTTPException(403, "sent from another site")
    token = request.cookies.get(_session_cookie(desk))
    if token:
        now = desk.clock()
        visit.loaded = await desk.store.read(_load, tokens.hash_of(token), now)
        if visit.loaded is None:
            visit.end()
        else:
            _prefer(visit, request)
            if now - visit.session.seen >= TOUCHED_AFTER:
                await visit.stay()
    return visit


def make_visit(request: Request) -> Visit:
    """The visit of somebody of whom nothing is read from the store."""
    desk = desk_of(request)
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    language = chosen if chosen in LANGUAGES else texts.choose(request.headers.get("accept-language", ""))
    path = request.url.path
    if desk.base and (path + "/").startswith(desk.base + "/"):
        path = path[len(desk.base) :]
    return Visit(
        desk=desk,
        path=path or "/",
        address=address_of(request, desk),
        agent="".join(c for c in request.headers.get("user-agent", "")[:MAX_AGENT] if c.isprintable()),
        texts=desk.texts[language],
        device_tokens=[one for one in request.cookies.get(_device_cookie(desk), "").split(".") if one][:MAX_DEVICES],
    )


def _prefer(visit: Visit, request: Request) -> None:
    """The language that they chose once, unless this browser was told another."""
    language = visit.person.language
    if LANGUAGE_COOKIE not in request.cookies and language in LANGUAGES:
        visit.texts = visit.desk.texts[language]


def _load(c: Connection, token_hash: bytes, now: float) -> tuple[PortalSession, Account, Person] | None:
    session = portal_sessions.by_token(c, token_hash, now)
    account = None if session is None else accounts.by_id(c, session.account_id)
    if session is None or account is None or not account.enabled:
        return None
    return session, account, people.by_id(c, account.id)


def _session_cookie(desk: PortalDesk) -> str:
    return "__Host-sidegate" if desk.secure else "sidegate"


def _device_cookie(desk: PortalDesk) -> str:
    return "__Host-sidegate-device" if desk.secure else "sidegate-device"
