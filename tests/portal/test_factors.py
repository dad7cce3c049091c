"""The page of sign-in methods, form by form."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pyotp
import pytest

from proxy.domain.audit import Event
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account
from proxy.domain.sign_in import Stage
from proxy.portal.factors import MAX_NAME
from proxy.store import audit, codes, factors
from tests.portal.methods import came_in, furnish, give, methods, options_of, where
from tests.portal.site import URL, Site, text_of
from tests.support.authenticator import Authenticator


@pytest.fixture(autouse=True)
def furnished(site: Site) -> None:
    furnish(site)


@pytest.fixture
def bob(site: Site) -> Account:
    return site.person("bob")


def events(site: Site) -> list[tuple[str, str | None, str | None]]:
    return [
        (str(one.event.event), one.event.actor, one.event.detail)
        for one in site.read(audit.read)
        if one.event.event != Event.ACCOUNT_ADDED
    ]


def key_of(page: str) -> pyotp.TOTP:
    found = re.search(r"<code>([A-Z2-7 ]{39})</code>", page)
    assert found is not None, page
    return pyotp.TOTP(found[1].replace(" ", ""))


def test_the_list(site: Site, bob: Account) -> None:
    give(site)
    site.write(codes.set_recovery, site.alice.id, [bytes([n]) for n in range(7)])
    give(site, "somebody else's", bob)
    response = came_in(site, fresh=False).get("/factors")
    assert response.status_code == 200
    said = text_of(response)
    assert "old phone" in said
    assert "Not used yet" in said
    assert "You have 7 codes left." in said
    assert "somebody else's" not in said
    assert "Make new ones" not in said
    site.write(codes.set_recovery, site.alice.id, [b"last"])
    assert "You have 1 code left. Make new ones" in text_of(came_in(site).get("/factors"))


def test_without_any_the_way_is_enrolment(site: Site) -> None:
    page = came_in(site).get("/factors").text
    assert 'href="/enrol"' in page
    assert "/factors/add/" not in page
    assert where(came_in(site).get("/factors/add/totp")) == "/enrol"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/factors/add/totp", "/factors/add/passkey", "/factors/add/recovery_code"])
def test_adding_takes_a_fresh_factor_and_comes_back(site: Site, method: str, path: str) -> None:
    give(site)
    browser = came_in(site, fresh=False)
    if method == "GET":
        assert where(browser.get(path)) == f"/challenge?next={path}"
    else:
        answer = browser.post(path)  # of no page that was opened while it was fresh
        assert where(browser.get(where(answer))) == f"/challenge?next={path}"
    assert len(methods(site)) == 1


def test_renaming_and_removing_take_a_fresh_factor(site: Site) -> None:
    one, _ = give(site), give(site, "other")
    browser = came_in(site, fresh=False)
    assert where(browser.get(f"/factors/{one}")) == f"/challenge?next=/factors/{one}"
    assert where(browser.post(f"/factors/{one}/rename", name="x")) == f"/challenge?next=/factors/{one}%3Fname%3Dx"
    assert where(browser.post(f"/factors/{one}/remove")) == f"/challenge?next=/factors/{one}"
    assert [row.name for row in methods(site)] == ["old phone", "other"]


PATHS = [
    ("GET", "/factors"),
    ("GET", "/factors/add/totp"),
    ("POST", "/factors/add/totp"),
    ("GET", "/factors/1"),
    ("POST", "/factors/1/rename"),
    ("POST", "/factors/1/remove"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize(
    ("stage", "goal"), [(None, "/sign-in"), (Stage.CHALLENGE, "/challenge"), (Stage.ENROL, "/enrol")]
)
def test_nothing_is_reached_before_all_steps(
    site: Site, method: str, path: str, stage: Stage | None, goal: str
) -> None:
    give(site)
    browser = site.browser() if stage is None else came_in(site, stage=stage)
    response = browser.get(path) if method == "GET" else browser.post(path, name="x")
    assert where(response).partition("?")[0] == goal
    assert [row.name for row in methods(site)] == ["old phone"]


def test_another_site_cannot_send_the_forms(site: Site) -> None:
    one = give(site)
    browser = came_in(site)
    assert (
        browser.post(
            f"/factors/{one}/rename", {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, name="x"
        ).status_code
        == 403
    )
    assert methods(site)[0].name == "old phone"


def test_an_authenticator_app(site: Site) -> None:
    give(site)
    browser = came_in(site)
    first = browser.get("/factors/add/totp")
    assert 'value="Authenticator app"' in first.text
    app = key_of(first.text)
    assert key_of(browser.get("/factors/add/totp").text).secret == app.secret  # a reload does not spoil a scan
    wrong = browser.post("/factors/add/totp", code="000000", name="my <app>")
    assert wrong.status_code == 400
    assert "That code is not right" in wrong.text
    assert 'value="my &lt;app&gt;"' in wrong.text
    assert key_of(wrong.text).secret == app.secret
    assert where(browser.post("/factors/add/totp", code=app.at(site.desk.clock()), name=" my <app> ")) == "/factors"
    assert [(row.kind, row.name) for row in methods(site)][1] == (FactorKind.TOTP, "my <app>")
    assert "“my <app>” was added." in text_of(browser.get("/factors"))
    assert "was added" not in browser.get("/factors").text
    assert events(site) == [("factor_added", "person:alice@example.org", "totp: my <app>")]
    assert key_of(browser.get("/factors/add/totp").text).secret != app.secret


@pytest.mark.parametrize(
    ("name", "status"), [("", 400), ("x" * (MAX_NAME + 1), 400), ("a\nb", 400), ("old phone", 409)]
)
def test_a_name_that_will_not_do(site: Site, name: str, status: int) -> None:
    one = give(site)
    browser = came_in(site)
    app = key_of(browser.get("/factors/add/totp").text)
    response = browser.post("/factors/add/totp", code=app.at(site.desk.clock()), name=name)
    assert response.status_code == status
    assert 'aria-describedby="name-problem"' in response.text
    assert len(methods(site)) == 1
    # The same secret and code do, once the name does.
    assert where(browser.post("/factors/add/totp", code=app.at(site.desk.clock()), name="new")) == "/factors"
    response = browser.post(f"/factors/{one}/rename", name="new" if status == 409 else name)
    assert response.status_code == status
    assert methods(site)[0].name == "old phone"


def test_a_name_is_suggested_that_is_free(site: Site) -> None:
    give(site, "Authenticator app")
    assert 'value="Authenticator app 2"' in came_in(site).get("/factors/add/totp").text


def test_as_many_as_there_can_be(site: Site) -> None:
    for n in range(factors.MOST):
        give(site, str(n))
    browser = came_in(site)
    app = key_of(browser.get("/factors/add/totp").text)
    response = browser.post("/factors/add/totp", code=app.at(site.desk.clock()), name="new")
    assert response.status_code == 409
    assert "Remove one first" in response.text


def test_a_passkey(site: Site) -> None:
    give(site)
    browser, authenticator = came_in(site), Authenticator(URL)
    page = browser.get("/factors/add/passkey").text
    answer = authenticator.create(options_of(page))
    assert where(browser.post("/factors/add/passkey", **answer, name="laptop")) == "/factors"
    assert [(row.kind, row.name) for row in methods(site)][1] == (FactorKind.PASSKEY, "laptop")


def test_without_javascript_a_passkey_is_refused_in_words(site: Site) -> None:
    give(site)
    browser = came_in(site)
    page = browser.get("/factors/add/passkey").text
    assert re.search(r'<p data-say="unable"[^>]*>This browser cannot', page)
    assert not re.search(r'<p data-say="unable"[^>]* hidden', page)
    response = browser.post("/factors/add/passkey", credential="", name="laptop")
    assert response.status_code == 400
    assert "Your browser sent no passkey" in response.text


def test_a_passkey_is_called_like_the_browser_until_it_has_a_better_name(site: Site) -> None:
    give(site, "Firefox (Linux)")
    assert 'value="Firefox (Linux) 2"' in came_in(site).get("/factors/add/passkey").text


def test_what_one_challenge_was_answered_with_counts_once(site: Site) -> None:
    give(site)
    browser, authenticator = came_in(site), Authenticator(URL)
    answer = {**authenticator.create(options_of(browser.get("/factors/add/passkey").text)), "name": "laptop"}
    other = came_in(site)  # another session of the same person
    other.get("/factors/add/passkey")
    assert other.post("/factors/add/passkey", **answer).status_code == 400
    assert where(browser.post("/factors/add/passkey", **answer)) == "/factors"
    assert where(browser.post("/factors/add/passkey", **{**answer, "name": "again"})) == "/factors/add/passkey"
    assert len(methods(site)) == 2


def test_recovery_codes_are_shown_once_and_replace_the_old_ones(site: Site) -> None:
    give(site)
    site.write(codes.set_recovery, site.alice.id, [b"old"])
    browser = came_in(site)
    page = browser.get("/factors/add/recovery_code").text
    shown = re.findall(r"<code>([a-z-]{17})</code>", page)
    assert len(shown) == 10
    assert site.read(codes.recovery_left, site.alice.id) == 1
    assert where(browser.post("/factors/add/recovery_code")) == "/factors"
    assert site.read(codes.recovery_left, site.alice.id) == 10
    after = browser.get("/factors").text
    assert "Your new recovery codes work from now on" in after
    assert not any(code in after for code in shown)
    assert len(methods(site)) == 1
    assert events(site) == [("recovery_codes_made", "person:alice@example.org", None)]
    assert not set(shown) & set(
        re.findall(r"<code>([a-z-]{17})</code>", browser.get("/factors/add/recovery_code").text)
    )


def test_renaming(site: Site) -> None:
    one = give(site)
    browser = came_in(site)
    assert 'value="old phone"' in browser.get(f"/factors/{one}").text
    assert where(browser.post(f"/factors/{one}/rename", name="older phone")) == "/factors"
    assert methods(site)[0].name == "older phone"
    assert events(site) == [("factor_changed", "person:alice@example.org", "sms: old phone, from now on older phone")]
    browser.post(f"/factors/{one}/rename", name="older phone")
    assert len(events(site)) == 1


def test_removing_all_but_the_last_one(site: Site) -> None:
    one, two = give(site), give(site, "other")
    site.write(codes.set_recovery, site.alice.id, [b"code"])  # these are no other way to live on
    browser = came_in(site)
    assert where(browser.post(f"/factors/{one}/remove")) == "/factors"
    assert "“old phone” was removed." in text_of(browser.get("/factors"))
    assert events(site) == [("factor_removed", "person:alice@example.org", "sms: old phone")]
    assert "/remove" not in browser.get(f"/factors/{two}").text
    response = browser.post(f"/factors/{two}/remove")
    assert response.status_code == 409
    assert "This is your only sign-in method" in response.text
    assert [row.name for row in methods(site)] == ["other"]


@pytest.mark.parametrize("what", ["", "/rename", "/remove"])
def test_nobody_elses(site: Site, bob: Account, what: str) -> None:
    give(site)
    theirs = give(site, "bob's", bob)
    give(site, "bob's other", bob)
    browser = came_in(site)
    response = browser.post(f"/factors/{theirs}{what}", name="x") if what else browser.get(f"/factors/{theirs}")
    assert response.status_code == 404
    assert [row.name for row in methods(site, bob)] == ["bob's", "bob's other"]


@pytest.mark.parametrize("path", ["/factors/add/sms", "/factors/add/nonsense", "/factors/99", "/factors/x"])
def test_what_is_not_here(site: Site, path: str) -> None:
    give(site)
    assert came_in(site).get(path).status_code == 404


def pages(site: Site) -> Iterator[str]:
    one = give(site)
    browser = came_in(site)
    paths = ("", "/add/totp", "/add/passkey", "/add/recovery_code", f"/{one}")
    yield from (browser.get(f"/factors{path}").text for path in paths)
    yield site.browser().get("/sign-in/passkey").text


def test_nothing_inline_and_small(site: Site) -> None:
    for page in pages(site):
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", page)
        assert len(page) < 100_000


def test_every_field_has_a_label(site: Site) -> None:
    for page in pages(site):
        ids = re.findall(r'<input id="([^"]+)"', page)
        assert len(ids) == len(re.findall(r'<input (?!type="hidden")', page))
        assert all(f'<label for="{one}"' in page for one in ids)


def test_a_browser_alone_keeps_nothing_of_these_pages(site: Site) -> None:
    give(site)
    browser = came_in(site)
    for path in ("/factors/add/totp", "/factors/add/recovery_code"):
        assert browser.get(path).headers["cache-control"] == "no-store"
