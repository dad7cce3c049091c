"""What attackers send to the portal's pages; docs/threats.md says which attack is tried where."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import httpx
import pytest

from proxy.directory.embedded import Embedded
from proxy.domain.delays import DAY
from proxy.domain.factor_kinds import FactorKind
from proxy.factors import FactorRow
from proxy.store import accounts, hashing
from tests.portal.methods import came_in
from tests.portal.site import PASSWORD, Browser, Site, elements, open_site, text_of
from tests.support.timing import cliffs_delta

SESSION = "__Host-sidegate"
DEVICE = "__Host-sidegate-device"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """For what leaves nothing behind."""
    with open_site(tmp_path_factory.mktemp("site")) as opened:
        opened.enrolled("bob")
        yield opened


# ---- who has an account -------------------------------------------------------------------------

SAMPLES = 120
APART = 0.4
"""Cliff's delta of equal times stays below it in all but one of a million runs."""


def test_the_time_of_a_refusal_does_not_tell_who_has_an_account(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the constant time that a refusal takes, and with hashes that hide nothing: by construction."""
    monkeypatch.setattr(hashing, "_ACCOUNT_PASSWORDS", hashing._APP_PASSWORDS)
    site.desk.directory = Embedded(site.office.threads)
    phc = hashing.hash_account_password(PASSWORD)
    off = site.person("off")
    for account in (site.alice, off):
        site.write(accounts.set_password_hash, account.id, phc, site.office.now)
    site.write(accounts.set_enabled, off.id, False)
    tries = {"alice": "wrong", "nobody": PASSWORD, "off": PASSWORD}
    taken: dict[str, list[float]] = {name: [] for name in tries}

    async def ask(name: str, password: str, address: str) -> float:
        """Seconds until the answer is whole: what is done behind it nobody sees."""
        body = urlencode({"name": name, "password": password}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded", "origin": site.desk.origin}
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/sign-in",
            "query_string": b"",
            "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
            "client": (address, 1),
        }
        answered: list[float] = []

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: object) -> None:
            answered.append(time.perf_counter())

        began = time.perf_counter()
        await site.pages(scope, receive, send)  # type: ignore[arg-type]
        return answered[-1] - began

    names = list(tries)
    for sample in range(SAMPLES):
        site.later(DAY)
        random.Random(sample).shuffle(names)  # interleaved: a noisy machine hits all of them
        for name in names:
            address = f"10.{sample}.{names.index(name)}.1"
            taken[name].append(site.runner.run(ask(name, tries[name], address)))
    for name in ("nobody", "off"):
        assert abs(cliffs_delta(taken["alice"], taken[name])) < APART, name


# ---- codes --------------------------------------------------------------------------------------


def test_two_hundred_sessions_at_once_try_one_code(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The delay is the account's; what gets past it meets the limits of tests/factors/test_totp.py."""
    bob, app = site.enrolled("bob")
    browsers = [came_in(site, bob) for _ in range(200)]
    looked_at = 0
    factor = site.desk.factors[FactorKind.TOTP]
    finish = factor.finish

    async def counted(*arguments: object) -> FactorRow | str:
        nonlocal looked_at
        looked_at += 1
        return await finish(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(factor, "finish", counted)

    async def storm() -> list[int]:
        async def post(browser: Browser) -> int:
            transport = httpx.ASGITransport(site.pages)
            async with httpx.AsyncClient(transport=transport, base_url=site.desk.origin) as http:
                http.cookies = browser.cookies
                headers = {"origin": site.desk.origin}
                return (await http.post("/challenge/totp", data={"code": app.wrong()}, headers=headers)).status_code

        return list(await asyncio.gather(*map(post, browsers)))

    answers = site.runner.run(storm())
    assert looked_at == 1
    assert answers.count(400) == 1
    assert answers.count(429) == 49
    assert answers.count(303) == 150, "an account has fifty sessions at most"


def test_too_many_codes_are_429(site: Site) -> None:
    _, app = site.enrolled("bob")
    browser = site.signed_in("bob")
    for _ in range(5):
        site.later(5)
        assert browser.post("/challenge/totp", code=app.wrong()).status_code == 400
    site.later(5)
    answer = browser.post("/challenge/totp", code=app.wrong())
    assert answer.status_code == 429
    assert "Too many wrong codes" in text_of(answer)


# ---- cookies ------------------------------------------------------------------------------------


def test_a_cookie_that_a_neighbour_tossed_is_not_ours(site: Site) -> None:
    """Another host of the domain can set cookies for us, but none with the prefix __Host-; other names mean nothing."""
    thief = site.signed_in()
    token = thief.cookies[SESSION]
    for name in ("sidegate", "__Secure-sidegate", "__host-sidegate", "__Host-Sidegate"):
        browser = site.browser(cookie=f"{name}={token}")
        assert browser.get("/account-password").headers["location"] == "/sign-in?next=/account-password", name


def test_of_two_cookies_with_one_name_neither_is_mixed_up(site: Site) -> None:
    victim = site.signed_in()
    both = f"{SESSION}={'0' * 43}; {SESSION}={victim.cookies[SESSION]}"
    assert site.browser(cookie=both).get("/account-password").status_code in (200, 303)
    assert victim.get("/account-password").status_code == 200


def test_a_device_token_opens_nothing_by_itself(site: Site) -> None:
    known = site.signed_in()
    browser = site.browser(cookie=f"{SESSION}={known.cookies[DEVICE]}; {DEVICE}={known.cookies[DEVICE]}")
    assert browser.get("/account-password").status_code == 303


# ---- addresses ----------------------------------------------------------------------------------

ELSEWHERE = [
    "https://evil.example/",
    "http:evil.example",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/%5cevil.example",
    "/%2f%2fevil.example",
    "/.//evil.example",
    "/..//evil.example",
    "/./../evil.example/..//",
    "/@evil.example",
    "@evil.example",
    ".evil.example",
    "/\tevil.example",
    "/\r\nSet-Cookie: evil=1",
    "/x%0d%0aSet-Cookie:evil=1",
    "javascript:alert(1)//evil",
    "data:text/html,evil",
    "/history#evil",
    "/history?next=//evil.example",
    "/ｅvil.example",
    "/\u2028evil",
]


@pytest.mark.parametrize("wanted", ELSEWHERE)
def test_nobody_is_sent_elsewhere(kept: Site, wanted: str) -> None:
    """At a sign-in, behind a second step, and by the language form, which all go on where they are told."""
    browser = kept.browser()
    page = browser.get("/sign-in", params={"next": wanted})
    assert "evil" not in page.text
    places = [browser.post("/sign-in", name="alice", password=PASSWORD, next=wanted)]
    places.append(kept.browser().post("/sign-in", name="bob", password=PASSWORD, next=wanted))
    places.append(browser.post("/language", language="en", back=wanted))
    for answer in places:
        assert answer.status_code == 303
        assert answer.headers["location"] in ("/app-passwords", "/challenge", "/"), answer.headers["location"]
        assert "evil" not in str(answer.headers)


@pytest.mark.parametrize("header", ["host", "x-forwarded-host", "x-original-url", "x-rewrite-url", "forwarded"])
def test_no_header_says_where_we_are(kept: Site, header: str) -> None:
    browser = kept.browser(**{header: "evil.example"})
    for path in ("/", "/sign-in", "/account-password", "/nowhere", "/static", "/app-passwords/"):
        answer = browser.get(path)
        assert "evil" not in answer.text + str(answer.headers), path
    answer = browser.post("/sign-in", name="alice", password=PASSWORD)
    assert answer.headers["location"] == "/app-passwords"
    assert "evil" not in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "path",
    [
        "/app-passwords/..%2fsign-in",
        "/static/%2e%2e/account-password",
        "/account-password/",
        "/ACCOUNT-PASSWORD",
        "/account-password;x=1",
        "/account-password%00",
        "/account-password%20",
        "/static/..%5c..%5cpages.py",
        "/static/%2e%2e%2fpages.py",
        "/static//etc/passwd",
        "/app-passwords/99999999999999999999999/revoke",
        "/app-passwords/-1/revoke",
        "/app-passwords/1e3/revoke",
        "/challenge/__class__",
        "/enrol/../../etc/passwd",
    ],
)
def test_no_other_spelling_of_a_path_opens_a_page(kept: Site, path: str) -> None:
    """Not for who is in, and not past the step that is due for who is not."""
    half_in = kept.browser()
    half_in.post("/sign-in", name="bob", password=PASSWORD)
    for browser in (came_in(kept), kept.browser(), half_in):
        answer = browser.get(path)
        assert answer.status_code in (303, 404, 405), answer.status_code
        assert "root:" not in answer.text
        assert "def " not in answer.text


# ---- what is typed ------------------------------------------------------------------------------

SCRIPT = "\"'><script>alert(1)</script>{{7*7}}${7*7}%(account)s"


def test_what_is_typed_is_shown_as_text(site: Site) -> None:
    app_password = {"name": SCRIPT, "scope": "imap", "networks": SCRIPT, "expires": SCRIPT}
    inside = came_in(site)
    pages = [
        site.browser().post("/sign-in", name=SCRIPT, password="x"),
        site.browser().get("/sign-in", params={"next": SCRIPT, "said": SCRIPT}),
        site.browser(**{"accept-language": SCRIPT.replace("\n", "")}).get("/sign-in"),
        site.browser().get("/set-password/" + SCRIPT),
        site.browser().get("/" + SCRIPT),
        inside.post("/app-passwords/new", **app_password),
        inside.get("/app-passwords/new", params=app_password),
        inside.post("/factors/add/totp", name=SCRIPT),
    ]
    for page in pages:
        assert "<script>alert" not in page.text
        assert "49" not in text_of(page).replace(SCRIPT, "").replace("2049", ""), text_of(page)
        assert not any("alert" in str(element.get("src")) for element in elements(page, "script"))


def test_names_that_others_see_are_shown_as_text(site: Site) -> None:
    """A browser's name of itself stands in the devices, in the history and in the sessions of its person."""
    browser = site.browser(**{"user-agent": SCRIPT})
    browser.post("/sign-in", name="alice", password="wrong")
    site.later(60)
    browser.post("/sign-in", name="alice", password=PASSWORD)
    for path in ("/devices", "/history", "/sessions"):
        page = browser.get(path)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
