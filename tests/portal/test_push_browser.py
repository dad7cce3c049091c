"""The authenticator in a real Chromium: a desk that signs in and a phone, two browsers that share nothing. The push
service of Chromium cannot be reached, so subscribing is stood in for; the service worker gets its messages by the
browser's own protocol.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, Page, expect

from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import MfaState
from proxy.domain.sign_in import Stage
from proxy.factors.push import SCANNED
from proxy.notices.encryption import server_key
from proxy.notices.web_push import WebPush, message
from proxy.store import factors, people
from tests.portal.browsing import served
from tests.portal.methods import came_in
from tests.portal.site import Site
from tests.support.chromium import Served, chromium
from tests.support.push_service import Subscriber

pytestmark = pytest.mark.real

PHONE: Any = {"viewport": {"width": 390, "height": 780}, "permissions": ["notifications"]}
ENDPOINT = "https://fcm.googleapis.com/fcm/send/abc"
SUBSCRIBE = """subscription => {
    PushManager.prototype.subscribe = async function (options) {
        if (!options.userVisibleOnly || !options.applicationServerKey) throw new Error("not like that");
        return { toJSON: () => subscription };
    };
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with chromium() as launched:
        yield launched


class Stand:
    """A portal, a desk, and a phone."""

    def __init__(self, site: Site, server: Served, browser: Chromium) -> None:
        self.site = site
        self.server = server
        self.origin = site.desk.origin
        site.desk.clock = time.time
        site.desk.factors[FactorKind.PUSH]._clock = time.time  # type: ignore[attr-defined]
        site.desk.web_push = WebPush(server_key(bytes(48)), "mailto:x@example.org", (), time.time)
        self.bob = site.person("bob", MfaState.ENFORCED)
        site.app(self.bob, "codes")
        self.complaints: list[str] = []
        self.desk = self._browser(browser.new_context())
        self.phone = self._browser(browser.new_context(**PHONE))
        flat = Subscriber(ENDPOINT).subscription
        given = {"endpoint": ENDPOINT, "keys": {"p256dh": flat["p256dh"], "auth": flat["auth"]}}
        self.phone.context.add_init_script(f"({SUBSCRIBE})({json.dumps(given)})")

    def _browser(self, context: BrowserContext) -> Page:
        page = context.new_page()
        page.on("console", lambda said: self.complaints.append(said.text) if "Content Security" in said.text else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    def come_in(self, stage: Stage) -> None:
        """At the desk."""
        self.desk.context.clear_cookies()
        self.site.office.now = time.time()
        token = came_in(self.site, self.bob, stage=stage).cookies.get("sidegate")
        assert token is not None
        self.desk.context.add_cookies([{"name": "sidegate", "value": token, "url": self.origin}])

    def register(self) -> None:
        self.come_in(Stage.IN)
        desk, phone = self.desk, self.phone
        desk.goto(f"{self.origin}/factors/add/push")
        link = desk.get_by_role("link", name="This is the phone").get_attribute("href") or ""
        phone.goto(link)
        phone.get_by_role("button", name="Connect this phone").click()
        expect(phone.get_by_text("This phone is connected.")).to_be_visible()
        expect(desk.get_by_text("Is that your phone?")).to_be_visible()  # the page found out by itself
        desk.get_by_label("Name").fill("my phone")
        desk.get_by_role("button", name="Add the phone").click()
        expect(desk.get_by_role("status")).to_have_text("“my phone” was added.")
        phone.goto(f"{self.origin}/phone")
        expect(phone.get_by_text("Nothing is waiting for bob@example.org.")).to_be_visible()

    def number(self) -> str:
        """That the desk shows."""
        return self.desk.locator(".number").inner_text()

    def ask(self) -> None:
        """The desk signs in, and the phone is asked without anybody touching it."""
        self.come_in(Stage.CHALLENGE)
        self.desk.goto(f"{self.origin}/challenge")
        expect(self.phone.get_by_role("heading", name="Is it you who signs in?")).to_be_visible(timeout=15_000)


@pytest.fixture
def stand(tmp_path: Path, browser: Chromium) -> Iterator[Stand]:
    with served(tmp_path) as (site, server):
        stand = Stand(site, server, browser)
        yield stand
        stand.desk.context.close()
        stand.phone.context.close()
    assert stand.complaints == []


def test_from_the_link_to_the_report(stand: Stand) -> None:
    stand.register()
    desk, phone = stand.desk, stand.phone
    (row,) = stand.site.read(factors.of_account, stand.bob.id, FactorKind.PUSH)
    assert row.public["endpoint"] == ENDPOINT

    stand.ask()
    field = phone.get_by_label("If it is you: the number that the page shows")
    field.fill("000000" if stand.number() != "000 000" else "000001")
    phone.get_by_role("button", name="Confirm").click()
    expect(phone.get_by_role("alert")).to_contain_text("That is not the number that the page shows. Look again.")
    expect(field).to_be_focused()
    field.fill(stand.number())
    phone.keyboard.press("Enter")
    expect(phone.get_by_role("status")).to_contain_text("Confirmed.")
    expect(desk).to_have_url(f"{stand.origin}/app-passwords", timeout=15_000)  # it went on by itself
    phone.get_by_role("button", name="Done").click()

    stand.ask()
    phone.get_by_role("button", name="Stop that sign-in").click()
    expect(desk).to_have_url(f"{stand.origin}/sign-in?said=stopped", timeout=15_000)
    phone.get_by_role("button", name="Done").click()

    stand.ask()
    phone.get_by_role("button", name="Report it").click()
    expect(phone.get_by_role("heading", name="Somebody else has your password?")).to_be_visible()
    phone.get_by_role("button", name="Cancel").click()
    phone.get_by_role("button", name="Report it").click()
    expect(phone.get_by_text("Your administrators are told.")).to_be_visible()
    phone.get_by_role("button", name="Report it").click()
    expect(phone.get_by_role("alert")).to_contain_text("Reported.")
    expect(desk).to_have_url(f"{stand.origin}/sign-in?said=stopped", timeout=15_000)
    assert stand.site.read(people.by_id, stand.bob.id).push_blocked


def test_the_key_never_leaves_the_phone(stand: Stand) -> None:
    stand.register()
    told = stand.phone.evaluate(
        """async () => {
            const db = await new Promise((done) => {
                const asked = indexedDB.open("sidegate");
                asked.onsuccess = () => done(asked.result);
            });
            const [one] = await new Promise((done) => {
                const asked = db.transaction("phones").objectStore("phones").getAll();
                asked.onsuccess = () => done(asked.result);
            });
            const out = await crypto.subtle.exportKey("pkcs8", one.key).then(() => "exported", (error) => error.name);
            return [one.key.type, one.key.extractable, one.key.usages.join(), out];
        }"""
    )
    assert told == ["private", False, "sign", "InvalidAccessError"]


def test_a_push_message_is_shown_and_looks_at_once(stand: Stand) -> None:
    stand.register()
    cdp = stand.phone.context.new_cdp_session(stand.phone)
    registered: list[str] = []
    cdp.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda told: registered.extend(one["registrationId"] for one in told["registrations"]),
    )
    cdp.send("ServiceWorker.enable")
    stand.phone.wait_for_function("navigator.serviceWorker.controller !== null")
    assert registered
    text = message("Is it you who signs in?", "Open this", path="/phone", tag="sign-in").decode()
    told = {"origin": stand.origin, "registrationId": registered[-1], "data": text}
    cdp.send("ServiceWorker.deliverPushMessage", told)
    shown = stand.phone.evaluate(
        """async () => {
            const worker = await navigator.serviceWorker.ready;
            for (;;) {
                const [one] = await worker.getNotifications();
                if (one) return [one.title, one.body, one.tag, one.data.path];
                await new Promise((done) => setTimeout(done, 50));
            }
        }"""
    )
    assert shown == ["Is it you who signs in?", "Open this", "sign-in", "/phone"]


def test_on_the_phone_itself_nothing_is_typed(stand: Stand) -> None:
    """The browser that signs in is the phone: the number is handed over. From anywhere else it is not."""
    stand.register()
    stand.come_in(Stage.CHALLENGE)
    (cookie,) = [one for one in stand.desk.context.cookies() if one["name"] == "sidegate"]
    stand.phone.context.add_cookies([{"name": "sidegate", "value": cookie["value"], "url": stand.origin}])
    phone = stand.phone
    phone.goto(f"{stand.origin}/challenge")
    number = phone.locator(".number").inner_text().replace(" ", "")
    field = phone.get_by_label("If it is you: the number that the page shows")
    phone.goto("about:blank")
    phone.goto(f"{stand.origin}/phone#{number}")  # as a link in a mail would
    expect(field).to_have_value("")
    phone.goto(f"{stand.origin}/challenge")
    phone.get_by_role("link", name="Your phone is this very device").click()
    expect(field).to_have_value(number)
    assert phone.url == f"{stand.origin}/phone"
    phone.get_by_role("button", name="Confirm").click()
    phone.get_by_role("link", name="Go on with the sign-in").click()
    phone.get_by_role("button", name="Go on").click()
    expect(phone).to_have_url(f"{stand.origin}/app-passwords")


def test_the_number_is_scanned_where_the_browser_can(stand: Stand) -> None:
    """Debian's Chromium reads no codes, so the camera and the reader are stood in for; what they read is the page's."""
    stand.register()
    stand.phone.context.add_init_script(
        """window.BarcodeDetector = class {
            async detect() { return ["https://example.net/", window.seen].map((rawValue) => ({ rawValue })); }
        };
        navigator.mediaDevices.getUserMedia = async () => {
            const canvas = document.createElement("canvas");
            canvas.getContext("2d").fillRect(0, 0, 9, 9);
            window.camera = canvas.captureStream(5);
            return window.camera;
        };"""
    )
    stand.phone.reload()
    stand.ask()
    number = stand.number().replace(" ", "")
    stand.phone.evaluate("seen => { window.seen = seen; }", f"{SCANNED}{number}")
    stand.phone.get_by_role("button", name="Scan the picture instead").click()
    field = stand.phone.get_by_label("If it is you: the number that the page shows")
    expect(field).to_have_value(number)
    expect(stand.phone.locator("[data-scanner]")).to_be_hidden()
    assert stand.phone.evaluate("window.camera.getTracks().map((track) => track.readyState)") == ["ended"]
    stand.phone.get_by_role("button", name="Confirm").click()
    expect(stand.phone.get_by_role("status")).to_contain_text("Confirmed.")
