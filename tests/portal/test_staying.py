"""Sessions that are about to end: whoever is there is told and stays, and nothing that was typed is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from proxy.domain.sign_in import FRESH, IDLE, LIFE
from tests.portal.browsing import served
from tests.portal.methods import came_in, give, methods, where
from tests.portal.site import Browser, Site, elements, text_of
from tests.support.chromium import Served, chromium


def left_at(answer: httpx.Response) -> int:
    (said,) = [one["data-left"] for one in elements(answer, "div") if "data-left" in one]
    return int(said or "")


def value_of(answer: httpx.Response, name: str) -> str | None:
    (found,) = [field["value"] for field in elements(answer, "input") if field.get("name") == name]
    return found


@pytest.fixture
def alice(site: Site) -> Browser:
    return came_in(site)


def test_every_page_says_how_long_its_session_lasts(site: Site, alice: Browser) -> None:
    assert left_at(alice.get("/history")) == IDLE
    site.later(30)  # not worth a write
    assert left_at(alice.get("/history")) == IDLE - 30
    site.later(600)
    assert left_at(alice.get("/history")) == IDLE
    assert not any("data-left" in one for one in elements(site.browser().get("/sign-in"), "div"))


def test_who_is_still_there_stays_but_not_beyond_the_end(site: Site, alice: Browser) -> None:
    began = site.office.now
    while site.office.now + IDLE - 1 < began + LIFE:
        site.later(IDLE - 1)
        assert alice.post("/stay").json() == {"left": min(IDLE, began + LIFE - site.office.now)}
    site.later(IDLE)
    assert where(alice.post("/stay")) == "/sign-in"


def test_what_was_typed_comes_back_after_a_sign_in(site: Site) -> None:
    typed = {"name": "Phone & <Tablet>", "scope": "smtp", "networks": "192.0.2.0/24", "expires": "30d"}
    account, app = site.enrolled("bob")
    browser = came_in(site, account)
    site.later(IDLE)
    answer = browser.post("/app-passwords/new", **typed)
    answer = browser.send(browser.follow(answer), name="bob", password="correct horse battery")
    answer = browser.send(browser.follow(answer), code=app.code())
    form = browser.follow(answer)
    assert "Create an app password" in text_of(form)
    assert (value_of(form, "name"), value_of(form, "networks")) == (typed["name"], typed["networks"])
    boxes = [one["value"] for one in elements(form, "input") if one.get("name") == "scope" and "checked" in one]
    assert boxes == ["smtp"]


@pytest.mark.parametrize("path", ["/app-passwords/{}/rename", "/factors/{}/rename"])
def test_a_name_that_was_typed_comes_back(site: Site, path: str) -> None:
    account, app = site.enrolled("bob")
    browser = came_in(site, account)
    if path.startswith("/app"):
        number = browser.post("/app-passwords/new", name="Phone", scope="imap").headers["location"].split("/")[2]
    else:
        number = str(methods(site, account)[0].id)
    site.later(IDLE)
    answer = browser.post(path.format(number), name="Other phone")
    answer = browser.send(browser.follow(answer), name="bob", password="correct horse battery")
    answer = browser.send(browser.follow(answer), code=app.code())
    assert value_of(browser.follow(answer), "name") == "Other phone"


def test_who_takes_long_to_set_up_an_app_is_not_sent_away(site: Site) -> None:
    give(site)
    browser = came_in(site)
    page = browser.get("/factors/add/recovery_code")
    assert page.status_code == 200
    site.later(FRESH + 1)
    assert where(browser.post("/factors/add/recovery_code")) == "/factors"


def test_what_such_a_page_shows_is_not_shown_to_who_finds_the_session(site: Site) -> None:
    give(site)
    browser = came_in(site)
    browser.get("/factors/add/totp")
    site.later(FRESH + 1)
    assert where(browser.post("/factors/add/totp", name="x", code="000000")) == "/challenge?next=/factors/add/totp"


# ---- in a browser -------------------------------------------------------------------------------


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[tuple[Site, Served]]:
    with served(tmp_path) as opened:
        yield opened


@pytest.mark.real
def test_told_in_time_and_even_too_late_nothing_is_lost(stand: tuple[Site, Served]) -> None:
    site, _ = stand
    with chromium() as browser, browser.new_context() as context:

        def come_in() -> None:
            token = came_in(site).cookies.get("sidegate")
            assert token is not None
            context.add_cookies([{"name": "sidegate", "value": token, "url": site.desk.origin}])

        def passes(minutes: int) -> None:
            site.later(60 * minutes)
            page.clock.fast_forward(60_000 * minutes)

        page = context.new_page()
        page.clock.install()
        come_in()
        page.goto(f"{site.desk.origin}/app-passwords/new")
        page.get_by_label("Name").fill("Phone of my aunt")
        passes(54)
        expect(page.get_by_role("alert")).to_have_count(0)
        passes(2)
        expect(page.get_by_role("alert")).to_contain_text("You will be signed out in a few minutes")
        page.get_by_role("button", name="Stay signed in").press("Enter")
        expect(page.get_by_role("alert")).to_have_count(0)
        passes(54)
        expect(page.get_by_role("alert")).to_have_count(0)
        passes(7)
        expect(page.get_by_role("alert")).to_contain_text("You have been signed out. What you typed is still here")
        with context.expect_page() as opened:
            page.get_by_role("link", name="Sign in again in a new window").click()
        expect(opened.value).to_have_url(f"{site.desk.origin}/sign-in")
        come_in()  # as if it were in that window
        opened.value.goto(f"{site.desk.origin}/history")
        expect(page.get_by_role("alert")).to_have_count(0)
        expect(page.get_by_label("Name")).to_have_value("Phone of my aunt")
        page.get_by_role("button", name="Create").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Your app password")
