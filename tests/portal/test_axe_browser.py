"""Every page of the portal, in every state that it has, looked at by axe-core in a real Chromium.

Two walks, one in each language; between them every page is looked at as a phone and as a desk, light and dark. What is
to be walked by comes from the application: a route or template that nobody passed fails, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import ViewportSize

from proxy.admin import app_passwords, enrolment
from proxy.config.settings import Address, LdapDirectory, OidcSignIn
from proxy.directory import Checked
from proxy.directory.oidc import Provider
from proxy.domain import tokens
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account, MfaState
from proxy.domain.notices import Kind
from proxy.domain.secret import Secret
from proxy.domain.sign_in import Outcome, Stage
from proxy.domain.verdicts import Reason
from proxy.factors import NewFactor
from proxy.factors.keeping import keep
from proxy.notices.mailer import Mailer
from proxy.notices.telling import tell
from proxy.portal import discovery
from proxy.portal.core_client import CoreClient
from proxy.store import devices, factors, history, links, notices, people, sign_ins
from proxy.store.history import RefusalRecord
from proxy.store.links import Purpose
from proxy.store.sign_ins import SignIn
from tests.admin.office import NOW, OPERATOR
from tests.notices.post_office import post_office
from tests.peers.process import free_ports
from tests.portal.browsing import served
from tests.portal.numbers import NUMBER, offer
from tests.portal.site import FIREFOX, PASSWORD, App, Site
from tests.portal.walk import Recorder, Walk
from tests.support.authenticator import Authenticator
from tests.support.axe import attend, violations
from tests.support.chromium import chromium
from tests.support.phone_gateway import phone_gateway

pytestmark = pytest.mark.real

PHONE: ViewportSize = {"width": 320, "height": 640}
DESK: ViewportSize = {"width": 1280, "height": 800}
LOOKS = {"en-US": ((PHONE, "light"), (DESK, "dark")), "es-ES": ((PHONE, "dark"),)}
"""By the language of the walk. 320 pixels is what WCAG 1.4.10 asks a page to fit in."""

NO_PAGES = {
    *(route.path for route in discovery.ROUTES),  # documents for programs
    "/challenge/push/state",
    "/challenge/push/wait",  # leads on
    "/enrol/recovery-codes.txt",
    "/healthz",
    "/phone/add/{token}/state",
    "/phone/manifest.webmanifest",
    "/phone/worker.js",
}

FACTS = """() => {
    for (const one of document.querySelectorAll("details")) { one.removeAttribute("name"); one.open = true; }
    const root = document.documentElement;
    return {
        wide: root.scrollWidth > root.clientWidth,
        headings: document.querySelectorAll("h1").length,
        title: document.title,
        lang: root.lang,
    };
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with chromium() as launched:
        yield launched


def looker(language: str) -> Callable[[Walk, str], list[str]]:
    def look(walk: Walk, where: str) -> list[str]:
        found = []
        for again, (size, scheme) in enumerate(LOOKS[language]):
            walk.page.set_viewport_size(size)
            walk.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            facts = walk.page.evaluate(FACTS)
            if facts.pop("wide"):
                found.append(f"wider than {size['width']} pixels")
            title = facts.pop("title")
            if not title.endswith(" · Example Mail") or len(title) < 16:
                found.append(f"title {title!r}")
            if facts != {"headings": 1, "lang": language[:2]}:
                found.append(str(facts))
            found += violations(walk.page, by_look=bool(again))
        return found

    return look


# ---- the walks ----------------------------------------------------------------------------------


def nobody(walk: Walk) -> None:
    """What is there for everybody."""
    site = walk.site
    walk.be(None)
    walk.get("/")
    walk.get("/nowhere", "404", status=404)
    walk.post("/", "405", status=405)
    walk.get("/sign-in")
    walk.get("/sign-in?said=signed-out", "signed out")
    walk.post("/sign-in", "empty", name="", password="")
    walk.post("/sign-in", "wrong", name="nobody", password="x")
    site.later(5)
    walk.post("/sign-in", "wrong again", name="nobody", password="x")
    walk.post("/sign-in", "429", status=429, name="nobody", password="x")
    site.later(60)
    with away(walk):
        walk.post("/sign-in", "503", status=503, name="alice", password="x")
    with kept_elsewhere(walk, Checked.MUST_CHANGE):
        walk.post("/sign-in", "expired", status=403, name="alice", password=PASSWORD)
    walk.get("/sign-in/passkey")
    walk.post("/sign-in/passkey", "refused", credential="{}")
    walk.get("/set-password/x", "404", status=404)
    token = "y" * 43
    until = {"now": site.office.now, "expires": site.office.now + 60}
    site.write(links.add, tokens.hash_of(token), site.alice.id, Purpose.SET_PASSWORD, **until)
    walk.get(f"/set-password/{token}")
    walk.post(f"/set-password/{token}", "too short", new="x", again="y")
    walk.post(f"/set-password/{token}", "not the same", new="four new words here", again="y")
    walk.get("/profile/x.mobileconfig", "gone", status=410)
    walk.page.goto("about:blank")
    walk.post("/sign-in", "403, sent from elsewhere", status=403, name="alice", password=PASSWORD)


def at_a_provider(walk: Walk) -> None:
    """Where people sign in at an identity provider, which is down."""
    site = walk.site
    walk.be(None)
    with at_provider(walk):
        walk.get("/sign-in", "at a provider")
        walk.get("/sign-in?said=signed-out-here", "signed out here")
        walk.get("/sign-in/provider", "503", status=503)
        walk.get("/sign-in/break-glass")
        walk.page.route("**/sign-in/returned*", lambda route: route.abort("aborted"))  # to look before it leads on
        walk.get("/sign-in/callback?code=x&state=y")
        walk.page.unroute("**/sign-in/returned*")
        walk.get("/sign-in/returned?code=x&state=y", "too late", status=400)
        walk.be(site.person("pia"))
        walk.get("/account-password", "a provider's")


def enrolling(walk: Walk) -> None:
    """From the first sign-in to the recovery codes."""
    site = walk.site
    account = site.person("erin", MfaState.ENABLED)
    walk.be(account, Stage.ENROL)
    walk.get("/enrol", "code")
    walk.post("/enrol", "mistyped", code="abc")
    issued = walk.server.run(enrolment.issue_code(site.office.desk, OPERATOR, "erin"))["code"]
    other = walk.server.run(enrolment.issue_code(site.office.desk, OPERATOR, "alice"))["code"]
    walk.post("/enrol", "wrong", code=other)
    walk.post("/enrol", "429", status=429, code=other)
    site.later(60)
    walk.post("/enrol", "choice", status=200, code=issued)
    for kind in sorted(walk.site.desk.factors.keys() - {FactorKind.RECOVERY_CODE}):
        walk.get(f"/enrol/{kind}")
    for kind in ("passkey", "totp"):
        walk.get(f"/enrol/{kind}", "again")
        walk.post(f"/enrol/{kind}", f"{kind} refused", name="", code="000000", credential="{}")
    app = App(site, (walk.page.locator("details code").text_content() or "").replace(" ", ""))
    walk.post("/enrol/totp", "recovery codes", status=200, name="Phone", code=app.code())
    walk.get("/enrol/recovery-codes")
    walk.get("/app-passwords", "of somebody who has just come in")


def challenged(walk: Walk) -> None:
    """The second step, each way."""
    site = walk.site
    account, _ = site.enrolled("carla")
    furnish(walk, account)
    walk.be(account, Stage.CHALLENGE)
    walk.get("/challenge", "the best")
    for kind in ("totp", "passkey", "recovery_code"):
        walk.get(f"/challenge/{kind}")
        walk.post(f"/challenge/{kind}", "wrong", code="000000", credential="{}")
        walk.post(f"/challenge/{kind}", "429", status=429, code="000000", credential="{}")
        site.later(60)
    walk.get("/challenge/nothing", "404", status=404)
    with walk.without("factors", {}):
        walk.get("/challenge", "none", status=403)
    walk.be(account)
    walk.get("/challenge?next=/app-passwords/new", "once more")


def empty(walk: Walk) -> None:
    """Lists of somebody who has nothing yet."""
    walk.be(walk.site.person("dora"))
    for path in ("/app-passwords", "/sessions", "/factors", "/devices", "/history", "/account-password", "/enrol"):
        walk.get(path, "empty")


def with_app_passwords(walk: Walk) -> None:
    site = walk.site
    account, _ = site.enrolled("fay")
    walk.be(account)
    walk.get("/app-passwords/new")
    walk.post("/app-passwords/new", "wrong", name="", networks="x", expires="y")
    fields = {"name": "Phone", "scope": ["imap", "smtp"], "networks": "192.0.2.0/24", "expires": "30d"}
    walk.post("/app-passwords/new", "shown once", status=200, **fields)
    walk.post("/app-passwords/new", "name taken", status=409, **fields)
    (phone,) = walk.server.run(app_passwords.listing(site.office.desk, "fay"))
    with policy(walk, app_password_limit=1):
        walk.get("/app-passwords/new", "limit")
        walk.post("/app-passwords/new", "limit", status=409, name="Tablet", scope=["imap"])
    site.write(people.change, account.id, mint_after=site.office.now + 3600)
    walk.get("/app-passwords/new", "has to wait")
    site.write(people.change, account.id, mint_after=None)
    with walk.without("core", CoreClient(Path("/nowhere"))):
        walk.get("/app-passwords", "503", status=503)
        walk.post("/app-passwords/new", "503", status=503, name="Tablet", scope=["imap"])
    tablet = walk.server.run(app_passwords.create(site.office.desk, OPERATOR, "fay", "Tablet"))["id"]
    for number in range(3):
        site.office.connect(f"s{number}", phone["id"])
    site.office.connect("s3", tablet)
    walk.get("/sessions")
    walk.post("/sessions/cut", "one cut", status=200, id="s1")
    walk.post("/sessions/cut", "cut already", status=200, id="s1")
    walk.post("/sessions/cut", "400", id="s1", account="fay@example.org", app_password=str(tablet))
    walk.get(f"/app-passwords/{phone['id']}/rename")
    walk.post(f"/app-passwords/{phone['id']}/rename", "no name", name="")
    walk.post(f"/app-passwords/{phone['id']}/rename", "name taken", status=409, name="Tablet")
    walk.get(f"/app-passwords/{phone['id']}/revoke")
    walk.post(f"/app-passwords/{phone['id']}/revoke", "revoked", status=200)
    tried = RefusalRecord(
        account.id, site.office.now - 60, Reason.REVOKED, "imap", "192.0.2.7/32", "iPhone Mail", phone["id"], 3
    )
    site.write(history.record, [tried])
    walk.get("/app-passwords", "one still tries")
    walk.get("/app-passwords/999/rename", "404", status=404)


def with_devices_and_history(walk: Walk) -> None:
    site = walk.site
    account, _ = site.enrolled("gil")
    now = site.office.now
    here = site.write(devices.add, account.id, b"a" * 32, "Firefox (Linux)", now, "192.0.2.1")
    site.write(devices.remember, account.id, here.id, now + 86400)
    other = site.write(devices.add, account.id, b"b" * 32, "Safari (iPhone)", now, "2001:db8::1")
    for outcome in Outcome:
        row = SignIn(account.id, now - 60, outcome, "totp: phone", "192.0.2.1", "192.0.2.1/32", FIREFOX, here.id)
        site.write(sign_ins.record, row)
    refused = [
        RefusalRecord(account.id, NOW - n, reason, "imap", "192.0.2.9/32", "Thunderbird", None, 12, NOW - 7200)
        for n, reason in enumerate(Reason)
    ]
    site.write(history.record, refused)
    walk.be(account)
    walk.get("/devices")
    walk.post("/devices/forget", "forgotten", status=200, id=str(other.id))
    for kind in Kind:
        facts = {"name": "Phone", "agent": "Firefox (Linux)", "address": "192.0.2.1", "factor": "totp"}
        facts["app_password_id"] = "1"
        site.write(tell, account, kind, facts, now)
    walk.get("/history")
    told = {one.kind: one.id for one in site.read(notices.last, account.id, 99)}
    walk.get(f"/history/not-me/{told['app_password_created']}")
    with walk.without("core", CoreClient(Path("/nowhere"))):
        walk.post(f"/history/not-me/{told['app_password_created']}", "503", status=503)
    walk.post(f"/history/not-me/{told['account_password_changed']}", "undone", status=200)


def with_factors(walk: Walk) -> None:
    site = walk.site
    account, _ = site.enrolled("hal")
    walk.be(account, fresh=False)
    walk.get("/challenge", "asked again")
    walk.be(account)
    walk.get("/factors")
    (only,) = site.read(factors.of_account, account.id)
    walk.get(f"/factors/{only.id}", "the only one")
    walk.post(f"/factors/{only.id}/remove", "the only one", status=409)
    furnish(walk, account)
    walk.get(f"/factors/{only.id}", "one of several")
    walk.post(f"/factors/{only.id}/rename", "no name", name="")
    walk.post(f"/factors/{only.id}/rename", "name taken", status=409, name="laptop")
    for kind in ("totp", "passkey"):
        walk.get(f"/factors/add/{kind}")
        walk.post(f"/factors/add/{kind}", "wrong", name="", code="000000", credential="{}")
    walk.get("/factors/add/recovery_code")
    walk.post("/factors/add/recovery_code", "new codes", status=200)
    walk.get("/factors/add/nothing", "404", status=404)
    with post_office() as office, walk.without("mailer", Mailer(office.settings(), "Example Mail", "x")):
        walk.get("/factors", "with a recovery address to set")
        walk.get("/recovery-address")
        walk.post("/recovery-address", "no address", address="")
        walk.post("/recovery-address", "code sent", status=200, address="hal@example.net")
        walk.post("/recovery-address/prove", "wrong code", code="")


def with_phone(walk: Walk) -> None:
    """The authenticator: in the browser that registers it and waits, and as the phone, which is the same one here."""
    site, page = walk.site, walk.page
    account, _ = site.enrolled("ina")
    walk.be(account)
    walk.get("/phone", "no phone")
    walk.get("/phone/add/x", "used", status=410)
    walk.get("/phone", "no phone, said")
    page.locator("[data-say=none]").wait_for()
    walk.passed("/phone", "no phone, said")
    walk.get("/factors/add/push")
    link = str(page.locator("[data-wait]").get_attribute("data-wait")).removesuffix("/state")
    walk.post("/factors/add/push", "no phone yet", name="Telephone")
    walk.get(link)
    page.locator("[data-connect]").click()
    page.locator("[data-say=connected]").wait_for()
    walk.passed(link, "connected")
    walk.get("/factors/add/push", "connected")
    walk.post("/factors/add/push", "added", status=200, name="Telephone")

    walk.be(account, Stage.CHALLENGE)
    walk.get("/challenge/push")
    number = str(page.locator(".number").text_content()).replace(" ", "")
    wrong = "000000" if number != "000000" else "000001"
    walk.post("/challenge/push", "not confirmed")
    site.later(60)
    walk.get("/phone", "asked")
    page.locator("[data-challenge]").first.wait_for()
    walk.passed("/phone", "asked, shown")
    field = page.locator("[name=number]")
    field.fill(wrong)
    page.locator("[value=confirm]").click()
    page.locator("[data-asked] [role=alert]").wait_for()
    walk.passed("/phone", "wrong number")
    page.locator("[value=suspect]").click()
    page.locator("[value=fraud]").wait_for()
    walk.passed("/phone", "before a report")
    page.locator("[value=back]").click()
    field.fill(number)
    page.locator("[value=confirm]").click()
    page.locator("[data-again]").wait_for()
    walk.passed("/phone", "confirmed")
    walk.get("/challenge/push", "answered")
    walk.be(account, Stage.CHALLENGE)
    walk.get("/challenge/push", "asked again")
    page.goto("about:blank")  # or it would go on by itself
    site.later(301)
    walk.get("/challenge/push", "over")
    walk.post("/challenge/push/again", "asked anew", status=200)
    page.goto("about:blank")
    walk.be(account, Stage.CHALLENGE)
    walk.get("/challenge/push", "busy")
    walk.be(None)
    walk.get("/sign-in?said=stopped", "stopped")


def with_numbers(walk: Walk) -> None:
    """Codes to phone numbers: registering one, and signing in with it."""
    site = walk.site
    with phone_gateway() as gateway, walk.without("config", site.desk.config), walk.without("factors", {}):
        offer(site, gateway)
        account, _ = site.enrolled("jo")
        walk.be(account)
        for kind in ("sms", "call"):
            walk.get(f"/factors/add/{kind}", "number")
            walk.post(f"/factors/add/{kind}", "no number", number="x")
            walk.post(f"/factors/add/{kind}", "code sent", status=200, number=NUMBER)
            walk.post(f"/factors/add/{kind}", "wrong code", name="", code=gateway.wrong())
            walk.post(f"/factors/add/{kind}", "added", status=200, name=kind, code=gateway.code())
        site.later(3600)
        walk.be(account, Stage.CHALLENGE)
        ids = {row.kind.value: str(row.id) for row in site.read(factors.of_account, account.id)}
        gateway.status = 500
        walk.get("/challenge/sms", "to be sent")
        walk.post("/challenge/sms/send", "failing", status=503, factor=ids["sms"])
        gateway.status = 200
        for kind in ("sms", "call"):
            walk.get(f"/challenge/{kind}", "to be sent")
            walk.post(f"/challenge/{kind}/send", "sent", status=200, factor=ids[kind])
            walk.post(f"/challenge/{kind}", "wrong code", code=gateway.wrong())
        walk.get("/challenge/call", "sent")
        walk.post("/challenge/call/send", "too many", status=429, factor=ids["call"])


def with_account_password(walk: Walk) -> None:
    site = walk.site
    account = site.person("ida")
    walk.be(account)
    walk.get("/account-password")
    walk.post("/account-password", "wrong", current="", new="x", again="y")
    right = {"new": "four new words here", "again": "four new words here"}
    walk.post("/account-password", "not that", current="wrong", **right)
    walk.post("/account-password", "429", status=429, current="wrong", **right)
    site.later(60)
    with kept_elsewhere(walk, Checked.RIGHT):
        walk.get("/account-password", "kept elsewhere")
    site.write(people.change, account.id, must_change=True)
    walk.get("/account-password", "must be changed")
    walk.post("/account-password", "changed", status=200, current=PASSWORD, **right)
    site.write(people.change, account.id, stopped_until=site.office.now + 3600)
    walk.get("/account-password", "stopped", status=403)


WALKS = (
    nobody,
    at_a_provider,
    enrolling,
    challenged,
    empty,
    with_app_passwords,
    with_devices_and_history,
    with_factors,
    with_phone,
    with_numbers,
    with_account_password,
)


def test_what_is_broken_is_found(browser: Chromium) -> None:
    with browser.new_context() as context:
        attend(context)
        page = context.new_page()
        page.goto("about:blank")
        page.set_content("<p style='color: #aaa'>pale</p>" + 2 * "<button style='width: 8px; padding: 0'></button>")
        assert {line.partition(":")[0] for line in violations(page)} > {
            "color-contrast",
            "html-has-lang",
            "button-name",
        }
        assert {line.partition(":")[0] for line in violations(page, by_look=True)} == {"color-contrast", "target-size"}


@pytest.mark.timeout(480)  # every page there is, four ways each
@pytest.mark.parametrize("language", LOOKS)
def test_nothing_on_any_page(browser: Chromium, language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorders: list[Recorder] = []

    def recorded(pages: object) -> Recorder:
        recorders.append(Recorder(pages, monkeypatch))
        return recorders[0]

    with served(tmp_path, recorded) as (site, server), browser.new_context(locale=language) as context:
        configure(site)
        attend(context)
        walk = Walk(site, server, recorders[0], context, looker(language))
        for walked in WALKS:
            walked(walk)
        walk.be(site.enrolled("zoe")[0])
        for path in sorted(walk.unseen_routes() - NO_PAGES):
            if "{" not in path:
                walk.get(path, "found among the routes")
        assert walk.problems == []
        assert walk.unseen_routes() - NO_PAGES == set()
        assert walk.unseen_templates() == set()


# ---- what a walk needs ---------------------------------------------------------------------------


def configure(site: Site) -> None:
    """Fronts that the world knows, so that everything about setting up a program is shown."""
    for desk in (site.desk, site.office.desk):
        fronts = tuple(
            replace(front, public=Address("mail.example.org", front.listen.port)) for front in desk.config.fronts
        )
        desk.config = replace(desk.config, fronts=fronts)


def furnish(walk: Walk, account: Account) -> None:
    """A passkey and recovery codes besides what they have."""
    site, made = walk.site, walk.site.desk.factors

    def add(new: NewFactor) -> None:
        site.write(keep, "node1", account, new, site.desk.clock())

    begun = walk.server.run(made[FactorKind.PASSKEY].begin_registration(account, "laptop"))
    answer = Authenticator(walk.origin).create(str(begun.page["options"]))
    passkey = walk.server.run(made[FactorKind.PASSKEY].finish_registration(account, begun.notes, answer))
    assert isinstance(passkey, NewFactor)
    add(replace(passkey, name="laptop"))
    hashes = walk.server.run(made[FactorKind.RECOVERY_CODE].begin_registration(account, "")).notes["hashes"]
    add(NewFactor(FactorKind.RECOVERY_CODE, "", public={"hashes": hashes}))


class _Says:
    """A directory that says one thing to everybody."""

    def __init__(self, checked: Checked) -> None:
        self._checked = checked

    async def check(self, *_: object) -> Checked:
        return self._checked

    async def close(self) -> None:
        pass


@contextmanager
def away(walk: Walk) -> Iterator[None]:
    with walk.without("directory", _Says(Checked.UNAVAILABLE)):
        yield


@contextmanager
def kept_elsewhere(walk: Walk, checked: Checked) -> Iterator[None]:
    """Account passwords are an LDAP server's."""
    config = walk.site.desk.config
    portal = replace(config.portal, password_url="https://password.example.org/")
    config = replace(config, directory=LdapDirectory("ldaps://ldap.example.org"), portal=portal)
    with walk.without("config", config), walk.without("directory", _Says(checked)):
        yield


@contextmanager
def at_provider(walk: Walk) -> Iterator[None]:
    """People sign in at an identity provider that nothing listens for."""
    config = walk.site.desk.config
    settings = OidcSignIn(
        f"http://127.0.0.1:{free_ports(1)[0]}", "x", Secret("x"), name="ID", break_glass="x@example.org"
    )
    config = replace(config, portal=replace(config.portal, sign_in=settings))
    provider = Provider(settings, f"{walk.origin}/sign-in/callback", walk.site.desk.clock)
    with walk.without("config", config), walk.without("provider", provider):
        yield
    walk.server.run(provider.close())


@contextmanager
def policy(walk: Walk, **changes: object) -> Iterator[None]:
    config = walk.site.desk.config
    changed = replace(config, policy=replace(config.policy, **changes))  # type: ignore[arg-type]
    before = walk.site.office.desk.config
    with walk.without("config", changed):
        walk.site.office.desk.config = changed
        yield
        walk.site.office.desk.config = before
