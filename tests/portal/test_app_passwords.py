"""The pages of app passwords, with the core's own API behind them."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from proxy.admin import rehearsal
from proxy.admin.desk import StillOpen
from proxy.config.settings import Address
from proxy.domain import app_passwords as letters_of
from proxy.domain.model import LastUse, Protocol
from proxy.domain.secret import Secret
from proxy.domain.verdicts import Reason
from proxy.portal.web import is_ours
from proxy.store import app_passwords, audit, history, links, people
from proxy.store.app_passwords import Use
from proxy.store.errors import StoreUnavailable
from proxy.store.history import RefusalRecord
from proxy.store.schema import links as link_table
from tests.admin.office import NOW
from tests.portal.guest import ADDRESS, Guest, policy, shared, text, without_core
from tests.portal.site import Site, elements

SECRET = re.compile(r'<code id="secret" translate="no">((?:[a-z]{4}-){4}[a-z]{4})</code>')
PHONE = {"name": "Phone", "scope": ["imap", "smtp"]}


@pytest.fixture
def alice(site: Site) -> Guest:
    return Guest(site, site.alice)


def create(guest: Guest, **form: object) -> int:
    """The new one's id."""
    response = guest.post("/app-passwords/new", {**PHONE, **form})
    assert response.status_code == 303, text(response.text)
    return int(response.headers["location"].split("/")[2])


def rows(site: Site) -> list[app_passwords.AppPasswordRecord]:
    with site.office.store.reading() as c:
        return app_passwords.of_account(c, None)


def test_one_is_created_and_shown_once(site: Site, alice: Guest) -> None:
    form = alice.get("/app-passwords/new")
    assert form.status_code == 200
    assert 'value="Mail on my Linux computer"' in form.text
    made = alice.post("/app-passwords/new", PHONE)
    assert (made.status_code, made.headers["location"]) == (303, "/app-passwords/1/created")
    shown = alice.follow(made)
    match = SECRET.search(shown.text)
    assert match is not None, shown.text
    assert letters_of.normalize(match[1]) is not None
    assert shown.headers["cache-control"] == "no-store"
    assert "alice@example.org" in shown.text
    assert 'src="/static/copy.js"' in shown.text
    reload = alice.follow(made)
    assert (reload.status_code, reload.headers["location"]) == (303, "/app-passwords")
    listed = alice.get("/app-passwords")
    assert "Phone" in listed.text
    assert match[1] not in listed.text
    assert match[1].replace("-", "").encode() not in b"".join(
        file.read_bytes() for file in site.desk.config.state_dir.iterdir()
    )


def test_what_is_created_is_what_was_chosen(site: Site, alice: Guest) -> None:
    create(alice, name="  Laptop ", scope=["imap"], here="on", networks="198.51.100.0/24, 2001:db8::/32", expires="30d")
    (record,) = rows(site)
    assert (record.name, record.scopes, record.expires) == ("Laptop", {Protocol.IMAP}, NOW + 30 * 86400)
    assert record.networks == (f"{ADDRESS}/32", "198.51.100.0/24", "2001:db8::/32")
    assert site.office.events()[-1][0] == "app_password_created"


def test_the_secret_is_for_the_session_that_made_it_and_not_for_long(site: Site, alice: Guest) -> None:
    made = alice.post("/app-passwords/new", PHONE)
    elsewhere = Guest(site, alice.account)
    assert elsewhere.follow(made).headers["location"] == "/app-passwords"
    assert SECRET.search(alice.follow(made).text) is not None
    late = alice.post("/app-passwords/new", {**PHONE, "name": "Tablet"})
    site.office.now += 61
    assert alice.follow(late).headers["location"] == "/app-passwords"


def test_setting_up_programs_stands_below_it_and_is_gone_with_it(site: Site, alice: Guest) -> None:
    front, *others = site.desk.config.fronts
    public = [replace(one, public=Address("mail.example.org", one.listen.port)) for one in (front, *others)]
    site.desk.config = replace(site.desk.config, fronts=tuple(public))
    made = alice.post("/app-passwords/new", PHONE)
    shown = alice.follow(made)
    secret = SECRET.search(shown.text)
    assert secret is not None
    assert "Put it into your program" in text(shown.text)
    assert shown.text.count(secret[1]) >= 3, "by itself, and once for each server"
    assert len(shown.content) < 100_000
    assert alice.follow(made).status_code == 303


