"""The account password at the portal: who gets in, what is told to whom, and how long the next try has to wait."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection

from proxy.config.settings import LdapDirectory
from proxy.directory import Checked
from proxy.domain import delays
from proxy.domain.delays import Step
from proxy.domain.model import AccountKind, MfaState
from proxy.portal.sign_in import EXPIRED, REFUSED
from proxy.store import accounts, devices, people, portal_sessions, sign_ins, throttles
from proxy.store.accounts import NewAccount
from proxy.store.schema import portal_sessions as session_table
from tests.portal.site import PASSWORD, Browser, Site, elements, notes_of, open_site, text_of


def refused(answer: httpx.Response) -> bool:
    return answer.status_code == 400 and REFUSED in text_of(answer)


@pytest.mark.parametrize("name", ["alice", "alice@example.org", "ALICE@Example.ORG", "al", " alice "])
def test_any_login_name_signs_in(site: Site, name: str) -> None:
    browser = site.browser()
    answer = browser.post("/sign-in", name=name, password=PASSWORD)
    assert (answer.status_code, answer.headers["location"]) == (303, "/app-passwords")
    (session,) = site.read(portal_sessions.of_account, site.alice.id, site.office.now)
    assert session.address == "192.0.2.1"
    assert "alice@example.org" in text_of(browser.get("/"))


def test_whatever_is_wrong_gets_one_sentence(site: Site) -> None:
    bob = site.person("bob")
    site.write(accounts.set_enabled, bob.id, False)
    for name, kind in (("info", AccountKind.SHARED), ("printer", AccountKind.SERVICE)):
        site.write(accounts.add, NewAccount(f"{name}@example.org", 0.0, kind=kind, owner_id=None))
    tries = [
        ("alice", "wrong"),
        ("nobody", PASSWORD),
        ("no body*%", PASSWORD),
        ("bob", PASSWORD),
        ("info", PASSWORD),
        ("printer", PASSWORD),
        ("alice", "x" * 2000),
        ("x" * 300, PASSWORD),
        ("alice\x00", PASSWORD),
    ]
    pages = set()
    for name, password in tries:
        answer = site.browser().post("/sign-in", name=name, password=password)
        assert refused(answer), (name, answer.text)
        assert "set-cookie" not in answer.headers
        pages.add(answer.text.replace(f'value="{name[:256]}"', ""))
        site.later(60)
    assert len(pages) == 1


def test_what_was_typed_stays_in_the_form_but_the_password(site: Site) -> None:
    answer = site.browser().post("/sign-in", name='al"<b>', password="canary", next="/history")
    fields = {field["name"]: field for field in elements(answer, "input") if field["type"] != "hidden"}
    assert fields["name"]["value"] == 'al"<b>'
    assert "canary" not in answer.text
    assert [field["value"] for field in elements(answer, "input") if field["name"] == "next"] == ["/history"]


def test_a_refusal_takes_its_constant_time(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        object.__setattr__(site.desk.config.limits, "refusal_delay", 0.4)
        for name, password in (("alice", "wrong"), ("nobody", "wrong")):
            begun = time.monotonic()
            assert refused(site.browser().post("/sign-in", name=name, password=password))
            assert time.monotonic() - begun >= 0.39
            site.later(60)


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({}, ["name", "password"]),
        ({"name": "alice"}, ["password"]),
        ({"password": "x"}, ["name"]),
        ({"name": " ", "password": ""}, ["name", "password"]),
    ],
)
def test_what_is_missing_is_said_at_its_field(site: Site, given: dict[str, str], problems: list[str]) -> None:
    answer = site.browser().post("/sign-in", **given)
    assert answer.status_code == 400
    invalid = [field for field in elements(answer, "input") if field.get("aria-invalid") == "true"]
    assert [field["name"] for field in invalid] == problems
    ids = {element["id"] for element in elements(answer, "p") if "id" in element}
    assert {field["aria-describedby"] for field in invalid} <= ids


def test_fields_say_what_they_are_for(site: Site) -> None:
    page = site.browser().get("/sign-in")
    fields = {field["name"]: field for field in elements(page, "input")}
    assert fields["name"]["autocomplete"] == "username"
    assert (fields["password"]["autocomplete"], fields["password"]["type"]) == ("current-password", "password")
    assert {label["for"] for label in elements(page, "label")} == {fields["name"]["id"], fields["password"]["id"]}


# ---- delays -------------------------------------------------------------------------------------


def attempt(browser: Browser, password: str = "wrong", name: str = "alice") -> httpx.Response:
    return browser.post("/sign-in", name=name, password=password)


@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_tries_are_delayed_before_anything_is_verified(site: Site, name: str) -> None:
    """For names that lead to nobody just as well: a delay tells nothing."""
    browser = site.browser()
    assert refused(attempt(browser, name=name))
    answer = attempt(browser, PASSWORD, name)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert "Wait 1 second" in text_of(answer)
    assert elements(answer, "input")[1]["value"] == name
    site.later(1)
    assert refused(attempt(browser, name=name))
    site.later(1)
    assert refused(attempt(browser, name=name))
    assert attempt(browser, PASSWORD, name).headers["retry-after"] == "3"
    site.later(3)
    assert attempt(browser, PASSWORD, name).status_code == (303 if name == "alice" else 400)


def test_the_delay_is_the_accounts_whatever_name_and_network_it_comes_from(site: Site) -> None:
    attempt(site.browser(), name="alice")
    assert attempt(site.browser(), name="al").status_code == 429
    for _ in range(30):
        site.write(_fail, site.alice.id)
    stranger = site.browser()
    stranger.address = "198.51.100.9"
    for _ in range(3):
        site.later(2)
        assert attempt(stranger).status_code == 400
    site.later(4)
    assert attempt(stranger, PASSWORD).headers["retry-after"] == "6"


def test_a_new_device_does_not_wait_for_what_others_do_to_its_person(site: Site) -> None:
    for _ in range(150):
        site.write(_fail, site.alice.id)
    assert attempt(site.browser(), PASSWORD).status_code == 303


def test_a_trusted_network_does_not_wait_for_the_others(tmp_path: Path) -> None:
    with open_site(tmp_path, trusted_networks=("192.0.2.0/24",)) as site:
        for n in range(150):
            site.write(_fail, site.alice.id, f"10.0.{n}.1")
        elsewhere = site.browser()
        elsewhere.address = "203.0.113.1"
        assert attempt(elsewhere, PASSWORD).status_code == 429
        assert attempt(site.browser(), PASSWORD).status_code == 303


def test_of_many_tries_at_once_one_is_verified(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    check = site.desk.directory.check

    async def counted(*args: object) -> Checked:
        nonlocal asked
        asked += 1
        return await check(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(site.desk.directory, "check", counted)

    async def storm() -> list[int]:
        transport = httpx.ASGITransport(site.pages)
        headers = {"origin": site.desk.origin}
        async with httpx.AsyncClient(transport=transport, base_url=site.desk.origin, headers=headers) as http:
            form = {"name": "alice", "password": "wrong"}
            answers = await asyncio.gather(*(http.post("/sign-in", data=form) for _ in range(20)))
        return sorted(answer.status_code for answer in answers)

    assert site.runner.run(storm()) == [400, *[429] * 19]
    assert asked == 1


def test_a_known_device_is_not_delayed_by_others(site: Site) -> None:
    known = site.signed_in()
    known.post("/sign-out")
    for _ in range(12):
        attempt(site.browser())
        site.later(10)
    attempt(site.browser())
    assert attempt(site.browser(), PASSWORD).status_code == 429
    assert attempt(known, PASSWORD).status_code == 303
    # It is a bucket of its own, not a way around: guessing there is delayed as well.
    known.post("/sign-out")
    attempt(known)
    assert attempt(known, PASSWORD).status_code == 429


def test_somebody_elses_device_is_no_known_device(site: Site) -> None:
    site.person("bob")
    bobs = site.signed_in("bob")
    bobs.post("/sign-out")
    attempt(site.browser())
    assert attempt(bobs, PASSWORD).status_code == 429


def test_a_network_that_tries_many_accounts_is_delayed(site: Site) -> None:
    browser = site.browser()
    for n in range(20):
        assert attempt(browser, name=f"name{n}").status_code == 400
    assert attempt(browser, PASSWORD).status_code == 429
    elsewhere = site.browser()
    elsewhere.address = "198.51.100.9"
    assert attempt(elsewhere, PASSWORD).status_code == 303


def test_right_passwords_of_many_people_delay_nobody(site: Site) -> None:
    for n in range(30):
        site.person(f"user{n}")
        assert attempt(site.browser(), PASSWORD, f"user{n}").status_code == 303


def test_a_long_wait_is_told_in_words(site: Site) -> None:
    for _ in range(100):
        site.write(_fail, site.alice.id, "192.0.2.1")
    answer = attempt(site.browser(), PASSWORD)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "600")
    assert "Wait 10 minutes" in text_of(answer)
    assert "with a passkey, you need not wait" in text_of(answer)


def _fail(c: Connection, account_id: int, address: str = "203.0.113.1") -> None:
    throttles.failed(c, delays.keys(Step.PASSWORD, str(account_id), address, None), 1_790_000_000.0)


def test_a_directory_that_is_away_costs_nobody_a_try(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*args: object) -> Checked:
        return Checked.UNAVAILABLE

    with monkeypatch.context() as patched:
        patched.setattr(site.desk.directory, "check", away)
        answer = attempt(site.browser(), PASSWORD)
    assert answer.status_code == 503
    assert "our fault" in text_of(answer)
    assert attempt(site.browser(), PASSWORD).status_code == 303


# ---- what follows -------------------------------------------------------------------------------


def kept_elsewhere(site: Site, monkeypatch: pytest.MonkeyPatch, says: Checked, url: str = "") -> None:
    """An LDAP directory that has one answer for everybody."""

    async def check(*_: object) -> Checked:
        return says

    monkeypatch.setattr(site.desk.directory, "check", check)
    config = site.desk.config
    site.desk.config = replace(
        config, directory=LdapDirectory("ldaps://ldap.example.org"), portal=replace(config.portal, password_url=url)
    )


def test_who_must_change_a_password_that_is_kept_elsewhere_is_sent_there(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "https://passwords.example.org"
    kept_elsewhere(site, monkeypatch, Checked.MUST_CHANGE, url)
    browser = site.browser()
    answer = browser.post("/sign-in", name="alice", password=PASSWORD)
    assert answer.status_code == 403
    assert EXPIRED in text_of(answer)
    assert url in [link.get("href") for link in elements(answer, "a")]
    assert site.read(portal_sessions.of_account, site.alice.id, site.office.now) == []
    kept_elsewhere(site, monkeypatch, Checked.MUST_CHANGE)
    answer = browser.post("/sign-in", name="alice", password=PASSWORD)
    assert (answer.status_code, EXPIRED in text_of(answer)) == (403, True)
    assert all(link.get("href") for link in elements(answer, "a"))
    kept_elsewhere(site, monkeypatch, Checked.WRONG, url)
    answer = browser.post("/sign-in", name="alice", password="wrong")
    assert refused(answer)
    assert url not in answer.text


def test_a_password_that_is_kept_elsewhere_is_not_changed_here(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://passwords.example.org"
    browser = site.signed_in()
    for where in (url, ""):
        kept_elsewhere(site, monkeypatch, Checked.RIGHT, where)
        answer = browser.get("/account-password")
        assert answer.status_code == 200
        assert "Another system keeps your account password" in text_of(answer)
        assert (url in [link.get("href") for link in elements(answer, "a")]) == bool(where)
        assert "new" not in {field.get("name") for field in elements(answer, "input")}


def test_a_second_step_is_due_before_anything_else(site: Site) -> None:
    site.person("bob", MfaState.ENABLED)
    browser = site.browser()
    assert attempt(browser, PASSWORD, "bob").headers["location"] == "/enrol"
    for path in ("/account-password", "/sign-in"):
        assert browser.get(path).headers["location"] == "/enrol"
    assert site.read(sign_ins.last, 2) == []


def test_a_bypass_lets_in_without_a_factor(site: Site) -> None:
    from proxy.domain.factor_kinds import FactorKind
    from proxy.store.factors import NewFactor
    from proxy.store.factors import add as add_factor

    bob = site.person("bob", MfaState.ENFORCED)
    site.write(add_factor, bob.id, NewFactor(FactorKind.TOTP, "phone"), 0.0)
    assert attempt(site.browser(), PASSWORD, "bob").headers["location"] == "/challenge"
    site.write(people.change, bob.id, bypass_until=site.office.now + 60)
    assert attempt(site.browser(), PASSWORD, "bob").headers["location"] == "/app-passwords"


def test_history_and_audit_tell_both(site: Site) -> None:
    browser = site.browser()
    attempt(browser)
    attempt(site.browser(), "wrong", "nobody")
    site.later(1)
    attempt(browser, PASSWORD)
    newest, oldest = site.read(sign_ins.last, site.alice.id)
    assert (oldest.outcome, oldest.device_id, oldest.network) == ("wrong_password", None, "192.0.2.1/32")
    assert (newest.outcome, newest.device_id) == ("signed_in", 1)
    assert "Firefox" in newest.agent
    told = [(event, account) for event, account, *_ in site.audit()]
    assert told == [("sign_in_refused", "alice@example.org"), ("signed_in", "alice@example.org")]
    (device,) = site.read(devices.of_account, site.alice.id)
    assert device.name == "Firefox (Linux)"


def test_one_browser_is_one_device_and_knows_two_people(site: Site) -> None:
    site.person("bob")
    browser = site.browser()
    for name in ("alice", "bob", "alice", "bob"):
        attempt(browser, PASSWORD, name)
        browser.post("/sign-out")
    assert len(site.read(devices.of_account, site.alice.id)) == 1
    assert len(site.read(devices.of_account, 2)) == 1


def test_signing_out_ends_the_session_in_the_store(site: Site) -> None:
    browser = site.signed_in()
    stolen = site.browser()
    stolen.cookies = httpx.Cookies(browser.cookies)
    assert stolen.get("/account-password").status_code == 200
    answer = browser.post("/sign-out")
    assert answer.headers["location"] == "/sign-in?said=signed-out"
    assert "You are signed out." in text_of(browser.follow(answer))
    assert site.read(notes_of, session_table) == []
    assert stolen.get("/account-password").headers["location"].startswith("/sign-in")


def test_a_sign_in_ends_the_session_it_replaces(site: Site) -> None:
    browser = site.signed_in()
    old = site.browser()
    old.cookies = httpx.Cookies(browser.cookies)
    assert attempt(browser, PASSWORD).status_code == 303
    assert len(site.read(notes_of, session_table)) == 1
    assert old.get("/account-password").status_code == 303


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ("/history", "/history"),
        ("/app-passwords/new?name=a%20b&scope=imap", "/app-passwords/new?name=a%20b&scope=imap"),
        ("https://evil.example", "/app-passwords"),
        ("//evil.example", "/app-passwords"),
        ("/\\evil.example", "/app-passwords"),
        ("/..//evil.example", "/app-passwords"),
        ("/a\nb", "/app-passwords"),
        ("javascript:alert(1)", "/app-passwords"),
        ("/" + "a" * 5000, "/app-passwords"),
    ],
)
def test_where_to_go_on_is_one_of_our_pages(site: Site, wanted: str, there: str) -> None:
    answer = site.browser().post("/sign-in", name="alice", password=PASSWORD, next=wanted)
    assert answer.headers["location"] == there
    assert "evil" not in site.browser().get("/sign-in?next=" + wanted.replace("\n", "%0a")).text
