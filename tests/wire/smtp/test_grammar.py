"""Replies, EHLO lists and xtext."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.smtp.grammar import (
    MAX_REPLY_LINE,
    MAX_REPLY_LINES,
    Reply,
    ReplyError,
    ReplyReader,
    ehlo_lines,
    parameters,
    visible,
    xtext,
)


def read(*pieces: bytes) -> list[Reply]:
    reader = ReplyReader()
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (reply := reader.next_reply()) is not None:
            found.append(reply)
    return found


def test_replies_whole_and_byte_by_byte():
    wire = b"250-mx.example.org\r\n250-SIZE 10\r\n250 DSN\r\n354 go\r\n220\r\n"
    expected = [Reply(250, (b"mx.example.org", b"SIZE 10", b"DSN")), Reply(354, (b"go",)), Reply(220, (b"",))]
    assert read(wire) == expected
    assert read(*(wire[i : i + 1] for i in range(len(wire)))) == expected


def test_reply_goes_out_as_it_came_in():
    wire = b"250-mx\r\n250-A b\r\n250 c\r\n"
    assert read(wire)[0].encode() == wire


@pytest.mark.parametrize(
    "wire", [b"hello\r\n", b"2500 x\r\n", b"250_x\r\n", b"150 x\r\n", b"650 x\r\n", b"\r\n", b"25\r\n"]
)
def test_what_is_no_reply(wire):
    with pytest.raises(ReplyError):
        read(wire)


def test_endless_replies_are_bounded():
    with pytest.raises(ReplyError):
        read(b"250 " + b"x" * MAX_REPLY_LINE)
    with pytest.raises(ReplyError):
        read(b"250-x\r\n" * MAX_REPLY_LINES)
    assert len(read(b"250-x\r\n" * (MAX_REPLY_LINES - 1) + b"250 x\r\n")[0].lines) == MAX_REPLY_LINES


def test_rest_is_what_came_behind():
    reader = ReplyReader()
    reader.feed(b"235 ok\r\n421 by")
    assert reader.next_reply() == Reply(235, (b"ok",))
    assert len(reader) == 6
    assert reader.rest() == b"421 by"


def test_reply_in_a_log_is_one_printable_line():
    assert str(Reply(535, (b"a", b"5.7.8 no\x1b[0m\xff"))) == "535 5.7.8 no?[0m?"
    assert len(str(Reply(535, (b"x" * 4000,)))) <= 204


def test_ehlo_list():
    offers = ehlo_lines(Reply(250, (b"mx greets you", b"size 10", b"AUTH PLAIN login ", b"AUTH=PLAIN", b"b\xe9d", b"")))
    assert offers == {"SIZE 10", "AUTH PLAIN LOGIN"}
    assert parameters(offers, "AUTH") == ["PLAIN", "LOGIN"]
    assert parameters(offers, "XCLIENT") is None


def test_visible():
    assert all(map(visible, ["SIZE 10240000", "PIPELINING", "8BITMIME", "CHUNKING"]))
    hidden = [
        "AUTH PLAIN",
        "AUTH=PLAIN",
        "STARTTLS",
        "XCLIENT ADDR",
        "XFORWARD ADDR",
        "BURL IMAP",
        "X",
        "",
        "SIZE\r\nAUTH X",
    ]
    assert not any(map(visible, hidden))


def test_xtext():
    assert xtext("alice@example.test") == "alice@example.test"
    assert xtext("a+b=c d\r\nMAIL\0é") == "a+2Bb+3Dc+20d+0D+0AMAIL+00+C3+A9"


@given(st.text())
def test_xtext_is_one_token_and_reversible(value):
    encoded = xtext(value)
    assert encoded.isascii()
    assert not set(encoded) & {" ", "\r", "\n", "\0", "=", "\t"}
    raw = encoded.encode()
    back, position = b"", 0
    while position < len(raw):
        if raw[position] == ord("+"):
            back += bytes([int(raw[position + 1 : position + 3], 16)])
            position += 3
        else:
            back += raw[position : position + 1]
            position += 1
    assert back == value.encode("utf-8", "replace")
