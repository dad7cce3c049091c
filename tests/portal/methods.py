"""A portal with factors, and people who are where a test begins: what leads there has tests of its own."""

from __future__ import annotations

import html
import re
import secrets
from urllib.parse import urlsplit

import httpx

from proxy.domain import tokens
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account
from proxy.domain.sign_in import LIFE, Stage
from proxy.factors import NewFactor, registry
from proxy.portal.web import new_token
from proxy.store import factors, portal_sessions
from proxy.store.factors import FactorRow
from proxy.store.portal_sessions import PortalSession
from tests.portal.site import Browser, Site


def furnish(site: Site) -> None:
    """Factors as the portal process makes them."""
    desk = site.desk
    desk.factors = registry.make(desk.config, desk.store, desk.sealer, desk.clock, desk.token)


def came_in(site: Site, account: Account | None = None, *, stage: Stage = Stage.IN, fresh: bool = True) -> Browser:
    """A browser with a session at this stage; `fresh`: a factor was proven a moment ago."""
    browser, token, now = site.browser(), new_token(site.desk), site.desk.clock()
    session = PortalSession(
        token_hash=tokens.hash_of(token),
        account_id=(account or site.alice).id,
        stage=stage,
        created=now,
        seen=now,
        expires=now + LIFE,
        password_time=now,
        factor_time=now if fresh else now - 301,
        device_id=None,
        address="192.0.2.1",
        agent="?",
    )
    site.write(portal_sessions.add, session)
    name = "__Host-sidegate" if site.desk.secure else "sidegate"
    browser.cookies.set(name, token, domain=urlsplit(site.desk.origin).hostname or "", path="/")
    return browser


def give(site: Site, name: str = "old phone", account: Account | None = None) -> int:
    """A factor that is there already; its id."""
    new = NewFactor(FactorKind.SMS, name, public={"x": secrets.token_hex(4)})
    row = site.write(factors.add, (account or site.alice).id, new, site.desk.clock())
    assert row is not None
    return int(row.id)


def methods(site: Site, account: Account | None = None) -> list[FactorRow]:
    return site.read(factors.of_account, (account or site.alice).id)


def options_of(page: str) -> str:
    """What a page hands to the browser for a passkey."""
    found = re.search(r'data-options="([^"]*)"', page)
    assert found is not None, page
    return html.unescape(found[1])


def where(answer: httpx.Response) -> str:
    """The address that a redirect leads to."""
    assert answer.status_code == 303, (answer.status_code, answer.text)
    return str(answer.headers["location"])
