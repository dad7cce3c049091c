"""The page that refusals point to: what it says, and what it keeps from a browser."""

from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser

import httpx
import pytest

from proxy.portal.pages import HEADERS, HSTS, make_pages


class Browser:
    """Asks the pages of a portal.url, without a server in between."""

    def __init__(self, url: str) -> None:
        self._transport = httpx.ASGITransport(make_pages(url), raise_app_exceptions=False)

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def request(self, method: str, path: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://portal.test") as http:
                return await http.request(method, path)

        return asyncio.run(ask())


def references(html: str) -> list[str]:
    """Every address that a browser would load from or lead to."""
    found: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(value or "" for name, value in attrs if name in ("href", "src", "action"))

    Parser().feed(html)
    return found


def test_says_in_plain_words_what_an_app_password_is_and_how_to_get_one() -> None:
    response = Browser("https://login.example.org").get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", response.text))
    assert "What is an app password?" in text
    assert "Ask your administrator or help desk for an app password" in text
    assert "abcd-efgh-jkmn-pqrs-tuvw" in text


def test_is_readable_on_a_phone() -> None:
    response = Browser("https://login.example.org").get("/")
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in response.text


@pytest.mark.parametrize("path", ["/", "/nowhere", "/static/sidegate.css", "/healthz"])
def test_every_response_has_the_security_headers(path: str) -> None:
    response = Browser("https://login.example.org").get(path)
    for name, value in HEADERS.items():
        assert response.headers[name] == value
    assert response.headers["Strict-Transport-Security"] == HSTS
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_no_hsts_without_https() -> None:
    assert "Strict-Transport-Security" not in Browser("http://127.0.0.1:8080").get("/").headers


@pytest.mark.parametrize("path", ["/", "/nowhere"])
def test_nothing_inline_and_nothing_from_elsewhere(path: str) -> None:
    html = Browser("https://login.example.org").get(path).text
    assert not re.search(r"<script|<style|\sstyle=|\son[a-z]+=", html)
    assert all(address.startswith("/") and not address.startswith("//") for address in references(html))


@pytest.mark.parametrize("base", ["", "/apps"])
@pytest.mark.parametrize("page", ["/", "/nowhere"])
def test_whatever_it_refers_to_exists(base: str, page: str) -> None:
    browser = Browser(f"https://login.example.org{base}/")
    addresses = references(browser.get(base + page).text)
    assert addresses
    for address in addresses:
        assert address.startswith(base)
        assert browser.get(address).status_code == 200, address


@pytest.mark.parametrize("path", ["/apps", "/apps/", "/", "/apps/healthz", "/healthz"])
def test_a_path_in_the_url_may_be_stripped_by_a_reverse_proxy_or_kept(path: str) -> None:
    assert Browser("https://login.example.org/apps").get(path).status_code == 200


def test_not_found_is_a_page_too() -> None:
    response = Browser("https://login.example.org").get("/nowhere/<script>alert(1)</script>")
    assert response.status_code == 404
    assert "There is no page here" in response.text
    assert "alert(1)" not in response.text


@pytest.mark.parametrize("path", ["/static/../pages.py", "/static/%2e%2e/pages.py", "/static/", "/static"])
def test_static_files_and_nothing_beside_them(path: str) -> None:
    response = Browser("https://login.example.org").get(path)
    assert response.status_code == 404
    assert "def make_pages" not in response.text


def test_other_methods_are_refused_with_a_page() -> None:
    response = Browser("https://login.example.org").request("POST", "/")
    assert response.status_code == 405
    assert sorted(response.headers["allow"].split(", ")) == ["GET", "HEAD"]
    assert "cannot be asked for in that way" in response.text


def test_healthz() -> None:
    response = Browser("https://login.example.org").get("/healthz")
    assert (response.status_code, response.text) == (200, "ok\n")
    assert response.headers["cache-control"] == "no-store"
