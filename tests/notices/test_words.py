"""What notices say."""

from __future__ import annotations

import time

import pytest

from proxy.domain.notices import Kind
from proxy.domain.verdicts import Reason
from proxy.notices.words import OLD_PROGRAM, WORDS, details, happened, mail, title
from proxy.portal import texts

ENGLISH, SPANISH = texts.load()["en"], texts.load()["es"]


def test_every_kind_has_words() -> None:
    assert {*WORDS, Kind.OLD_PROGRAM} == set(Kind)


def test_an_old_program_is_told_of_by_why_it_was_not_let_in() -> None:
    facts = {"name": "Phone", "program": "K-9 Mail", "protocol": "imap", "network": "192.0.2.7/32"}
    for reason, words in OLD_PROGRAM.items():
        told = {**facts, "reason": reason.value}
        assert title(ENGLISH, Kind.OLD_PROGRAM, told) == words.title
        assert ("“Phone”" in happened(ENGLISH, Kind.OLD_PROGRAM, told)) is (reason in (Reason.REVOKED, Reason.EXPIRED))
        assert details(ENGLISH, Kind.OLD_PROGRAM, told) == [
            ("Program", "K-9 Mail"),
            ("Protocol", "IMAP"),
            ("From", "192.0.2.7"),
        ]


def test_kinds_of_factors_and_who_did_it_in_the_readers_words() -> None:
    facts = {"name": "x", "factor": "totp", "by": "operator", "address": "192.0.2.7"}
    assert details(SPANISH, Kind.FACTOR_ADDED, facts) == [
        ("Desde", "192.0.2.7"),
        ("Tipo", "Aplicación de autenticación"),
        ("Por", "su administrador"),
    ]


def test_what_was_not_somebody_is_named() -> None:
    facts = {"account": "alice@example.org", "what": "app_password_created", "name": "Phone"}
    assert details(ENGLISH, Kind.NOT_ME, facts) == [("What", "New app password “Phone”")]


@pytest.mark.parametrize("kind", ["of_a_later_version", *Kind])
def test_what_is_missing_is_a_question_mark_and_nothing_breaks(kind: str) -> None:
    subject, body = mail(ENGLISH, kind, {}, created=0.0, account="alice@example.org", site="Example Mail")
    assert subject.endswith(" – Example Mail")
    assert "1970-01-01 " in body or "1969-12-31 " in body
    assert "%(" not in subject + body


def test_the_time_names_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setenv("TZ", "Europe/Madrid")
    time.tzset()
    try:
        _, body = mail(ENGLISH, Kind.SIGNED_IN, {}, created=1_790_000_000.0, account="a@example.org", site="x")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert "When: 2026-09-21 16:13 CEST" in body.splitlines()
