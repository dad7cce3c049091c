"""The authenticator: its pages and what they ask, from the link to the confirmed sign-in; waking it over real HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account, MfaState
from proxy.domain.notices import Kind
from proxy.notices.encryption import server_key
from proxy.notices.web_push import WebPush
from proxy.portal import texts
from proxy.portal.push_waking import Waking
from proxy.store import factors, portal_sessions, sign_ins
from proxy.store.schema import notices
from tests.portal.guest import Guest
from tests.portal.phones import PhoneBrowser, give_phone, number_on, state_of
from tests.portal.site import Browser, Site, elements, forms_of, notes_of, text_of
from tests.support.phone import SoftPhone
from tests.support.push_service import PushService, Subscriber, push_service

PIXEL = (
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36"
)
KEY = server_key(bytes(range(48)))


@pytest.fixture
def bob(site: Site) -> tuple[Account, PhoneBrowser]:
    account = site.person("bob", MfaState.ENFORCED)
    return account, PhoneBrowser(site, give_phone(site, account))


def with_push(site: Site, *services: str) -> WebPush:
    site.desk.web_push = WebPush(KEY, "mailto:postmaster@example.org", services, site.desk.clock)
    return site.desk.web_push


def rows(site: Site, account: Account) -> list[factors.FactorRow]:
    return site.read(factors.of_account, account.id, FactorKind.PUSH)


# ---- registering --------------------------------------------------------------------------------


def link_on(page: httpx.Response) -> str:
    (form,) = [one for one in elements(page, "form") if "data-wait" in one]
    return str(form["data-wait"]).removesuffix("/state")


def test_a_phone_is_added_from_a_browser_that_is_signed_in(site: Site) -> None:
    with_push(site, "http://127.0.0.1:8085")
    account, _ = site.enrolled("carol")
    guest = Guest(site, account)
    page = guest.get("/factors/add/push")
    link = link_on(page)
    assert f"{site.desk.origin}{link}" in page.text
    assert guest.get(f"{link}/state").json() == {"state": "waiting"}

    opened = site.browser(**{"user-agent": PIXEL, "accept-language": "es"})
    shown = opened.get(link)
    assert shown.status_code == 200
    assert f"/phone/manifest.webmanifest?start={link.rpartition('/')[2]}" in shown.text
    phone, browser = SoftPhone(site.desk.origin), Subscriber("http://127.0.0.1:8085/x").subscription
    given = {"endpoint": browser["endpoint"], "keys": {"p256dh": browser["p256dh"], "auth": browser["auth"]}}
    told = PhoneBrowser(site, phone)
    told.browser = opened
    answer = told.send(link, phone.registration(link.rpartition("/")[2], given))
    assert answer.json() == {"account": account.id, "address": "carol@example.org", "id": phone.id}
    assert rows(site, account) == []  # the person says in the first browser whether it is theirs
    phone.account = account.id
    assert told.ask().status_code == 403

    assert guest.get(f"{link}/state").json() == {"state": "answered"}
    again = guest.get("/factors/add/push")
    assert "Connected: Chrome (Android). Is that your phone?" in text_of(again)
    assert guest.browser.send(again, name="my phone").headers["location"] == "/factors"
    (row,) = rows(site, account)
    assert row.public == {"key": phone.key, "agent": "Chrome (Android)", "language": "es", **browser}
    assert "No hay nada pendiente para carol@example.org" in text_of(told.ask())
    assert opened.get(link).status_code == 410


def test_it_may_be_the_first_factor(site: Site) -> None:
    account = site.person("dora", MfaState.ENABLED)
    object.__setattr__(site.desk, "trusted", type(site.desk.trusted)(["192.0.2.0/24"]))
    browser = site.signed_in("dora")
    page = browser.get("/enrol/push")
    token = link_on(page).rpartition("/")[2]
    phone = SoftPhone(site.desk.origin, account.id)
    told = PhoneBrowser(site, phone)
    early = browser.send(page, name="my phone")
    assert early.status_code == 400
    assert "No phone has opened the link yet" in text_of(early)
    assert told.send(f"/phone/add/{token}", phone.registration(token)).status_code == 200
    answer = browser.send(browser.get("/enrol/push"), name="my phone")
    assert answer.headers["location"] == "/enrol/recovery-codes"
    assert told.ask().status_code == 200


@pytest.mark.parametrize(
    "changed",
    [{"key": "AAAA"}, {"key": 1}, {"signature": ""}, {"signature": "A" * 86}, {"key": "x\ny"}, {"key": "é" * 87}],
)
def test_a_phone_that_proves_nothing_is_not_taken(site: Site, changed: dict[str, Any]) -> None:
    account, _ = site.enrolled("carol")
    link = link_on(Guest(site, account).get("/factors/add/push"))
    phone = SoftPhone(site.desk.origin)
    told = PhoneBrowser(site, phone)
    body = phone.registration(link.rpartition("/")[2])
    assert told.send(link, body | changed).status_code == 410
    assert told.send(link, body).status_code == 200


def test_a_subscription_elsewhere_is_not_kept(site: Site) -> None:
    """Threat: the portal's requests led inside. The phone is registered all the same, and asks by itself."""
    with_push(site, "http://127.0.0.1:8085")
    account, _ = site.enrolled("carol")
    guest = Guest(site, account)
    link = link_on(guest.get("/factors/add/push"))
    phone = SoftPhone(site.desk.origin)
    given = {"endpoint": "http://169.254.169.254/latest", "keys": {"p256dh": "x", "auth": "y"}}
    PhoneBrowser(site, phone).send(link, phone.registration(link.rpartition("/")[2], given))
    again = guest.get("/factors/add/push")
    assert "It cannot be woken" in text_of(again)
    guest.browser.send(again, name="my phone")
    assert "endpoint" not in rows(site, account)[0].public


