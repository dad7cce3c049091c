"""The history of notices, and "this was not me"."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.admin import app_passwords, enrolment
from proxy.config.settings import LdapDirectory
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account
from proxy.domain.notices import Kind
from proxy.notices.telling import tell
from proxy.portal.core_client import CoreClient
from proxy.store import app_passwords as app_password_store
from proxy.store import codes, devices, factors, notices, people
from proxy.store.factors import NewFactor
from tests.admin.office import NOW, OPERATOR
from tests.portal.guest import Guest, text
from tests.portal.site import Site


@pytest.fixture
def alice(site: Site) -> Guest:
    site.app(site.alice)
    return Guest(site, site.alice)


def notice(site: Site, account: Account, kind: Kind, **facts: str) -> str:
    """The page on which its person says that it was not them."""
    site.later(60)
    site.write(tell, account, kind, facts, site.office.now)
    (newest,) = site.read(notices.last, account.id, 1)
    return f"/history/not-me/{newest.id}"


def must_change(site: Site) -> bool:
    return site.read(people.by_id, site.alice.id).must_change


def test_what_was_told_and_how(site: Site, alice: Guest) -> None:
    assert "What you were told Nothing yet." in text(alice.get("/history").text)
    site.write(people.change, site.alice.id, recovery_address="alice@example.net")
    for n in range(4):
        notice(site, site.alice, Kind.APP_PASSWORD_CREATED, name=f"Phone {n}", app_password_id="1")
    first, *_ = reversed(site.read(notices.last, site.alice.id, 9))
    site.write(notices.sent, first.id, NOW)
    asyncio.run(enrolment.reset_factors(site.office.desk, OPERATOR, "alice"))
    page = text(Guest(site, site.alice).get("/history").text)
    assert "New app password “Phone 3” The app password “Phone 3” was created." in page
    assert "told here only" in page
    assert "waits to be sent to alice@example.net" in page
    assert "told by mail to alice@example.net" in page
    assert page.count("Your sign-in methods were reset") == 1
    assert "waits to be sent to alice@example.net · waits to be sent to alice@example.org" in page
    assert page.count("This was not me") == 4


def test_an_app_password_is_revoked_and_a_new_account_password_due(site: Site, alice: Guest) -> None:
    made = asyncio.run(app_passwords.create(site.office.desk, OPERATOR, "alice", "Phone"))
    path = notice(site, site.alice, Kind.APP_PASSWORD_CREATED, name="Phone", app_password_id=str(made["id"]))
    page = alice.get(path)
    assert "The app password is revoked" in text(page.text)
    assert site.read(app_password_store.count_live, site.alice.id) == 1, "looking at it changes nothing"
    done = alice.post(path)
    assert (done.status_code, "Choose a new account password" in text(done.text)) == (200, True)
    assert site.read(app_password_store.count_live, site.alice.id) == 0
    assert must_change(site)
    assert alice.get("/history").headers["location"] == "/account-password"
    assert [row[0] for row in site.audit()][-1] == "not_me"


def test_what_an_operator_made_needs_no_new_password(site: Site, alice: Guest) -> None:
    asyncio.run(app_passwords.create(site.office.desk, OPERATOR, "alice", "Phone"))
    (made,) = site.read(notices.last, site.alice.id, 1)
    assert alice.post(f"/history/not-me/{made.id}").status_code == 200
    assert site.read(app_password_store.count_live, site.alice.id) == 0
    assert not must_change(site)


def test_the_browser_that_signed_in_is_signed_out(site: Site, alice: Guest) -> None:
    thief = site.signed_in()
    (told,) = site.read(notices.last, site.alice.id, 1)
    assert told.kind == "signed_in"
    assert alice.post(f"/history/not-me/{told.id}").status_code == 200
    assert thief.get("/history").headers["location"].startswith("/sign-in")
    assert [one.id for one in site.read(devices.of_account, site.alice.id)] == [alice.device.id]
    assert must_change(site)


def test_nobody_ends_the_browser_that_they_read_it_in(site: Site, alice: Guest) -> None:
    path = notice(site, site.alice, Kind.SIGNED_IN, device_id=str(alice.device.id))
    assert alice.get(path).status_code == 404
    assert alice.post(path).status_code == 404


def test_a_factor_is_removed_but_never_the_last_one(site: Site, alice: Guest) -> None:
    (first,) = site.read(factors.of_account, site.alice.id)
    added = site.write(factors.add, site.alice.id, NewFactor(FactorKind.TOTP, "Thief"), NOW)
    path = notice(site, site.alice, Kind.FACTOR_ADDED, factor="totp", name="Thief", factor_id=str(added.id))
    other = Guest(site, site.alice)
    assert alice.post(path).status_code == 200
    assert [row.id for row in site.read(factors.of_account, site.alice.id)] == [first.id]
    assert other.get("/history").status_code == 303, "who did it may be signed in anywhere"
    site.write(people.change, site.alice.id, must_change=False)
    last = notice(site, site.alice, Kind.FACTOR_ADDED, factor="totp", name="phone", factor_id=str(first.id))
    answer = alice.post(last)
    assert (answer.status_code, "only sign-in method" in text(answer.text)) == (409, True)
    assert not must_change(site)


def test_codes_and_addresses_are_forgotten(site: Site, alice: Guest) -> None:
    site.write(codes.set_recovery, site.alice.id, [b"1" * 32])
    site.write(people.change, site.alice.id, recovery_address="thief@example.net")
    assert alice.post(notice(site, site.alice, Kind.RECOVERY_CODES_MADE)).status_code == 200
    assert site.read(codes.recovery_left, site.alice.id) == 0
    site.write(people.change, site.alice.id, must_change=False)
    assert alice.post(notice(site, site.alice, Kind.RECOVERY_ADDRESS_CHANGED)).status_code == 200
    assert site.read(people.by_id, site.alice.id).recovery_address is None


def test_a_stale_session_on_a_device_that_is_newer_goes_through_the_challenge(site: Site) -> None:
    site.app(site.alice)
    old = Guest(site, site.alice, factor_age=1000.0)
    path = notice(site, site.alice, Kind.ACCOUNT_PASSWORD_CHANGED)
    site.later(60)
    new = Guest(site, site.alice, factor_age=1000.0)
    for answer in (new.get(path), new.post(path)):
        assert answer.headers["location"] == f"/challenge?next={path}"
    assert not must_change(site)
    assert old.get(path).status_code == 200, "this one was known before it happened"
    assert old.post(path).status_code == 200
    assert must_change(site)


def test_nobody_undoes_what_another_was_told(site: Site, alice: Guest) -> None:
    bob = site.person("bob")
    site.app(bob)
    path = notice(site, site.alice, Kind.ACCOUNT_PASSWORD_CHANGED)
    for answer in (Guest(site, bob).get(path), Guest(site, bob).post(path), alice.get("/history/not-me/999")):
        assert answer.status_code == 404


@pytest.mark.parametrize("kind", [Kind.FACTORS_RESET, Kind.OLD_PROGRAM, Kind.DIGEST, Kind.FRAUD_REPORTED])
def test_some_things_are_for_the_administrator(site: Site, alice: Guest, kind: Kind) -> None:
    assert alice.post(notice(site, site.alice, kind)).status_code == 404


def test_admins_are_told(site: Site, alice: Guest) -> None:
    root = site.person("root", admin=True)
    alice.post(notice(site, site.alice, Kind.ACCOUNT_PASSWORD_CHANGED))
    (told,) = site.read(notices.last, root.id, 9)
    assert (told.kind, told.text["account"], told.text["what"]) == (
        "not_me",
        "alice@example.org",
        "account_password_changed",
    )


def test_when_the_core_is_away_nothing_is_half_done(site: Site, alice: Guest) -> None:
    path = notice(site, site.alice, Kind.APP_PASSWORD_CREATED, name="Phone", app_password_id="1")
    there = site.desk.core
    site.desk.core = CoreClient(Path("/nowhere/admin.sock"))
    answer = alice.post(path)
    assert (answer.status_code, "try again in a minute" in text(answer.text)) == (503, True)
    assert not must_change(site)
    site.runner.run(site.desk.core.close())
    site.desk.core = there


def test_where_an_ldap_server_keeps_the_passwords_they_are_sent_there(site: Site, alice: Guest) -> None:
    config = site.desk.config
    portal = replace(config.portal, password_url="https://passwords.example.org")
    site.desk.config = replace(config, directory=LdapDirectory("ldaps://ldap.example.org"), portal=portal)
    done = alice.post(notice(site, site.alice, Kind.ACCOUNT_PASSWORD_CHANGED))
    assert 'href="https://passwords.example.org"' in done.text
    assert not must_change(site)


def test_in_spanish(site: Site) -> None:
    site.app(site.alice)
    alicia = Guest(site, site.alice, language="es")
    path = notice(site, site.alice, Kind.APP_PASSWORD_CREATED, name="Teléfono", app_password_id="1")
    page = text(alicia.get("/history").text)
    assert "De qué se le avisó Nueva contraseña de aplicación “Teléfono”" in page
    assert "Elegirá una contraseña nueva para la cuenta" in text(alicia.get(path).text)