def test_what_waits_to_be_shown_is_sealed_and_gone_after_that(site: Site, alice: Guest) -> None:
    made = alice.post("/app-passwords/new", PHONE)
    with site.office.store.reading() as c:
        (row,) = c.execute(link_table.select()).all()
    assert row.sealed is not None
    shown = SECRET.search(alice.follow(made).text)
    assert shown is not None
    assert shown[1].encode() not in row.sealed
    assert shown[1].replace("-", "").encode() not in row.sealed
    with site.office.store.reading() as c:
        (row,) = c.execute(link_table.select()).all()
    assert row.sealed is None


def test_a_store_that_cannot_keep_it_loses_nothing(site: Site, alice: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **more: object) -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(links, "add", full)
    shown = alice.post("/app-passwords/new", PHONE)
    assert (shown.status_code, SECRET.search(shown.text) is not None) == (200, True)
    assert shown.headers["cache-control"] == "no-store"


def test_names_are_suggested_after_the_device_and_none_twice(site: Site, alice: Guest) -> None:
    create(alice, name="Mail on my Linux computer")
    assert 'value="Mail on my Linux computer 2"' in alice.get("/app-passwords/new").text
    create(alice, name="Mail on my Linux computer 2")
    assert 'value="Mail on my Linux computer 3"' in alice.get("/app-passwords/new").text


def test_only_what_has_a_front_is_offered(site: Site, alice: Guest) -> None:
    page = alice.get("/app-passwords/new").text
    assert re.findall(r'name="scope" value="(\w+)"( checked)?', page) == [("imap", " checked"), ("smtp", " checked")]
    assert alice.post("/app-passwords/new", {**PHONE, "scope": ["ldap"]}).status_code == 400


@pytest.mark.parametrize(
    ("form", "field", "says"),
    [
        ({"name": ""}, "name", "Give it a name of at most 64 characters."),
        ({"name": "x" * 65}, "name", "Give it a name of at most 64 characters."),
        ({"scope": []}, "scope", "Choose at least one thing that it may do."),
        ({"scope": ["imap", "pop3"]}, "scope", "Choose at least one thing that it may do."),
        ({"networks": "192.0.2.0/24 <b>home</b>"}, "networks", "“<b>home</b>” is not a network."),
        ({"networks": " ".join(f"192.0.2.{n}" for n in range(33))}, "networks", "Write at most 32 networks."),
        ({"expires": "999d"}, "expires", "Choose one of these times."),
        ({"account": "bob@example.org"}, None, "Something in the form needs another look."),
    ],
)
def test_what_is_wrong_with_the_form_is_said_and_nothing_lost(
    site: Site, alice: Guest, form: dict[str, object], field: str | None, says: str
) -> None:
    site.person("bob")
    response = alice.post("/app-passwords/new", {**PHONE, "networks": "198.51.100.7", "expires": "7d", **form})
    assert response.status_code == 400
    assert says in text(response.text)
    assert "<b>home" not in response.text
    if field is not None:
        assert f'id="{field}-problem"' in response.text
    if "name" not in form:
        assert 'value="Phone"' in response.text
    if "networks" not in form:
        assert 'value="198.51.100.7"' in response.text
    if "expires" not in form:
        assert '<option value="7d" selected>' in response.text
    assert rows(site) == []