def test_a_phone_subscribes_anew(site: Site, bob: tuple[Account, PhoneBrowser]) -> None:
    account, phone = bob
    with_push(site, "http://127.0.0.1:8085")
    browser = Subscriber("http://127.0.0.1:8085/x").subscription
    given = {"endpoint": browser["endpoint"], "keys": {"p256dh": browser["p256dh"], "auth": browser["auth"]}}

    def subscribe(given: object) -> httpx.Response:
        return phone.send("/phone/subscribe", phone.phone.request("subscribe", site.desk.clock(), subscription=given))

    assert subscribe(given).json() == {"woken": True}
    assert rows(site, account)[0].public["endpoint"] == browser["endpoint"]
    assert subscribe({**given, "endpoint": "http://10.0.0.1/"}).json() == {"woken": False}
    assert rows(site, account)[0].public["key"] == phone.phone.key
    assert "endpoint" not in rows(site, account)[0].public


# ---- the app ------------------------------------------------------------------------------------


def test_what_makes_it_an_app(site: Site) -> None:
    browser = site.browser()
    page = browser.get("/phone")
    assert page.headers["permissions-policy"].startswith("camera=(self)")
    assert browser.get("/sign-in").headers["permissions-policy"].startswith("camera=()")
    told = browser.get("/phone/manifest.webmanifest", {"start": "abc"})
    assert told.headers["content-type"] == "application/manifest+json"
    made = told.json()
    assert (made["start_url"], made["scope"], made["display"]) == ("/phone/add/abc", "/", "standalone")
    for icon in made["icons"]:
        assert browser.get(icon["src"]).headers["content-type"] == icon["type"]
    assert browser.get("/phone/manifest.webmanifest", {"start": "../x"}).json()["start_url"] == "/phone"
    worker = browser.get("/phone/worker.js")
    assert worker.headers["service-worker-allowed"] == "/phone"
    assert worker.headers["content-type"].startswith("text/javascript")


def test_where_there_is_no_push_there_is_no_app(site: Site) -> None:
    site.desk.factors = {}
    for path in ("/phone", "/phone/worker.js", "/phone/manifest.webmanifest", "/challenge/push/state"):
        assert site.browser().get(path).status_code == 404


# ---- confirming ---------------------------------------------------------------------------------


