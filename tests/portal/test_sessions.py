"""The sessions page, with the core's own API behind it."""

from __future__ import annotations

import asyncio

import pytest

from proxy.admin import app_passwords
from tests.admin.office import NOW, OPERATOR
from tests.portal.guest import Guest, shared, text
from tests.portal.site import Site


@pytest.fixture
def alice(site: Site) -> Guest:
    return Guest(site, site.alice)


def mint(site: Site, name: str, account: str = "alice", owner: str | None = None) -> int:
    made = asyncio.run(app_passwords.create(site.office.desk, OPERATOR, account, name, owner=owner))
    return made["id"]


def live(site: Site) -> list[str]:
    return [session.id for session in site.office.sessions]


def test_nobody_is_connected(alice: Guest) -> None:
    assert "No program is connected." in text(alice.get("/sessions").text)


def test_sessions_stand_under_their_app_password(site: Site, alice: Guest) -> None:
    phone = mint(site, "Phone")
    site.office.connect("s1", phone, started=NOW - 180)
    site.office.connect("s2", phone)
    site.office.connect("s3", mint(site, "Laptop"))
    page = alice.get("/sessions")
    assert "Laptop alice@example.org Revoke Thunderbird IMAP · 192.0.2.7 · connected just now" in text(page.text)
    expected = "Phone alice@example.org Cut all Revoke Thunderbird IMAP · 192.0.2.7 · connected 3 minutes ago Cut"
    assert expected in text(page.text)
    assert page.text.count("Cut all of") == 1
    assert f'id="app-password-{phone}"' in page.text


def test_one_is_cut_and_then_all_of_one_app_password(site: Site, alice: Guest) -> None:
    phone, laptop = mint(site, "Phone"), mint(site, "Laptop")
    for session, app_password in (("s1", phone), ("s2", phone), ("s3", phone), ("s4", laptop)):
        site.office.connect(session, app_password)
    cut = alice.post("/sessions/cut", {"id": "s2"})
    assert (cut.status_code, "1 session was cut." in text(cut.text)) == (200, True)
    assert live(site) == ["s1", "s3", "s4"]
    cut = alice.post("/sessions/cut", {"account": "alice@example.org", "app_password": phone})
    assert "2 sessions were cut." in text(cut.text)
    assert live(site) == ["s4"]
    assert site.office.events()[-1][:3] == ("sessions_cut", "alice@example.org", "Phone")
    again = alice.post("/sessions/cut", {"id": "s2"})
    assert (again.status_code, "It had ended already." in text(again.text)) == (200, True)


def test_other_peoples_sessions_are_neither_seen_nor_cut(site: Site, alice: Guest) -> None:
    site.person("bob")
    shared(site, "info", "alice@example.org", "bob@example.org")
    for session, account, owner in (
        ("b1", "bob", None),
        ("b2", "info", "bob"),
        ("a1", "info", "alice"),
    ):
        site.office.connect(session, mint(site, f"of {owner or account}", account, owner))
    page = text(alice.get("/sessions").text)
    assert "of alice info@example.org" in page
    assert "bob" not in page
    for form in ({"id": "b1"}, {"id": "b2"}, {"account": "info@example.org", "app_password": "of bob"}):
        assert "It had ended already." in text(alice.post("/sessions/cut", form).text)
    assert live(site) == ["b1", "b2", "a1"]


@pytest.mark.parametrize(
    "form", [{}, {"account": "alice@example.org"}, {"id": "x", "account": "a", "app_password": "1"}]
)
def test_a_form_that_is_none_of_ours(alice: Guest, form: dict[str, str]) -> None:
    assert alice.post("/sessions/cut", form).status_code == 400
