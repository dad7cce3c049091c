"""SASL, server side: threats rows 10 to 12."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.model import AppPassword
from proxy.wire import sasl
from proxy.wire.sasl import Challenge, Identity


def fields(step: Challenge | Identity) -> tuple[str, str, str]:
    assert isinstance(step, Identity)
    assert isinstance(step.credential, AppPassword)
    return step.authzid, step.login_name, step.credential.secret.reveal()


def plain(message: bytes) -> tuple[str, str, str]:
    machine = sasl.start("PLAIN")
    assert machine is not None
    return fields(machine.step(message))


@pytest.mark.parametrize("name", ["PLAIN", "plain", "Login", "LOGIN"])
def test_known_mechanisms(name: str) -> None:
    assert sasl.start(name) is not None


@pytest.mark.parametrize("name", ["", "CRAM-MD5", "PLAIN ", "XOAUTH2", "SCRAM-SHA-256"])
def test_unknown_mechanisms(name: str) -> None:
    assert sasl.start(name) is None


def test_plain_without_initial_response() -> None:
    machine = sasl.start("PLAIN")
    assert machine is not None
    assert machine.step(None) == Challenge(b"")
    assert fields(machine.step(b"\0alice\0secret")) == ("", "alice", "secret")


@pytest.mark.parametrize("initial", [False, True])
def test_login(initial: bool) -> None:
    machine = sasl.start("LOGIN")
    assert machine is not None
    if not initial:
        assert machine.step(None) == Challenge(b"Username:")
    assert machine.step(b"alice") == Challenge(b"Password:")
    assert fields(machine.step(b"secret")) == ("", "alice", "secret")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"\0alice\0secret", ("", "alice", "secret")),
        (b"alice\0alice\0secret", ("alice", "alice", "secret")),
        (b"admin\0alice\0secret", ("admin", "alice", "secret")),  # the gatekeeper compares
        ("\0älice\0sécret".encode(), ("", "älice", "sécret")),
        (b"\0 alice \0 secret ", ("", " alice ", " secret ")),  # nothing is trimmed
        (b"\0" + b"n" * 256 + b"\0" + b"s" * 1024, ("", "n" * 256, "s" * 1024)),
    ],
)
def test_clean_plain(message: bytes, expected: tuple[str, str, str]) -> None:
    assert plain(message) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", ("", "", "")),
        (b"alice", ("", "", "")),
        (b"alice\0secret", ("", "", "")),
        (b"\0alice\0secret\0", ("", "", "")),
        (b"\0alice\0sec\0ret", ("", "", "")),
        (b"\0\0\0\0", ("", "", "")),
        (b"\0\0secret", ("", "", "secret")),
        (b"\0alice\0", ("", "alice", "")),
        (b"\0ali\xffce\0secret", ("", "", "secret")),
        (b"\0al\xc0\xafice\0secret", ("", "", "secret")),  # overlong
        (b"\0al\xed\xa0\x80ice\0secret", ("", "", "secret")),  # surrogate
        (b"\0alice\0se\xffcret", ("", "alice", "")),
        (b"\0al\r\nice\0secret", ("", "", "secret")),
        (b"\0al\x1bice\0secret", ("", "", "secret")),
        (b"\0al\x7fice\0secret", ("", "", "secret")),
        ("\0al\x85ice\0secret".encode(), ("", "", "secret")),  # C1
        (b"\0alice\0sec\tret", ("", "alice", "")),
        (b"\0" + b"n" * 257 + b"\0secret", ("", "", "secret")),
        (b"\0alice\0" + b"s" * 1025, ("", "alice", "")),
        # An authzid that cannot be read must not turn into none: the attempt names nobody.
        (b"ad\xffmin\0alice\0secret", ("", "", "secret")),
        (b"admin\n\0alice\0secret", ("", "", "secret")),
        (b"a" * 257 + b"\0alice\0secret", ("", "", "secret")),
    ],
)
def test_what_cannot_be_right_becomes_empty(message: bytes, expected: tuple[str, str, str]) -> None:
    assert plain(message) == expected


@pytest.mark.parametrize(
    "line",
    [
        b"A",
        b"AGE",
        b"AGEA=",
        b"AGE=AGE=",
        b"=AGE",
        b"AG E=",
        b" AGE=",
        b"AGE= ",
        b"AGE\0",
        b"AG_-",
        b"*",
        b"AGE===",
        b"AGEA====",
        b"====",
        b"\xff",
    ],
)
def test_bad_base64(line: bytes) -> None:
    assert sasl.decode_base64(line) is None


@given(st.binary(max_size=100))
def test_base64_round_trip(data: bytes) -> None:
    assert sasl.decode_base64(base64.b64encode(data)) == data


@given(st.binary(max_size=60))
def test_any_message_is_an_identity_of_clean_text(message: bytes) -> None:
    for text in plain(message):
        assert text.isprintable() or not any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in text)
