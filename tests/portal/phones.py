"""People with a registered phone."""

from __future__ import annotations

import html
import re
from typing import Any

import httpx

from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account
from proxy.store import factors
from proxy.store.factors import NewFactor
from tests.portal.site import Browser, Site
from tests.support.phone import SoftPhone


def give_phone(site: Site, account: Account, name: str = "my phone", **more: str) -> SoftPhone:
    """A phone that is registered already; `more`: what else is kept of it."""
    phone = SoftPhone(site.desk.origin, account.id)
    public = {"key": phone.key, "agent": "Chrome (Android)", "language": "en", **more}
    site.write(factors.add, account.id, NewFactor(FactorKind.PUSH, name, public=public), site.desk.clock())
    return phone


class PhoneBrowser:
    """A registered phone that asks the portal, as static/phone.js does."""

    def __init__(self, site: Site, phone: SoftPhone) -> None:
        self.site = site
        self.phone = phone
        self.browser = site.browser()

    def send(self, path: str, body: Any, **headers: str) -> httpx.Response:
        sent = {"origin": self.site.desk.origin, "sec-fetch-site": "same-origin", **headers}
        return self.browser.request("POST", path, sent, json=body)

    def ask(self) -> httpx.Response:
        return self.send("/phone/ask", self.phone.request("ask", self.site.desk.clock()))

    def waiting(self) -> list[str]:
        """The challenges that it is shown."""
        found = re.search(r'data-waiting="([^"]*)"', self.ask().text)
        assert found is not None
        return found[1].split()

    def answer(self, decision: str, number: str = "", *cut: str, challenge: str | None = None) -> httpx.Response:
        """What its person does about the challenge that it shows."""
        named = challenge or self.waiting()[0]
        return self.send("/phone/answer", self.phone.answer(self.site.desk.clock(), named, decision, number, cut))

    def suspect(self) -> httpx.Response:
        (named,) = self.waiting()
        return self.send(
            "/phone/suspect", self.phone.request("suspect", self.site.desk.clock(), named, challenge=named)
        )


def number_on(page: httpx.Response) -> str:
    """The number that a page shows."""
    found = re.search(r"<strong[^>]*>([0-9]{3}) ([0-9]{3})</strong>", page.text)
    assert found is not None, page.text
    return found[1] + found[2]


def state_of(browser: Browser) -> str:
    return str(browser.get("/challenge/push/state").json()["state"])


def links_in(page: httpx.Response) -> list[str]:
    return [html.unescape(link) for link in re.findall(r'href="([^"]*)"', page.text)]
