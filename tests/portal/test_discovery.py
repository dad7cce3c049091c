"""What mail programs fetch before anybody has signed in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.onboarding import autoconfig, pacc
from tests.onboarding.site import site, without
from tests.onboarding.test_autodiscover import EXPECTED, INVALID, NOT_AVAILABLE, NOW, REQUEST
from tests.portal.site import Site, open_site

CONFIG = "/mail/config-v1.1.xml"
PATHS = (CONFIG, "/.well-known/autoconfig/mail/config-v1.1.xml")


class Program:
    """A mail program that asks. Of the store it sees nothing, not even that it cannot be read."""

    def __init__(self, portal: Site, folder: Path, *changes: tuple[str, str]) -> None:
        portal.desk.config = self.config = site(folder, *changes)
        portal.desk.clock = lambda: NOW
        portal.desk.store = None  # type: ignore[assignment]
        self._portal = portal

    def ask(self, method: str, url: str, **more: Any) -> httpx.Response:
        return self._portal.browser().request(method, url, **more)

    def get(self, url: str) -> httpx.Response:
        return self.ask("GET", url)


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as opened:
        yield opened


@pytest.fixture
def program(portal: Site, tmp_path: Path) -> Program:
    return Program(portal, tmp_path)


@pytest.mark.parametrize("path", PATHS)
def test_autoconfig(program: Program, path: str) -> None:
    answer = program.get(f"{path}?emailaddress=alice%40example.net")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    assert answer.content == autoconfig.config_v1_1(program.config, "example.net")
    assert "set-cookie" not in answer.headers
    assert program.get(f"{path}?emailaddress=nobody.at.all%40EXAMPLE.net").content == answer.content


@pytest.mark.parametrize("asked", ["alice%40example.com", "alice", "", "%00%40example.org", "a%40b%40example.org"])
def test_autoconfig_for_somebody_elses(program: Program, asked: str) -> None:
    assert program.get(f"{CONFIG}?emailaddress={asked}").status_code == 404


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("autoconfig.example.net", "example.net"),
        ("example.net", "example.net"),
        ("login.example.org", "example.org"),
        ("autoconfig.example.com", "example.org"),
    ],
)
def test_autoconfig_without_an_address_goes_by_the_host(program: Program, host: str, domain: str) -> None:
    answer = program.get(f"https://{host}{CONFIG}")
    assert answer.content == autoconfig.config_v1_1(program.config, domain)


def test_autodiscover(program: Program) -> None:
    for path in ("/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml"):
        answer = program.ask("POST", path, content=REQUEST.encode())
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
        assert (answer.text, answer.headers["cache-control"]) == (EXPECTED, "no-store")
        assert program.get(path).text == INVALID
    elsewhere = REQUEST.replace("example.org", "example.com").encode()
    assert program.ask("POST", "/autodiscover/autodiscover.xml", content=elsewhere).text == NOT_AVAILABLE


def test_autodiscover_reads_no_more_than_it_needs(program: Program) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 4096
            yield b"x" * 4096

    answer = program.ask("POST", "/autodiscover/autodiscover.xml", content=endless())
    assert (answer.status_code, read) == (413, 3 * 4096)


def test_user_agent_configuration(program: Program) -> None:
    answer = program.get("/.well-known/user-agent-configuration.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.content == pacc.document(program.config)
    assert "content-encoding" not in answer.headers  # the digest is of these bytes


def test_what_there_is_nothing_to_say_about(portal: Site, tmp_path: Path) -> None:
    program = Program(portal, tmp_path, *without("imap"), *without("smtp"))
    assert program.get(f"{CONFIG}?emailaddress=alice%40example.org").status_code == 404
    assert program.get("/.well-known/user-agent-configuration.json").status_code == 404
    assert program.ask("POST", "/autodiscover/autodiscover.xml", content=REQUEST.encode()).text == NOT_AVAILABLE
