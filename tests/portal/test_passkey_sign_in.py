"""Signing in with a passkey alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account, MfaState
from proxy.domain.sign_in import Outcome, Stage
from proxy.factors import keeping
from proxy.factors.passkey import TOO_LATE, UNKNOWN, WRONG, user_handle
from proxy.store import accounts, audit, portal_sessions, sign_ins
from tests.portal.methods import came_in, furnish, methods, options_of, where
from tests.portal.site import URL, Browser, Site, open_site
from tests.support.authenticator import Authenticator

PATH = "/sign-in/passkey"


@pytest.fixture(autouse=True)
def furnished(site: Site) -> None:
    furnish(site)


@pytest.fixture
def bob(site: Site) -> Account:
    return site.person("bob")


@pytest.fixture
def authenticator(site: Site) -> Authenticator:
    """With a passkey of alice, as those are that are synced: no counter tells two answers apart."""
    return passkey_of(site, site.alice)


def passkey_of(site: Site, account: Account) -> Authenticator:
    made, factor = Authenticator(URL, counts=False), site.desk.factors[FactorKind.PASSKEY]

    async def register() -> None:
        begun = await factor.begin_registration(account, "laptop")
        new = await factor.finish_registration(account, begun.notes, made.create(begun.page["options"]))
        assert not isinstance(new, str)
        await site.desk.store.write(keeping.keep, "node1", account, new, site.desk.clock())

    site.runner.run(register())
    return made


def sign_in(browser: Browser, authenticator: Authenticator, **form: str) -> httpx.Response:
    page = browser.get(PATH).text
    return browser.post(PATH, **authenticator.get(options_of(page)), **form)


def sessions(site: Site, account: Account) -> list[portal_sessions.PortalSession]:
    return site.read(portal_sessions.of_account, account.id, site.desk.clock())


def test_who_has_one_is_enforced_from_then_on(site: Site) -> None:
    carol = site.person("carol", MfaState.ENABLED)
    assert where(sign_in(site.browser(), passkey_of(site, carol))) == "/app-passwords"
    now = site.read(accounts.by_id, carol.id)
    assert now is not None
    assert now.mfa is MfaState.ENFORCED


def test_lets_its_person_in_with_a_fresh_factor(site: Site, authenticator: Authenticator) -> None:
    browser = site.browser()
    assert where(sign_in(browser, authenticator)) == "/app-passwords"
    (session,) = sessions(site, site.alice)
    assert session.stage is Stage.IN
    assert session.factor_time == site.desk.clock()
    assert session.password_time is None
    assert browser.get("/factors/add/totp").status_code == 200
    (row,) = site.read(sign_ins.last, site.alice.id)
    assert (row.outcome, row.factor) == (Outcome.SIGNED_IN, "passkey: laptop")
    record = site.read(audit.read)[-1].event
    assert (record.event, record.actor, record.detail) == ("signed_in", "person:alice@example.org", "passkey: laptop")
    assert methods(site)[0].used == site.desk.clock()


def test_goes_on_where_they_wanted_to(site: Site, authenticator: Authenticator) -> None:
    page = site.browser().get(f"{PATH}?next=/factors").text
    assert '<input type="hidden" name="next" value="/factors">' in page
    assert where(sign_in(site.browser(), authenticator, next="/factors")) == "/factors"
    assert where(sign_in(site.browser(), authenticator, next="//evil.example")) == "/app-passwords"


def test_each_page_has_a_challenge_of_its_own_and_stores_nothing(site: Site, bob: Account) -> None:
    browser = site.browser()
    assert len({options_of(browser.get(PATH).text) for _ in range(3)}) == 3
    assert not any(sessions(site, who) for who in (site.alice, bob))


def test_an_answer_counts_once(site: Site, authenticator: Authenticator) -> None:
    browser = site.browser()
    page = browser.get(PATH).text
    kept, answer = browser.cookies, authenticator.get(options_of(page))
    again = site.browser()
    again.cookies = httpx.Cookies(kept)
    assert where(browser.post(PATH, **answer)) == "/app-passwords"
    refused(again.post(PATH, **answer), TOO_LATE)
    assert len(sessions(site, site.alice)) == 1


def test_an_answer_counts_in_the_browser_that_was_asked(site: Site, authenticator: Authenticator) -> None:
    victim, thief = site.browser(), site.browser()
    answer = authenticator.get(options_of(victim.get(PATH).text))
    refused(thief.post(PATH, **answer), TOO_LATE)  # never asked
    refused(thief.post(PATH, **answer), WRONG)  # asked something else
    assert sessions(site, site.alice) == []


def test_five_minutes(site: Site, authenticator: Authenticator) -> None:
    browser = site.browser()
    answer = authenticator.get(options_of(browser.get(PATH).text))
    site.later(301)
    refused(browser.post(PATH, **answer), TOO_LATE)


@pytest.mark.parametrize("cookie", ["", "x", "99999999999999." + "0" * 64, "99999999999." + "0" * 64, "1." + "g" * 64])
def test_a_cookie_that_is_none_of_ours(site: Site, authenticator: Authenticator, cookie: str) -> None:
    browser = site.browser()
    answer = authenticator.get(options_of(browser.get(PATH).text))
    browser.cookies.set("__Host-sidegate-passkey", cookie, domain="login.example.org", path="/")
    refused(browser.post(PATH, **answer), TOO_LATE)


@pytest.mark.parametrize("how", ["unverified", "elsewhere", "as somebody else", "as nobody", "without"])
def test_what_lets_nobody_in(site: Site, bob: Account, authenticator: Authenticator, how: str) -> None:
    browser = site.browser()
    options, words = options_of(browser.get(PATH).text), UNKNOWN
    if how == "elsewhere":
        authenticator.origin, words = "https://sub.login.example.org", WRONG
    elif how == "as somebody else":
        authenticator.passkeys[0].user = user_handle(bob)
    elif how == "as nobody":
        authenticator.passkeys[0].user = user_handle(replace(site.alice, id=2**64 - 1))
    answer = authenticator.get(options, verified=how != "unverified")
    if how == "unverified":
        words = WRONG
    refused(browser.post(PATH, **({"credential": ""} if how == "without" else answer)), words)
    assert not any(sessions(site, who) for who in (site.alice, bob))


def test_a_disabled_account(site: Site, authenticator: Authenticator) -> None:
    site.write(accounts.set_enabled, site.alice.id, False)
    refused(sign_in(site.browser(), authenticator), UNKNOWN)


def test_in_place_of_another_session_of_the_browser(site: Site, bob: Account, authenticator: Authenticator) -> None:
    browser = came_in(site, bob, stage=Stage.CHALLENGE)
    assert where(sign_in(browser, authenticator)) == "/app-passwords"
    assert sessions(site, bob) == []
    assert len(sessions(site, site.alice)) == 1


def test_who_is_in_already_goes_on(site: Site) -> None:
    assert where(came_in(site).get(f"{PATH}?next=/factors")) == "/factors"


def test_where_an_address_is_the_name_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    with open_site(tmp_path / "demo", url="http://127.0.0.1:8080") as demo:
        furnish(demo)
        assert demo.browser().get(PATH).status_code == 404
        assert FactorKind.PASSKEY not in demo.desk.factors


def refused(response: httpx.Response, words: str) -> None:
    assert response.status_code == 400
    assert words in response.text