def test_a_factor_is_asked_for_first_and_the_form_comes_back(site: Site, alice: Guest) -> None:
    stale = Guest(site, alice.account, factor_age=301.0)
    form = {
        "name": "Ünser „Phone“ + 100 % & more",
        "scope": ["imap"],
        "here": "on",
        "networks": "2001:db8::/32",
        "expires": "1d",
    }
    asked = stale.post("/app-passwords/new", form)
    assert asked.status_code == 303
    target = urlsplit(asked.headers["location"])
    assert target.path == "/challenge"
    assert rows(site) == []
    back = parse_qs(target.query)["next"][0]
    page = alice.get(back)
    assert page.status_code == 200
    assert html.escape("Ünser „Phone“ + 100 % & more", quote=True).replace("&#x27;", "&#39;") in page.text
    assert re.findall(r'name="scope" value="(\w+)"( checked)?', page.text) == [("imap", " checked"), ("smtp", "")]
    assert 'name="here" value="on" checked' in page.text
    assert 'value="2001:db8::/32"' in page.text
    assert '<option value="1d" selected>' in page.text


def test_from_a_stale_form_through_a_challenge_to_a_login_and_its_end(site: Site) -> None:
    account, app = site.enrolled("bob")
    browser = site.signed_in("bob")
    browser.post("/challenge/totp", code=app.code())
    site.later(301)
    asked = browser.post("/app-passwords/new", **PHONE, networks="192.0.2.0/24", expires="7d")  # type: ignore[arg-type]
    onward = elements(browser.get(asked.headers["location"]), "input")
    (back,) = (field["value"] for field in onward if field.get("name") == "next")
    assert back is not None
    proven = browser.post("/challenge/totp", code=app.code(), next=back)
    form = browser.get(proven.headers["location"])
    assert (form.status_code, 'value="192.0.2.0/24"' in form.text) == (200, True)
    shown = browser.follow(browser.post("/app-passwords/new", **PHONE, networks="192.0.2.0/24"))  # type: ignore[arg-type]
    secret = SECRET.search(shown.text)
    assert secret is not None
    assert site.runner.run(tried(site, secret[1], "192.0.2.7")) == "accepted"
    assert site.runner.run(tried(site, secret[1], "198.51.100.7")) == "wrong_network"
    (record,) = rows(site)
    site.office.connect("s1", record.id)
    site.later(301)
    asked = browser.post(f"/app-passwords/{record.id}/revoke")
    assert asked.headers["location"] == f"/challenge?next=/app-passwords/{record.id}/revoke"
    proven = browser.post("/challenge/totp", code=app.code(), next=f"/app-passwords/{record.id}/revoke")
    assert "Revoke “Phone”?" in text(browser.follow(proven).text)
    assert "1 session was cut." in text(browser.post(f"/app-passwords/{record.id}/revoke").text)
    assert site.runner.run(tried(site, secret[1], "192.0.2.7")) == "revoked"
    told = [found.event for found in site.read(lambda c: list(audit.read(c)))]
    changes = [(event.event, event.actor) for event in told if event.app_password is not None]
    person = f"person:{account.address}"
    assert changes == [("app_password_created", person), ("app_password_revoked", person)]


async def tried(site: Site, secret: str, address: str) -> str:
    """What a mail program that sends it from there would be answered."""
    answer = await rehearsal.rehearse(site.office.desk, "bob", Secret(secret), protocol="imap", address=address)
    return "accepted" if answer["accepted"] else str(answer["reason"])


@pytest.mark.parametrize("path", ["/app-passwords/new", "/app-passwords/1/revoke"])
def test_who_has_no_fresh_factor_is_asked_before_there_is_anything_to_fill_in(
    site: Site, alice: Guest, path: str
) -> None:
    create(alice)
    for age in (300.1, None):
        asked = Guest(site, alice.account, factor_age=age).get(path)
        assert asked.status_code == 303
        assert asked.headers["location"].startswith(f"/challenge?next={path}")
    stale = Guest(site, alice.account, factor_age=300.1).post("/app-passwords/1/revoke")
    assert stale.headers["location"] == "/challenge?next=/app-passwords/1/revoke"
    assert rows(site)[0].ended is None


def test_a_name_that_is_taken_and_the_limit_are_sentences(site: Site, alice: Guest) -> None:
    create(alice)
    taken = alice.post("/app-passwords/new", PHONE)
    assert taken.status_code == 409
    assert "Another app password is called “Phone” already." in text(taken.text)
    assert 'value="Phone"' in taken.text
    policy(site, app_password_limit=1)
    full = alice.post("/app-passwords/new", {**PHONE, "name": "Tablet"})
    assert full.status_code == 409
    assert "alice@example.org has 1 app passwords, and more are not possible. Revoke one" in text(full.text)
    assert 'value="Tablet"' in full.text
    assert "more are not possible" in text(alice.get("/app-passwords/new").text)


