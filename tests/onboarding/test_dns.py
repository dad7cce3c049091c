"""Zone file lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.onboarding.dns import names_of_the_portal, records
from proxy.onboarding.pacc import digest, document
from tests.onboarding.site import site, without


def lines(folder: Path, *changes: tuple[str, str]) -> list[str]:
    return [" ".join(record) for record in records(site(folder, *changes), "example.net")]


def test_everything(tmp_path: Path) -> None:
    body = document(site(tmp_path))
    assert body is not None
    assert lines(tmp_path) == [
        "_imaps._tcp.example.net. SRV 0 1 993 mail.example.org.",
        "_imap._tcp.example.net. SRV 10 1 143 mail.example.org.",
        "_submissions._tcp.example.net. SRV 0 1 465 smtp.example.org.",
        "_submission._tcp.example.net. SRV 0 0 0 .",
        "_ldaps._tcp.example.net. SRV 0 1 636 ldap.example.org.",
        "_ldap._tcp.example.net. SRV 10 1 389 mail.example.org.",
        "_autodiscover._tcp.example.net. SRV 0 0 443 login.example.org.",
        "autoconfig.example.net. CNAME login.example.org.",
        "ua-auto-config.example.net. CNAME login.example.org.",
        f'_ua-auto-config.example.net. TXT "{digest(body)}"',
    ]
    names = names_of_the_portal(records(site(tmp_path), "example.net"))
    assert names == ["autoconfig.example.net", "ua-auto-config.example.net"]


def test_a_directory_of_somebody_elses_is_not_denied(tmp_path: Path) -> None:
    assert not any("ldap" in line for line in lines(tmp_path, *without("ldap")))


def test_documents_that_there_are_not_are_not_pointed_at(tmp_path: Path) -> None:
    found = lines(tmp_path, *without("smtp"))
    assert "_submissions._tcp.example.net. SRV 0 0 0 ." in found
    assert [line.split()[0] for line in found[6:]] == ["ua-auto-config.example.net.", "_ua-auto-config.example.net."]


@pytest.mark.parametrize(
    ("url", "pointed"),
    [
        ("https://login.example.org:8443/apps", ["_autodiscover._tcp.example.net. SRV 0 0 8443 login.example.org."]),
        ("http://127.0.0.1:8080", []),
        ("https://192.0.2.1", []),
        ("https://[2001:db8::1]", []),
    ],
)
def test_a_portal_that_fixed_names_cannot_lead_to(tmp_path: Path, url: str, pointed: list[str]) -> None:
    assert lines(tmp_path, ("https://login.example.org", url))[6:] == pointed
