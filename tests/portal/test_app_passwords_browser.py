"""The page that shows a new app password, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, expect

from proxy.domain import app_passwords
from tests.portal.browsing import served
from tests.portal.methods import came_in
from tests.portal.site import Site
from tests.support.chromium import chromium

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with served(tmp_path) as (opened, _):
        yield opened


def create(page: Page, site: Site, name: str) -> str:
    """By keyboard, from the list to the page that shows it; the secret."""
    token = came_in(site).cookies.get("sidegate")
    assert token is not None
    page.context.add_cookies([{"name": "sidegate", "value": token, "url": site.desk.origin}])
    page.goto(f"{site.desk.origin}/app-passwords")
    page.get_by_role("link", name="Create an app password").press("Enter")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Name").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your app password")
    secret = page.locator("#secret").inner_text()
    assert app_passwords.normalize(secret) is not None
    return secret


def test_it_is_copied_and_a_reload_shows_the_list(browser: Chromium, site: Site) -> None:
    with browser.new_context(permissions=["clipboard-read", "clipboard-write"]) as context:
        page = context.new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        secret = create(page, site, "Phone")
        section = page.get_by_role("region", name="Password for the program")
        section.get_by_role("button", name="Copy").press("Enter")
        expect(section.get_by_role("status")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == secret
        page.reload()
        expect(page).to_have_url(f"{site.desk.origin}/app-passwords")
        expect(page.get_by_role("heading", name="Phone")).to_be_visible()
        assert secret not in page.content()
        page.go_back()
        assert secret not in page.content()
        assert problems == []