def test_after_a_reset_it_says_from_when_on(site: Site, alice: Guest) -> None:
    with site.office.store.writing() as c:
        people.change(c, alice.account.id, mint_after=NOW + 3600)
    page = alice.get("/app-passwords/new")
    assert page.status_code == 200
    assert "can be created only from 2026-09-21 15:13 UTC on" in text(page.text)
    assert "<form" not in page.text.partition("<main")[2].partition("</main>")[0]
    refused = alice.post("/app-passwords/new", PHONE)
    assert (refused.status_code, rows(site)) == (409, [])
    site.office.now += 3600
    alice = Guest(site, alice.account)
    assert create(alice) == 1


def test_a_core_that_is_away_is_a_sentence_and_nothing_is_lost(site: Site, alice: Guest) -> None:
    create(alice)
    page = alice.get("/app-passwords/new")
    assert page.status_code == 200
    without_core(site)
    away = alice.post("/app-passwords/new", {**PHONE, "name": "Tablet"})
    assert (away.status_code, 'value="Tablet"' in away.text) == (503, True)
    assert "Look first whether it is in your list" in text(away.text)


def test_a_core_that_is_away_when_it_is_to_be_shown_costs_no_secret(site: Site, alice: Guest) -> None:
    made = alice.post("/app-passwords/new", PHONE)
    core = site.desk.core
    without_core(site)
    assert alice.follow(made).status_code == 503
    site.desk.core = core
    assert SECRET.search(alice.follow(made).text) is not None


def test_policy_bounds_the_times_that_are_offered(site: Site, alice: Guest) -> None:
    policy(site, app_password_max_age=30 * 86400.0)
    page = alice.get("/app-passwords/new").text
    offered = re.findall(r'<option value="(\w*)"', page)
    assert offered == ["", "1h", "1d", "7d", "30d"]
    assert "after 30 days, the longest time here" in text(page)


def test_the_list_says_when_each_was_used_and_who_is_connected(site: Site, alice: Guest) -> None:
    phone, laptop = create(alice), create(alice, name="Laptop", here="on", expires="7d")
    site.office.connect("s1", phone)
    site.office.connect("s2", phone)
    with site.office.store.writing() as c:
        use = LastUse(NOW - 7200, "192.0.2.7", Protocol.IMAP, "Thunderbird <b>128</b>")
        app_passwords.record_uses(c, [Use(phone, use)])
    page = alice.get("/app-passwords")
    read = text(page.text)
    assert "Last used 2 hours ago · IMAP · 192.0.2.7 · Thunderbird <b>128</b>" in read
    assert "<b>128" not in page.text
    assert "2 sessions now Last used" in read
    assert "Created just now Read mail (IMAP) Send mail (SMTP) Rename Revoke" in read
    assert f"Laptop Created just now · never used Read mail (IMAP) Send mail (SMTP) Only from {ADDRESS} " in read
    assert "Ends in 7 days" in read
    assert f'href="/app-passwords/{laptop}/revoke"' in page.text
    assert len(page.content) < 100_000


def test_a_tombstone_that_is_still_tried_is_shown_first(site: Site, alice: Guest) -> None:
    old, quiet, long_ago = create(alice, name="Old phone"), create(alice, name="Tablet"), create(alice, name="Watch")
    for one in (old, quiet, long_ago):
        assert alice.post(f"/app-passwords/{one}/revoke").status_code == 200
    with site.office.store.writing() as c:
        for app_password, age, count in ((old, 7200.0, 30), (old, 120.0, 12), (long_ago, 31 * 86400.0, 9)):
            row = RefusalRecord(
                alice.account.id, NOW - age, Reason.REVOKED, "imap", f"192.0.2.{count}/32", "iPhone Mail",
                app_password, count,
            )  # fmt: skip
            history.record(c, [row])
    page = alice.get("/app-passwords").text
    aside = page.partition("<aside")[2].partition("</aside>")[0]
    assert aside.count("<li>") == 1
    aside = text(f"<main{aside}")
    assert "“Old phone” still tries. Its app password was revoked" in aside
    assert "Last try: 2 minutes ago · IMAP · 192.0.2.12 · iPhone Mail · 42 tries" in aside
    assert "Revoked and expired Old phone: revoked just now · still tries" in text(page)
    assert "Tablet: revoked just now" in text(page)


