"""Setting up a program: what stands below a new app password, and the profile for Apple's Mail."""

from __future__ import annotations

import json
import plistlib
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
import trustme
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.config.settings import TlsPair
from proxy.domain import tokens
from proxy.domain.model import AccountKind
from proxy.domain.secret import Secret
from proxy.domain.sign_in import Stage
from proxy.onboarding.instructions import PROGRAMS
from proxy.portal import setup
from proxy.portal.web import need, render, visit_of
from proxy.store import accounts, links
from proxy.store.accounts import NewAccount
from proxy.store.errors import StoreUnavailable
from proxy.store.schema import links as table
from tests.onboarding.site import SECRET, site
from tests.onboarding.test_mobileconfig import verified
from tests.portal.site import Browser, Site, open_site


class Stand:
    """A portal where Ana is signed in, and a page with nothing on it but what stands below a new app password."""

    def __init__(self, portal: Site, folder: Path) -> None:
        told = site(folder)
        portal.desk.config = replace(portal.desk.config, fronts=told.fronts, backends=told.backends)
        portal.person("ana", display_name="Ana Álvarez")
        self.portal = portal
        self.browser = portal.signed_in("ana")
        self.view: dict[str, object] = {}
        portal.pages = Starlette(routes=[Route("/new", need(Stage.IN)(self.show)), *setup.ROUTES])
        portal.pages.state.desk = portal.desk

    async def show(self, request: Request) -> Response:
        set_up = await setup.offer(visit_of(request), self.view, Secret(SECRET))
        return render(request, "_set_up.html", set_up=set_up, secret=SECRET)

    def new(self, *scopes: str, account: str = "ana@example.org") -> str:
        """The page for a new app password."""
        self.view = {"id": "17", "account": account, "scopes": list(scopes or ("imap", "smtp"))}
        answer = self.browser.get("/new")
        assert answer.status_code == 200, answer.text
        return answer.text

    def phone(self) -> Browser:
        """A device on which nobody has signed in."""
        return self.portal.browser(**{"accept-language": "es"})

    def signs_with(self, certificate: Path, key: Path) -> None:
        portal = replace(self.portal.desk.config.portal, profile_signer=TlsPair(certificate, key))
        self.portal.desk.config = replace(self.portal.desk.config, portal=portal)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    with open_site(tmp_path) as portal:
        yield Stand(portal, tmp_path)


def profile_in(page: str) -> str:
    found = re.search(r'href="(/profile/[A-Za-z0-9_-]{43}\.mobileconfig)"', page)
    assert found is not None
    return found[1]


