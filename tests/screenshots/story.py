"""What a person does at the portal, from the first sign-in on, and where a picture is taken."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack

import pyotp
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.screenshots import filling
from tests.screenshots.camera import Camera
from tests.screenshots.filling import AWAY, HOME, OFFICE, PASSWORD, PERSON
from tests.support.chromium import add_authenticator
from tests.support.demo import Demo

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
EDGE = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0"
PIXEL = "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 Chrome/140.0.0.0 Mobile Safari/537.36"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 Version/18.0 Safari/604.1"


class Story:
    """One person, several browsers. A code of an authenticator app counts once; those of three steps are right."""

    def __init__(self, demo: Demo, chromium: Browser, camera: Camera, language: str = "en") -> None:
        self.demo, self.chromium, self.camera, self.language = demo, chromium, camera, language
        self.portal: str = demo.facts["portal"].rstrip("/")
        self.codes: list[str] = []
        self.contexts: list[BrowserContext] = []

    def browser(self, agent: str, address: str) -> Page:
        context = self.chromium.new_context(
            user_agent=agent, locale=self.language, extra_http_headers={"X-Forwarded-For": address}
        )
        self.contexts.append(context)
        return context.new_page()

    def close(self) -> None:
        for context in self.contexts:
            context.close()

    def sign_in(self, page: Page, password: str = PASSWORD) -> None:
        page.goto(f"{self.portal}/sign-in")
        page.locator("#name").fill(PERSON)
        page.locator("#password").fill(password)
        page.locator("main form button").first.click()

    def enrol(self, page: Page) -> None:
        """From the page that a refusal names to recovery codes."""
        take = self.camera.take
        page.goto(self.portal)
        take(page, "welcome")
        page.goto(f"{self.portal}/app-passwords")
        take(page, "sign-in")
        self.sign_in(page, "alices-account-password")
        take(page, "sign-in-refused")
        self.sign_in(page)
        take(page, "enrol-code")
        given = json.loads(filling.sidegate(self.demo, "accounts", "enrolment-code", PERSON, "--json"))
        page.locator("#code").fill(given["code"])
        page.locator("main form button").first.click()
        take(page, "enrol-choose")
        page.goto(f"{self.portal}/enrol/passkey")
        take(page, "enrol-passkey")
        page.goto(f"{self.portal}/enrol/totp")
        take(page, "enrol-app")
        self.app = pyotp.TOTP((page.locator("details code").first.text_content() or "").replace(" ", ""))
        page.locator("#name").fill("Pixel 9")
        page.locator("#code").fill(self.app.at(int(time.time()) - 30))
        page.locator("main form button").first.click()
        expect(page).to_have_url(f"{self.portal}/enrol/recovery-codes")
        take(page, "enrol-recovery-codes")
        self.codes = page.locator(".codes code").all_text_contents()
        page.locator("main form button").first.click()

    def sign_in_elsewhere(self) -> None:
        """The history that a person has."""
        for agent, address, password in (
            (EDGE, OFFICE, PASSWORD),
            (EDGE, AWAY, "Alice2019"),
            (IPHONE, HOME, PASSWORD),
        ):
            page = self.browser(agent, address)
            self.sign_in(page, password)
            if password == PASSWORD:
                page.goto(f"{self.portal}/challenge/recovery_code")
                page.locator("#code").fill(self.codes.pop())
                page.locator("main form button").first.click()

    def create(self, page: Page) -> None:
        take = self.camera.take
        page.goto(f"{self.portal}/app-passwords/new")
        page.locator("#name").fill("Thunderbird on the new laptop")
        take(page, "create")
        page.locator("#name").press("Enter")
        expect(page.locator("#secret")).to_be_visible()
        take(page, "created")
        for program in ("thunderbird-android", "apple"):
            page.locator(f"#{program} > summary").click()
            take(page, f"set-up-{program}")

    def look_around(self, page: Page) -> None:
        take = self.camera.take
        for path, name in (
            ("/app-passwords", "app-passwords"),
            ("/sessions", "sessions"),
            ("/devices", "devices"),
            ("/history", "history"),
            ("/account-password", "account-password"),
        ):
            page.goto(self.portal + path)
            take(page, name)

    def more_factors(self, page: Page) -> None:
        add_authenticator(page.context, page)
        page.goto(f"{self.portal}/factors/add/passkey")
        page.locator("#name").fill("Fingerprint, work laptop")
        page.locator("main form button").first.click()
        expect(page).to_have_url(f"{self.portal}/factors")
        self.camera.take(page, "factors")
        page.get_by_role("link", name="Pixel 9").click()
        self.camera.take(page, "factor-remove")
        page.goto(f"{self.portal}/factors/add/recovery_code")
        self.camera.take(page, "factors-recovery-codes")

    def confirm_on_the_phone(self, page: Page) -> None:
        """A phone is connected; then somebody signs in, which it stops."""
        take, phone = self.camera.take, self.browser(PIXEL, HOME)
        phone.context.grant_permissions(["notifications"], origin=self.portal)
        page.goto(f"{self.portal}/factors/add/push")
        phone.goto(page.get_by_role("link", name="This is the phone").get_attribute("href") or "")
        phone.get_by_role("button", name="Connect this phone").click()
        expect(phone.get_by_text("This phone is connected.")).to_be_visible()
        expect(page.get_by_text("Is that your phone?")).to_be_visible()
        page.get_by_label("Name").fill("Pixel 9, confirming")
        page.get_by_role("button", name="Add the phone").click()
        somebody = self.browser(EDGE, AWAY)
        self.sign_in(somebody)
        somebody.goto(f"{self.portal}/challenge/push")
        take(somebody, "confirm")
        phone.goto(f"{self.portal}/phone")
        expect(phone.get_by_role("heading", name="Is it you who signs in?")).to_be_visible(timeout=15_000)
        take(phone, "phone-asks")
        phone.get_by_role("button", name="Report it").click()
        expect(phone.get_by_role("heading", name="Somebody else has your password?")).to_be_visible()
        take(phone, "phone-report")
        phone.get_by_role("button", name="Cancel").click()
        phone.get_by_role("button", name="Stop that sign-in").click()
        expect(phone.get_by_role("button", name="Done")).to_be_visible()

    def revoke(self, page: Page) -> None:
        page.goto(f"{self.portal}/app-passwords")
        page.get_by_role("link", name="iPhone, Mail").last.click()
        self.camera.take(page, "revoke")
        page.locator("main form button").first.click()
        self.camera.take(page, "revoked")

    def challenge(self) -> None:
        page = self.browser(IPHONE, HOME)
        self.sign_in(page)
        page.goto(f"{self.portal}/challenge/totp")
        self.camera.take(page, "challenge")
        page.locator("#code").fill("000000")
        page.locator("main form button").first.click()
        self.camera.take(page, "challenge-refused")
        page.goto(f"{self.portal}/nowhere")
        self.camera.take(page, "not-found")


def tell(demo: Demo, chromium: Browser, camera: Camera) -> None:
    """All of it."""
    filling.serve_the_world(demo)
    filling.sidegate(demo, "mfa", "enable", PERSON)
    with ExitStack() as stay:
        story = Story(demo, chromium, camera)
        stay.callback(story.close)
        page = story.browser(FIREFOX, OFFICE)
        story.enrol(page)
        camera.take(page, "create-first")
        page.goto(f"{story.portal}/app-passwords")
        camera.take(page, "app-passwords-empty")
        story.sign_in_elsewhere()
        filling.fill(demo, stay)
        filling.date_back(demo)
        filling.date_sign_ins_back(demo)
        story.create(page)
        story.look_around(page)
        story.more_factors(page)
        story.revoke(page)
        story.confirm_on_the_phone(page)
        story.challenge()
        with page.expect_navigation():
            page.locator("footer button[value=es]").click()
        page.goto(f"{story.portal}/app-passwords")
        camera.take(page, "app-passwords-es")
        page.goto(f"{story.portal}/history")
        camera.take(page, "history-es")