def test_an_expired_one_is_not_among_the_live_even_before_the_core_has_ended_it(site: Site, alice: Guest) -> None:
    phone = create(alice, expires="1h")
    site.office.now += 3601
    alice = Guest(site, alice.account)
    page = text(alice.get("/app-passwords").text)
    assert "You have no app password for it yet." in page
    assert "Phone: expired" in page
    assert alice.get(f"/app-passwords/{phone}/revoke").status_code == 404


def test_a_revoke_says_how_many_sessions_were_cut(site: Site, alice: Guest) -> None:
    phone, laptop = create(alice), create(alice, name="Laptop")
    for session in ("s1", "s2"):
        site.office.connect(session, phone)
    site.office.connect("s3", laptop)
    asked = alice.get(f"/app-passwords/{phone}/revoke")
    assert (asked.status_code, "Now 2 sessions" in text(asked.text)) == (200, True)
    done = alice.post(f"/app-passwords/{phone}/revoke")
    assert done.status_code == 200
    assert "“Phone” is revoked. 2 sessions were cut." in text(done.text)
    assert [session.id for session in site.office.sessions] == ["s3"]
    assert site.office.events()[-1][0] == "app_password_revoked"
    again = alice.post(f"/app-passwords/{phone}/revoke")
    assert (again.status_code, "“Phone” was revoked already." in text(again.text)) == (200, True)
    assert alice.get(f"/app-passwords/{phone}/revoke").status_code == 404
    assert "nobody was connected with it" in text(alice.post(f"/app-passwords/{create(alice)}/revoke").text)


