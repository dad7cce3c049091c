"""Every route of the portal, by how far somebody has come: what each answers stands in TABLE, and a route without a row
fails. Then what holds for all of them: nothing is changed from another site, and no cookie outlives its step.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest

from proxy.admin import app_passwords, enrolment
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account, MfaState
from proxy.domain.notices import Kind
from proxy.domain.sign_in import Stage
from proxy.factors import NewFactor
from proxy.notices.mailer import Mailer
from proxy.notices.telling import tell
from proxy.portal.pages import HEADERS, HSTS
from proxy.portal.push import WITH_CAMERA
from proxy.store import accounts, devices, factors, notices, people
from proxy.store import app_passwords as app_password_rows
from tests.admin.office import OPERATOR
from tests.notices.post_office import post_office
from tests.portal.methods import came_in
from tests.portal.site import PASSWORD, App, Browser, Site, open_site
from tests.portal.walk import routes_of

STATES = ("anonymous", "challenge", "enrol", "stale", "fresh", "must", "disabled", "other")
TABLE = """
                                 anonymous challenge enrol     stale     fresh     must      disabled  other
GET  /account-password           sign-in   challenge enrol     challenge 200       challenge sign-in   200
POST /account-password           sign-in   challenge enrol     challenge 200       challenge sign-in   200
GET  /app-passwords              sign-in   challenge enrol     200       200       password  sign-in   200
GET  /app-passwords/new          sign-in   challenge enrol     challenge 200       password  sign-in   200
POST /app-passwords/new          sign-in   challenge enrol     challenge created   password  sign-in   400
GET  /app-passwords/{id}/created sign-in   challenge enrol     list      list      password  sign-in   list
GET  /app-passwords/{id}/rename  sign-in   challenge enrol     200       200       password  sign-in   404
POST /app-passwords/{id}/rename  sign-in   challenge enrol     list      list      password  sign-in   404
GET  /app-passwords/{id}/revoke  sign-in   challenge enrol     challenge 200       password  sign-in   404
POST /app-passwords/{id}/revoke  sign-in   challenge enrol     challenge 200       password  sign-in   404
GET  /challenge                  sign-in   200       enrol     200       200       200       sign-in   200
GET  /challenge/{kind}           sign-in   200       enrol     200       200       200       sign-in   200
POST /challenge/{kind}           sign-in   400       enrol     400       400       400       sign-in   400
POST /challenge/{kind}/send      sign-in   404       enrol     404       404       404       sign-in   404
POST /challenge/push/again       sign-in   push      enrol     push      push      push      sign-in   push
POST /challenge/push/more        sign-in   push      enrol     push      push      push      sign-in   push
GET  /challenge/push/wait        sign-in   push      push      push      push      push      sign-in   push
GET  /devices                    sign-in   challenge enrol     200       200       password  sign-in   200
POST /devices/forget             sign-in   challenge enrol     200       200       password  sign-in   200
GET  /enrol                      sign-in   challenge 200       factors   factors   password  sign-in   factors
POST /enrol                      sign-in   challenge 400       factors   factors   password  sign-in   factors
GET  /enrol/recovery-codes       sign-in   challenge enrol     list      list      password  sign-in   list
POST /enrol/recovery-codes       sign-in   challenge enrol     new       new       password  sign-in   new
GET  /enrol/recovery-codes.txt   sign-in   challenge enrol     list      list      password  sign-in   list
GET  /enrol/{kind}               sign-in   challenge enrol     factors   factors   password  sign-in   factors
POST /enrol/{kind}               sign-in   challenge enrol     factors   factors   password  sign-in   factors
GET  /factors                    sign-in   challenge enrol     200       200       password  sign-in   200
GET  /factors/add/{kind}         sign-in   challenge enrol     challenge 200       password  sign-in   200
POST /factors/add/{kind}         sign-in   challenge enrol     add       add       password  sign-in   add
GET  /factors/{id:int}           sign-in   challenge enrol     challenge 200       password  sign-in   404
POST /factors/{id:int}/remove    sign-in   challenge enrol     challenge factors   password  sign-in   404
POST /factors/{id:int}/rename    sign-in   challenge enrol     challenge factors   password  sign-in   404
GET  /history                    sign-in   challenge enrol     200       200       password  sign-in   200
GET  /history/not-me/{id:int}    sign-in   challenge enrol     challenge 200       password  sign-in   404
POST /history/not-me/{id:int}    sign-in   challenge enrol     challenge 200       password  sign-in   404
GET  /recovery-address           sign-in   challenge enrol     challenge 200       password  sign-in   200
POST /recovery-address           sign-in   challenge enrol     challenge 400       password  sign-in   400
POST /recovery-address/prove     sign-in   challenge enrol     challenge 400       password  sign-in   400
POST /recovery-address/remove    sign-in   challenge enrol     challenge 200       password  sign-in   200
GET  /sessions                   sign-in   challenge enrol     200       200       password  sign-in   200
POST /sessions/cut               sign-in   challenge enrol     200       200       password  sign-in   200
POST /stay                       sign-in   200       200       200       200       200       sign-in   200

