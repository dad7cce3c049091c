"""Passkeys in a real Chromium, whose authenticator is virtual: the pages, the script, and the attacks that a browser
takes part in.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, Error, expect

from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account
from proxy.factors import FactorRow, keeping
from proxy.factors.passkey import TOO_LATE, UNKNOWN, WRONG
from proxy.store import factors, portal_sessions
from tests.portal.browsing import served
from tests.portal.methods import came_in, give, methods
from tests.portal.site import Site
from tests.support.chromium import Served, add_authenticator, chromium

pytestmark = pytest.mark.real

CREATE = """async options => JSON.stringify((await navigator.credentials.create({
    publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(JSON.parse(options))})).toJSON())"""
GET = """async options => JSON.stringify((await navigator.credentials.get({
    publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(JSON.parse(options))})).toJSON())"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with chromium() as launched:
        yield launched


class Stand:
    """A portal at http://login.localhost:PORT, which browsers treat as they treat https, and one browser profile."""

    def __init__(self, site: Site, served: Served, context: BrowserContext) -> None:
        self.site = site
        self.served = served
        self.context = context
        self.page = context.new_page()
        self.origin = site.desk.origin
        self.cdp, self.authenticator = add_authenticator(context, self.page)
        self.factor = site.desk.factors[FactorKind.PASSKEY]

    def come_in(self, account: Account | None = None) -> None:
        token = came_in(self.site, account).cookies.get("sidegate")
        assert token is not None
        self.context.add_cookies([{"name": "sidegate", "value": token, "url": self.origin}])

    def register(self, account: Account) -> FactorRow:
        """A passkey of this account in the authenticator, by the browser but without the pages."""
        self.page.goto(self.origin)
        begun = self.served.run(self.factor.begin_registration(account, "laptop"))
        answer = {"credential": self.page.evaluate(CREATE, begun.page["options"])}
        new = self.served.run(self.factor.finish_registration(account, begun.notes, answer))
        assert not isinstance(new, str)
        self.site.write(keeping.keep, "node1", account, new, self.site.desk.clock())
        return methods(self.site, account)[-1]

    def challenge(self, account: Account, rows: list[FactorRow], at: str) -> FactorRow | str:
        """A challenge of this account with these passkeys, shown to the person by a page of this origin."""
        begun = self.served.run(self.factor.begin(account, rows, b""))
        self.page.goto(at)
        answer = {"credential": self.page.evaluate(GET, begun.page["options"])}
        theirs = self.site.read(factors.of_account, account.id, FactorKind.PASSKEY)
        return self.served.run(self.factor.finish(account, theirs, begun.notes, answer))

    def elsewhere(self, host: str) -> str:
        """The same server under another name."""
        return self.origin.replace("login.localhost", host)


@pytest.fixture
def stand(tmp_path: Path, browser: Chromium) -> Iterator[Stand]:
    with served(tmp_path) as (site, server), browser.new_context() as context:
        yield Stand(site, server, context)


def test_added_on_its_page_and_then_the_only_step(stand: Stand) -> None:
    give(stand.site)
    stand.come_in()
    page = stand.page
    page.goto(f"{stand.origin}/factors")
    page.get_by_role("link", name="Passkey").click()
    page.get_by_label("Name").fill("my laptop")
    page.get_by_role("button", name="Create the passkey").click()
    expect(page.get_by_role("status")).to_have_text("“my laptop” was added.")
    assert [row.name for row in methods(stand.site)] == ["old phone", "my laptop"]

    stand.context.clear_cookies()
    page.goto(f"{stand.origin}/sign-in/passkey?next=/factors")
    page.get_by_role("button", name="Use your passkey").click()
    expect(page).to_have_url(f"{stand.origin}/factors")
    assert methods(stand.site)[1].used == stand.site.desk.clock()


def test_a_device_that_holds_one_already_says_so(stand: Stand) -> None:
    stand.register(stand.site.alice)
    stand.come_in()
    stand.page.goto(f"{stand.origin}/factors/add/passkey")
    stand.page.get_by_role("button", name="Create the passkey").click()
    expect(stand.page.get_by_role("alert")).to_contain_text("holds a passkey for this account already")
    expect(stand.page.get_by_role("button", name="Create the passkey")).to_be_enabled()


def test_a_person_who_is_not_verified_is_told(stand: Stand) -> None:
    stand.register(stand.site.alice)
    stand.cdp.send("WebAuthn.setUserVerified", {"authenticatorId": stand.authenticator, "isUserVerified": False})
    stand.page.goto(f"{stand.origin}/sign-in/passkey")
    stand.page.get_by_role("button", name="Use your passkey").click()
    expect(stand.page.get_by_role("alert")).to_contain_text("It was stopped, or took too long")


def test_a_browser_without_passkeys_is_told_so_and_has_no_button(stand: Stand) -> None:
    stand.page.add_init_script("delete window.PublicKeyCredential")
    stand.page.goto(f"{stand.origin}/sign-in/passkey")
    expect(stand.page.get_by_role("alert")).to_contain_text("This browser cannot do that here")
    expect(stand.page.get_by_role("button", name="Use your passkey")).to_be_hidden()
    expect(stand.page.get_by_role("link", name="Sign in with your account password")).to_be_visible()


def test_a_page_of_a_subdomain_gets_an_answer_that_is_not_accepted(stand: Stand) -> None:
    """The browser lets it ask: the relying party is a suffix of its name. Only the exact origin tells them apart."""
    alice = stand.site.alice
    rows = [stand.register(alice)]
    assert stand.challenge(alice, rows, stand.elsewhere("sub.login.localhost")) == WRONG
    assert isinstance(stand.challenge(alice, rows, stand.origin), FactorRow)


def test_a_page_of_another_site_gets_none(stand: Stand) -> None:
    alice = stand.site.alice
    rows = [stand.register(alice)]
    with pytest.raises(Error, match="SecurityError"):
        stand.challenge(alice, rows, stand.elsewhere("evil.localhost"))


def test_another_accounts_passkey_in_the_same_device(stand: Stand) -> None:
    bob = stand.site.person("bob")
    hers, his = stand.register(stand.site.alice), stand.register(bob)
    assert stand.challenge(stand.site.alice, [his], stand.origin) == UNKNOWN
    assert isinstance(stand.challenge(stand.site.alice, [hers], stand.origin), FactorRow)


def test_an_answer_that_is_sent_again(stand: Stand) -> None:
    stand.register(stand.site.alice)
    sent: list[str] = []
    stand.page.on("request", lambda request: sent.append(request.post_data or "") if request.method == "POST" else None)
    stand.page.goto(f"{stand.origin}/sign-in/passkey")
    cookies = {cookie["name"]: cookie["value"] for cookie in stand.context.cookies()}
    stand.page.get_by_role("button", name="Use your passkey").click()
    stand.page.wait_for_url(f"{stand.origin}/app-passwords")
    (form,) = sent
    again = httpx.post(
        f"http://127.0.0.1:{urlsplit(stand.origin).port}/sign-in/passkey",
        headers={"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()), "origin": stand.origin},
        data=dict(parse_qsl(form)),
    )
    assert again.status_code == 400
    assert TOO_LATE in again.text
    assert len(stand.site.read(portal_sessions.of_account, stand.site.alice.id, stand.site.desk.clock())) == 1
