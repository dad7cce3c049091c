"""Every request at the portal: who it is taken for, where it comes from, and what its answer leaves in the browser."""

from __future__ import annotations

import re
from dataclasses import replace
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest

from proxy.domain import tokens
from proxy.domain.model import MfaState
from proxy.domain.sign_in import IDLE, LIFE, Stage
from proxy.portal.web import MAX_FORM, is_ours
from proxy.store import accounts, people, portal_sessions
from proxy.store.schema import portal_sessions as session_table
from tests.portal.site import PASSWORD, Site, notes_of, open_site, text_of

SESSION = "__Host-sidegate"
DEVICE = "__Host-sidegate-device"


def cookies_of(answer: httpx.Response) -> dict[str, dict[str, str]]:
    """What an answer sets: attributes by cookie, the value among them."""
    found = {}
    for header in answer.headers.get_list("set-cookie"):
        ((name, morsel),) = SimpleCookie(header).items()
        found[name] = {"value": morsel.value, **{key: value for key, value in morsel.items() if value}}
    return found


def signs_in(site: Site, **headers: str) -> httpx.Response:
    return site.browser().post("/sign-in", headers, name="alice", password=PASSWORD)


# ---- cookies and sessions -----------------------------------------------------------------------


def test_cookies_are_the_hosts_alone(site: Site) -> None:
    set_ = cookies_of(signs_in(site))
    assert set_.keys() == {SESSION, DEVICE}
    for cookie in set_.values():
        assert (cookie["path"], cookie["samesite"].lower()) == ("/", "strict")
        assert cookie["secure"] is True
        assert cookie["httponly"] is True
        assert "domain" not in cookie
    assert "max-age" not in set_[SESSION]  # it ends with the browser
    assert int(set_[DEVICE]["max-age"]) == 400 * 86400


def test_without_tls_cookies_have_other_names(tmp_path: Path) -> None:
    with open_site(tmp_path, url="http://127.0.0.1:8080/") as site:
        set_ = cookies_of(signs_in(site))
        assert set_.keys() == {"sidegate", "sidegate-device"}
        assert "secure" not in set_["sidegate"]


def test_kept_is_only_the_tokens_digest(site: Site) -> None:
    token = cookies_of(signs_in(site))[SESSION]["value"]
    (row,) = site.read(notes_of, session_table)
    assert row.token_hash == tokens.hash_of(token)
    assert len(token) == 43
    for file in site.desk.config.state_dir.iterdir():
        assert token.encode() not in file.read_bytes()


def test_a_session_of_the_attackers_is_not_taken_over(site: Site) -> None:
    """Session fixation: the cookie that was there before is another one after the sign-in, and opens nothing."""
    planted = site.signed_in()
    victim = site.browser()
    victim.cookies = httpx.Cookies(planted.cookies)
    before = victim.cookies[SESSION]
    victim.post("/sign-in", name="alice", password=PASSWORD)
    assert victim.cookies[SESSION] != before
    assert planted.get("/account-password").status_code == 303


@pytest.mark.parametrize("cookie", ["", "x", "%00", "a" * 5000, "00" * 32, ".."])
def test_a_cookie_that_is_none_is_taken_away(site: Site, cookie: str) -> None:
    browser = site.browser(cookie=f"{SESSION}={cookie}; {DEVICE}={cookie}")
    answer = browser.get("/account-password")
    assert answer.headers["location"] == "/sign-in?next=/account-password"
    if cookie:
        assert cookies_of(answer)[SESSION]["max-age"] == "0"
    assert browser.post("/sign-in", name="alice", password=PASSWORD).status_code == 303


def test_sessions_end_when_idle_and_absolutely(site: Site) -> None:
    browser = site.signed_in()
    began = site.office.now
    while site.office.now + IDLE - 60 < began + LIFE:
        site.later(IDLE - 60)
        assert browser.get("/account-password").status_code == 200
    site.later(IDLE - 60)
    assert browser.get("/account-password").status_code == 303
    browser = site.signed_in()
    site.later(IDLE)
    assert browser.get("/account-password").status_code == 303


