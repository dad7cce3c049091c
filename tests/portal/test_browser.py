"""Chromium, without JavaScript and by keyboard alone: from the page that a refusal points to, to a second step.

What is asserted besides is what only a browser can tell: that our own forms pass the check for requests from elsewhere,
that it keeps the cookies, and that no page breaks its content security policy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyotp
import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from proxy.domain.model import MfaState
from tests.portal.site import PASSWORD, Site, open_site
from tests.support.chromium import Served, chromium, listening

PHONE = {"width": 360, "height": 740}


class Person:
    """Somebody with a keyboard in front of a browser."""

    def __init__(self, page: Page, origin: str, site: Site) -> None:
        self.page = page
        self.origin = origin
        self.site = site
        self.complaints: list[str] = []
        page.on("console", self._heard)

    def _heard(self, message: ConsoleMessage) -> None:
        # A status of 400 is how a form comes back; Chromium tells of each.
        if message.type in ("error", "warning") and "status of 400" not in message.text:
            self.complaints.append(message.text)

    def tab_to(self, role: str, name: str) -> None:
        """Tab until this has the focus, as somebody does who hears roles and names."""
        wanted = self.page.get_by_role(role, name=name, exact=True)  # type: ignore[arg-type]
        for _ in range(40):
            self.page.keyboard.press("Tab")
            if wanted.evaluate("element => element === document.activeElement"):
                return
        pytest.fail(f"no {role} {name!r} on the way of the Tab key")

    def enter(self, name: str, text: str) -> None:
        self.tab_to("textbox", name)
        self.page.keyboard.type(text)

    def fits(self) -> bool:
        """Whether the page needs no scrolling sideways on a phone."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    sock = listening()
    origin = f"http://login.localhost:{sock.getsockname()[1]}"
    opened = open_site(tmp_path, url=origin, trusted_networks=("127.0.0.1/32",))
    # Playwright has the loop of this thread; the site's runs in another.
    with ThreadPoolExecutor(1) as elsewhere, chromium() as browser:
        site = elsewhere.submit(opened.__enter__).result()
        served = Served(site.pages, sock)
        context = browser.new_context(java_script_enabled=False, viewport=PHONE)  # type: ignore[arg-type]
        yield Person(context.new_page(), origin, site)
        context.close()
        served.close()
        elsewhere.submit(opened.__exit__, None, None, None).result()


@pytest.mark.real
def test_by_keyboard_from_the_refusal_to_the_recovery_codes_and_back_in(person: Person) -> None:
    page = person.page
    person.site.person("bob", MfaState.ENABLED)
    page.goto(person.origin)
    assert person.fits()
    person.tab_to("link", "Get an app password")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    person.enter("E-mail address or user name", "bob")
    person.enter("Password", "wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The name or the password is not right. Check both and try again.")
    expect(page.get_by_label("E-mail address or user name")).to_have_value("bob")
    assert person.fits()

    person.site.later(60)
    person.enter("Password", PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{person.origin}/enrol")
    assert person.fits()
    page.get_by_role("link", name=re.compile("^Authenticator app")).focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{person.origin}/enrol/totp")
    expect(page.get_by_role("img", name="QR code for your authenticator app")).to_be_visible()
    assert person.fits()
    key = page.locator("details code").inner_text() or page.locator("details code").text_content() or ""
    app = pyotp.TOTP(key.replace(" ", ""))

    def code() -> str:
        person.site.later(30)
        return app.at(int(person.site.office.now))

    person.enter("Type the six digits that the app shows now", code())
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{person.origin}/enrol/recovery-codes")
    expect(page.get_by_role("listitem").filter(has_text=re.compile("^[a-z]{5}-"))).to_have_count(10)
    expect(page.get_by_role("button", name="Copy")).to_be_hidden()  # it needs a script
    assert person.fits()

    person.tab_to("button", "Sign out")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("You are signed out.")
    person.enter("E-mail address or user name", "bob")
    person.enter("Password", PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{person.origin}/challenge")
    page.get_by_label("The six digits that your authenticator app shows now").fill(code())
    person.tab_to("checkbox", "Do not ask again in this browser for 30 days")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{person.origin}/app-passwords")

    person.tab_to("button", "Español")
    page.keyboard.press("Enter")
    person.tab_to("button", "Cerrar sesión")
    page.keyboard.press("Enter")
    person.enter("Dirección de correo o nombre de usuario", "bob")
    person.enter("Contraseña", PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{person.origin}/app-passwords")  # remembered
    assert person.complaints == []
