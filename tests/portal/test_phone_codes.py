"""Codes by text message and call at the pages: registering a number, signing in with it, and a gateway that fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import MfaState
from proxy.domain.networks import NetworkSet
from proxy.domain.notices import Kind
from proxy.domain.sign_in import Stage
from proxy.store import notices, people
from tests.portal.guest import Guest
from tests.portal.methods import came_in, where
from tests.portal.numbers import NUMBER, give_number, offer, press
from tests.portal.site import PASSWORD, Site, elements, open_site, text_of
from tests.support.phone_gateway import PhoneGateway, phone_gateway


@pytest.fixture
def gateway() -> Iterator[PhoneGateway]:
    with phone_gateway() as opened:
        yield opened


@pytest.fixture
def site(tmp_path: Path, gateway: PhoneGateway) -> Iterator[Site]:
    with open_site(tmp_path) as opened:
        offer(opened, gateway)
        yield opened


# ---- registering ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sms", "call"])
def test_a_number_is_registered_at_the_first_sign_in(site: Site, gateway: PhoneGateway, kind: str) -> None:
    site.person("erin", MfaState.ENABLED)
    site.desk.trusted = NetworkSet(("192.0.2.0/24",))
    browser = site.browser()
    browser.post("/sign-in", name="erin", password=PASSWORD)
    page = browser.get(f"/enrol/{kind}")
    (field,) = [one for one in elements(page, "input") if one.get("name") == "number"]
    assert (field["type"], field["autocomplete"]) == ("tel", "tel")
    page = browser.follow(browser.send(page, number="612 34 56 78"))
    assert "+34 ••• 78" in text_of(page)
    assert "612345678" not in page.text
    (field,) = [one for one in elements(page, "input") if one.get("name") == "code"]
    assert (field["autocomplete"], field["inputmode"]) == ("one-time-code", "numeric")
    assert browser.get(f"/enrol/{kind}").status_code == 200
    assert len(gateway.taken) == 1
    wrong = browser.send(page, code=gateway.wrong(), name="My phone")
    assert wrong.status_code == 400
    assert "That code is not right" in text_of(wrong)
    assert browser.send(wrong, code=gateway.code(), name="").status_code == 400
    page = browser.send(browser.get(f"/enrol/{kind}"), code=gateway.code(), name="My phone")
    assert where(page) == "/enrol/recovery-codes"
    assert gateway.taken[0]["kind"] == kind


def test_another_number_is_added_later_and_shown_masked(site: Site, gateway: PhoneGateway) -> None:
    account, _ = site.enrolled("hal")
    guest = Guest(site, account)
    page = guest.get("/factors/add/sms")
    refused = guest.browser.send(page, number="+34806123456")
    assert refused.status_code == 400
    assert "numbers of that kind" in text_of(refused)
    assert 'value="+34806123456"' in refused.text
    page = guest.follow(guest.browser.send(refused, number=NUMBER))
    done = guest.browser.send(page, code=gateway.code(), name="Phone, text")
    assert where(done) == "/factors"
    listed = guest.follow(done)
    assert "+34 ••• 78" in text_of(listed)
    assert "612345678" not in listed.text
    assert "factor_added" in [event for event, *_ in site.audit()]
    known = guest.browser.send(guest.get("/factors/add/sms"), number=NUMBER)
    assert "registered for this account already" in text_of(known)


def test_the_number_may_be_changed_before_it_is_proven(site: Site, gateway: PhoneGateway) -> None:
    account, _ = site.enrolled("hal")
    guest = Guest(site, account)
    guest.browser.send(guest.get("/factors/add/sms"), number=NUMBER)
    page = guest.follow(guest.post("/factors/add/sms", {"again": "on", "language": "en"}))
    assert len(gateway.taken) == 2
    assert "+34 ••• 78" in text_of(page)
    page = guest.follow(guest.post("/factors/add/sms", {"other": "on"}))
    assert [one for one in elements(page, "input") if one.get("name") == "number"]
    page = guest.follow(guest.browser.send(page, number="+34612345699"))
    assert where(guest.browser.send(page, code=gateway.code(), name="x")) == "/factors"


# ---- signing in -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FactorKind.SMS, FactorKind.CALL])
def test_signing_in_with_a_code(site: Site, gateway: PhoneGateway, kind: FactorKind) -> None:
    account = site.person("carla", MfaState.ENFORCED)
    give_number(site, account, kind)
    browser = site.signed_in("carla")
    page = browser.get("/challenge")
    assert "+34 ••• 78" in text_of(page)
    assert gateway.taken == []
    page = browser.follow(press(browser, page, "/send"))
    browser.get("/challenge")
    browser.get(f"/challenge/{kind}")
    assert len(gateway.taken) == 1
    assert gateway.taken[0]["to"] == NUMBER
    wrong = browser.send(page, code=gateway.wrong())
    assert wrong.status_code == 400
    assert "That code is not right" in text_of(wrong)
    site.later(5)
    assert where(browser.send(wrong, code=gateway.code())) == "/app-passwords"
    assert browser.get("/factors").status_code == 200


def test_where_they_wanted_to_go_is_kept(site: Site, gateway: PhoneGateway) -> None:
    account = site.person("carla")
    give_number(site, account)
    browser = came_in(site, account, fresh=False)
    page = browser.follow(browser.get("/factors/add/totp"))
    page = browser.follow(press(browser, page, "/send"))
    assert where(browser.send(page, code=gateway.code())) == "/factors/add/totp"


def test_of_several_numbers_one_is_chosen(site: Site, gateway: PhoneGateway) -> None:
    account = site.person("carla")
    give_number(site, account)
    second = give_number(site, account, number="+34612345699")
    browser = came_in(site, account, stage=Stage.CHALLENGE)
    page = browser.get("/challenge")
    assert "Send a code to +34 ••• 78" in text_of(page)
    page = browser.follow(press(browser, page, "/send", second))
    assert gateway.taken[0]["to"] == "+34612345699"
    assert "sent to +34 ••• 99" in text_of(page)


def test_in_spanish(site: Site, gateway: PhoneGateway) -> None:
    account = site.person("carla")
    give_number(site, account)
    browser = came_in(site, account, stage=Stage.CHALLENGE)
    browser.headers["accept-language"] = "es"
    page = browser.get("/challenge")
    assert "Enviar un código a +34 ••• 78" in text_of(page)
    page = browser.follow(press(browser, page, "/send"))
    assert "Las seis cifras del código" in text_of(page)
    assert gateway.taken[0]["language"] == "es"
    assert "es su código" in gateway.taken[0]["text"]
    assert gateway.taken[0]["text"].endswith(f"\n@login.example.org #{gateway.code()}")


def test_too_many_are_refused_with_429(site: Site, gateway: PhoneGateway) -> None:
    account = site.person("carla")
    give_number(site, account)
    browser = came_in(site, account, stage=Stage.CHALLENGE)
    page = browser.get("/challenge")
    for _ in range(3):
        assert press(browser, page, "/send").status_code == 303
    refused = press(browser, page, "/send")
    assert refused.status_code == 429
    assert "several codes within the last hour" in text_of(refused)
    assert where(browser.send(browser.get("/challenge"), code=gateway.code())) == "/app-passwords"


def test_no_code_after_a_report_of_fraud(site: Site, gateway: PhoneGateway) -> None:
    account, _ = site.enrolled("carla")
    give_number(site, account)
    browser = came_in(site, account, stage=Stage.CHALLENGE)
    site.write(people.change, account.id, push_blocked=True)
    assert browser.get("/challenge/sms").status_code == 404
    assert browser.post("/challenge/sms/send", factor="1").status_code == 404
    assert gateway.asked == []


# ---- a gateway that fails -------------------------------------------------------------------------


def test_a_failing_gateway_leaves_the_other_ways(site: Site, gateway: PhoneGateway) -> None:
    account, app = site.enrolled("carla")
    admin = site.person("bob", admin=True)
    give_number(site, account)
    browser = came_in(site, account, stage=Stage.CHALLENGE)
    gateway.status = 500
    page = browser.get("/challenge/sms")
    for _ in range(2):
        failed = press(browser, page, "/send")
        assert failed.status_code == 503
        said = text_of(failed)
        assert "could not be sent just now. Choose another way" in said
        assert "Enter a code from your authenticator app" in said
    assert [event for event, *_ in site.audit()].count("gateway_failed") == 2
    told = [one for one in site.read(notices.last, admin.id, 99) if one.kind == Kind.GATEWAY_FAILING]
    assert len(told) == 1
    assert told[0].text == {"account": admin.address, "gateway": "sms", "reason": reason(gateway)}
    assert where(browser.send(browser.get("/challenge/totp"), code=app.code())) == "/app-passwords"
    site.later(3600)
    browser = came_in(site, account, stage=Stage.CHALLENGE)
    assert press(browser, browser.get("/challenge/sms"), "/send").status_code == 503
    assert len([one for one in site.read(notices.last, admin.id, 99) if one.kind == Kind.GATEWAY_FAILING]) == 2


def test_nobody_enrols_over_a_gateway_that_fails(site: Site, gateway: PhoneGateway) -> None:
    account, _ = site.enrolled("hal")
    guest = Guest(site, account)
    gateway.status = 500
    failed = guest.browser.send(guest.get("/factors/add/sms"), number=NUMBER)
    assert failed.status_code == 503
    assert "could not be sent just now" in text_of(failed)
    assert f'value="{NUMBER}"' in failed.text


def reason(gateway: PhoneGateway) -> str:
    return f"the webhook at http://127.0.0.1:{gateway.port} answered 500"