def test_a_sign_in_that_is_confirmed_on_the_phone(site: Site, bob: tuple[Account, PhoneBrowser]) -> None:
    account, phone = bob
    browser = site.signed_in("bob")
    page = browser.get("/challenge?next=/history")
    assert '<noscript><meta http-equiv="refresh" content="5; url=/challenge/push/wait?next=/history">' in page.text
    assert state_of(browser) == "waiting"
    asked = phone.ask()
    assert "bob@example.org" in text_of(asked)
    assert "192.0.2.1" in text_of(asked)
    assert "Firefox (Linux)" in text_of(asked)
    assert phone.answer("confirm", number_on(page)).headers["sidegate-answered"] == "confirmed"
    assert state_of(browser) == "answered"
    again = browser.get("/challenge/push?next=/history")
    assert "Confirmed on your phone." in text_of(again)
    assert "refresh" not in again.text
    answer = browser.send(again, next="/history")
    assert answer.headers["location"] == "/history"
    assert browser.follow(answer).status_code == 200
    (signed_in,) = site.read(sign_ins.last, account.id)
    assert (signed_in.outcome, signed_in.factor) == ("signed_in", "push: my phone")
    assert rows(site, account)[0].used == site.desk.clock()


def test_without_a_confirmation_nothing_opens(site: Site, bob: tuple[Account, PhoneBrowser]) -> None:
    browser = site.signed_in("bob")
    browser.get("/challenge")
    answer = browser.post("/challenge/push")
    assert answer.status_code == 400
    assert "It is not confirmed on your phone" in text_of(answer)
    assert browser.get("/app-passwords").headers["location"] == "/challenge"


def test_a_wrong_number_is_said_and_the_third_ends_it(site: Site, bob: tuple[Account, PhoneBrowser]) -> None:
    _, phone = bob
    browser = site.signed_in("bob")
    wrong = "000000" if number_on(browser.get("/challenge")) != "000000" else "000001"
    first = phone.answer("confirm", wrong)
    assert first.status_code == 400
    assert "That is not the number that the page shows. Look again. You can try 2 more times." in text_of(first)
    assert [one["name"] for one in elements(first, "input")] == ["number"]
    phone.answer("confirm", wrong)
    last = phone.answer("confirm", wrong)
    assert (last.status_code, last.headers["sidegate-answered"]) == (409, "ended")
    page = browser.get("/challenge")
    assert "Your phone said no, or it took too long." in text_of(page)
    assert browser.post("/challenge/push/again").headers["location"] == "/challenge/push"
    assert phone.answer("confirm", number_on(browser.get("/challenge/push"))).status_code == 200


def test_more_time_if_one_asks(site: Site, bob: tuple[Account, PhoneBrowser]) -> None:
    browser = site.signed_in("bob")
    number = number_on(browser.get("/challenge"))
    site.later(290)
    assert browser.post("/challenge/push/more", next="/history").headers["location"] == "/challenge/push?next=/history"
    site.later(300)
    page = browser.get("/challenge/push")
    assert number_on(page) == number
    assert "/challenge/push/more" not in [form.action for form in forms_of(page)]


def test_denied_on_the_phone_the_sign_in_is_over(site: Site, bob: tuple[Account, PhoneBrowser]) -> None:
    account, phone = bob
    browser = site.signed_in("bob")
    browser.get("/challenge")
    assert phone.answer("deny").headers["sidegate-answered"] == "denied"
    assert state_of(browser) == "denied"
    assert browser.get("/challenge/push/wait").headers["location"] == "/sign-in?said=stopped"
    assert "That sign-in was stopped" in text_of(browser.get("/sign-in?said=stopped"))
    assert browser.post("/challenge/push").headers["location"] == "/sign-in"
    (row,) = site.read(sign_ins.last, account.id)
    assert (row.outcome, row.factor, row.address) == ("denied", "push: my phone", "192.0.2.1")
    assert ("sign_in_refused", "bob@example.org", None, "push: my phone") in site.audit()
    assert site.read(portal_sessions.of_account, account.id, site.desk.clock()) == []


def test_a_second_browser_waits_until_the_first_is_answered(site: Site, bob: tuple[Account, PhoneBrowser]) -> None:
    _, phone = bob
    first, second = site.signed_in("bob"), site.signed_in("bob")
    first.get("/challenge")
    page = second.get("/challenge")
    assert "Your phone is being asked about another sign-in" in text_of(page)
    phone.answer("deny")
    second.post("/challenge/push/again")
    assert phone.answer("confirm", number_on(second.get("/challenge/push"))).status_code == 200


