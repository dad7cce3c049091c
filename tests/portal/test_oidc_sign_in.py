"""Signing in at an identity provider: who gets how far, and what stops them. The provider is a fake that does wrong
when it is told to; a real one is in test_oidc_story.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from proxy.config.settings import OidcSignIn
from proxy.directory.oidc import Provider
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account, AccountKind, MfaState
from proxy.domain.notices import Kind
from proxy.domain.secret import Secret
from proxy.domain.sign_in import Stage
from proxy.portal.oidc_sign_in import MAX_WANTED, WITHIN
from proxy.store import accounts, devices, factors, portal_sessions
from proxy.store.accounts import NewAccount
from proxy.store.factors import NewFactor
from proxy.store.portal_sessions import PortalSession
from proxy.store.schema import notices as notice_table
from tests.portal.site import PASSWORD, Browser, Site, elements, notes_of, open_site, text_of
from tests.support.fake_provider import CLIENT_ID, CLIENT_SECRET, FakeProvider, provider

NAME = "Example ID"
STALE = "/challenge?next=/app-passwords/new"


class Wired:
    """A portal whose people sign in at `fake`; bob is its break-glass admin."""

    def __init__(self, site: Site, fake: FakeProvider) -> None:
        self.site, self.fake = site, fake
        self.office = site.office
        self.bob, self.app = site.enrolled("bob", MfaState.DISABLED)
        self.settings = OidcSignIn(
            fake.issuer, CLIENT_ID, Secret(CLIENT_SECRET), amr=("mfa",), name=NAME, break_glass="bob@example.org"
        )
        self.use(self.settings)

    def use(self, settings: OidcSignIn) -> None:
        desk = self.site.desk
        desk.config = replace(desk.config, portal=replace(desk.config.portal, sign_in=settings))
        self.office.desk.config = replace(self.office.desk.config, portal=desk.config.portal)
        desk.provider = Provider(settings, f"{desk.origin}/sign-in/callback", desk.clock)

    def leave(self, browser: Browser, wanted: str = "") -> str:
        """Off to the provider; where that sends the browser back to."""
        answer = browser.get("/sign-in/provider", {"next": wanted} if wanted else None)
        assert answer.status_code == 303, text_of(answer)
        return self.fake.authorize(answer.headers["location"])

    def come_back(self, browser: Browser, address: str) -> httpx.Response:
        """The page that the browser is sent to, and the one that this leads on to."""
        url = urlsplit(address)
        page = browser.get(f"{url.path}?{url.query}", **{"sec-fetch-site": "cross-site"})
        assert page.status_code == 200, text_of(page)
        (refresh,) = [meta for meta in elements(page, "meta") if meta.get("http-equiv") == "refresh"]
        seconds, _, to = str(refresh["content"]).partition("; url=")
        assert seconds == "0"
        assert to in [link["href"] for link in elements(page, "a")]
        assert to.startswith("/sign-in/returned?")
        return browser.get(to)

    def through(self, browser: Browser, wanted: str = "") -> httpx.Response:
        return self.come_back(browser, self.leave(browser, wanted))

    def signed_in(self, wanted: str = "", **headers: str) -> Browser:
        browser = self.site.browser(**headers)
        answer = self.through(browser, wanted)
        assert answer.status_code == 303, text_of(answer)
        return browser

    def session(self, account: Account | None = None) -> PortalSession:
        (found,) = self.sessions(account)
        return found

    def sessions(self, account: Account | None = None) -> list[PortalSession]:
        return self.site.read(portal_sessions.of_account, (account or self.site.alice).id, self.office.now)

    def later(self, seconds: float) -> None:
        self.site.later(seconds)


@pytest.fixture
def wired(site: Site) -> Iterator[Wired]:
    with provider(lambda: site.office.now) as fake:
        made = Wired(site, fake)
        yield made
        assert site.desk.provider is not None
        site.runner.run(site.desk.provider.close())


def where(answer: httpx.Response) -> str:
    assert answer.status_code == 303, (answer.status_code, text_of(answer))
    return str(answer.headers["location"])


# ---- who gets how far ----------------------------------------------------------------------------


def test_the_page_offers_the_provider_and_no_password(wired: Wired) -> None:
    page = wired.site.browser().get("/sign-in", {"next": "/devices"})
    links = [link["href"] for link in elements(page, "a")]
    assert "/sign-in/provider?next=/devices" in links
    assert "/sign-in/break-glass?next=/devices" in links
    assert f"Continue with {NAME}" in text_of(page)
    assert [field for field in elements(page, "input") if field["name"] != "back"] == []
    assert wired.fake.asked == []


@pytest.mark.parametrize("mfa", list(MfaState))
def test_a_factor_there_is_a_factor_here(wired: Wired, mfa: MfaState) -> None:
    wired.site.write(accounts.set_mfa, [wired.site.alice.id], mfa)
    wired.fake.auth_time = wired.office.now - 7
    browser = wired.signed_in()
    session = wired.session()
    assert (session.stage, session.factor_time) == (Stage.IN, wired.office.now - 7)
    assert (session.provider_time, session.password_time) == (wired.office.now - 7, None)
    assert browser.get("/app-passwords/new").status_code == 200
    assert ("signed_in", "person:alice@example.org", None, "provider") in [
        (event, actor, reason, detail) for event, actor, reason, detail in found_events(wired)
    ]
    assert NAME in text_of(browser.get("/history"))


def found_events(wired: Wired) -> list[tuple[str, str | None, str | None, str | None]]:
    from proxy.store.schema import audit

    return [(row.event, row.actor, row.reason, row.detail) for row in wired.site.read(notes_of, audit)]


def test_acr_counts_as_well_and_is_asked_for(wired: Wired) -> None:
    wired.use(replace(wired.settings, amr=(), acr=("gold",)))
    wired.signed_in()
    assert wired.session().factor_time is None
    wired.fake.acr = "gold"
    wired.site.write(portal_sessions.end_all, wired.site.alice.id)
    wired.signed_in()
    assert wired.session().factor_time is not None
    assert wired.fake.authorizations[-1]["acr_values"] == "gold"


def test_a_password_alone_there_leads_to_our_factors(wired: Wired) -> None:
    wired.fake.amr = ["pwd"]
    carol, app = wired.site.enrolled("carol")
    wired.fake.person["email"] = "carol@example.org"
    browser = wired.site.browser()
    answer = wired.through(browser, "/devices")
    assert where(answer) == "/challenge?next=/devices"
    assert (wired.session(carol).stage, wired.session(carol).factor_time) == (Stage.CHALLENGE, None)
    page = browser.get("/challenge/totp?next=/devices")
    assert where(browser.send(page, code=app.code())) == "/devices"
    assert wired.session(carol).provider_time is not None
    assert "break_glass_used" not in [event for event, *_ in found_events(wired)]


def test_who_has_no_factor_anywhere_enrols_with_a_code(wired: Wired) -> None:
    wired.fake.amr = ["pwd"]
    wired.site.write(accounts.set_mfa, [wired.site.alice.id], MfaState.ENABLED)
    browser = wired.site.browser()
    assert where(wired.through(browser, "/devices")) == "/enrol"
    assert "Enrolment code" in text_of(browser.get("/enrol"))
    assert where(browser.get("/app-passwords")) == "/enrol"


def test_the_providers_word_registers_a_first_factor_of_ours(wired: Wired) -> None:
    browser = wired.signed_in()
    assert browser.get("/enrol/totp").status_code == 200
    wired.later(301)
    page = browser.get("/enrol")
    assert "Enrolment code" in text_of(page)
    assert where(browser.get("/enrol/totp")) == "/enrol"
    assert "/sign-in/provider?next=/enrol" in [link["href"] for link in elements(page, "a")]
    assert where(wired.through(browser, "/enrol")) == "/enrol"
    assert browser.get("/enrol/totp").status_code == 200


def test_another_session_begins_with_another_cookie_and_the_device_is_known(wired: Wired) -> None:
    browser = wired.signed_in()
    (first,) = wired.sessions()
    before = browser.cookies["__Host-sidegate"]
    browser.post("/sign-out")
    wired.through(browser)
    assert browser.cookies["__Host-sidegate"] != before
    assert wired.session().token_hash != first.token_hash
    assert len(wired.site.read(devices.of_account, wired.site.alice.id)) == 1


def test_after_all_they_are_where_they_wanted_to_be(wired: Wired) -> None:
    assert where(wired.through(wired.site.browser(), "/app-passwords/new?name=a%20b")).startswith("/app-passwords/new?")


@pytest.mark.parametrize("evil", ["https://evil.example/", "//evil.example", "/\\evil", "/a" * MAX_WANTED, "/%0d%0ax"])
def test_nobody_is_led_elsewhere(wired: Wired, evil: str) -> None:
    location = where(wired.through(wired.site.browser(), evil))
    assert location.startswith("/")
    assert "evil" not in location
    assert not location.startswith("//")


# ---- once more -----------------------------------------------------------------------------------


def test_what_needs_a_fresh_factor_asks_the_provider_once_more(wired: Wired) -> None:
    wired.fake.auth_time = wired.office.now - 3600
    browser = wired.signed_in()
    before = wired.session()
    challenge = where(browser.get("/app-passwords/new?name=My%20phone"))
    assert challenge.startswith(STALE)
    leaving = where(browser.get(challenge))
    assert leaving.startswith("/sign-in/provider?next=/app-passwords/new%3F")
    back = where(wired.come_back(browser, wired.fake.authorize(where(browser.get(leaving)))))
    assert back.startswith("/app-passwords/new?")
    assert "name=My+phone" in back
    asked = wired.fake.authorizations[-1]
    assert (asked["prompt"], asked["max_age"]) == ("login", "300")
    after = wired.session()
    assert after.token_hash != before.token_hash
    assert (after.factor_time, after.expires) == (wired.office.now, before.expires)
    page = browser.get("/app-passwords/new")
    assert page.status_code == 200
    wired.later(301)
    assert where(browser.get("/app-passwords/new")).startswith(STALE)


def test_a_provider_that_does_not_ask_once_more_does_not_count(wired: Wired) -> None:
    wired.fake.auth_time = wired.office.now - 3600
    browser = wired.signed_in()
    wired.fake.obeys_prompt = False
    answer = wired.through(browser, "/app-passwords/new")
    assert answer.status_code == 403
    assert f"{NAME} did not ask you once more who you are" in text_of(answer)
    wired.fake.auth_time = None
    assert wired.through(browser, "/app-passwords/new").status_code == 403
    assert where(browser.get("/app-passwords/new")).startswith(STALE)
    assert browser.get("/devices").status_code == 200


def test_somebody_else_may_not_be_fresh_for_them(wired: Wired) -> None:
    wired.fake.auth_time = wired.office.now - 3600
    browser = wired.signed_in()
    wired.site.person("carol")
    wired.fake.person["email"] = "carol@example.org"
    answer = wired.through(browser, "/app-passwords/new")
    assert (answer.status_code, "as somebody else" in text_of(answer)) == (403, True)
    assert wired.session().factor_time == wired.office.now - 3600


def test_once_more_without_a_factor_there_leads_to_one_here(wired: Wired) -> None:
    wired.fake.amr = ["pwd"]
    browser = wired.signed_in()
    assert wired.session().factor_time is None
    assert where(wired.through(browser, "/app-passwords/new")) == "/enrol"
    assert wired.session().factor_time is None


def test_who_has_a_factor_here_is_asked_for_that(wired: Wired) -> None:
    wired.fake.auth_time = wired.office.now - 3600
    app = wired.site.app(wired.site.alice)
    browser = wired.signed_in()
    page = browser.follow(browser.get("/app-passwords/new"))
    assert where(browser.send(page, code=app.code())).startswith("/app-passwords/new?")
    assert browser.get("/app-passwords/new").status_code == 200


def test_an_answer_to_another_question_makes_nobody_fresh(wired: Wired) -> None:
    """The cookie says what was asked, and cannot be rewritten."""
    wired.fake.auth_time = wired.office.now - 3600
    browser = wired.signed_in()
    back = wired.leave(browser)
    cookie = browser.cookies["__Host-sidegate-provider"]
    made, number, again, to = cookie.split(".")
    assert again == "1"
    browser.cookies.set("__Host-sidegate-provider", f"{made}.{number}.0.{to}", domain="login.example.org", path="/")
    answer = wired.come_back(browser, back)
    assert answer.status_code == 400


def test_signed_out_meanwhile(wired: Wired) -> None:
    browser = wired.signed_in()
    back = wired.leave(browser)
    browser.post("/sign-out")
    assert where(wired.come_back(browser, back)) == "/sign-in"
    assert wired.sessions() == []


# ---- who does not get in -------------------------------------------------------------------------


def test_who_has_no_account_is_told_so_and_gets_none(wired: Wired) -> None:
    for name, kind in (("info", AccountKind.SHARED), ("printer", AccountKind.SERVICE)):
        wired.site.write(accounts.add, NewAccount(f"{name}@example.org", 0.0, kind=kind, owner_id=None))
    count = len(wired.site.read(notes_of, accounts.table))
    strangers = ("nobody@example.org", "alice@elsewhere.example", "a b", "*")
    for name in (*strangers, "info@example.org", "printer@example.org"):
        wired.fake.person["email"] = name
        browser = wired.site.browser()
        answer = wired.through(browser)
        assert (answer.status_code, "you have no account here" in text_of(answer)) == (403, True), name
        assert "__Host-sidegate" not in browser.cookies
    assert len(wired.site.read(notes_of, accounts.table)) == count


def test_a_disabled_account(wired: Wired) -> None:
    wired.site.write(accounts.set_enabled, wired.site.alice.id, False)
    answer = wired.through(wired.site.browser())
    assert (answer.status_code, "Your account here is disabled." in text_of(answer)) == (403, True)
    assert ("sign_in_refused", "client", "account_disabled", None) in found_events(wired)
    assert wired.sessions() == []


def test_an_alias_will_do(wired: Wired) -> None:
    wired.fake.person["email"] = "AL@Example.org"
    wired.signed_in()
    assert wired.session().account_id == wired.site.alice.id


def test_the_answer_counts_only_in_the_browser_that_asked(wired: Wired) -> None:
    victim, attacker = wired.site.browser(), wired.site.browser()
    back = wired.leave(attacker)
    assert wired.come_back(victim, back).status_code == 400  # login CSRF: no cookie
    wired.leave(victim)
    answer = wired.come_back(victim, back)  # a cookie, of another sign-in
    assert (answer.status_code, "Begin again." in text_of(answer)) == (400, True)
    assert "__Host-sidegate" not in victim.cookies
    assert "/token" not in wired.fake.asked


def test_an_answer_counts_once(wired: Wired) -> None:
    browser = wired.site.browser()
    back = wired.leave(browser)
    cookie = browser.cookies["__Host-sidegate-provider"]
    assert wired.come_back(browser, back).status_code == 303
    assert wired.come_back(browser, back).status_code == 400
    copied = wired.site.browser()
    copied.cookies.set("__Host-sidegate-provider", cookie, domain="login.example.org", path="/")
    assert wired.come_back(copied, back).status_code == 403
    assert len(wired.sessions()) == 1


def test_an_answer_that_took_too_long(wired: Wired) -> None:
    browser = wired.site.browser()
    back = wired.leave(browser)
    wired.later(WITHIN)
    assert wired.come_back(browser, back).status_code == 400


@pytest.mark.parametrize("cookie", ["", "x", "1.2.3.4", f"{9 * 10**11}.{'a' * 64}.0.", f"1790000000.{'a' * 64}.0.A"])
def test_a_cookie_of_somebody_elses_making(wired: Wired, cookie: str) -> None:
    browser = wired.site.browser()
    browser.cookies.set("__Host-sidegate-provider", cookie, domain="login.example.org", path="/")
    assert browser.get("/sign-in/returned?code=x&state=").status_code == 400
    assert browser.get("/sign-in/returned?code=x&state=é").status_code == 400


def test_the_way_back_carries_nothing_else(wired: Wired) -> None:
    page = wired.site.browser().get('/sign-in/callback?code=%22%3E%3Cscript%3E&state=s&x=https://evil.example&error=e"')
    assert "<script>" not in page.text
    assert "evil" not in page.text
    assert wired.site.browser().get(f"/sign-in/callback?code={'x' * 3000}").status_code == 400


def test_the_cookie_is_ours_alone(wired: Wired) -> None:
    answer = wired.site.browser().get("/sign-in/provider")
    (cookie,) = answer.headers.get_list("set-cookie")
    for part in ("__Host-sidegate-provider=", "HttpOnly", "Secure", "SameSite=strict", "Path=/", f"Max-Age={WITHIN}"):
        assert part in cookie
    asked = parse_qs(urlsplit(answer.headers["location"]).query)
    assert not any(value in cookie for (value,) in (asked["state"], asked["nonce"], asked["code_challenge"]))


# ---- the provider does wrong, or is down ---------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        lambda fake: setattr(fake, "claims", lambda claims: claims | {"nonce": "another"}),
        lambda fake: fake.confuse(),
        lambda fake: setattr(fake, "iss", "https://evil.example"),
        lambda fake: fake.person.update(email_verified=False),
    ],
    ids=["nonce", "HS256", "iss", "unverified"],
)
def test_what_does_not_count_lets_nobody_in(wired: Wired, spoil: Any) -> None:
    spoil(wired.fake)
    browser = wired.site.browser()
    answer = wired.through(browser)
    assert (answer.status_code, f"{NAME} did not confirm who you are" in text_of(answer)) == (403, True)
    assert wired.sessions() == []
    assert browser.cookies.get("__Host-sidegate-provider") is None


def test_who_turns_back_at_the_provider(wired: Wired) -> None:
    browser = wired.site.browser()
    state = parse_qs(urlsplit(where(browser.get("/sign-in/provider"))).query)["state"][0]
    answer = browser.get(f"/sign-in/returned?error=access_denied&state={state}&iss={wired.fake.issuer}")
    assert answer.status_code == 403


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/keys"])
def test_the_provider_is_down(wired: Wired, path: str) -> None:
    wired.fake.broken = {path}
    browser = wired.site.browser()
    answer = browser.get("/sign-in/provider") if "well-known" in path else wired.through(browser)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert f"{NAME} cannot be reached just now" in text_of(answer)
    assert "/sign-in/break-glass" in [link["href"] for link in elements(answer, "a")]
    wired.fake.broken = set()
    wired.later(11)
    assert wired.through(browser).status_code == 303


def test_who_is_in_stays_in_while_it_is_down(wired: Wired) -> None:
    browser = wired.signed_in()
    wired.fake.stop()
    wired.later(301)
    assert browser.get("/devices").status_code == 200
    assert browser.get("/sign-in/provider").status_code == 503
    assert where(browser.post("/sign-out")) == "/sign-in?said=signed-out-here"
    assert "Sign out at" not in text_of(browser.get("/sign-in?said=signed-out-here"))


def test_signing_out_offers_to_do_so_there(wired: Wired) -> None:
    browser = wired.signed_in()
    page = browser.follow(browser.post("/sign-out"))
    assert f"At {NAME} you may still be signed in." in text_of(page)
    (there,) = [link["href"] for link in elements(page, "a") if str(link["href"]).startswith("http")]
    assert str(there).startswith(f"{wired.fake.issuer}/end?")


# ---- the break-glass admin -----------------------------------------------------------------------


def test_break_glass_takes_a_password_and_a_factor_and_is_told(wired: Wired) -> None:
    admin = wired.site.person("root", admin=True)
    wired.fake.stop()
    browser = wired.site.browser()
    page = browser.get("/sign-in/break-glass")
    assert "For the emergency administrator alone." in text_of(page)
    answer = browser.send(page, name="bob", password=PASSWORD)
    assert where(answer) == "/challenge"  # though no factor is due for this account otherwise
    assert where(browser.get("/app-passwords")) == "/challenge"
    page = browser.follow(answer)
    assert where(browser.send(page, code=wired.app.code())) == "/app-passwords"
    assert browser.get("/app-passwords/new").status_code == 200
    assert [event for event, *_ in found_events(wired)].count("break_glass_used") == 1
    told = [row for row in wired.site.read(notes_of, notice_table) if row.kind == Kind.BREAK_GLASS]
    assert [(row.account_id, '"account": "bob@example.org"' in row.text) for row in told] == [(admin.id, True)]


def test_break_glass_is_not_spared_a_factor_by_a_remembered_device(wired: Wired) -> None:
    browser = wired.site.browser()
    browser.follow(browser.post("/sign-in", name="bob", password=PASSWORD))
    browser.post("/challenge/totp", code=wired.app.code(), remember="on")
    assert "device_remembered" in [event for event, *_ in found_events(wired)]
    browser.post("/sign-out")
    assert where(browser.post("/sign-in", name="bob", password=PASSWORD)) == "/challenge"


def test_break_glass_without_a_factor_enrols_first(wired: Wired) -> None:
    wired.use(replace(wired.settings, break_glass="alice@example.org"))
    assert where(wired.site.browser().post("/sign-in", name="alice", password=PASSWORD)) == "/enrol"


def test_nobody_else_has_a_password_here(wired: Wired) -> None:
    answer = wired.site.browser().post("/sign-in", name="alice", password=PASSWORD)
    assert (answer.status_code, "The name or the password is not right" in text_of(answer)) == (400, True)
    wired.use(replace(wired.settings, break_glass=""))
    assert wired.site.browser().post("/sign-in", name="bob", password=PASSWORD).status_code == 404
    assert wired.site.browser().get("/sign-in/break-glass").status_code == 404
    assert "Emergency" not in text_of(wired.site.browser().get("/sign-in"))


def test_a_passkey_alone_does_not_get_past_the_provider(wired: Wired) -> None:
    wired.site.write(factors.add, wired.bob.id, NewFactor(FactorKind.PASSKEY, "key", public={}), wired.office.now)
    assert wired.site.browser().get("/sign-in/passkey").status_code == 404
    assert wired.site.browser().post("/sign-in/passkey", x="y").status_code == 404
    assert "passkey" not in text_of(wired.site.browser().get("/sign-in/break-glass"))


def test_break_glass_does_not_go_to_the_provider(wired: Wired) -> None:
    browser = wired.site.browser()
    page = browser.follow(browser.post("/sign-in", name="bob", password=PASSWORD))
    browser.send(page, code=wired.app.code())
    assert where(browser.get("/sign-in/provider")) == "/app-passwords"
    assert browser.get("/account-password").status_code == 200


def test_account_passwords_of_others_are_not_ours(wired: Wired) -> None:
    browser = wired.signed_in()
    assert "Another system keeps your account password." in text_of(browser.get("/account-password"))
    assert browser.post("/account-password", current="x", new="y", again="y").status_code == 404


def test_where_there_is_no_provider_there_are_no_such_pages(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        for path in ("/sign-in/provider", "/sign-in/callback", "/sign-in/returned", "/sign-in/break-glass"):
            assert site.browser().get(path).status_code == 404
