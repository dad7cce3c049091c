"""A walk through every page of the portal in a real browser, which notes what was seen of the application's routes and
templates, so that a page nobody walks by is noticed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from jinja2 import Environment
from playwright.sync_api import BrowserContext, ConsoleMessage
from starlette.routing import Route

from proxy.domain.model import Account
from proxy.domain.sign_in import Stage
from proxy.portal.templating import FOLDER
from tests.portal.methods import came_in
from tests.portal.site import Site
from tests.support.chromium import Served

Message = MutableMapping[str, Any]

POST = """([path, fields]) => {
    const form = document.createElement("form");
    Object.assign(form, { method: "post", action: path, hidden: true });
    for (const [name, value] of fields) {
        const field = document.createElement("input");
        Object.assign(field, { name, value });
        form.append(field);
    }
    document.body.append(form);
    HTMLFormElement.prototype.submit.call(form);
}"""


def routes_of(site: Site) -> list[tuple[str, str, Callable[..., Any]]]:
    """Method, path and handler of every route of the pages."""
    return [
        (method, route.path, route.endpoint)
        for route in site.pages._application.routes  # type: ignore[attr-defined]
        if isinstance(route, Route)
        for method in sorted((route.methods or set()) - {"HEAD"})
    ]


class Recorder:
    """In front of the pages: which route, which templates and which status the last document had."""

    def __init__(self, pages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pages = pages
        self.endpoint: Any = None
        self.method = ""
        self.status = 0
        self.templates: set[str] = set()
        load = Environment.get_template

        def noting(environment: Environment, name: Any, *more: Any, **named: Any) -> Any:
            self.templates.add(str(name))
            return load(environment, name, *more, **named)

        monkeypatch.setattr(Environment, "get_template", noting)

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if dict(scope["headers"]).get(b"sec-fetch-dest", b"document") != b"document":
            await self._pages(scope, receive, send)  # what the document fetches; pieces of pages are parts of it
            return
        self.templates = set()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":  # before the browser can have it
                self.status, self.endpoint, self.method = message["status"], scope.get("endpoint"), scope["method"]
            await send(message)

        await self._pages(scope, receive, noting)


class Walk:
    """One person in front of one browser. `look` is called at every page that is passed."""

    def __init__(
        self,
        site: Site,
        server: Served,
        recorder: Recorder,
        context: BrowserContext,
        look: Callable[[Walk, str], Sequence[str]],
    ) -> None:
        self.site = site
        self.server = server
        self.context = context
        self.page = context.new_page()
        self.origin = site.desk.origin
        self.problems: list[str] = []
        self.states: set[str] = set()
        self._recorder = recorder
        self._look = look
        self._paths = {endpoint: path for _, path, endpoint in routes_of(site)}
        self._routes: set[tuple[str, str]] = set()
        self._templates: set[str] = set()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.problems.append(f"{self.page.url}: {error}"))

    def _heard(self, message: ConsoleMessage) -> None:
        # A status of 400 and more is how a page says that something is wrong; Chromium tells of each.
        if message.type in ("error", "warning") and "the server responded with a status of" not in message.text:
            self.problems.append(f"{self.page.url}: {message.text}")

    # ---- who ------------------------------------------------------------------------------------

    def be(self, account: Account | None, stage: Stage = Stage.IN, *, fresh: bool = True) -> None:
        """From now on the browser has a session of this account at this stage, or none."""
        self.context.clear_cookies()
        if account is not None:
            token = came_in(self.site, account, stage=stage, fresh=fresh).cookies.get("sidegate")
            assert token is not None
            self.context.add_cookies([{"name": "sidegate", "value": token, "url": self.origin}])

    # ---- where ----------------------------------------------------------------------------------

    def get(self, path: str, state: str = "", *, status: int = 200) -> None:
        """Open a page and look at it. `state`: what is special about it."""
        self.page.goto(self.origin + path)
        self.passed(path, state, status)

    def post(self, path: str, state: str, *, status: int = 400, **form: str | Sequence[str]) -> None:
        """Send a form from where they are, and look at what comes back."""
        fields = [
            [name, value]
            for name, given in form.items()
            for value in ([given] if isinstance(given, str) else given)
        ]  # fmt: skip
        with self.page.expect_navigation():
            self.page.evaluate(POST, [self.origin + path, fields])
        self.passed(path, state, status)

    def passed(self, path: str, state: str, status: int = 200) -> None:
        """Look at the page that is there."""
        recorder, where = self._recorder, f"{path} ({state})" if state else path
        assert recorder.status == status, (where, recorder.status, self.page.inner_text("main"))
        self._templates |= recorder.templates
        if recorder.endpoint in self._paths:
            self._routes.add((recorder.method, self._paths[recorder.endpoint]))
        self.states.add(where)
        self.problems += [f"{where}: {problem}" for problem in self._look(self, where)]

    # ---- what was not passed --------------------------------------------------------------------

    def unseen_routes(self) -> set[str]:
        """Paths that can be opened, and were not."""
        return {path for method, path, _ in routes_of(self.site) if method == "GET"} - {
            path for method, path in self._routes if method == "GET"
        }

    def unseen_templates(self) -> set[str]:
        return {path.name for path in FOLDER.glob("*.html")} - self._templates

    @contextmanager
    def without(self, name: str, value: object) -> Iterator[None]:
        """As if a part of the desk were another."""
        before = getattr(self.site.desk, name)
        setattr(self.site.desk, name, value)
        try:
            yield
        finally:
            setattr(self.site.desk, name, before)