def test_too_often(site: Site, bob: tuple[Account, PhoneBrowser]) -> None:
    _, phone = bob
    for _ in range(3):
        site.signed_in("bob").get("/challenge")
        phone.answer("deny")
    page = site.signed_in("bob").get("/challenge")
    assert "Your phone has been asked too often." in text_of(page)
    assert phone.waiting() == []


def test_a_factor_once_more_is_told_apart(site: Site, bob: tuple[Account, PhoneBrowser]) -> None:
    account, phone = bob
    guest = Guest(site, account, factor_age=1000)
    page = guest.get("/challenge?next=/account-password")
    assert "Is it you who wants to change something?" in text_of(phone.ask())
    phone.answer("confirm", number_on(page))
    answer = guest.browser.send(guest.get("/challenge/push?next=/account-password"), next="/account-password")
    assert answer.headers["location"] == "/account-password"


def test_the_number_of_another_sign_in_is_none(site: Site, bob: tuple[Account, PhoneBrowser]) -> None:
    """Threats row 42: two people, each with the other's number, and each with the other's challenge."""
    _, phone = bob
    carol = site.person("carol", MfaState.ENFORCED)
    carols = PhoneBrowser(site, give_phone(site, carol))
    at_bobs, at_carols = site.signed_in("bob"), site.signed_in("carol")
    bobs_number, carols_number = number_on(at_bobs.get("/challenge")), number_on(at_carols.get("/challenge"))
    (bobs,) = phone.waiting()
    for decision in ("confirm", "deny", "fraud"):
        answer = carols.answer(decision, bobs_number, challenge=bobs)
        assert answer.headers["sidegate-answered"] == "over"
    if carols_number != bobs_number:
        assert phone.answer("confirm", carols_number).status_code == 400
    assert phone.answer("confirm", bobs_number).status_code == 200
    assert (state_of(at_bobs), state_of(at_carols)) == ("answered", "waiting")


# ---- what a phone asks --------------------------------------------------------------------------


def test_who_signs_nothing_is_told_nothing(site: Site, bob: tuple[Account, PhoneBrowser]) -> None:
    account, phone = bob
    site.signed_in("bob").get("/challenge")
    stranger = PhoneBrowser(site, SoftPhone(site.desk.origin, account.id))
    assert stranger.ask().status_code == 403
    nobody = PhoneBrowser(site, SoftPhone(site.desk.origin, 99))
    assert nobody.ask().status_code == 403
    (challenge,) = phone.waiting()
    signed = phone.phone.answer(site.desk.clock(), challenge, "deny")
    for changed in ({"decision": "confirm"}, {"number": "123456"}, {"challenge": "0" * 64}, {"cut": ["0" * 32]}):
        assert phone.send("/phone/answer", signed | changed).status_code == 403
    for path in ("/phone/ask", "/phone/suspect", "/phone/subscribe"):
        assert phone.send(path, signed).status_code == 403
    assert phone.waiting() == [challenge]


def test_what_was_signed_long_ago_is_not_taken_and_the_time_is_told(
    site: Site, bob: tuple[Account, PhoneBrowser]
) -> None:
    _, phone = bob
    old = phone.phone.request("ask", site.desk.clock())
    site.later(301)
    answer = phone.send("/phone/ask", old)
    assert answer.status_code == 425
    assert int(answer.headers["sidegate-time"]) == int(site.desk.clock() * 1000)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([], 400),
        ({}, 400),
        ({"account": True}, 400),
        ({"account": 2**70}, 400),
        ({"account": "1"}, 400),
        ({"account": 1, "id": 1, "time": [], "signature": {}}, 403),
        ({"account": 1, "id": "x" * 2000}, 403),
        ({"account": 1, "id": "x", "more": "y" * 20_000}, 413),
    ],
)
def test_what_is_no_request(site: Site, body: object, status: int) -> None:
    told = PhoneBrowser(site, SoftPhone(site.desk.origin))
    assert told.send("/phone/ask", body).status_code == status


def test_another_site_sends_nothing(site: Site, bob: tuple[Account, PhoneBrowser]) -> None:
    _, phone = bob
    body = phone.phone.request("ask", site.desk.clock())
    assert phone.send("/phone/ask", body, **{"sec-fetch-site": "cross-site"}).status_code == 403
    ours = {"origin": site.desk.origin, "sec-fetch-site": "same-origin", "content-type": "text/plain"}
    plain = phone.browser.request("POST", "/phone/ask", ours, content=json.dumps(body))
    assert plain.status_code == 400