GET  /                                            everybody 200
GET  /healthz                                     everybody 200
GET  /challenge/push/state                        everybody 200
POST /language                                    everybody home
GET  /phone                                       everybody 200
GET  /phone/add/{token}                           everybody 410
POST /phone/add/{token}                           everybody 400
GET  /phone/add/{token}/state                     everybody 200
POST /phone/answer                                everybody 400
POST /phone/ask                                   everybody 400
GET  /phone/manifest.webmanifest                  everybody 200
POST /phone/subscribe                             everybody 400
POST /phone/suspect                               everybody 400
GET  /phone/worker.js                             everybody 200
GET  /profile/{token}.mobileconfig                everybody 410
GET  /set-password/{token}                        everybody 404
POST /set-password/{token}                        everybody 404
GET  /sign-in                    200       challenge enrol     list      list      password  200       list
POST /sign-in                                     everybody 400
GET  /sign-in/break-glass                         everybody 404
GET  /sign-in/callback                            everybody 404
GET  /sign-in/provider                            everybody 404
GET  /sign-in/returned                            everybody 404
GET  /sign-in/passkey            200       200       200       list      list      password  200       list
POST /sign-in/passkey                             everybody 400
POST /sign-out                                    everybody sign-in

GET  /.well-known/autoconfig/mail/config-v1.1.xml everybody 404
GET  /.well-known/user-agent-configuration.json   everybody 404
GET  /Autodiscover/Autodiscover.xml               everybody 200
POST /Autodiscover/Autodiscover.xml               everybody 200
GET  /autodiscover/autodiscover.xml               everybody 200
POST /autodiscover/autodiscover.xml               everybody 200
GET  /mail/config-v1.1.xml                        everybody 404
"""
"""An answer is a status, or a word for where a redirect leads. A POST brings the form in FORMS, which is a good one.

