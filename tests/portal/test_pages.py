"""The page that refusals point to, and what is true of every page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from html.parser import HTMLParser
from pathlib import Path

import pytest

from proxy.portal.core_client import CoreUnavailable
from proxy.portal.pages import HEADERS, HSTS
from proxy.store.errors import StoreUnavailable
from tests.portal.site import Browser, Site, elements, open_site, text_of

At = Callable[[str], Browser]
HOME = "https://login.example.org"


@pytest.fixture
def at(tmp_path: Path) -> Iterator[At]:
    """Opens a browser at a portal with this URL."""
    with ExitStack() as opened:
        yield lambda url: opened.enter_context(open_site(tmp_path, url=url)).browser()


def references(html: str) -> list[str]:
    """Every address that a browser would load from or lead to."""
    found: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(value for name, value in attrs if name in ("href", "src", "action") and value != "#main")

    Parser().feed(html)
    return found


def test_says_in_plain_words_what_an_app_password_is_and_how_to_get_one(at: At) -> None:
    response = at(HOME).get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", response.text))
    assert "What is an app password?" in text
    assert "Sign in here with your usual name and password" in text
    assert "abcd-efgh-jkmn-pqrs-tuvw" in text


def test_is_readable_on_a_phone(at: At) -> None:
    response = at(HOME).get("/")
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in response.text


@pytest.mark.parametrize("path", ["/", "/nowhere", "/static/sidegate.css", "/healthz"])
def test_every_response_has_the_security_headers(at: At, path: str) -> None:
    response = at(HOME).get(path)
    for name, value in HEADERS.items():
        assert response.headers[name] == value
    assert response.headers["Strict-Transport-Security"] == HSTS
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_no_hsts_without_https(at: At) -> None:
    assert "Strict-Transport-Security" not in at("http://127.0.0.1:8080").get("/").headers


PUBLIC = ["/", "/nowhere", "/sign-in", "/set-password/x"]
SIGNED_IN = ["/account-password"]


@pytest.mark.parametrize("path", PUBLIC + SIGNED_IN)
def test_every_page_is_plain_small_and_labelled(site: Site, path: str) -> None:
    browser = site.signed_in() if path in SIGNED_IN else site.browser()
    answer = browser.get(path)
    html = answer.text
    # Scripts are files of ours, and nothing depends on them.
    assert not re.search(r'<script(?! type="module" src="/static/)|<style|\sstyle=|\son[a-z]+=', html)
    assert all(address.startswith("/") and not address.startswith("//") for address in references(html))
    assert len(html.encode()) < 100_000
    (page,) = elements(answer, "html")
    assert page["lang"] == "en"
    assert len(elements(answer, "h1")) == len(elements(answer, "main")) == 1
    labelled = {label["for"] for label in elements(answer, "label") if "for" in label}
    for field in elements(answer, "input"):
        if field.get("type") not in ("hidden", "checkbox", "radio") and "hidden" not in field:
            assert field["id"] in labelled, field
            assert "autocomplete" in field
    ids = [
        attrs["id"]
        for tag in ("p", "input", "h2", "main", "section")
        for attrs in elements(answer, tag)
        if "id" in attrs
    ]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("base", ["", "/apps"])
@pytest.mark.parametrize("page", ["/", "/nowhere"])
def test_whatever_it_refers_to_exists(at: At, base: str, page: str) -> None:
    browser = at(f"https://login.example.org{base}/")
    addresses = references(browser.get(base + page).text)
    assert addresses
    for address in addresses:
        assert address.startswith(base)
        assert browser.get(address).status_code in (200, 303, 405), address


@pytest.mark.parametrize("path", ["/apps", "/apps/", "/", "/apps/healthz", "/healthz"])
def test_a_path_in_the_url_may_be_stripped_by_a_reverse_proxy_or_kept(at: At, path: str) -> None:
    assert at("https://login.example.org/apps").get(path).status_code == 200


def test_not_found_is_a_page_too(at: At) -> None:
    response = at(HOME).get("/nowhere/<script>alert(1)</script>")
    assert response.status_code == 404
    assert "There is no page here" in response.text
    assert "alert(1)" not in response.text


@pytest.mark.parametrize("path", ["/static/../pages.py", "/static/%2e%2e/pages.py", "/static/", "/static"])
def test_static_files_and_nothing_beside_them(at: At, path: str) -> None:
    response = at(HOME).get(path)
    assert response.status_code == 404
    assert "def make_pages" not in response.text


def test_other_methods_are_refused_with_a_page(at: At) -> None:
    response = at(HOME).request("POST", "/")
    assert response.status_code == 405
    assert sorted(response.headers["allow"].split(", ")) == ["GET", "HEAD"]
    assert "cannot be asked for in that way" in response.text


def test_healthz(at: At) -> None:
    response = at(HOME).get("/healthz")
    assert (response.status_code, response.text) == (200, "ok\n")
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("error", [StoreUnavailable("sidegate.db: the disk is full"), CoreUnavailable("gone")])
def test_what_is_down_is_told_as_such(site: Site, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = site.signed_in()

    async def away(*args: object) -> None:
        raise error

    monkeypatch.setattr(site.desk.store, "read", away)
    answer = browser.get("/account-password")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert "wrong on our side" in text_of(answer)
    assert str(error) not in answer.text


def test_a_bug_shows_nothing_of_itself(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = site.signed_in()

    async def broken(*args: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(site.desk.store, "read", broken)
    answer = browser.get("/account-password")
    assert answer.status_code == 500
    assert "wrong on our side" in text_of(answer)
    assert "canary" not in answer.text
    for name, value in HEADERS.items():
        assert answer.headers[name] == value


def test_the_page_for_everybody_needs_no_store(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*args: object) -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(site.desk.store, "read", away)
    assert site.browser().get("/").status_code == 200
    assert site.browser().get("/sign-in").status_code == 200


def test_who_is_signed_in_sees_where_to_go(site: Site) -> None:
    answer = site.signed_in().get("/account-password")
    (here,) = [link["href"] for link in elements(answer, "a") if link.get("aria-current") == "page"]
    assert here == "/account-password"
    assert "alice@example.org" in text_of(answer)
    assert "/factors" not in site.browser().get("/sign-in").text
