"""What programs are told about, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.domain.model import Protocol
from proxy.onboarding.servers import best, directory_login, mail_servers, servers
from tests.onboarding.site import site, without


def told(folder: Path, protocol: Protocol, *changes: tuple[str, str]) -> list[str]:
    return [f"{one.host}:{one.port} {one.tls}" for one in servers(site(folder, *changes), protocol)]


def test_implicit_tls_first_and_nothing_that_only_this_host_reaches(tmp_path: Path) -> None:
    assert told(tmp_path, Protocol.IMAP) == ["mail.example.org:993 implicit", "mail.example.org:143 starttls"]


def test_a_front_on_loopback_is_told_about_where_it_says_how_it_is_found(tmp_path: Path) -> None:
    behind = ('"127.0.0.1:1993", tls: implicit', '"127.0.0.1:1993", tls: implicit, public: "imap.example.org:993"')
    assert told(tmp_path, Protocol.IMAP, behind) == [
        "mail.example.org:993 implicit",
        "imap.example.org:993 implicit",
        "mail.example.org:143 starttls",
    ]


def test_two_fronts_found_at_one_address_are_one_server(tmp_path: Path) -> None:
    twice = ('"127.0.0.1:1993", tls: implicit', '"127.0.0.1:1993", tls: implicit, public: "mail.example.org:993"')
    assert told(tmp_path, Protocol.IMAP, twice) == ["mail.example.org:993 implicit", "mail.example.org:143 starttls"]


@pytest.mark.parametrize("protocol", ["imap", "smtp"])
def test_mail_takes_both_ways(tmp_path: Path, protocol: str) -> None:
    found = mail_servers(site(tmp_path))
    assert found is not None
    assert [(one.protocol, one.host, one.port) for one in found] == [
        (Protocol.IMAP, "mail.example.org", 993),
        (Protocol.SMTP, "smtp.example.org", 465),
    ]
    missing = site(tmp_path, *without(protocol))
    assert best(missing, Protocol(protocol)) is None
    assert mail_servers(missing) is None


def test_a_directory_is_signed_in_to_with_the_accounts_dn_and_searched_above_it(tmp_path: Path) -> None:
    found = directory_login(site(tmp_path), "alice@example.org")
    assert found is not None
    assert (found.server.host, found.server.port) == ("ldap.example.org", 636)
    assert (found.dn, found.base) == (
        "mail=alice@example.org,ou=people,dc=example,dc=org",
        "ou=people,dc=example,dc=org",
    )
    assert directory_login(site(tmp_path, *without("ldap")), "alice@example.org") is None


def test_the_base_is_above_the_account_even_where_its_name_has_a_comma(tmp_path: Path) -> None:
    found = directory_login(site(tmp_path), "a,b\\@example.org")
    assert found is not None
    assert (found.dn, found.base) == (
        "mail=a\\,b\\\\@example.org,ou=people,dc=example,dc=org",
        "ou=people,dc=example,dc=org",
    )


def test_with_a_service_identity_the_base_is_what_may_be_read(tmp_path: Path) -> None:
    service = (
        "{strategy: proxied_authorization, ",
        '{strategy: service_identity, bases: ["dc=example,dc=org"], attributes: [cn], ',
    )
    found = directory_login(site(tmp_path, service), "alice@example.org")
    assert found is not None
    assert found.base == "dc=example,dc=org"
