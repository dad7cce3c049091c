"""Fraud, reported on the phone: what ends, who is told, and how the victim gets in all the same."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from proxy.config.settings import LdapDirectory
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account, MfaState
from proxy.domain.notices import Kind
from proxy.domain.sign_in import Stage
from proxy.store import challenges, factors, people, portal_sessions, sign_ins
from proxy.store.schema import notices
from tests.portal.guest import Guest, without_core
from tests.portal.methods import came_in
from tests.portal.phones import PhoneBrowser, give_phone, number_on, state_of
from tests.portal.site import PASSWORD, App, Site, notes_of, text_of
from tests.portal.test_challenge import recovery_code


@pytest.fixture
def bob(site: Site) -> tuple[Account, PhoneBrowser, App]:
    account = site.person("bob", MfaState.ENFORCED)
    return account, PhoneBrowser(site, give_phone(site, account)), site.app(account, "codes")


def admins_told(site: Site) -> list[str]:
    return [row.text for row in site.read(notes_of, notices) if row.kind == Kind.FRAUD_REPORTED]


def test_a_report_stops_that_sign_in_and_what_reaches_phones(
    site: Site, bob: tuple[Account, PhoneBrowser, App]
) -> None:
    account, phone, _ = bob
    site.person("root", admin=True)
    own = Guest(site, account)
    attacker, another = site.signed_in("bob"), site.signed_in("bob")
    attacker.get("/challenge/push")
    another.get("/challenge/totp")
    shown = phone.suspect()
    assert "Whoever signs in there knows the account password of bob@example.org." in text_of(shown)
    answer = phone.answer("fraud")
    assert (answer.status_code, answer.headers["sidegate-answered"]) == (200, "reported")
    assert "your administrators are told" in text_of(answer)

    assert state_of(attacker) == "denied"
    for browser in (attacker, another):  # who had come half way with the password begins anew
        assert browser.get("/challenge").headers["location"].startswith("/sign-in")
    assert own.get("/challenge").status_code == 200
    person = site.read(people.by_id, account.id)
    assert (person.push_blocked, person.must_change) == (True, True)
    assert site.read(challenges.open_of, account.id, site.desk.clock()) == []
    (row,) = site.read(sign_ins.last, account.id)
    assert (row.outcome, row.address) == ("fraud", "192.0.2.1")
    assert ("fraud_reported", "bob@example.org", None, "push: my phone") in site.audit()
    (told,) = admins_told(site)
    assert '"account": "bob@example.org"' in told
    assert '"address": "192.0.2.1"' in told


def test_nothing_reaches_the_phone_until_the_password_is_another(
    site: Site, bob: tuple[Account, PhoneBrowser, App]
) -> None:
    account, phone, _ = bob
    site.signed_in("bob").get("/challenge/push")
    phone.answer("fraud")
    site.later(3600)
    attacker = site.signed_in("bob")
    assert attacker.get("/challenge/push").status_code == 404
    assert attacker.post("/challenge/push").status_code == 404
    attacker.post("/challenge/push/again")
    assert phone.waiting() == []
    # The victim comes in with something else, and can do nothing but choose a new password.
    code = recovery_code(site, account)
    browser = site.signed_in("bob")
    assert browser.post("/challenge/recovery_code", code=code).headers["location"] == "/account-password"
    assert browser.get("/app-passwords").headers["location"] == "/account-password"
    new = "four quite new words"
    assert browser.post("/account-password", current=PASSWORD, new=new, again=new).status_code == 200
    person = site.read(people.by_id, account.id)
    assert (person.push_blocked, person.must_change) == (False, False)
    again = site.browser()
    assert again.post("/sign-in", name="bob", password=new).status_code == 303
    assert phone.answer("confirm", number_on(again.get("/challenge/push"))).status_code == 200


def test_where_the_site_wants_it_the_portal_is_closed_to_them_until_an_operator_opens_it(
    site: Site, bob: tuple[Account, PhoneBrowser, App]
) -> None:
    account, phone, app = bob
    own = Guest(site, account)
    site.signed_in("bob").get("/challenge/push")
    portal = replace(site.desk.config.portal, fraud_stop_days=90)
    site.desk.config = replace(site.desk.config, portal=portal)
    phone.answer("fraud")
    for browser in (own, site.signed_in("bob")):
        for path in ("/app-passwords", "/challenge", "/account-password", "/factors"):
            closed = browser.get(path)
            assert closed.status_code == 403
            assert "Signing in is stopped" in text_of(closed)
            assert "It ends by itself: 2026-12-20" in text_of(closed)
    half_way = site.signed_in("bob")
    assert half_way.post("/challenge/recovery_code", code=recovery_code(site, account)).status_code == 403
    assert half_way.post("/challenge/totp", code=app.code()).status_code == 403
    assert half_way.post("/sign-out").status_code == 303
    site.write(lambda c: people.password_changed(c, account.id))
    assert site.signed_in("bob").get("/challenge").status_code == 403
    site.write(lambda c: people.change(c, account.id, stopped_until=None))
    assert site.signed_in("bob").get("/challenge").status_code == 200

    site.write(lambda c: people.change(c, account.id, stopped_until=site.desk.clock() + 60))
    site.later(61)
    assert site.signed_in("bob").get("/challenge").status_code == 200


def test_where_a_directory_keeps_passwords_an_operator_ends_it(
    site: Site, bob: tuple[Account, PhoneBrowser, App]
) -> None:
    """There is no page of ours that they could change it at, so nobody is kept on it for ever."""
    account, phone, _ = bob
    site.signed_in("bob").get("/challenge/push")
    site.desk.config = replace(site.desk.config, directory=LdapDirectory("ldaps://ldap.example.org"))
    phone.answer("fraud")
    person = site.read(people.by_id, account.id)
    assert (person.push_blocked, person.must_change) == (True, False)


def test_reporting_late_and_after_having_confirmed(site: Site, bob: tuple[Account, PhoneBrowser, App]) -> None:
    account, phone, _ = bob
    browser = site.signed_in("bob")
    page = browser.get("/challenge/push")
    (challenge,) = phone.waiting()
    phone.answer("confirm", number_on(page))
    assert phone.answer("fraud", challenge=challenge).status_code == 200
    assert browser.post("/challenge/push").headers["location"].startswith("/sign-in")
    assert site.read(people.by_id, account.id).push_blocked
    again = phone.answer("fraud", challenge=challenge)
    assert (again.status_code, again.headers["sidegate-answered"]) == (409, "over")


def test_programs_are_cut_if_the_person_ticks_them(site: Site, bob: tuple[Account, PhoneBrowser, App]) -> None:
    account, phone, _ = bob
    cut: list[tuple[str, str]] = []
    live = [{"account": "bob@example.org", "app_password": name} for name in ("Laptop", "Laptop", "Old <phone>", None)]

    async def sessions(person: Account) -> list[dict[str, object]]:
        assert person == account
        return live

    async def end(person: Account, *, account: str, app_password: str) -> int:
        cut.append((account, app_password))
        return 2

    site.desk.core.sessions = sessions  # type: ignore[method-assign, assignment]
    site.desk.core.cut = end  # type: ignore[method-assign, assignment]
    site.signed_in("bob").get("/challenge/push")
    shown = phone.suspect()
    assert "Laptop (bob@example.org, 2 sessions)" in text_of(shown)
    assert "Old &lt;phone&gt;" in shown.text
    marks = re.findall(r'name="cut" value="([0-9a-f]{32})"', shown.text)
    assert len(marks) == 2
    answer = phone.answer("fraud", "", marks[0], "0" * 32)
    assert "2 sessions were cut." in text_of(answer)
    assert cut == [("bob@example.org", "Laptop")]


def test_a_core_that_is_away_keeps_nobody_from_reporting(site: Site, bob: tuple[Account, PhoneBrowser, App]) -> None:
    account, phone, _ = bob
    site.signed_in("bob").get("/challenge/push")
    without_core(site)
    assert "cannot be listed just now" in text_of(phone.suspect())
    assert "could not be cut just now" in text_of(phone.answer("fraud", "", "0" * 32))
    assert site.read(people.by_id, account.id).push_blocked


def test_a_session_that_was_in_and_asked_ends_too(site: Site, bob: tuple[Account, PhoneBrowser, App]) -> None:
    account, phone, _ = bob
    stolen = came_in(site, account, fresh=False)
    stolen.get("/challenge/push")
    phone.answer("fraud")
    assert stolen.get("/app-passwords").headers["location"].startswith("/sign-in")
    assert site.read(portal_sessions.of_account, account.id, site.desk.clock()) == []


def test_who_was_enrolling_with_the_password_is_stopped_too(site: Site, bob: tuple[Account, PhoneBrowser, App]) -> None:
    account, phone, _ = bob
    half = came_in(site, account, stage=Stage.ENROL)
    site.signed_in("bob").get("/challenge/push")
    phone.answer("fraud")
    assert half.get("/enrol").headers["location"].startswith("/sign-in")
    assert [row.kind for row in site.read(factors.of_account, account.id)] == [FactorKind.PUSH, FactorKind.TOTP]
