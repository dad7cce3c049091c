"""The end of a message, at every cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.smtp.message import BadEnd, MessageScanner

BAD_ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r\n.\r\r\n",
    b"\r\n.\r\r\r\r\r\r\n",
    b"\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n.\n\r\n",
    b"\r\n\n.\r\n",
    b"\n\n.\n",
]
"""What Postfix 3.7 ends a message at and RFC 5321 does not."""

NO_ENDS = [
    b"\r\n..\r\n",
    b"\r\n.\r",
    b"\r.\r\n",
    b"\r.\r",
    b"\r\n.\0\r\n",
    b"\r\n. \r\n",
    b"\r\n\r.\r\n",
    b"\n\n",
    b"\n..\n",
    b"x.\n",
    b"\r\n.\r\0\n",
]
"""What no server known to us ends a message at."""


def scan(*chunks: bytes) -> int | None:
    """Index of the end over all chunks."""
    scanner, before = MessageScanner(), 0
    for chunk in chunks:
        end = scanner.find_end(memoryview(chunk), 0)
        if end is not None:
            return before + end
        before += len(chunk)
    return None


def cuts(data: bytes):
    """Whole, byte by byte, and cut in two and in three at every place."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]
    for i, j in itertools.combinations(range(1, len(data)), 2):
        yield [data[:i], data[i:j], data[j:]]


@pytest.mark.parametrize(
    "text", [b"", b"a", b"a\r\nb", b"..\r\na.b\r\n.c\r\n", b"lone\nfeeds\n\nin\rthe text", b"ends in CR\r", b"\r\n\r\n"]
)
def test_right_end_at_every_cut(text):
    message = text + (b"\r\n.\r\n" if text else b".\r\n")
    for chunks in cuts(message + b"MAIL"):
        assert scan(*chunks) == len(message), chunks


@pytest.mark.parametrize("end", BAD_ENDS)
@pytest.mark.parametrize("text", [b"text", b"a.b\r\n..\r\nc", b"\r\n"])
def test_bad_end_at_every_cut(text, end):
    for chunks in cuts(text + end):
        with pytest.raises(BadEnd):
            scan(*chunks)


@pytest.mark.parametrize("start", [b".\n", b".\r\r\n", b"\n.\r\n", b"\n.\n"])
def test_bad_end_right_after_the_354(start):
    for chunks in cuts(start):
        with pytest.raises(BadEnd):
            scan(*chunks)


@pytest.mark.parametrize("text", NO_ENDS)
def test_what_ends_nothing(text):
    for chunks in cuts(b"text" + text):
        assert scan(*chunks) is None, chunks


def test_bad_end_is_seen_before_its_last_byte_goes_out():
    scanner = MessageScanner()
    assert scanner.find_end(memoryview(b"text\r\n.\r\r"), 0) is None
    with pytest.raises(BadEnd):
        scanner.find_end(memoryview(b"\nMAIL FROM:<x>\r\n"), 0)


def test_scan_begins_where_it_is_told():
    assert MessageScanner().find_end(memoryview(b"DATA\n.\nx\r\n.\r\nrest"), 7) == 13


def reference(data: bytes) -> int | None:
    """The rule, naively: over lines as Postfix cuts them, for a message that follows CRLF."""
    position, after_crlf = 0, True
    while (end := data.find(b"\n", position)) >= 0:
        line = data[position : end + 1]
        if line.rstrip(b"\r\n") == b"." and line[0:1] == b".":
            if not after_crlf or line != b".\r\n":
                raise BadEnd
            return end + 1
        after_crlf = line.endswith(b"\r\n")
        position = end + 1
    return None


@given(
    st.lists(
        st.binary(max_size=3) | st.lists(st.sampled_from([b"\r", b"\n", b".", b"a"]), max_size=9).map(b"".join),
        max_size=6,
    )
)
def test_agrees_with_the_naive_rule_however_cut(chunks):
    def outcome(function, *arguments):
        try:
            return function(*arguments)
        except BadEnd:
            return "bad"

    assert outcome(scan, *chunks) == outcome(reference, b"".join(chunks))
