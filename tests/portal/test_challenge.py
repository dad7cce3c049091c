"""The second step: which factor is asked for, what its answer opens, and what it does not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account, MfaState
from proxy.domain.sign_in import FRESH
from proxy.portal.core_client import CoreUnavailable
from proxy.store import accounts, codes, devices, factors, people, portal_sessions, sign_ins
from tests.portal.site import PASSWORD, App, Browser, Site, elements, open_site, text_of

SESSION = "__Host-sidegate"


@pytest.fixture
def bob(site: Site) -> tuple[Account, App]:
    return site.enrolled("bob")


def mfa(site: Site, account: Account) -> MfaState:
    found = site.read(accounts.by_id, account.id)
    assert found is not None
    return found.mfa


def recovery_code(site: Site, account: Account) -> str:
    """The first of ten new ones."""
    made = site.runner.run(_make(site, account))
    return made[0]


async def _make(site: Site, account: Account) -> list[str]:
    begun = await site.desk.factors[FactorKind.RECOVERY_CODE].begin_registration(account, "")
    hashes = [bytes.fromhex(one) for one in begun.notes["hashes"]]
    await site.desk.store.write(codes.set_recovery, account.id, hashes)
    return list(begun.page["codes"])


def test_a_code_opens_the_portal(site: Site, bob: tuple[Account, App]) -> None:
    account, app = bob
    browser = site.signed_in("bob")
    before = browser.cookies[SESSION]
    page = browser.get("/challenge")
    assert "Your password is right. One more step." in text_of(page)
    answer = browser.send(page, code=app.code())
    assert (answer.status_code, answer.headers["location"]) == (303, "/app-passwords")
    assert browser.cookies[SESSION] != before
    assert browser.get("/app-passwords").status_code == 200
    (row,) = site.read(factors.of_account, account.id)
    assert row.used == site.office.now
    (signed_in,) = site.read(sign_ins.last, account.id)
    assert (signed_in.outcome, signed_in.factor, signed_in.device_id) == ("signed_in", "totp: phone", 1)
    assert site.audit()[-1] == ("signed_in", "bob@example.org", None, "totp: phone")


def test_the_cookie_of_the_first_step_opens_nothing_after_the_second(site: Site, bob: tuple[Account, App]) -> None:
    browser = site.signed_in("bob")
    stolen = site.browser()
    stolen.cookies = httpx.Cookies(browser.cookies)
    browser.post("/challenge/totp", code=bob[1].code())
    assert stolen.get("/app-passwords").headers["location"].startswith("/sign-in")


def test_a_wrong_code_opens_nothing_and_is_told(site: Site, bob: tuple[Account, App]) -> None:
    account, app = bob
    browser = site.signed_in("bob")
    answer = browser.post("/challenge/totp", code=app.wrong(), next="/history")
    assert answer.status_code == 400
    (field,) = [field for field in elements(answer, "input") if field["name"] == "code"]
    assert field["aria-invalid"] == "true"
    assert [field["value"] for field in elements(answer, "input") if field["name"] == "next"] == ["/history"]
    assert browser.get("/app-passwords").headers["location"] == "/challenge"
    assert [row.outcome for row in site.read(sign_ins.last, account.id)] == ["wrong_factor"]
    assert site.audit()[-1][0] == "sign_in_refused"


def test_wrong_codes_are_delayed_in_every_session_but_a_known_devices(site: Site, bob: tuple[Account, App]) -> None:
    known = site.signed_in("bob")
    known.post("/challenge/totp", code=bob[1].code())
    known.post("/sign-out")
    attacker = site.signed_in("bob")
    attacker.post("/challenge/totp", code=bob[1].wrong())
    answer = site.signed_in("bob").post("/challenge/totp", code="000000")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert "Wait 1 second" in text_of(answer)
    known.post("/sign-in", name="bob", password=PASSWORD)
    assert known.post("/challenge/totp", code=bob[1].code()).status_code == 303


def test_one_code_counts_once_however_many_ask(site: Site, bob: tuple[Account, App]) -> None:
    browsers, code = [site.signed_in("bob") for _ in range(5)], bob[1].code()

    async def storm() -> list[int]:
        transport = httpx.ASGITransport(site.pages)

        async def post(browser: Browser) -> int:
            async with httpx.AsyncClient(transport=transport, base_url=site.desk.origin) as http:
                http.cookies = browser.cookies
                headers = {"origin": site.desk.origin}
                return (await http.post("/challenge/totp", data={"code": code}, headers=headers)).status_code

        return list(await asyncio.gather(*map(post, browsers)))

    assert site.runner.run(storm()).count(303) == 1


def test_the_best_is_asked_for_and_the_others_are_links(site: Site, bob: tuple[Account, App]) -> None:
    account, _ = bob
    recovery_code(site, account)
    browser = site.signed_in("bob")
    page = browser.get("/challenge?next=/history")
    assert [form["action"] for form in elements(page, "form") if "challenge" in str(form["action"])] == [
        "/challenge/totp"
    ]
    assert "/challenge/recovery_code?next=/history" in [link["href"] for link in elements(page, "a")]
    assert browser.get("/challenge/recovery_code").status_code == 200
    for kind in ("passkey", "sms", "nonsense"):
        assert browser.get(f"/challenge/{kind}").status_code == 404
        assert browser.post(f"/challenge/{kind}", code="1").status_code == 404


def test_a_recovery_code_opens_once_and_is_in_the_audit(site: Site, bob: tuple[Account, App]) -> None:
    code = recovery_code(site, bob[0])
    browser = site.signed_in("bob")
    assert browser.post("/challenge/recovery_code", code=code).status_code == 303
    events = [(event, detail) for event, _, _, detail in site.audit()]
    assert ("recovery_code_used", "left=9") in events
    site.later(60)
    again = site.signed_in("bob")
    assert again.post("/challenge/recovery_code", code=code).status_code == 400


def test_nobody_with_a_factor_that_is_not_offered_gets_in(site: Site, bob: tuple[Account, App]) -> None:
    site.desk.factors = {}
    answer = site.signed_in("bob").get("/challenge")
    assert answer.status_code == 403
    assert "Ask your administrator" in text_of(answer)


def test_where_they_wanted_to_go_survives_both_steps(site: Site, bob: tuple[Account, App]) -> None:
    browser, there = site.browser(), "/app-passwords/new?name=a%20b&scope=imap"
    page = browser.get("/sign-in", params={"next": there})
    answer = browser.send(page, name="bob", password=PASSWORD)
    assert answer.headers["location"].startswith("/challenge?next=")
    answer = browser.send(browser.follow(answer), code=bob[1].code())
    assert answer.headers["location"] == there


# ---- remembered devices -------------------------------------------------------------------------


def test_a_device_is_remembered_if_its_person_wants_that(site: Site, bob: tuple[Account, App]) -> None:
    account, app = bob
    browser = site.signed_in("bob")
    (box,) = [field for field in elements(browser.get("/challenge"), "input") if field["name"] == "remember"]
    assert "checked" not in box
    browser.post("/challenge/totp", code=app.code(), remember="on")
    (device,) = site.read(devices.of_account, account.id)
    assert device.remembered_until == site.office.now + 30 * 86400
    browser.post("/sign-out")
    answer = browser.post("/sign-in", name="bob", password=PASSWORD)
    assert answer.headers["location"] == "/app-passwords"
    # Remembered is not fresh: what matters asks for a factor all the same.
    assert browser.get("/account-password").headers["location"] == "/challenge?next=/account-password"
    browser.post("/sign-out")
    site.later(30 * 86400)
    assert browser.post("/sign-in", name="bob", password=PASSWORD).headers["location"] == "/challenge"


def test_another_browser_is_not_remembered(site: Site, bob: tuple[Account, App]) -> None:
    site.signed_in("bob").post("/challenge/totp", code=bob[1].code(), remember="on")
    other = site.browser()
    assert other.post("/sign-in", name="bob", password=PASSWORD).headers["location"] == "/challenge"


def test_where_devices_are_not_remembered_nobody_can_ask_for_it(tmp_path: Path) -> None:
    with open_site(tmp_path, remember_days=0) as site:
        account, app = site.enrolled("bob")
        browser = site.signed_in("bob")
        assert "remember" not in [field["name"] for field in elements(browser.get("/challenge"), "input")]
        browser.post("/challenge/totp", code=app.code(), remember="on")
        assert site.read(devices.of_account, account.id)[0].remembered_until is None


# ---- once more ----------------------------------------------------------------------------------


def test_a_factor_once_more_leads_back_and_counts_for_five_minutes(site: Site, bob: tuple[Account, App]) -> None:
    account, app = bob
    browser = site.signed_in("bob")
    browser.post("/challenge/totp", code=app.code())
    assert browser.get("/account-password").status_code == 200
    site.later(FRESH + 1)
    answer = browser.get("/account-password")
    assert answer.headers["location"] == "/challenge?next=/account-password"
    page = browser.follow(answer)
    assert "needs one of your sign-in methods again" in text_of(page)
    assert "remember" not in [field["name"] for field in elements(page, "input")]
    (session,) = site.read(portal_sessions.of_account, account.id, site.office.now)
    answer = browser.post("/challenge/totp", code=app.code(), next="/account-password")
    assert answer.headers["location"] == "/account-password"
    assert browser.follow(answer).status_code == 200
    (after,) = site.read(portal_sessions.of_account, account.id, site.office.now)
    assert after.expires == session.expires  # a session is not made longer by it
    assert len(site.read(sign_ins.last, account.id)) == 1  # and it is no other sign-in


def test_without_any_factor_it_leads_to_the_first_one(site: Site) -> None:
    assert site.signed_in().get("/challenge").headers["location"] == "/enrol"


# ---- the MFA state ------------------------------------------------------------------------------


def test_who_proves_a_factor_is_enforced(site: Site) -> None:
    account, app = site.enrolled("bob", MfaState.ENABLED)
    site.signed_in("bob").post("/challenge/totp", code=app.code())
    assert mfa(site, account) is MfaState.ENFORCED
    assert "changed 2" in site.office.log


def test_a_core_that_is_away_keeps_nobody_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*args: object) -> None:
        raise CoreUnavailable("gone")

    account, app = site.enrolled("bob", MfaState.ENABLED)
    browser = site.signed_in("bob")
    with monkeypatch.context() as patched:
        patched.setattr(site.desk.core, "enrolled", away)
        assert browser.post("/challenge/totp", code=app.code()).status_code == 303
    assert browser.get("/app-passwords").status_code == 200
    assert mfa(site, account) is MfaState.ENABLED
    site.signed_in("bob").post("/challenge/totp", code=app.code())
    assert mfa(site, account) is MfaState.ENFORCED


@pytest.mark.parametrize("blocked", [False, True])
def test_after_a_reported_fraud_the_phone_is_left_alone(
    site: Site, bob: tuple[Account, App], monkeypatch: pytest.MonkeyPatch, blocked: bool
) -> None:
    """What people have to fetch themselves still opens the portal to the victim."""
    account, _ = bob
    monkeypatch.setattr("proxy.portal.challenge.PHONE", {FactorKind.TOTP})
    recovery_code(site, account)
    site.write(people.change, account.id, push_blocked=blocked)
    browser = site.signed_in("bob")
    assert browser.get("/challenge/totp").status_code == (404 if blocked else 200)
    assert browser.get("/challenge/recovery_code").status_code == 200


def test_who_has_only_factors_that_are_not_offered_any_more_is_told(site: Site) -> None:
    account = site.person("bob")
    site.app(account)
    browser = site.signed_in("bob")  # MFA is disabled, so they are in
    site.desk.factors = {}
    answer = browser.follow(browser.get("/app-passwords/new"))
    assert (answer.status_code, "no way to confirm" in text_of(answer)) == (403, True)


def test_who_must_change_the_password_and_has_a_factor_proves_it_first(site: Site, bob: tuple[Account, App]) -> None:
    """A device that is remembered lets them in without one."""
    account, app = bob
    browser = site.signed_in("bob")
    browser.post("/challenge/totp", code=app.code(), remember="on")
    site.write(people.change, account.id, must_change=True)
    answer = browser.post("/sign-in", name="bob", password=PASSWORD)
    assert answer.headers["location"] == "/account-password"
    answer = browser.get("/account-password")
    assert answer.headers["location"] == "/challenge?next=/account-password"
    answer = browser.send(browser.get(answer.headers["location"]), code=app.code())
    assert answer.headers["location"] == "/account-password"
    assert "needs a new password" in text_of(browser.get("/account-password"))
