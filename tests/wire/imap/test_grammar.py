"""The pieces of IMAP's grammar that the machines' dialogues do not show alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.imap.grammar import Arguments, BadSyntax, capabilities_in, quoted, response_code, split_command

PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))


@given(PRINTABLE)
def test_quoted_round_trip(text: str) -> None:
    arguments = Arguments([quoted(text)], [], 0)
    assert arguments.astring() == text.encode()
    arguments.end()


@given(st.binary(max_size=40), st.lists(st.binary(max_size=5), max_size=2))
def test_arguments_read_or_raise_bad_syntax(text: bytes, literals: list[bytes]) -> None:
    for read in (Arguments.astring, Arguments.id_fields, Arguments.atom, Arguments.end, Arguments.space):
        try:
            read(Arguments([text] * (len(literals) + 1), literals, 0))
        except BadSyntax:
            continue


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"a noop", (b"a", b"NOOP", 6)),
        (b"a LOGIN x y", (b"a", b"LOGIN", 7)),
        (b"a LOGIN-X", (b"a", b"", 1)),
        (b"a", (b"a", b"", 1)),
        (b"a]b.1/~ NOOP", (b"a]b.1/~", b"NOOP", 12)),
        (b"a+ NOOP", (None, b"", 0)),
        (b"", (None, b"", 0)),
    ],
)
def test_split_command(line: bytes, expected: tuple[bytes | None, bytes, int]) -> None:
    assert split_command(line) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"[LIMIT] Too many", ("LIMIT", b"Too many")),
        (b"[limit]Too many", ("LIMIT", b"Too many")),
        (b"[REFERRAL imap://x/] Elsewhere", ("REFERRAL", b"Elsewhere")),
        (b"Too [LIMIT] many", ("", b"Too [LIMIT] many")),
        (b"[LIMIT Too many", ("", b"[LIMIT Too many")),
        (b"", ("", b"")),
    ],
)
def test_response_code(text: bytes, expected: tuple[str, bytes]) -> None:
    assert response_code(text) == expected


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        (b"[CAPABILITY IMAP4rev1 IDLE] hi", b"IMAP4rev1 IDLE"),
        (b"hi [CAPABILITY IDLE]", None),  # words of a server's, not a code
        (b"[ALERT] hi", None),
    ],
)
def test_capabilities_in(text: bytes, listed: bytes | None) -> None:
    assert capabilities_in(text) == listed
