"""A person's whole story in Chromium by keyboard alone, with the script and without any: from the page that a refusal
points to, by enrolment code and authenticator app, to an app password that is copied, and out.

At each step is asserted what is read out there (the accessibility tree) and where the focus is. And what only a browser
can tell: our own forms pass the check for requests from elsewhere, it keeps the cookies, no page breaks its policy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import ConsoleMessage, Locator, Page, expect

from proxy.admin import enrolment
from proxy.domain import app_passwords
from proxy.domain.model import MfaState
from tests.admin.office import OPERATOR
from tests.portal.browsing import served
from tests.portal.site import PASSWORD, Site
from tests.support.chromium import Served, chromium

pytestmark = pytest.mark.real

PHONE = {"width": 360, "height": 740}
WITH_SCRIPT = pytest.mark.parametrize("script", [True, False], ids=["with the script", "without a script"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Site, Served]]:
    with served(tmp_path) as opened:
        yield opened


class Person:
    """Somebody with a keyboard in front of a browser."""

    def __init__(self, page: Page, site: Site) -> None:
        self.page = page
        self.origin = site.desk.origin
        self.site = site
        self.complaints: list[str] = []
        page.on("console", self._heard)

    def _heard(self, message: ConsoleMessage) -> None:
        # A status of 400 is how a form comes back; Chromium tells of each.
        if message.type in ("error", "warning") and "status of 400" not in message.text:
            self.complaints.append(message.text)

    # ---- hands ----------------------------------------------------------------------------------

    def tab_to(self, role: str, name: str, *, backwards: bool = False) -> Locator:
        """Tab until this has the focus, as somebody does who hears roles and names; and sees where it is."""
        wanted = self.page.get_by_role(role, name=re.compile(f"^{re.escape(name)}"))  # type: ignore[arg-type]
        for _ in range(60):
            self.page.keyboard.press("Shift+Tab" if backwards else "Tab")
            if wanted.evaluate("element => element === document.activeElement"):
                style = wanted.evaluate(
                    "element => getComputedStyle(element).outlineStyle + getComputedStyle(element).outlineWidth"
                )
                assert style == "solid3px", f"{name}: one does not see that it has the focus ({style})"
                return wanted
        pytest.fail(f"no {role} {name!r} on the way of the Tab key at {self.page.url}")

    def enter(self, name: str, text: str) -> None:
        """Into a field that the focus has to come to first."""
        if not self.page.get_by_role("textbox", name=name).evaluate("element => element === document.activeElement"):
            self.tab_to("textbox", name)
        self.page.keyboard.type(text)

    def press(self, role: str, name: str, *, backwards: bool = False) -> None:
        self.tab_to(role, name, backwards=backwards)
        self.page.keyboard.press("Enter")

    # ---- ears and eyes --------------------------------------------------------------------------

    def reads(self, heading: str, *others: str) -> None:
        """The main part of the page as it is read out: its heading, and these (role and name, in the notation of aria
        snapshots; regular expressions), in this order among others. And one need not scroll sideways for it."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text(heading)
        read = [
            line.strip().removeprefix("- ").lstrip("'")
            for line in self.page.get_by_role("main").aria_snapshot().splitlines()
        ]
        rest = iter(read)
        for one in (re.escape(f'heading "{heading}" [level=1]'), *others):
            assert any(re.match(one, line) for line in rest), "\n".join([one, "is not in this, in its place:", *read])
        assert self.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")

    def is_at(self, role: str, text: str | re.Pattern[str]) -> None:
        """Where the focus is after a step."""
        focused = self.page.locator(":focus")
        expect(focused).to_have_count(1)
        tree = focused.aria_snapshot()
        assert tree.startswith(f"- {role}"), tree
        expect(focused).to_have_accessible_name(text) if role == "textbox" else expect(focused).to_have_text(text)


@WITH_SCRIPT
def test_the_whole_story_by_keyboard(browser: Chromium, site: tuple[Site, Served], script: bool) -> None:
    portal, server = site
    portal.person("bob", MfaState.ENABLED)
    permissions = ["clipboard-read", "clipboard-write"] if script else []
    with browser.new_context(java_script_enabled=script, viewport=PHONE, permissions=permissions) as context:  # type: ignore[arg-type]
        person = Person(context.new_page(), portal)
        signs_in(person)
        app = enrols(person, server.run(enrolment.issue_code(portal.office.desk, OPERATOR, "bob"))["code"])
        makes_an_app_password(person, script)
        goes_and_comes_back(person, app)
        speaks_spanish(person)
        assert person.complaints == []


