"""People at the portal's pages who are in, and what they find there."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx

from proxy.admin import accounts
from proxy.admin.accounts import Wanted
from proxy.domain import tokens
from proxy.domain.model import Account
from proxy.domain.sign_in import LIFE, Stage
from proxy.portal.agents import agent_name
from proxy.portal.core_client import CoreClient
from proxy.store import devices, portal_sessions
from proxy.store.portal_sessions import PortalSession
from tests.admin.office import OPERATOR
from tests.portal.site import FIREFOX, Site

ADDRESS = "192.0.2.1"
"""Where they are."""


class Guest:
    """A browser in which a person is in, `factor_age` seconds after they proved a factor (None: they never did)."""

    def __init__(self, site: Site, account: Account, *, factor_age: float | None = 10.0, language: str = "en") -> None:
        self.site = site
        self.account = account
        self.browser = site.browser(**{"accept-language": language})
        token = tokens.written(site.desk.token(tokens.BYTES)).reveal()
        self.browser.cookies.set("__Host-sidegate", token, domain="login.example.org")
        now = site.office.now
        self.device = site.write(
            devices.add, account.id, tokens.hash_of(f"device {token}"), agent_name(FIREFOX), now, ADDRESS
        )
        session = PortalSession(
            token_hash=tokens.hash_of(token),
            account_id=account.id,
            stage=Stage.IN,
            created=now,
            seen=now,
            expires=now + LIFE,
            password_time=now,
            factor_time=None if factor_age is None else now - factor_age,
            device_id=self.device.id,
            address=ADDRESS,
            agent=FIREFOX,
        )
        site.write(portal_sessions.add, session)

    def get(self, path: str) -> httpx.Response:
        return self.browser.get(path)

    def post(self, path: str, form: Mapping[str, object] | None = None) -> httpx.Response:
        return self.browser.post(path, **dict(form or {}))  # type: ignore[arg-type]

    def follow(self, answer: httpx.Response) -> httpx.Response:
        """Where a redirect leads, one step."""
        assert answer.status_code == 303, text(answer.text)
        return self.get(answer.headers["location"])


def text(page: str) -> str:
    """What one reads in the main part of a page, in one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page.partition("<main")[2].partition("</main>")[0])).split())


def shared(site: Site, name: str, *members: str) -> None:
    """A shared mailbox."""
    wanted = Wanted(name, "shared", members=members)
    asyncio.run(accounts.add(site.office.desk, OPERATOR, wanted))


def policy(site: Site, **changes: object) -> None:
    """As if the configuration said so."""
    for desk in (site.desk, site.office.desk):
        desk.config = replace(desk.config, policy=replace(desk.config.policy, **changes))  # type: ignore[arg-type]


def without_core(site: Site) -> None:
    """From now on nobody listens on admin.sock."""

    def nobody(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("nobody listens")

    site.desk.core = CoreClient(Path("/nowhere"), transport=httpx.MockTransport(nobody))