def test_a_disabled_account_is_out_at_once(site: Site) -> None:
    browser = site.signed_in()
    site.write(accounts.set_enabled, site.alice.id, False)
    assert browser.get("/account-password").status_code == 303


def test_what_is_shown_is_not_kept_by_browsers(site: Site) -> None:
    browser = site.signed_in()
    for path in ("/", "/account-password", "/sign-in"):
        assert browser.get(path).headers["cache-control"] == "no-store"


# ---- stages -------------------------------------------------------------------------------------

PAGES = {
    "/account-password": {Stage.IN},
    "/": {None, Stage.CHALLENGE, Stage.ENROL, Stage.IN},
    "/sign-in": {None},
}
GOALS = {None: "/sign-in", Stage.CHALLENGE: "/challenge", Stage.ENROL: "/enrol", Stage.IN: "/app-passwords"}


@pytest.mark.parametrize("stage", [None, *Stage])
@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_each_page_is_for_its_stages(site: Site, stage: Stage | None, path: str, method: str) -> None:
    browser = site.browser()
    if stage is not None:
        browser = site.signed_in()
        site.write(lambda c: c.execute(session_table.update().values(stage=stage.value)))
    answer = browser.get(path) if method == "GET" else browser.post(path)
    if stage in PAGES[path] or (path, method) == ("/sign-in", "POST"):
        assert answer.status_code in (200, 400, 405)
    else:
        assert answer.status_code == 303
        assert answer.headers["location"].partition("?")[0] == GOALS[stage]


def test_who_must_change_the_password_does_nothing_else(site: Site) -> None:
    site.write(people.change, site.alice.id, must_change=True)
    browser = site.browser()
    answer = browser.post("/sign-in", name="alice", password=PASSWORD)
    assert answer.headers["location"] == "/account-password"
    assert "needs a new password" in text_of(browser.get("/account-password"))


def test_one_step_ahead_of_two_requests_with_one_cookie(site: Site) -> None:
    site.person("bob", MfaState.ENABLED)
    bob = site.signed_in("bob")
    hashed = tokens.hash_of(bob.cookies["__Host-sidegate"])
    session = site.read(portal_sessions.by_token, hashed, site.office.now)
    assert session is not None
    assert site.write(portal_sessions.rotate, hashed, replace(session, token_hash=b"a" * 32))
    assert not site.write(portal_sessions.rotate, hashed, replace(session, token_hash=b"b" * 32))


# ---- requests from elsewhere --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "fine"),
    [
        ({"sec-fetch-site": "same-origin", "origin": "https://login.example.org"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, False),
        ({"sec-fetch-site": "same-site", "origin": "https://www.example.org"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "https://login.example.org"}, False),
        ({"origin": "https://login.example.org"}, True),
        ({"origin": "https://login.example.org:8443"}, False),
        ({"origin": "http://login.example.org"}, False),
        ({"origin": "https://login.example.org.evil.example"}, False),
        ({"origin": "null"}, False),
        ({}, False),
        ({"referer": "https://login.example.org/sign-in"}, False),
        ({"origin": ""}, False),
        ({"origin": "https://login.example.org", "sec-fetch-site": ""}, False),
    ],
)
def test_changes_come_from_our_own_pages(site: Site, headers: dict[str, str], fine: bool) -> None:
    browser = site.browser()
    form = {"name": "alice", "password": PASSWORD}
    answer = browser.request("POST", "/sign-in", headers, data=form)
    assert answer.status_code == (303 if fine else 403)
    assert (SESSION in browser.cookies) == fine
    if not fine:
        assert "sent from another site" in text_of(answer)


def test_reading_is_allowed_from_elsewhere(site: Site) -> None:
    assert site.browser().get("/sign-in", **{"sec-fetch-site": "cross-site"}).status_code == 200