def signs_in(person: Person) -> None:
    page = person.page
    page.goto(person.origin)
    page.keyboard.press("Tab")
    person.is_at("link", "Skip to the content")
    expect(page.locator(":focus")).to_be_in_viewport()
    page.keyboard.press("Enter")
    person.press("link", "Get an app password")  # the first that comes after the header was skipped
    person.reads(
        "Sign in",
        r"text: E-mail address or user name",
        r'textbox "E-mail address or user name"',
        r"text: Password",
        r'textbox "Password"',
        r'button "Sign in"',
    )
    person.enter("E-mail address or user name", "bob")
    page.keyboard.press("Enter")  # the browser itself says that the password is missing
    person.enter("Password", "wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The name or the password is not right. Check both and try again.")
    person.is_at("alert", "The name or the password is not right. Check both and try again.")
    expect(page.get_by_label("E-mail address or user name")).to_have_value("bob")
    person.site.later(60)
    person.enter("Password", PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{person.origin}/enrol")


def enrols(person: Person, code: str) -> pyotp.TOTP:
    page = person.page
    person.reads(
        "Set up your second step",
        r'textbox "Enrolment code"',
        r'button "Go on"',
        r'heading "I have no code" \[level=2\]',
    )
    person.is_at("heading", "Set up your second step")
    person.enter("Enrolment code", "abcd")
    page.keyboard.press("Enter")
    person.is_at("textbox", "Enrolment code")
    expect(page.locator(":focus")).to_have_accessible_description(re.compile("^That is no enrolment code"))
    person.enter("Enrolment code", code)
    page.keyboard.press("Enter")
    person.reads(
        "Set up your second step",
        r'link "Passkey',
        r'link "Authenticator app',
    )
    person.is_at("heading", "Set up your second step")
    person.press("link", "Authenticator app")
    person.reads(
        "Authenticator app",
        r'img "QR code for your authenticator app"',
        r".*The app cannot scan: type this key into it",
        r'textbox "Type the six digits that the app shows now"',
        r'textbox "Name"',
        r'button "Add the authenticator app"',
    )
    person.is_at("heading", "Authenticator app")
    app = pyotp.TOTP((page.locator("details code").text_content() or "").replace(" ", ""))
    person.enter("Type the six digits that the app shows now", "12345")
    page.keyboard.press("Enter")
    person.is_at("textbox", "Type the six digits that the app shows now")
    expect(page.locator(":focus")).to_have_accessible_description(re.compile("digits"))
    person.enter("Type the six digits that the app shows now", shown_by(app, person))
    page.keyboard.press("Enter")
    person.reads(
        "Your recovery codes",
        r'region "Ten codes, shown only now"',
        r".*[a-z]{5}-[a-z]{5}-[a-z]{5}",
        r'link "Save as a file"',
        r'button "I have them in a safe place"',
    )
    person.is_at("heading", "Your recovery codes")
    person.press("button", "I have them in a safe place")
    return app


def makes_an_app_password(person: Person, script: bool) -> None:
    page = person.page
    person.reads(
        "Create an app password",
        r'textbox "Name"',
        r'group "It may"',
        r'checkbox "Read mail \(IMAP\)" \[checked\]',
        r".*More protection",
        r'button "Create"',
        r'link "Cancel"',
    )
    person.is_at("heading", "Create an app password")
    person.enter("Name", "x" * 64)
    page.keyboard.press("Control+A")
    page.keyboard.type("Phone")
    page.keyboard.press("Enter")
    person.reads(
        "Your app password",
        r'region "Password for the program"',
        r".*([a-z]{4}-){4}[a-z]{4}",
        r'link "I have put it into the program"',
    )
    person.is_at("heading", "Your app password")
    secret = page.locator("#secret").inner_text()
    assert app_passwords.normalize(secret) is not None
    if script:
        person.press("button", "Copy")
        expect(page.get_by_role("region", name="Password for the program").get_by_role("status")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == secret
    else:
        expect(page.get_by_role("button", name="Copy")).to_have_count(0)
    person.press("link", "I have put it into the program")
    person.reads(
        "App passwords",
        r'link "Create an app password"',
        r'heading "Phone" \[level=3\]',
        r'link "Rename “Phone”"',
        r'link "Revoke “Phone”"',
    )
    assert secret not in page.content()


def goes_and_comes_back(person: Person, app: pyotp.TOTP) -> None:
    page = person.page
    person.press("button", "Sign out", backwards=True)
    person.is_at("status", "You are signed out.")
    person.enter("E-mail address or user name", "bob")
    person.enter("Password", PASSWORD)
    page.keyboard.press("Enter")
    person.reads(
        "Confirm that it is you",
        r'textbox "The six digits that your authenticator app shows now"',
        r'checkbox "Do not ask again in this browser for 30 days"',
        r'button "Confirm"',
        r'heading "Another way" \[level=2\]',
        r'link "Use a recovery code"',
    )
    person.is_at("textbox", "The six digits that your authenticator app shows now")
    page.keyboard.type("000000" if shown_by(app, person) != "000000" else "000001")
    page.keyboard.press("Enter")
    person.is_at("textbox", "The six digits that your authenticator app shows now")
    expect(page.locator(":focus")).to_have_accessible_description(re.compile("."))
    page.keyboard.type(shown_by(app, person))
    person.tab_to("checkbox", "Do not ask again in this browser for 30 days")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{person.origin}/app-passwords")
    person.press("link", "Revoke “Phone”")
    person.reads(
        "Revoke “Phone”?",
        r'button "Revoke"',
        r'link "Cancel"',
    )
    person.press("button", "Revoke")
    expect(page.get_by_role("status").first).to_contain_text("“Phone” is revoked.")
    person.is_at("status", re.compile("“Phone” is revoked"))


def speaks_spanish(person: Person) -> None:
    page = person.page
    person.press("button", "Español")
    person.press("button", "Cerrar sesión")
    person.enter("Dirección de correo o nombre de usuario", "bob")
    person.enter("Contraseña", PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{person.origin}/app-passwords")  # remembered


def shown_by(app: pyotp.TOTP, person: Person) -> str:
    """The next code that the app shows."""
    person.site.later(30)
    return app.at(int(person.site.office.now))