def test_a_disabled_account_has_no_phone(site: Site, bob: tuple[Account, PhoneBrowser]) -> None:
    from proxy.store import accounts

    account, phone = bob
    site.write(accounts.set_enabled, account.id, False)
    assert phone.ask().status_code == 403


# ---- being woken --------------------------------------------------------------------------------


def wake(site: Site, service: PushService, account: Account) -> None:
    """As the factor does when it asks, until everything was sent."""

    async def ask() -> None:
        web_push = WebPush(KEY, "mailto:postmaster@example.org", [service.origin], site.desk.clock)
        waking = Waking(web_push, site.desk.store, texts.load(), site.desk.clock)
        waking.site, waking.node = "Example Mail", "node1"
        waking(account, rows(site, account))
        await asyncio.gather(*waking._running)
        await waking.close()
        await web_push.close()

    site.runner.run(ask())


@pytest.mark.parametrize(
    ("language", "title"), [("en", "Is it you who signs in?"), ("es", "¿Es usted quien inicia sesión?")]
)
def test_every_phone_that_can_be_woken_is(site: Site, language: str, title: str) -> None:
    with push_service() as service:
        browsers = [service.subscriber(f"/send/{n}") for n in range(2)]
        for browser in browsers:
            give_phone(site, site.alice, browser.endpoint, **browser.subscription | {"language": language})
        give_phone(site, site.alice, "asks by itself")
        wake(site, service, site.alice)
        got = sorted(service.wait(2), key=lambda one: one.path)
        assert [one.path for one in got] == ["/send/0", "/send/1"]
        for browser, one in zip(browsers, got, strict=True):
            told = json.loads(browser.decrypt(one.body))
            assert (told["title"], told["path"]) == (title, "/phone")
            assert "Example Mail" in told["body"]
            assert "alice" not in str(told)
            assert (one.headers["urgency"], one.headers["ttl"], one.headers["topic"]) == ("high", "300", "sign-in")


@pytest.mark.parametrize(("status", "kept"), [(201, True), (500, True), (410, False), (404, False)])
def test_a_subscription_that_is_gone_is_forgotten_and_the_phone_is_not(site: Site, status: int, kept: bool) -> None:
    with push_service() as service:
        service.answer = status
        phone = give_phone(site, site.alice, "my phone", **service.subscriber().subscription)
        wake(site, service, site.alice)
        (row,) = rows(site, site.alice)
        assert ("endpoint" in row.public) is kept
        assert row.public["key"] == phone.key


def test_a_push_service_that_fails_is_in_the_audit_and_told_to_admins(site: Site) -> None:
    site.person("root", admin=True)
    with push_service() as service:
        service.answer = 500
        give_phone(site, site.alice, "my phone", **service.subscriber().subscription)
        give_phone(site, site.alice, "tablet", **service.subscriber().subscription)
        wake(site, service, site.alice)
    failed = [record for record in site.audit() if record[0] == "notice_failed"]
    assert sorted(str(record[3]) for record in failed) == ["push: my phone by 127.0.0.1", "push: tablet by 127.0.0.1"]
    told = [row for row in site.read(notes_of, notices) if row.kind == Kind.GATEWAY_FAILING]
    assert len(told) == 1


def test_a_push_service_that_hangs_holds_up_no_page(site: Site) -> None:
    with push_service() as service:
        service.answer = None
        account = site.person("bob", MfaState.ENFORCED)
        phone = PhoneBrowser(site, give_phone(site, account, "my phone", **service.subscriber().subscription))
        web_push = WebPush(KEY, "mailto:postmaster@example.org", [service.origin], site.desk.clock)
        waking = Waking(web_push, site.desk.store, texts.load(), site.desk.clock)
        push: Any = site.desk.factors[FactorKind.PUSH]
        push._wake = waking
        browser: Browser = site.signed_in("bob")
        page = browser.get("/challenge")
        assert len(waking._running) == 1
        assert phone.answer("confirm", number_on(page)).status_code == 200
        site.runner.run(waking.close())
        site.runner.run(web_push.close())
