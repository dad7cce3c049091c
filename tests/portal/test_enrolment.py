"""The first factor: what it takes besides the account password, and what follows from it."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pyotp
import pytest

from proxy.admin import enrolment, mfa
from proxy.config.settings import Enrolment
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account, MfaState
from proxy.portal.core_client import CoreUnavailable
from proxy.portal.enrolment import OPEN_FOR
from proxy.store import accounts, codes, factors, people, portal_sessions
from tests.admin.office import OPERATOR
from tests.portal.site import PASSWORD, App, Browser, Site, elements, open_site, text_of

SET_UP = re.compile(r"<code>([A-Z2-7 ]{30,})</code>")


@pytest.fixture
def bob(site: Site) -> Account:
    return site.person("bob", MfaState.ENABLED)


def issue(site: Site, name: str = "bob") -> str:
    return site.runner.run(enrolment.issue_code(site.office.desk, OPERATOR, name))["code"]


def key_of(page: httpx.Response) -> str:
    """What the person types into an app that cannot scan."""
    found = SET_UP.search(page.text)
    assert found is not None, page.text
    return found[1].replace(" ", "")


def set_up(site: Site, browser: Browser) -> httpx.Response:
    """From the choice of a method to the answer to the proof."""
    app = App(site, key_of(browser.get("/enrol/totp")))
    return browser.post("/enrol/totp", code=app.code(), name="My phone")


def state(site: Site, account: Account) -> MfaState:
    found = site.read(accounts.by_id, account.id)
    assert found is not None
    return found.mfa


def with_code(site: Site, name: str = "bob") -> Browser:
    """A browser in which the enrolment code was right."""
    browser = site.signed_in(name)
    answer = browser.post("/enrol", code=issue(site, name))
    assert answer.headers["location"] == "/enrol", answer.text
    return browser


# ---- the whole way ------------------------------------------------------------------------------


def test_from_the_code_to_the_first_app_password(site: Site, bob: Account) -> None:
    browser = site.signed_in("bob")
    page = browser.get("/enrol")
    assert "type the enrolment code" in text_of(page)
    assert browser.get("/enrol/totp").headers["location"] == "/enrol"  # not before the code
    browser.post("/enrol", code=issue(site).upper().replace("-", " "))
    assert "/enrol/totp" in [link["href"] for link in elements(browser.get("/enrol"), "a")]
    before = browser.cookies["__Host-sidegate"]
    answer = set_up(site, browser)
    assert answer.headers["location"] == "/enrol/recovery-codes", answer.text
    assert browser.cookies["__Host-sidegate"] != before
    assert state(site, bob) is MfaState.ENFORCED
    (row,) = site.read(factors.of_account, bob.id)
    assert (row.kind, row.name) == (FactorKind.TOTP, "My phone")

    page = browser.follow(answer)
    listed = re.findall(r"<code>([a-z]{5}-[a-z]{5}-[a-z]{5})</code>", page.text)
    assert len(set(listed)) == 10
    plain = browser.get("/enrol/recovery-codes.txt")
    assert plain.headers["content-type"] == "text/plain; charset=utf-8"
    assert [line for line in plain.text.splitlines() if re.fullmatch(r"[a-z-]{17}", line)] == listed
    assert "bob@example.org" in plain.text
    answer = browser.post("/enrol/recovery-codes")
    assert answer.headers["location"] == "/app-passwords/new"
    for path in ("/enrol/recovery-codes", "/enrol/recovery-codes.txt"):  # shown once
        assert browser.get(path).headers["location"] == "/app-passwords"

    events = [event for event, account, *_ in site.audit() if account == "bob@example.org"]
    assert events[-5:] == ["enrolment_code_issued", "factor_added", "recovery_codes_made", "signed_in", "mfa_changed"]
    # And at the next sign-in it is asked for; a recovery code does as well.
    other = site.signed_in("bob")
    assert other.get("/app-passwords").headers["location"] == "/challenge"
    assert other.post("/challenge/recovery_code", code=listed[3]).status_code == 303


def test_nothing_else_is_reachable_before(site: Site, bob: Account) -> None:
    browser = site.signed_in("bob")
    for path in ("/app-passwords", "/account-password", "/challenge", "/factors", "/enrol/recovery-codes"):
        assert browser.get(path).headers["location"] == "/enrol", path
        if path != "/factors":
            assert browser.post(path).headers.get("location", "/enrol") == "/enrol", path
    assert site.read(factors.of_account, bob.id) == []


def test_a_reload_shows_the_same_key_and_a_wrong_code_too(site: Site, bob: Account) -> None:
    browser = with_code(site)
    page = browser.get("/enrol/totp")
    key = key_of(page)
    assert key_of(browser.get("/enrol/totp")) == key
    answer = browser.post("/enrol/totp", code=App(site, key).wrong(), name="My phone")
    assert answer.status_code == 400
    assert key_of(answer) == key
    fields = {field["name"]: field for field in elements(answer, "input")}
    assert fields["name"]["value"] == "My phone"
    assert fields["code"]["aria-invalid"] == "true"
    assert set_up(site, browser).status_code == 303


def test_a_name_that_is_none_is_asked_for_again(site: Site, bob: Account) -> None:
    browser = with_code(site)
    app = App(site, key_of(browser.get("/enrol/totp")))
    answer = browser.post("/enrol/totp", code=app.code(), name="x" * 65)
    assert answer.status_code == 400
    assert [field["name"] for field in elements(answer, "input") if field.get("aria-invalid")] == ["name"]
    assert set_up(site, browser).status_code == 303


@pytest.mark.parametrize("kind", ["recovery_code", "sms", "nonsense"])
def test_methods_that_there_are_not(site: Site, bob: Account, kind: str) -> None:
    browser = with_code(site)
    assert browser.get(f"/enrol/{kind}").status_code == 404
    assert browser.post(f"/enrol/{kind}", code="1").status_code == 404


def test_a_proof_of_nothing_begun_proves_nothing(site: Site, bob: Account) -> None:
    browser = with_code(site)
    assert browser.post("/enrol/totp", code="123456", name="x").headers["location"] == "/enrol"
    browser.get("/enrol/totp")
    assert browser.post("/enrol/passkey", credential="{}", name="x").headers["location"] == "/enrol"
    assert site.read(factors.of_account, bob.id) == []


# ---- what it takes ------------------------------------------------------------------------------


def test_a_stolen_password_alone_registers_nothing(site: Site, bob: Account) -> None:
    browser = site.signed_in("bob")
    for answer in (browser.get("/enrol/totp"), browser.post("/enrol/totp", code="123456", name="x")):
        assert answer.headers["location"] == "/enrol"
    assert browser.post("/enrol", code="abcde-fghjk-mnpqr-stuvw").status_code == 400
    assert browser.post("/enrol", code="").status_code == 400


def test_an_enrolment_code_is_its_persons_and_lasts_a_week(site: Site, bob: Account) -> None:
    site.person("carol", MfaState.ENABLED)
    bobs, carols = issue(site), issue(site, "carol")
    browser = site.signed_in("bob")
    answer = browser.post("/enrol", code=carols)
    assert answer.status_code == 400
    assert "not your enrolment code" in text_of(answer)
    site.later(7 * 86400)
    browser = site.signed_in("bob")
    assert browser.post("/enrol", code=bobs).status_code == 400


def test_a_mistyped_code_costs_no_try_and_guessing_is_delayed(site: Site, bob: Account) -> None:
    site.person("carol", MfaState.ENABLED)
    code, browser = issue(site), site.signed_in("bob")
    mistyped = code[:-1] + ("a" if code[-1] != "a" else "b")
    for _ in range(3):
        answer = browser.post("/enrol", code=mistyped)
        assert (answer.status_code, "That is no enrolment code" in text_of(answer)) == (400, True)
    browser.post("/enrol", code=issue(site, "carol"))
    answer = browser.post("/enrol", code=code)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    site.later(1)
    assert browser.post("/enrol", code=code).status_code == 303


def test_a_code_is_used_up_by_the_factor_and_not_before(site: Site, bob: Account) -> None:
    code = issue(site)
    first, second = site.signed_in("bob"), site.signed_in("bob")
    for browser in (first, second):
        assert browser.post("/enrol", code=code).status_code == 303
    assert set_up(site, first).status_code == 303
    # The other one at the door has the password and knew the code: it must prove the factor now.
    assert second.get("/enrol/totp").headers["location"].startswith("/sign-in")
    assert len(site.read(factors.of_account, bob.id)) == 1


def test_a_code_that_was_withdrawn_meanwhile_registers_nothing(site: Site, bob: Account) -> None:
    browser = with_code(site)
    app = App(site, key_of(browser.get("/enrol/totp")))
    site.write(codes.withdraw_enrolment, bob.id)
    answer = browser.post("/enrol/totp", code=app.code(), name="x")
    assert (answer.status_code, "used or withdrawn" in text_of(answer)) == (409, True)
    assert site.read(factors.of_account, bob.id) == []


@pytest.mark.parametrize(("address", "enough"), [("10.1.2.3", True), ("192.0.2.1", False)])
def test_a_trusted_network_is_enough(tmp_path: Path, address: str, enough: bool) -> None:
    with open_site(tmp_path, trusted_networks=("10.0.0.0/8",)) as site:
        site.person("bob", MfaState.ENABLED)
        browser = site.browser()
        browser.address = address
        browser.post("/sign-in", name="bob", password=PASSWORD)
        assert browser.get("/enrol/totp").status_code == (200 if enough else 303)
        if enough:
            assert set_up(site, browser).status_code == 303
        else:
            assert "In the network of your organisation no code is needed." in text_of(browser.get("/enrol"))


def test_where_enrolment_is_open_it_is_so_for_a_fortnight(tmp_path: Path) -> None:
    with open_site(tmp_path, enrolment=Enrolment.OPEN) as site:
        site.person("bob", MfaState.ENABLED)
        site.later(OPEN_FOR - 1)
        assert site.signed_in("bob").get("/enrol/totp").status_code == 200
        site.later(1)
        assert site.signed_in("bob").get("/enrol/totp").status_code == 303


def test_who_has_a_factor_registers_no_first_one(site: Site) -> None:
    account, _ = site.enrolled("bob")
    site.write(accounts.set_mfa, [account.id], MfaState.DISABLED)
    browser = site.signed_in("bob")
    assert browser.post("/enrol", code=issue(site)).status_code == 303
    for answer in (browser.get("/enrol"), browser.get("/enrol/totp"), browser.post("/enrol/totp", code="1", name="x")):
        assert answer.headers["location"] == "/factors"
    assert len(site.read(factors.of_account, account.id)) == 1


# ---- what follows -------------------------------------------------------------------------------


def test_a_person_of_whom_none_is_asked_may_have_one(site: Site) -> None:
    """Minting needs a factor in every MFA state, which stays what the administrator wants."""
    browser = with_code(site, "alice")
    assert set_up(site, browser).status_code == 303
    assert state(site, site.alice) is MfaState.DISABLED
    assert browser.get("/app-passwords").status_code == 200
    (session,) = site.read(portal_sessions.of_account, site.alice.id, site.office.now)
    assert session.factor_time == site.office.now


@pytest.mark.parametrize("by_code", [True, False])
def test_after_a_reset_only_a_code_shortens_the_wait(tmp_path: Path, by_code: bool) -> None:
    with open_site(tmp_path, trusted_networks=("192.0.2.0/24",)) as site:
        account, _ = site.enrolled("bob")
        site.runner.run(enrolment.reset_factors(site.office.desk, OPERATOR, "bob"))
        browser = with_code(site) if by_code else site.signed_in("bob")
        assert set_up(site, browser).status_code == 303
        assert site.read(people.by_id, account.id).may_mint(site.office.now) == by_code


def test_a_core_that_is_away_keeps_nobody_from_enrolling(
    site: Site, bob: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*args: object) -> None:
        raise CoreUnavailable("gone")

    browser = with_code(site)
    monkeypatch.setattr(site.desk.core, "enrolled", away)
    assert set_up(site, browser).status_code == 303
    assert browser.get("/enrol/recovery-codes").status_code == 200


def test_enabled_again_after_a_reset_it_begins_anew(site: Site) -> None:
    account, _ = site.enrolled("bob")
    site.runner.run(enrolment.reset_factors(site.office.desk, OPERATOR, "bob"))
    site.runner.run(mfa.set_state(site.office.desk, OPERATOR, MfaState.ENABLED, ["bob"]))
    browser = site.signed_in("bob")
    assert browser.get("/app-passwords").headers["location"] == "/enrol"
    assert site.read(factors.of_account, account.id) == []


def test_the_key_is_good_for_any_authenticator_app(site: Site, bob: Account) -> None:
    page = with_code(site).get("/enrol/totp")
    (uri,) = [link["href"] for link in elements(page, "a") if str(link["href"]).startswith("otpauth:")]
    parsed = pyotp.parse_uri(str(uri))
    assert (parsed.name, parsed.issuer) == ("bob@example.org", "Example Mail")
    assert parsed.secret == key_of(page)