# ---- where people are ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "10.0.0.1, 198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "198.51.100.7, nonsense", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("127.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("203.0.113.5", "198.51.100.7", "203.0.113.5"),
    ],
)
def test_the_listed_web_server_says_where_they_are(tmp_path: Path, peer: str, forwarded: str, address: str) -> None:
    with open_site(tmp_path, forwarded_from=("127.0.0.1/32",)) as site:
        browser = site.browser()
        browser.address = peer
        browser.post("/sign-in", {"x-forwarded-for": forwarded}, name="alice", password=PASSWORD)
        (row,) = site.read(notes_of, session_table)
        assert row.address == address


def test_without_a_listed_web_server_nobody_is_believed(site: Site) -> None:
    browser = site.browser()
    browser.address = "127.0.0.1"
    browser.post("/sign-in", {"x-forwarded-for": "10.0.0.1"}, name="alice", password=PASSWORD)
    assert site.read(notes_of, session_table)[0].address == "127.0.0.1"


# ---- forms --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"name=alice&password=%s" % PASSWORD.replace(" ", "+").encode(), "application/x-www-form-urlencoded", 303),
        (b"name=alice", "application/json", 400),
        (b"name=alice", "multipart/form-data; boundary=x", 400),
        (b"name=%ff&password=x", "application/x-www-form-urlencoded", 400),
        (b"\xff", "application/x-www-form-urlencoded", 400),
        (b"a=1&" * 300, "application/x-www-form-urlencoded", 400),
        (b"a" * (MAX_FORM + 1), "application/x-www-form-urlencoded", 413),
    ],
)
def test_what_is_no_form_of_ours_is_refused_with_a_page(site: Site, content: bytes, kind: str, status: int) -> None:
    headers = {"content-type": kind, "origin": site.desk.origin}
    answer = site.browser().request("POST", "/sign-in", content=content, headers=headers)
    assert answer.status_code == status
    if status != 303:
        assert "<h1" in answer.text


@pytest.mark.parametrize("path", ["/", "/history", "/app-passwords/12/created", "/a?b=c&d=%20e"])
def test_our_own_paths(path: str) -> None:
    assert is_ours(path)


@pytest.mark.parametrize(
    "path", ["", "x", "//x", "/\\x", "/x//y", "/../x", "/x\n", "/x#y", "https://x", "/x?y\n", "/é"]
)
def test_what_is_no_path_of_ours(path: str) -> None:
    assert not is_ours(path)


# ---- language -----------------------------------------------------------------------------------


def test_pages_speak_the_browsers_language(site: Site) -> None:
    answer = site.browser(**{"accept-language": "es-MX,es;q=0.9"}).get("/sign-in")
    assert '<html lang="es">' in answer.text
    assert "Iniciar sesión" in text_of(answer)


def test_a_language_that_was_chosen_is_kept(site: Site) -> None:
    browser = site.signed_in()
    answer = browser.post("/language", language="es", back="/account-password")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account-password")
    assert "Contraseña actual" in text_of(browser.follow(answer))
    assert site.read(people.by_id, site.alice.id).language == "es"
    assert "Contraseña actual" in text_of(site.signed_in().get("/account-password"))  # another browser, same person
    assert browser.post("/language", language="xx").status_code == 400
    assert browser.post("/language", language="en", back="//evil.example").headers["location"] == "/"


# ---- paths --------------------------------------------------------------------------------------


def test_a_portal_under_a_path_stays_under_it(tmp_path: Path) -> None:
    with open_site(tmp_path, url="https://www.example.org/apps/") as site:
        browser = site.browser()
        answer = browser.get("/apps/account-password")
        assert answer.headers["location"] == "/apps/sign-in?next=/account-password"
        page = browser.get("/apps/sign-in")
        assert set(re.findall(r'(?:href|src|action)="(/[^"]*)"', page.text)) > {"/apps/sign-in", "/apps/language"}
        assert all(path.startswith("/apps/") for path in re.findall(r'(?:href|src|action)="(/[^"]*)"', page.text))
        answer = browser.post("/apps/sign-in", name="alice", password=PASSWORD, next="/account-password")
        assert answer.headers["location"] == "/apps/account-password"
        assert browser.follow(answer).status_code == 200
