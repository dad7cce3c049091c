from __future__ import annotations

import asyncio

import pytest

from proxy.admin import app_passwords
from proxy.domain.sign_in import Outcome
from proxy.domain.verdicts import Reason
from proxy.portal.history import OUTCOMES
from proxy.store import history, sign_ins
from proxy.store.history import RefusalRecord
from proxy.store.sign_ins import SignIn
from tests.admin.office import NOW, OPERATOR
from tests.portal.guest import ADDRESS, Guest, text
from tests.portal.site import FIREFOX, Site


@pytest.fixture
def alice(site: Site) -> Guest:
    return Guest(site, site.alice)


def test_every_outcome_has_words() -> None:
    assert set(OUTCOMES) == set(Outcome)


def test_nothing_happened_yet(alice: Guest) -> None:
    page = text(alice.get("/history").text)
    assert "Sign-ins on these pages None yet. Programs that were not let in None." in page


def test_sign_ins_and_tries_in_plain_words(site: Site, alice: Guest) -> None:
    me = alice.account.id
    rows = [
        SignIn(me, NOW - 7200, Outcome.WRONG_PASSWORD, None, "198.51.100.4", "198.51.100.4/32", "curl/8.14.1"),
        SignIn(me, NOW - 60, Outcome.SIGNED_IN, "totp: <b>app</b>", ADDRESS, ADDRESS, FIREFOX, alice.device.id),
        SignIn(me, NOW - 30, "by_a_later_version", "later", "203.0.113.9", "203.0.113.9/32", ""),
    ]  # fmt: skip
    with site.office.store.writing() as c:
        for row in rows:
            sign_ins.record(c, row)
    page = alice.get("/history").text
    read = text(page)
    assert "Signed in 1 minute ago · Firefox (Linux) (this one) · 192.0.2.1 · Authenticator app (<b>app</b>)" in read
    assert "Not let in: wrong account password 2 hours ago · curl/8.14.1 · 198.51.100.4" in read
    assert "Something else happened just now" in read
    assert "<b>app" not in page


def test_who_got_past_the_account_password_knows_it(site: Site, alice: Guest) -> None:
    me = alice.account.id
    for outcome in (Outcome.WRONG_FACTOR, Outcome.WRONG_PASSWORD, Outcome.SIGNED_IN):
        row = SignIn(me, NOW - 60, outcome, "totp", "198.51.100.4", "198.51.100.4/32", FIREFOX)
        site.write(sign_ins.record, row)
    page = alice.get("/history").text
    assert text(page).count("If that was not you, somebody knows your account password.") == 1
    assert 'href="/account-password">Choose a new account password<' in page


def test_refused_programs_with_what_to_do(site: Site, alice: Guest) -> None:
    phone = asyncio.run(app_passwords.create(site.office.desk, OPERATOR, "alice", "Phone"))["id"]
    me = alice.account.id
    often = (None, 12, NOW - 7200)
    rows = [
        RefusalRecord(me, NOW - 120, Reason.WRONG_SCOPE, "ldap", "2001:db8::/64", None, phone),
        RefusalRecord(me, NOW - 60, Reason.NOT_APP_PASSWORD, "imap", "192.0.2.7/32", "<i>Mail</i>", *often),
        RefusalRecord(me, NOW - 50, Reason.BAD_LOGIN_NAME, "smtp", "192.0.2.8/32"),
        RefusalRecord(me, NOW - 40, "by_a_later_version", "imap", "192.0.2.9/32"),
    ]  # fmt: skip
    with site.office.store.writing() as c:
        history.record(c, rows)
    page = alice.get("/history").text
    read = text(page)
    assert (
        "Its app password was not made for that. It is the one called “Phone”. 2 minutes ago · LDAP · 2001:db8::/64"
        in read
    )
    assert (
        "It sent something else than an app password, most likely your account password. "
        "1 minute ago · 12 tries, the first 2 hours ago · IMAP · 192.0.2.7 · <i>Mail</i> "
        "If it is your program, create an app password"
    ) in read
    assert "Set the program's user name to alice@example.org." in read
    assert "It was not let in. just now · IMAP · 192.0.2.9" in read
    assert "<i>" not in page


def test_a_long_history_stays_a_small_page(site: Site, alice: Guest) -> None:
    me = alice.account.id
    with site.office.store.writing() as c:
        for n in range(120):
            address = f"2001:db8:{n:x}::1"
            sign_ins.record(c, SignIn(me, NOW - n, Outcome.SIGNED_IN, "Phone", address, address, FIREFOX))
        rows = [
            RefusalRecord(me, NOW - n, Reason.UNKNOWN_APP_PASSWORD, "imap", f"2001:db8:{n:x}::/64", "p" * 128)
            for n in range(150)
        ]
        history.record(c, rows)
    page = alice.get("/history")
    assert len(page.content) < 100_000
    assert page.text.partition("<main")[2].count("</li>") == 120