def test_one_page_has_all_that_holds_the_secret(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[str] = []
    monkeypatch.setattr("proxy.factors.qr.picture", lambda text: codes.append(text) or f"<svg>{len(codes)}</svg>")
    page = stand.new()
    mail_programs = [program.id for program in PROGRAMS if program.id != "directory"]
    assert re.findall(r'<details name="program" id="([a-z-]+)">', page) == mail_programs
    android, apple, chat = codes
    assert json.loads(android)[2] == [0, "mail.example.org", 993, 3, 1, "ana@example.org", "ana@example.org", SECRET]
    assert json.loads(android)[3][0][1] == ["ana@example.org", "Ana Álvarez"]
    assert apple == f"https://login.example.org{profile_in(page)}"
    assert chat.startswith(f"dclogin:ana@example.org?p={SECRET}&v=1&")
    assert f'href="{chat}"' in unescape(page)
    assert all(f"<svg>{number}</svg>" in page for number in (1, 2, 3))
    assert "hand it to Microsoft" in page


def test_the_values_can_be_copied_one_by_one(stand: Stand) -> None:
    page = stand.new("imap", "ldap")
    values = dict(re.findall(r'<code id="(value-[0-9]-[0-9])" translate="no">([^<]*)</code>', page))
    assert list(values.values()) == [
        *("mail.example.org", "993", "SSL/TLS", "ana@example.org", SECRET),
        *("ldap.example.org", "636", "SSL/TLS", "mail=ana@example.org,ou=people,dc=example,dc=org", SECRET),
        "ou=people,dc=example,dc=org",
    ]
    assert re.findall(r'data-copy="([^"]*)"', page) == list(values)
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(set(ids)) == len(ids)


def test_it_is_what_a_strict_policy_lets_through(stand: Stand) -> None:
    page = stand.new("imap", "smtp", "ldap")
    assert page.count("<svg") == 3
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script", page)
    assert len(page.encode()) < 60_000


def test_nothing_is_offered_that_is_told_to_nobody(stand: Stand) -> None:
    config = stand.portal.desk.config
    fronts = tuple(replace(front, public=None) for front in config.fronts)
    stand.portal.desk.config = replace(config, fronts=fronts)
    assert stand.new("imap", "smtp", "ldap").strip() == ""


def test_without_the_store_there_is_no_link_and_all_the_rest(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(links, "add", away)
    monkeypatch.setattr(accounts, "by_login_name", away)
    page = stand.new()
    assert page.count("<svg") == 2
    assert "/profile/" not in page
    assert "Values to copy" in page


# ---- the profile --------------------------------------------------------------------------------


def test_the_profile_works_once_and_without_signing_in(stand: Stand) -> None:
    path = profile_in(stand.new())
    answer = stand.phone().get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-apple-aspen-config"
    assert answer.headers["content-disposition"] == 'attachment; filename="example.org.mobileconfig"'
    assert answer.headers["cache-control"] == "no-store"
    profile = plistlib.loads(answer.content)
    assert profile["PayloadDisplayName"] == "Correo de ana@example.org"
    assert profile["PayloadContent"][0]["EmailAccountName"] == "Ana Álvarez"
    assert profile["PayloadContent"][0]["IncomingPassword"] == SECRET
    again = stand.phone().get(path)
    assert again.status_code == 410
    assert "Este enlace ya no sirve" in again.text
    assert SECRET not in again.text


def test_of_two_devices_one_gets_it(stand: Stand) -> None:
    path = profile_in(stand.new())
    found = {stand.phone().get(path).status_code, stand.browser.get(path).status_code}
    assert found == {200, 410}


def test_a_shared_mailbox_is_set_up_in_its_own_name(stand: Stand) -> None:
    shared = NewAccount("info@example.org", 0.0, kind=AccountKind.SHARED, display_name="Front Desk")
    stand.portal.write(accounts.add, shared)
    path = profile_in(stand.new(account="info@example.org"))
    mail = plistlib.loads(stand.phone().get(path).content)["PayloadContent"][0]
    assert (mail["EmailAddress"], mail["EmailAccountName"]) == ("info@example.org", "Front Desk")


def test_looking_ahead_does_not_use_it_up(stand: Stand) -> None:
    path = profile_in(stand.new())
    ahead = stand.phone().request("HEAD", path)
    assert (ahead.status_code, ahead.content) == (200, b"")
    assert stand.phone().get(path).status_code == 200
    assert stand.phone().request("HEAD", path).status_code == 410


def test_it_is_over_after_ten_minutes(stand: Stand) -> None:
    path = profile_in(stand.new())
    stand.portal.later(setup.LINK_KEPT)
    assert stand.phone().get(path).status_code == 410


@pytest.mark.parametrize("token", ["0" * 43, "x", "%ff%fe", "%00", "0" * 5000])
def test_made_up_links(stand: Stand, token: str) -> None:
    assert stand.phone().get(f"/profile/{token}.mobileconfig").status_code == 410


def test_a_front_that_has_gone_in_between(stand: Stand) -> None:
    path = profile_in(stand.new())
    stand.portal.desk.config = replace(stand.portal.desk.config, fronts=())
    assert stand.phone().get(path).status_code == 410


def test_nothing_readable_is_kept_and_nothing_at_all_once_it_is_used(stand: Stand) -> None:
    path = profile_in(stand.new())
    token_hash = tokens.hash_of(path.removeprefix("/profile/").removesuffix(".mobileconfig"))
    sealed = select(table.c.sealed).where(table.c.token_hash == token_hash)
    kept = stand.portal.read(lambda c: c.execute(sealed).scalar_one())
    assert kept
    assert SECRET.encode() not in kept
    assert stand.phone().get(path).status_code == 200
    assert stand.portal.read(lambda c: c.execute(sealed).scalar_one()) is None


def test_it_is_signed_with_the_portals_own_certificate(stand: Stand, tmp_path: Path) -> None:
    assert "the profile is not signed" in stand.new()
    authority = trustme.CA()
    pair = authority.issue_cert("login.example.org")
    pair.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    pair.private_key_pem.write_to_path(tmp_path / "key.pem")
    stand.signs_with(tmp_path / "cert.pem", tmp_path / "key.pem")
    page = stand.new()
    assert "the profile is not signed" not in page
    profile = verified(tmp_path, authority, stand.phone().get(profile_in(page)).content)
    assert profile is not None
    assert plistlib.loads(profile)["PayloadType"] == "Configuration"


def test_a_certificate_that_cannot_be_read_stops_nobody(stand: Stand, tmp_path: Path) -> None:
    stand.signs_with(tmp_path / "nowhere", tmp_path / "nowhere")
    answer = stand.phone().get(profile_in(stand.new()))
    assert plistlib.loads(answer.content)["PayloadType"] == "Configuration"