anonymous    nobody is signed in                    challenge    the account password was right, a factor is due
enrol        a first factor must be registered      stale        in, and the last factor is too long ago
fresh        in, a factor was proven a moment ago   must         stale, and the account password must be changed
disabled     fresh, and then the account disabled   other        fresh, with the ids of another person's things
"""
PLACES = {
    "/": "home",
    "/account-password": "password",
    "/app-passwords": "list",
    "/app-passwords/new": "new",
    "/app-passwords/N/created": "created",
    "/challenge": "challenge",
    "/challenge/push": "push",
    "/enrol": "enrol",
    "/factors": "factors",
    "/factors/add/totp": "add",
    "/sign-in": "sign-in",
}
FOR_PROGRAMS = ("/autodiscover/", "/Autodiscover/")
"""What is posted there comes from no page, and changes nothing."""

_numbers = iter(range(100_000))


@dataclass(frozen=True)
class Person:
    """And one of everything that a person has."""

    account: Account
    app_password: int
    factor: int
    device: int
    session: str
    notice: int


FORMS: dict[str, Callable[[Person], dict[str, str]]] = {
    "/account-password": lambda it: {"current": PASSWORD, "new": "four new words here", "again": "four new words here"},
    "/app-passwords/new": lambda it: {"name": "Tablet", "scope": "imap", "account": it.account.address},
    "/app-passwords/{id}/rename": lambda it: {"name": "Telephone"},
    "/devices/forget": lambda it: {"id": str(it.device)},
    "/factors/{id:int}/rename": lambda it: {"name": "slate"},
    "/language": lambda it: {"language": "es"},
    "/sessions/cut": lambda it: {"id": it.session},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("site")) as opened, post_office() as office:
        opened.desk.mailer = Mailer(office.settings(), "Example Mail", "login.example.org")
        yield opened


def table() -> dict[tuple[str, str], dict[str, str]]:
    rows = {}
    for line in TABLE.strip().splitlines()[1:]:
        if line:
            method, path, *cells = line.split()
            answers = cells[1:] * len(STATES) if cells[0] == "everybody" else cells
            rows[method, path] = dict(zip(STATES, answers, strict=True))
    return rows


def a_person(site: Site, mfa: MfaState = MfaState.ENFORCED) -> Person:
    number = next(_numbers)
    account = site.person(f"p{number}", mfa)
    made = asyncio.run(app_passwords.create(site.office.desk, OPERATOR, account.address, "Phone"))
    device = site.write(devices.add, account.id, number.to_bytes(32, "big"), "Firefox", site.office.now, "192.0.2.1")
    site.office.connect(f"session {number}", made["id"])
    site.write(tell, account, Kind.ACCOUNT_PASSWORD_CHANGED, {"address": "192.0.2.1"}, site.office.now)
    told_of = {one.kind: one.id for one in site.read(notices.last, account.id, 9)}
    notice = told_of[Kind.ACCOUNT_PASSWORD_CHANGED]
    if mfa is MfaState.ENABLED:
        return Person(account, made["id"], 1, device.id, f"session {number}", notice)
    site.app(account)
    site.write(factors.add, account.id, NewFactor(FactorKind.TOTP, "tablet", sealed=b"x"), site.office.now)
    factor = site.read(factors.of_account, account.id)[1].id
    return Person(account, made["id"], factor, device.id, f"session {number}", notice)


def intact(site: Site, it: Person) -> bool:
    """Whether they have what they had."""
    live = [row.name for row in site.read(app_password_rows.of_account, it.account.id) if row.ended is None]
    named = [row.name for row in site.read(factors.of_account, it.account.id)]
    known = [device.id for device in site.read(devices.of_account, it.account.id)]
    return (
        live == ["Phone"]
        and named in (["phone", "tablet"], [])
        and it.device in known
        and it.session in [session.id for session in site.office.sessions]
    )


def at(site: Site, state: str) -> tuple[Browser, Person]:
    """Somebody in this state, and whose things they ask for."""
    it = a_person(site, MfaState.ENABLED if state == "enrol" else MfaState.ENFORCED)
    if state == "anonymous":
        return site.browser(), it
    if state in ("challenge", "enrol"):
        return came_in(site, it.account, stage=Stage(state)), it
    browser = came_in(site, it.account, fresh=state not in ("stale", "must"))
    if state == "must":
        site.write(people.change, it.account.id, must_change=True)
    if state == "disabled":
        site.write(accounts.set_enabled, it.account.id, False)
    return browser, a_person(site) if state == "other" else it


def filled(path: str, it: Person) -> str:
    number = it.notice if path.startswith("/history/") else it.factor
    values = (("{kind}", "totp"), ("{token}", "x" * 43), ("{id:int}", number), ("{id}", it.app_password))
    for name, value in values:
        path = path.replace(name, str(value))
    assert "{" not in path, f"what stands for the parameter of {path}?"
    return path


def told(answer: httpx.Response) -> str:
    """As TABLE says it. Whatever it is, the browser is told what pages may do, and to keep none of them."""
    wanted = HEADERS | (WITH_CAMERA if answer.url.path == "/phone" else {})
    assert {name: answer.headers.get(name) for name in HEADERS} == wanted
    assert answer.headers["strict-transport-security"] == HSTS
    assert answer.headers["cache-control"] == "no-store"
    if answer.status_code != 303:
        return str(answer.status_code)
    place = re.sub(r"/[0-9]+/", "/N/", str(answer.headers["location"]).partition("?")[0])
    return PLACES.get(place, place)


def test_every_route_has_a_row(site: Site) -> None:
    assert {(method, path) for method, path, _ in routes_of(site)} == table().keys()


@pytest.mark.parametrize("state", STATES)
def test_what_each_route_answers(site: Site, state: str) -> None:
    found, expected = {}, {}
    somebody, owner = at(site, state)
    for (method, path), answers in table().items():
        expected[method, path] = answers[state]
        if method == "GET":
            browser = site.browser()
            browser.cookies = httpx.Cookies(somebody.cookies)
            found[method, path] = told(browser.get(filled(path, owner)))
            continue
        browser, it = at(site, state)
        form = FORMS[path](it) if path in FORMS else {}
        found[method, path] = told(browser.post(filled(path, it), **form))
        assert intact(site, it) or state in ("stale", "fresh"), path
    assert found == expected
    assert intact(site, owner)


@pytest.mark.parametrize(
    "sent",
    [
        {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
        {"sec-fetch-site": "same-site", "origin": "https://www.example.org"},
        {"origin": "null"},
    ],
    ids=["another site", "a sibling", "an old browser"],
)
def test_nothing_is_changed_from_another_site(site: Site, sent: dict[str, str]) -> None:
    browser, it = at(site, "fresh")
    posts = [path for method, path in table() if method == "POST" and not path.startswith(FOR_PROGRAMS)]
    assert len(posts) > 10
    for path in posts:
        form = FORMS[path](it) if path in FORMS else {}
        answer = browser.request("POST", filled(path, it), sent, data=form or {"": ""})
        assert answer.status_code == 403, path
        assert "set-cookie" not in answer.headers
    assert intact(site, it)
    assert browser.get("/devices").status_code == 200


def test_no_other_method_is_answered(site: Site) -> None:
    browser, it = at(site, "fresh")
    every, ours = table(), {"origin": site.desk.origin}
    for path in {path for _, path in every}:
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - {
            one for one, other in every if other == path
        }:
            assert browser.request(method, filled(path, it), ours).status_code in (404, 405), (method, path)
    assert intact(site, it)


def test_a_cookie_is_good_for_one_step(site: Site) -> None:
    """From the account password by enrolment code and factor to another password: the cookie of each step is dead after
    the next one, wherever it leads."""
    number = next(_numbers)
    account = site.person(f"p{number}", MfaState.ENABLED)
    browser, cookies = site.browser(), []

    def stepped(answer: httpx.Response, where: str) -> None:
        assert told(answer) == where, answer.text
        cookies.append(browser.cookies["__Host-sidegate"])

    stepped(browser.post("/sign-in", name=account.address, password=PASSWORD), "enrol")
    code = asyncio.run(enrolment.issue_code(site.office.desk, OPERATOR, account.address))["code"]
    browser.post("/enrol", code=code)
    key = re.search(r"<code>([A-Z2-7 ]{30,})</code>", browser.get("/enrol/totp").text)
    assert key is not None
    app = App(site, key[1].replace(" ", ""))
    stepped(browser.post("/enrol/totp", code=app.code(), name="phone"), "/enrol/recovery-codes")
    stepped(browser.post("/sign-in", name=account.address, password=PASSWORD), "challenge")
    stepped(browser.post("/challenge/totp", code=app.code()), "list")
    site.later(400)
    stepped(browser.post("/challenge/totp", code=app.code(), next="/account-password"), "password")
    stepped(browser.post("/account-password", **FORMS["/account-password"](a_person(site))), "200")
    assert len(set(cookies)) == len(cookies)
    for cookie in cookies:
        other = site.browser(cookie=f"__Host-sidegate={cookie}")
        assert told(other.get("/factors")) == ("200" if cookie == cookies[-1] else "sign-in")
    last = browser.cookies["__Host-sidegate"]
    browser.post("/sign-out")
    assert told(site.browser(cookie=f"__Host-sidegate={last}").get("/factors")) == "sign-in"
