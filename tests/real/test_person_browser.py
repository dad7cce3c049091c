"""A person's whole story in a real Chromium, with a real sidegate in front of a real Dovecot.

From the command that asks for a second factor to the revoke that ends the mail program's connection.
"""

from __future__ import annotations

import imaplib
import json
import re
import ssl
import time
from collections.abc import Iterator

import pyotp
import pytest
from playwright.sync_api import Page, expect

from tests.peers.process import free_ports
from tests.real.conftest import Peers
from tests.support.chromium import add_authenticator, chromium
from tests.support.sidegate import Sidegate

pytestmark = pytest.mark.real

PASSWORD = "alice's account password"
WITHIN = 1.0
"""Seconds from the press of the button to the end of the connection."""


@pytest.fixture
def gate(peers: Peers) -> Iterator[Sidegate]:
    (port,) = free_ports(1)
    portal = {"url": f"http://localhost:{port}", "listen": f"127.0.0.1:{port}", "remember_days": 0}
    started = peers.sidegate(extra={"portal": portal})
    yield started
    started.stop()


class Person:
    """alice, in front of a browser."""

    def __init__(self, page: Page, gate: Sidegate) -> None:
        self.page = page
        self.gate = gate
        self.origin = str(gate.settings["portal"]["url"])

    def at(self, path: str) -> None:
        expect(self.page).to_have_url(re.compile(re.escape(self.origin + path) + r"(\?.*)?$"))

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def follow(self, name: str) -> None:
        self.page.get_by_role("link", name=name, exact=True).click()

    def types_password(self) -> None:
        """The first step of a sign-in."""
        self.page.goto(f"{self.origin}/sign-in")
        self.page.get_by_label("E-mail address or user name").fill("alice")
        self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        self.press("Sign in")

    def signs_out(self) -> None:
        self.press("Sign out")
        self.at("/sign-in")

    def mail(self, secret: str) -> imaplib.IMAP4_SSL:
        context = ssl.create_default_context(cafile=str(self.gate.certificates.ca))
        port = self.gate.ports["imap", "implicit"]
        client = imaplib.IMAP4_SSL("localhost", port, ssl_context=context, timeout=30)
        client.login("alice", secret)
        return client


def ended(client: imaplib.IMAP4_SSL) -> float:
    """When the server has closed it (time.monotonic)."""
    client.sock.settimeout(30)
    while client.sock.recv(4096):
        pass
    return time.monotonic()


def test_from_the_admin_who_asks_for_a_second_factor_to_the_revoke(gate: Sidegate) -> None:
    done = gate.cli("accounts", "set-password", "alice", "--password-file", "-", stdin=f"{PASSWORD}\n")
    assert done.returncode == 0, done.stderr
    assert gate.cli("mfa", "enable", "alice").returncode == 0
    code = gate.json("accounts", "enrolment-code", "alice")["code"]
    with chromium() as browser:
        context = browser.new_context()
        page = context.new_page()
        add_authenticator(context, page)
        person = Person(page, gate)

        person.types_password()
        person.at("/enrol")
        for path in (
            "/app-passwords",
            "/app-passwords/new",
            "/factors",
            "/sessions",
            "/devices",
            "/history",
            "/enrol/totp",
        ):
            page.goto(person.origin + path)
            person.at("/enrol")
        page.get_by_label("Enrolment code").fill(code)
        person.press("Go on")
        page.get_by_role("link", name=re.compile("^Authenticator app")).click()
        app = pyotp.TOTP((page.locator("details code").text_content() or "").replace(" ", ""))
        page.get_by_label("Type the six digits that the app shows now").fill(app.now())
        person.press("Add the authenticator app")
        person.at("/enrol/recovery-codes")
        recovery = page.locator("ol code").all_inner_texts()
        assert len(recovery) == 10
        person.press("I have them in a safe place")
        assert gate.json("accounts", "show", "alice")["mfa"] == "enforced"

        person.at("/app-passwords/new")
        page.get_by_label("Name").fill("Phone")
        person.press("Create")
        secret = page.locator("#secret").inner_text()
        client = person.mail(secret)
        assert client.select("INBOX")[0] == "OK"
        page.goto(f"{person.origin}/sessions")
        expect(page.get_by_role("region", name="Phone")).to_contain_text("IMAP · 127.0.0.1")

        page.goto(f"{person.origin}/factors")
        page.get_by_role("link", name=re.compile("^Passkey")).click()
        page.get_by_label("Name").fill("Laptop")
        person.press("Create the passkey")
        expect(page.get_by_role("status")).to_have_text("“Laptop” was added.")

        person.signs_out()
        person.types_password()
        person.at("/challenge")
        person.press("Use your passkey")  # the best that they have
        person.at("/app-passwords")
        person.signs_out()
        person.follow("Sign in with a passkey")
        person.press("Use your passkey")  # alone
        person.at("/app-passwords")
        person.signs_out()
        person.types_password()
        person.follow("Enter a code from your authenticator app")
        page.get_by_role("textbox").fill(app.at(int(time.time()) + 30))  # the one of the enrolment does not count again
        person.press("Confirm")
        person.at("/app-passwords")
        person.signs_out()
        person.types_password()
        person.follow("Use a recovery code")
        page.get_by_role("textbox").fill(recovery[3].upper())
        person.press("Confirm")
        person.at("/app-passwords")

        assert client.noop()[0] == "OK"  # none of this was the mail program's business
        person.follow("Revoke “Phone”")
        button = page.get_by_role("button", name="Revoke")
        expect(button).to_be_enabled()
        began = time.monotonic()
        button.click(no_wait_after=True)
        assert ended(client) - began < WITHIN
        expect(page.get_by_role("status")).to_contain_text("1 session was cut.")
        page.goto(f"{person.origin}/sessions")
        expect(page.get_by_role("main")).to_contain_text("No program is connected.")
        with pytest.raises(imaplib.IMAP4.error, match="App password not accepted"):
            person.mail(secret)
        page.goto(f"{person.origin}/history")
        expect(page.get_by_role("region", name="Sign-ins on these pages").get_by_role("listitem")).to_have_count(5)
        expect(page.get_by_role("region", name="Programs that were not let in")).to_contain_text("was revoked")
        context.close()
    client.shutdown()
    events = [
        json.loads(line)["event"] for line in gate.cli("audit", "--account", "alice", "--json").stdout.splitlines()
    ]
    assert events.count("signed_in") == 5
    assert {"factor_added", "recovery_code_used", "app_password_created"} <= set(events)