def test_a_revoke_says_who_was_thrown_out_of_chats(site: Site, alice: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[list[dict[str, object]]] = [
        [{"service": "cn=a", "users": 1, "problem": None}, {"service": "cn=b", "users": 2, "problem": None}],
        [{"service": "cn=a", "users": None, "problem": None}],
        [{"service": "cn=a", "users": None, "problem": "it does not answer"}],
    ]

    async def kick(account_ids: object, known: object = ()) -> object:
        return answers.pop(0)

    monkeypatch.setattr(site.office.desk, "kick", kick)
    says = [
        "3 chat sessions were ended.",
        "The chat server was told to end its sessions.",
        "A chat server could not be reached: chats that were open may go on for a while.",
    ]
    for number, said in enumerate(says):
        done = alice.post(f"/app-passwords/{create(alice, name=f'Chat {number}')}/revoke")
        assert said in text(done.text)
        assert "cn=a" not in done.text


def test_a_core_that_is_away_while_it_revokes(site: Site, alice: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    phone = create(alice)

    async def stuck(**selectors: object) -> int:
        raise StillOpen("end process 4711 by hand")

    monkeypatch.setattr(site.office.desk, "cut", stuck)
    away = alice.post(f"/app-passwords/{phone}/revoke")
    assert away.status_code == 503
    assert "That did not work, or not wholly." in text(away.text)
    assert "4711" not in away.text


def test_a_rename(site: Site, alice: Guest) -> None:
    phone = create(alice)
    create(alice, name="Laptop")
    site.office.connect("s1", phone)
    assert 'value="Phone"' in alice.get(f"/app-passwords/{phone}/rename").text
    stale = Guest(site, alice.account, factor_age=None)  # a name is no power: no factor is asked for
    done = stale.post(f"/app-passwords/{phone}/rename", {"name": " Old phone "})
    assert (done.status_code, done.headers["location"]) == (303, "/app-passwords")
    assert (rows(site)[0].name, len(site.office.sessions)) == ("Old phone", 1)
    for name, status, says in (
        ("Laptop", 409, "Another app password is called “Laptop” already."),
        ("", 400, "Give it a name"),
        ("x" * 65, 400, "Give it a name"),
        ("two\nlines", 400, "Give it a name"),
    ):
        refused = alice.post(f"/app-passwords/{phone}/rename", {"name": name})
        assert (refused.status_code, says in text(refused.text)) == (status, True), name
    assert rows(site)[0].name == "Old phone"


def test_shared_mailboxes_have_a_section_each_and_only_ones_own_in_it(site: Site, alice: Guest) -> None:
    bob = Guest(site, site.person("bob"))
    shared(site, "info", "alice@example.org", "bob@example.org")
    shared(site, "sales", "bob@example.org")
    mine = create(alice, name="Front desk", account="info@example.org")
    theirs = create(bob, name="Bob's laptop", account="info@example.org")
    page = alice.get("/app-passwords")
    assert "Shared mailbox info@example.org Front desk" in text(page.text)
    assert "Bob" not in page.text
    assert "sales" not in page.text
    assert 'href="/app-passwords/new?account=info%40example.org"' in page.text
    form = alice.get("/app-passwords/new?account=info%40example.org").text
    assert '<option value="info@example.org" selected>' in form
    assert alice.post("/app-passwords/new", {**PHONE, "account": "sales@example.org"}).status_code == 400
    for path in (f"/app-passwords/{theirs}/revoke", f"/app-passwords/{theirs}/rename"):
        assert alice.get(path).status_code == 404
        assert alice.post(path, {"name": "mine now"}).status_code == 404
    assert alice.post(f"/app-passwords/{mine}/revoke").status_code == 200
    assert [record.ended is None for record in rows(site)] == [False, True]


def test_an_address_that_names_nothing_is_not_found(alice: Guest) -> None:
    for number in ("0", "99", "9" * 5000, "x"):
        assert alice.get(f"/app-passwords/{number}/revoke").status_code == 404
        assert alice.get(f"/app-passwords/{number}/created").headers["location"] == "/app-passwords"


def test_nobody_gets_anywhere_without_signing_in(site: Site, alice: Guest) -> None:
    alice.browser.cookies.clear()
    for method, path in (
        ("GET", "/app-passwords"),
        ("POST", "/app-passwords/new"),
        ("GET", "/app-passwords/1/created"),
    ):
        response = alice.get(path) if method == "GET" else alice.post(path, PHONE)
        assert response.status_code == 303
        assert response.headers["location"].startswith("/sign-in")
    assert rows(site) == []


def test_spanish_is_whole(site: Site, alice: Guest) -> None:
    create(alice)
    ana = Guest(site, alice.account, language="es")
    for path, says in (
        ("/app-passwords", "Contraseñas de aplicación"),
        ("/app-passwords/new", "Crear una contraseña de aplicación"),
        ("/app-passwords/1/revoke", "¿Revocar «Phone»?"),
    ):
        assert says in text(ana.get(path).text)


def test_the_copy_button_needs_its_script_and_the_page_does_not(site: Site, alice: Guest) -> None:
    shown = alice.follow(alice.post("/app-passwords/new", PHONE)).text
    assert re.search(r'<button type="button" data-copy="secret" hidden>', shown)
    assert not re.search(r"<script(?![^>]*\ssrc=)|\son\w+=|style=", shown)


def test_the_address_of_a_kept_form_stays_short_enough(site: Site, alice: Guest) -> None:
    """The longest name and as many networks as there may be, all in characters that are escaped."""
    networks = " ".join(f"2001:db8:aaaa:bbbb:cccc::{n:x}/128" for n in range(28))
    stale = Guest(site, alice.account, factor_age=None)
    form = {**PHONE, "name": "😀" * 64, "networks": networks[:1000]}
    asked = stale.post("/app-passwords/new", form)
    assert asked.status_code == 303, text(asked.text)
    assert is_ours(unquote(urlsplit(asked.headers["location"]).query.removeprefix("next=")))
