"""Signing in at a real identity provider, in a real browser, with everything behind it running: what a person and the
break-glass admin do while it is up, and after it has gone.

Portal and provider are different sites to the browser (login.localhost and 127.0.0.1), as they are at home: cookies of
the one do not come along from the other.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest
import yaml
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Error, Page, expect

from proxy.directory.oidc import METADATA_FOR
from tests.peers.canaille import PERSON, SECRET, Canaille
from tests.peers.process import wait_until
from tests.support.chromium import chromium
from tests.support.demo import Demo
from tests.support.sidegate import run

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


class Place:
    """A demo whose people sign in at Canaille."""

    def __init__(self, root: Path) -> None:
        self.demo = Demo(root).wait()
        self.config = Path(self.demo.facts["config"])
        self.portal = self.demo.facts["portal"].rstrip("/")
        self.provider = Canaille(root, self.portal, PERSON).start()
        secret = root / "secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        sign_in = {
            "type": "oidc",
            "issuer": self.provider.issuer,
            "client_id": "sidegate",
            "client_secret_file": str(secret),
            "name": "Example ID",
            "mfa": {"amr": ["mfa"]},
            "break_glass": "bob@example.org",
            "trust_unverified_email": True,  # Canaille says nothing of it
        }
        text = self.config.read_text()
        self.config.write_text(text.replace("portal:\n", f"portal:\n  sign_in: {json.dumps(sign_in)}\n", 1))
        checked = run(self.config, "check")
        assert checked.returncode == 0, checked.stderr
        (supervisor,) = [
            pid for pid in self.demo.members() if b"proxy.demo.serve" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        os.kill(supervisor, signal.SIGHUP)

    def ask_again(self) -> None:
        """Some minutes pass."""
        store = yaml.safe_load(self.config.read_text())["store"].removeprefix("sqlite:")
        with sqlite3.connect(store, timeout=30) as c:
            assert c.execute("UPDATE portal_sessions SET factor_time = factor_time - 600").rowcount == 1
        c.close()

    def close(self) -> None:
        self.provider.stop()
        self.demo.end()


@pytest.fixture
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="sidegate-", ignore_cleanup_errors=True) as folder:
        opened = Place(Path(folder))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with chromium() as launched:
        yield launched


def visitor(browser: Chromium) -> Page:
    """Without scripts: the provider's send forms that lead elsewhere."""
    return browser.new_context(locale="en", java_script_enabled=False).new_page()


def at_the_provider(page: Page, place: Place) -> None:
    """Do what its pages ask for, until they lead back."""
    answers = {"login": PERSON["name"], "password": PERSON["password"]}
    asked: list[str] = []
    while page.url.startswith(place.provider.issuer):
        field = page.locator("input[name=login], input[name=password], input[name=otp]")
        name = field.get_attribute("name")
        assert name is not None
        assert name not in asked, page.inner_text("body")
        asked.append(name)
        field.fill(answers.get(name) or pyotp.TOTP(PERSON["otp"]).now())
        with page.expect_navigation():
            field.press("Enter")


def test_the_whole_story(place: Place, browser: Chromium) -> None:
    page = visitor(browser)

    def offered() -> bool:
        page.goto(f"{place.portal}/app-passwords/new")
        return "Example ID" in page.inner_text("main")

    wait_until(offered, "the reload")

    page.get_by_role("link", name="Continue with Example ID").click()
    at_the_provider(page, place)
    expect(page).to_have_url(re.compile(re.escape(f"{place.portal}/app-passwords/new")))
    expect(page.locator("header.top")).to_contain_text("alice@example.org")

    place.ask_again()
    page.goto(f"{place.portal}/app-passwords/new")
    assert page.url.startswith(place.provider.issuer), page.url
    at_the_provider(page, place)
    page.get_by_label("Name").first.fill("Phone")
    page.get_by_role("button", name="Create").click()
    secret = page.locator("code").first.inner_text()
    place.demo.imap(secret).logout()

    place.provider.stop()
    place.demo.imap(secret).logout()
    page.goto(f"{place.portal}/app-passwords")
    expect(page.locator("main")).to_contain_text("Phone")

    break_glass(visitor(browser), place)


def break_glass(page: Page, place: Place) -> None:
    """bob signs in past the provider, and enrols a factor for it."""

    def is_said_to_be_down() -> bool:
        try:
            page.goto(f"{place.portal}/sign-in/provider")
        except Error:  # led there by what the provider said a moment ago, and nobody answers
            return False
        return "Example ID cannot be reached just now" in page.inner_text("main")

    wait_until(is_said_to_be_down, "what the provider said to count no more", METADATA_FOR + 30)
    page.get_by_role("link", name="Emergency administrator").click()
    page.locator("input[name=name]").fill("bob")
    page.locator("input[name=password]").fill("bob-account-password")
    page.get_by_role("button", name="Sign in").click()
    page.goto(f"{place.portal}/enrol/totp")  # without a code, from a network that the demo trusts
    key = page.locator("details code").text_content()
    assert key is not None
    page.locator("input[name=code]").fill(pyotp.TOTP(key.replace(" ", "")).now())
    page.get_by_role("button", name="Add the authenticator app").click()
    expect(page).to_have_url(f"{place.portal}/enrol/recovery-codes")
    audit = run(place.config, "audit", "--json", "--account", "bob")
    assert "break_glass_used" in [json.loads(line)["event"] for line in audit.stdout.splitlines()]
