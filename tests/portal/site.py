"""The whole portal over a real store, with a real core behind its API, and browsers that talk to it without a server in
between. Time stands still until a test moves it.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pyotp
from sqlalchemy import Connection

from proxy.directory.embedded import Embedded
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account, MfaState
from proxy.factors import registry
from proxy.factors.sealing import Sealer
from proxy.portal import texts
from proxy.portal.api import make_api
from proxy.portal.core_client import CoreClient
from proxy.portal.desk import PortalDesk
from proxy.portal.pages import make_pages
from proxy.store import accounts, factors, hashing, people
from proxy.store.accounts import NewAccount
from proxy.store.factors import NewFactor
from tests.admin.office import Office, open_office

R = TypeVar("R")
URL = "https://login.example.org"
PASSWORD = "correct horse battery"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_HASH = hashing.hash_account_password(PASSWORD)


class Site:
    """A portal and the office behind it. alice is a person with an account password."""

    def __init__(self, office: Office, **portal: Any) -> None:
        self.office = office
        self.runner = asyncio.Runner()
        config = office.desk.config
        config = replace(
            config,
            portal=replace(config.portal, **{"name": "Example Mail", "remember_days": 30, **portal}),
            limits=replace(config.limits, refusal_delay=0.0),
        )
        sealer = Sealer(bytes(range(32)), secrets.token_bytes)
        self.desk = PortalDesk(
            config=config,
            store=office.threads,
            sealer=sealer,
            directory=Embedded(office.threads),
            factors=registry.make(config, office.threads, sealer, lambda: office.now, secrets.token_bytes),
            core=CoreClient(Path(), transport=httpx.ASGITransport(make_api(office.desk))),
            clock=lambda: office.now,
            token=secrets.token_bytes,
            texts=texts.load(),
        )
        self.pages = make_pages(self.desk)
        self.alice = self.person("alice", aliases=("al@example.org",))

    def person(self, name: str, mfa: MfaState = MfaState.DISABLED, **more: Any) -> Account:
        """A person with the account password PASSWORD."""
        with self.office.store.writing() as c:
            account = accounts.add(c, NewAccount(f"{name}@example.org", self.office.now, mfa=mfa, **more))
            accounts.set_password_hash(c, account.id, _HASH, self.office.now)
            people.mfa_set(c, [account.id], mfa, self.office.now)
        return account

    def read(self, fn: Callable[..., R], *args: object) -> R:
        with self.office.store.reading() as c:
            return fn(c, *args)

    def write(self, fn: Callable[..., R], *args: object, **more: object) -> R:
        with self.office.store.writing() as c:
            return fn(c, *args, **more)

    def browser(self, **headers: str) -> Browser:
        return Browser(self, headers)

    def signed_in(self, name: str = "alice", **headers: str) -> Browser:
        """A browser in which somebody has typed a right account password."""
        browser = self.browser(**headers)
        answer = browser.post("/sign-in", name=name, password=PASSWORD)
        assert answer.status_code == 303, answer.text
        return browser

    def enrolled(self, name: str, mfa: MfaState = MfaState.ENFORCED) -> tuple[Account, App]:
        """A person with an authenticator app."""
        account = self.person(name, mfa)
        return account, self.app(account)

    def app(self, account: Account, name: str = "phone") -> App:
        """An authenticator app of theirs."""
        secret = secrets.token_bytes(20)
        sealed = self.desk.sealer.seal(secret, context=f"factor:{account.id}:{FactorKind.TOTP}")
        self.write(factors.add, account.id, NewFactor(FactorKind.TOTP, name, sealed=sealed), self.office.now)
        return App(self, base64.b32encode(secret).decode())

    def audit(self) -> list[tuple[str, str | None, str | None, str | None]]:
        return self.office.events()

    def later(self, seconds: float) -> None:
        self.office.now += seconds


class App:
    """An authenticator app."""

    def __init__(self, site: Site, key: str) -> None:
        self._site = site
        self._totp = pyotp.TOTP(key)

    def code(self) -> str:
        """The next one that was not shown before: 30 seconds pass."""
        self._site.later(30)
        return self._totp.at(int(self._site.office.now))

    def wrong(self) -> str:
        """One that is certainly not right now."""
        right = {self._totp.at(int(self._site.office.now) + skew) for skew in (-60, -30, 0, 30, 60)}
        return next(code for code in ("000000", "000001", "000002", "000003", "000004", "000005") if code not in right)


class Browser:
    """Keeps cookies, and does not follow redirects. Headers as a browser sends them from our own pages."""

    def __init__(self, site: Site, headers: Mapping[str, str], address: str = "192.0.2.1") -> None:
        self._site = site
        self.address = address
        self.headers = {"user-agent": FIREFOX, **headers}
        self.cookies = httpx.Cookies()

    def get(self, path: str, params: Mapping[str, str] | None = None, **headers: str) -> httpx.Response:
        return self._ask("GET", path, headers, params=params)

    def post(self, path: str, headers: Mapping[str, str] | None = None, /, **form: str) -> httpx.Response:
        sent = {"origin": self._site.desk.origin, "sec-fetch-site": "same-origin", **(headers or {})}
        return self._ask("POST", path, sent, form or {"": ""})

    def send(self, page: httpx.Response, /, **filled: str) -> httpx.Response:
        """The form of a page that asks for these, as a browser sends it: hidden fields and all."""
        (form,) = [form for form in forms_of(page) if filled.keys() <= form.fields.keys()]
        return self.post(form.action, **{**form.fields, **filled})

    def request(self, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> httpx.Response:
        """With no header that is not given here."""
        return self._ask(method, path, headers or {}, **more)

    def follow(self, answer: httpx.Response) -> httpx.Response:
        """The page that a redirect leads to."""
        assert answer.status_code == 303, (answer.status_code, answer.text)
        while answer.status_code == 303:
            answer = self.get(answer.headers["location"])
        return answer

    def _ask(
        self, method: str, path: str, headers: Mapping[str, str], data: Mapping[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._site.pages, client=(self.address, 4711), raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=self._site.desk.origin) as http:
                http.cookies = self.cookies
                sent = {**self.headers, **headers}
                answer = await http.request(method, path, headers=sent, data=data, **more)
                self.cookies = http.cookies
                return answer

        return self._site.runner.run(ask())


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def text_of(answer: httpx.Response) -> str:
    """What a person reads, spaces made one."""
    page = _Page()
    page.feed(answer.text)
    return " ".join(" ".join(page.text).split())


def elements(answer: httpx.Response, tag: str) -> list[dict[str, str | None]]:
    page = _Page()
    page.feed(answer.text)
    return [attrs for name, attrs in page.elements if name == tag]


@dataclass
class Form:
    action: str
    fields: dict[str, str] = field(default_factory=dict)
    """As they stand in the page. Boxes that are not ticked are not sent."""


def forms_of(answer: httpx.Response) -> list[Form]:
    page = _Page()
    page.feed(answer.text)
    forms: list[Form] = []
    for tag, attrs in page.elements:
        if tag == "form":
            forms.append(Form(attrs.get("action") or answer.url.path))
        elif tag == "input" and forms and "name" in attrs and ("checked" in attrs or attrs.get("type") != "checkbox"):
            forms[-1].fields[str(attrs["name"])] = attrs.get("value") or ""
    return forms


@contextmanager
def open_site(tmp_path: Path, **portal: Any) -> Iterator[Site]:
    """`portal`: fields of config.settings.Portal."""
    with open_office(tmp_path) as office:
        site = Site(office, **portal)
        try:
            yield site
        finally:
            site.runner.run(site.desk.core.close())
            site.runner.run(site.desk.directory.close())
            site.runner.close()


def notes_of(c: Connection, table: Any) -> list[Any]:
    """Every row of a table."""
    from sqlalchemy import select

    return list(c.execute(select(table)).all())
