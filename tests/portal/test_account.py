"""Account passwords at the portal: changed by who knows the old one, set by who has a link."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from proxy.admin import app_passwords, enrolment
from proxy.directory import Checked
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.secret import Secret
from proxy.store import accounts, factors, people, portal_sessions
from proxy.store.factors import NewFactor
from tests.admin.office import OPERATOR
from tests.portal.site import PASSWORD, Browser, Site, elements, text_of

NEW = "four new words here"


def change(browser: Browser, current: str = PASSWORD, new: str = NEW, again: str | None = None) -> httpx.Response:
    return browser.post("/account-password", current=current, new=new, again=new if again is None else again)


def is_password(site: Site, password: str) -> bool:
    return site.runner.run(site.desk.directory.check(site.alice, Secret(password))) is Checked.RIGHT


def test_a_new_password_signs_everybody_else_out_and_leaves_app_passwords(site: Site) -> None:
    site.runner.run(app_passwords.create(site.office.desk, OPERATOR, "alice", "phone"))
    other, browser = site.signed_in(), site.signed_in()
    before = browser.cookies["__Host-sidegate"]
    answer = change(browser)
    assert answer.status_code == 200
    assert "Your password is changed" in text_of(answer)
    assert is_password(site, NEW)
    assert browser.cookies["__Host-sidegate"] != before
    assert browser.get("/account-password").status_code == 200
    assert other.get("/account-password").status_code == 303
    (phone,) = site.runner.run(app_passwords.listing(site.office.desk, "alice"))
    assert phone["revoked"] is None
    assert site.audit()[-1][:2] == ("account_password_changed", "alice@example.org")


def test_a_password_that_had_to_be_changed_is(site: Site) -> None:
    site.write(people.change, site.alice.id, must_change=True)
    browser = site.signed_in()
    assert browser.get("/history").status_code in (303, 404)
    change(browser)
    assert not site.read(people.by_id, site.alice.id).must_change
    assert browser.get("/account-password").status_code == 200


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"new": "short"}, "new", "at least 8 characters"),
        ({"new": "password1"}, "new", "first that anybody would try"),
        ({"new": "alice2024!"}, "new", "That is your name"),
        ({"new": "x" * 1025}, "new", "at most 1024"),
        ({"again": "something else"}, "again", "not the same"),
        ({"new": PASSWORD}, "new", "your current password"),
        ({"current": "wrong"}, "current", "not your current password"),
        ({"current": ""}, "current", "Enter your current password"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(site: Site, given: dict[str, str], field: str, words: str) -> None:
    answer = change(site.signed_in(), **given)
    assert answer.status_code == 400
    (invalid,) = [one for one in elements(answer, "input") if one.get("aria-invalid")]
    assert invalid["name"] == field
    assert words in text_of(answer)
    assert NEW not in answer.text
    assert is_password(site, PASSWORD)


def test_fields_tell_a_password_manager_what_they_are(site: Site) -> None:
    fields = elements(site.signed_in().get("/account-password"), "input")
    kinds = {str(field["name"]): field.get("autocomplete") for field in fields}
    assert kinds["username"] == "username"
    assert (kinds["current"], kinds["new"], kinds["again"]) == ("current-password", "new-password", "new-password")


def test_guessing_the_current_one_is_delayed(site: Site) -> None:
    browser = site.signed_in()
    assert change(browser, "wrong").status_code == 400
    answer = change(browser)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    site.later(1)
    assert change(browser).status_code == 200


def test_with_a_factor_it_takes_a_fresh_one(site: Site) -> None:
    site.write(factors.add, site.alice.id, NewFactor(FactorKind.TOTP, "phone"), 0.0)
    browser = site.signed_in()  # MFA state disabled: no challenge at the sign-in
    for answer in (browser.get("/account-password"), change(browser)):
        assert answer.headers["location"] == "/challenge?next=/account-password"
    assert is_password(site, PASSWORD)


def test_no_room_for_more_hashing_is_temporary(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy(*args: object) -> None:
        return None

    browser = site.signed_in()
    with monkeypatch.context() as patched:
        patched.setattr(site.desk.directory, "hash", busy)
        assert change(browser).status_code == 503
    assert change(browser).status_code == 200


# ---- links --------------------------------------------------------------------------------------


@pytest.fixture
def link(site: Site) -> Callable[[], str]:
    """Has an operator issue one, and returns its path."""

    def issue() -> str:
        issued = site.runner.run(enrolment.issue_password_link(site.office.desk, OPERATOR, "alice"))
        return issued["link"].removeprefix("https://login.example.org")

    return issue


def test_a_link_sets_a_password_once(site: Site, link: Callable[[], str]) -> None:
    signed_in, path, browser = site.signed_in(), link(), site.browser()
    for _ in range(2):  # opening it uses nothing up
        page = browser.get(path)
        assert page.status_code == 200
        assert "alice@example.org" in text_of(page)
    assert browser.post(path, new="short", again="short").status_code == 400
    answer = browser.post(path, new=NEW, again=NEW)
    assert answer.headers["location"] == "/sign-in?said=password-set"
    assert "Sign in with it" in text_of(browser.follow(answer))
    assert is_password(site, NEW)
    assert signed_in.get("/account-password").status_code == 303
    for answer in (browser.get(path), browser.post(path, new=PASSWORD, again=PASSWORD)):
        assert answer.status_code == 404
    assert is_password(site, NEW)


def test_links_that_work_no_more_say_nothing_about_anybody(site: Site, link: Callable[[], str]) -> None:
    replaced, current, browser = link(), link(), site.browser()
    pages = {browser.get(path).text.replace(path, "") for path in (replaced, "/set-password/nonsense")}
    assert len(pages) == 1
    assert "alice" not in pages.pop()
    site.write(accounts.set_enabled, site.alice.id, False)
    assert browser.get(current).status_code == 404
    site.write(accounts.set_enabled, site.alice.id, True)
    assert browser.get(current).status_code == 200
    site.later(86400)
    assert browser.get(current).status_code == 404
    assert site.read(portal_sessions.of_account, site.alice.id, site.office.now) == []
