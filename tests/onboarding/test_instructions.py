"""What people are told: which programs, which steps, which values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxy.domain.model import DEFAULT_SCOPES, Protocol
from proxy.onboarding.instructions import PROGRAMS, groups, programs
from tests.onboarding.site import ALL, SECRET, handover, site, without

MAIL_PROGRAMS = ["thunderbird", "thunderbird-android", "apple", "outlook", "delta-chat", "other"]


@pytest.mark.parametrize(
    ("scopes", "missing", "expected"),
    [
        (ALL, "", [*MAIL_PROGRAMS, "directory"]),
        (DEFAULT_SCOPES, "", MAIL_PROGRAMS),
        ({Protocol.IMAP}, "", ["other"]),
        ({Protocol.LDAP}, "", ["directory"]),
        (ALL, "ldap", MAIL_PROGRAMS),
        (ALL, "smtp", ["other", "directory"]),
        ({Protocol.SMTP}, "smtp", []),
    ],
)
def test_only_programs_that_will_work(tmp_path: Path, scopes: set[Protocol], missing: str, expected: list[str]) -> None:
    config = site(tmp_path, *without(missing)) if missing else site(tmp_path)
    assert [program.id for program in programs(config, handover(scopes=scopes))] == expected


def test_the_values_to_copy(tmp_path: Path) -> None:
    found = groups(site(tmp_path), handover())
    assert {group.title: [(row.label, row.value) for row in group.rows] for group in found} == {
        "Incoming mail (IMAP)": [
            ("Server", "mail.example.org"),
            ("Port", "993"),
            ("Security", "SSL/TLS"),
            ("User name", "alice@example.org"),
            ("Password", None),
        ],
        "Outgoing mail (SMTP)": [
            ("Server", "smtp.example.org"),
            ("Port", "465"),
            ("Security", "SSL/TLS"),
            ("User name", "alice@example.org"),
            ("Password", None),
        ],
        "Directory (LDAP)": [
            ("Server", "ldap.example.org"),
            ("Port", "636"),
            ("Security", "SSL/TLS"),
            ("Name (bind DN)", "mail=alice@example.org,ou=people,dc=example,dc=org"),
            ("Password", None),
            ("Search in (base DN)", "ou=people,dc=example,dc=org"),
        ],
    }


@pytest.mark.parametrize("scope", Protocol)
def test_only_the_values_that_it_opens(tmp_path: Path, scope: Protocol) -> None:
    (group,) = groups(site(tmp_path), handover(scopes={scope}))
    assert f"({scope.upper()})" in group.title
    assert groups(site(tmp_path, *without(scope)), handover(scopes={scope})) == []


def test_every_program_says_where_the_app_password_is_kept() -> None:
    assert all(re.search(r"\bapp password\b", program.keeps) for program in PROGRAMS)
    (outlook,) = (program for program in PROGRAMS if program.id == "outlook")
    assert "hand it to Microsoft" in outlook.keeps


def test_texts_can_be_filled_in_and_hold_no_secret() -> None:
    for program in PROGRAMS:
        for step in program.steps:
            filled = step % {"address": "alice@example.org"}
            assert "%" not in filled
            assert SECRET not in filled
