"""What `doctor` and `check` say about the portal."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.doctor.finding import Finding, State
from proxy.cli.doctor.portal import portal, remarks
from proxy.config import Config
from proxy.config.settings import Enrolment, LdapDirectory, OidcSignIn
from proxy.domain.secret import Secret
from tests.admin.office import configuration
from tests.peers.process import free_ports
from tests.peers.slapd import PEOPLE, SERVICE, SERVICE_PASSWORD, Slapd
from tests.support.fake_provider import provider
from tests.support.sidegate import Certificates


class Answers(BaseHTTPRequestHandler):
    body = b"ok\n"
    asked: str

    def do_GET(self) -> None:
        type(self).asked = self.path
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Answers) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def configured(tmp_path: Path, **changes: Any) -> Config:
    config = configuration(tmp_path)
    return replace(config, portal=replace(config.portal, **changes))


def test_it_is_asked_for_where_people_ask(tmp_path: Path, server: HTTPServer) -> None:
    config = configured(tmp_path, url=f"http://127.0.0.1:{server.server_port}/apps/")
    (reached,) = portal(config)
    assert (reached.state, reached.text) == (State.OK, f"{config.portal.url} answers")
    assert Answers.asked == "/apps/healthz"


def test_plain_http_is_remarked_on_but_where_browsers_trust_it(tmp_path: Path) -> None:
    said = {
        url: [text for text, _ in remarks(configured(tmp_path, url=url)) if "is no https" in text]
        for url in ("http://login.example.org", "http://localhost:8080", "https://login.example.org")
    }
    assert [len(texts) for texts in said.values()] == [1, 0, 0]


def test_something_else_under_its_url(tmp_path: Path, server: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answers, "body", b"<html>It works!")
    *_, reached = portal(configured(tmp_path, url=f"http://127.0.0.1:{server.server_port}"))
    assert reached.state is State.WARNING
    assert "answers, but not as the portal" in reached.text


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nobody_under_its_url(tmp_path: Path, scheme: str) -> None:
    *_, reached = portal(configured(tmp_path, url=f"{scheme}://127.0.0.1:{free_ports(1)[0]}"))
    assert reached.state is State.WARNING
    assert "does not answer" in reached.text


def test_a_directory_that_cannot_be_asked(tmp_path: Path) -> None:
    away = LdapDirectory(f"ldap://127.0.0.1:{free_ports(1)[0]}", base="dc=example", filter="(mail={account})")
    config = replace(configured(tmp_path, url="http://127.0.0.1:1"), directory=away)
    *_, found = portal(config)
    assert (found.check, found.state) == ("directory", State.FAILED)
    assert "nobody signs in" in found.text


def test_what_the_configuration_alone_tells(tmp_path: Path) -> None:
    (behind,) = remarks(configured(tmp_path))
    assert "portal.forwarded_from is missing" in behind[0]
    assert list(remarks(configured(tmp_path, forwarded_from=("127.0.0.1/32",)))) == []
    (opened,) = remarks(configured(tmp_path, forwarded_from=("127.0.0.1/32",), enrolment=Enrolment.OPEN))
    assert "14 days" in opened[0]


@pytest.mark.real
def test_a_directory_that_answers(tmp_path: Path) -> None:
    tls = Certificates(tmp_path / "tls")
    slapd = Slapd(tmp_path / "slapd", tls.certificate, tls.key, tls.ca)
    try:
        asked = LdapDirectory(
            f"ldaps://localhost:{slapd.ldaps_port}",
            base=PEOPLE,
            filter="(mail={account})",
            bind_dn=SERVICE,
            password=Secret(SERVICE_PASSWORD),
            ca=tls.ca,
        )
        config = replace(configured(tmp_path, url="http://127.0.0.1:1"), directory=asked)
        *_, found = portal(config)
        assert (found.check, found.state) == ("directory", State.OK)
        *_, found = portal(replace(config, directory=replace(asked, password=Secret("wrong"))))
        assert found.state is State.FAILED
    finally:
        slapd.stop()


def test_an_identity_provider_is_asked_for_its_metadata_and_keys(tmp_path: Path) -> None:
    with provider(time.time) as fake:
        settings = OidcSignIn(fake.issuer, "sidegate", amr=("mfa",), break_glass="admin@example.org")
        config = configured(tmp_path, sign_in=settings)

        def said() -> Finding:
            (found,) = [finding for finding in portal(config) if finding.check == "identity provider"]
            return found

        assert (said().state, said().text) == (
            State.OK,
            f"{fake.issuer} answers, and signs with RS256, PS256, ES256, EdDSA",
        )
        fake.published = []
        assert (said().state, "publishes no key" in said().text) == (State.FAILED, True)
        fake.metadata = {"issuer": f"{fake.issuer}/"}
        assert (said().state, "another issuer" in said().text) == (State.FAILED, True)
        fake.stop()
        assert (said().state, "cannot be reached" in said().text) == (State.FAILED, True)


def test_what_an_identity_provider_is_not_told_is_remarked(tmp_path: Path) -> None:
    bare = OidcSignIn("https://id.example.org", "sidegate")
    texts = [text for text, _ in remarks(configured(tmp_path, sign_in=bare))]
    assert any("break_glass is missing" in text for text in texts)
    assert any("mfa is missing" in text for text in texts)
    whole = replace(bare, acr=("gold",), break_glass="admin@example.org")
    assert not any("portal.sign_in" in text for text, _ in remarks(configured(tmp_path, sign_in=whole)))
