"""LineBuffer: every byte comes out once, lines are cut alike however the bytes arrive, limits hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.buffer import LineBuffer, LineTooLong


def test_line_ends() -> None:
    buffer = LineBuffer(10)
    buffer.feed(b"one\r\ntwo\n\r\n\nthr")
    lines = []
    while (line := buffer.next_line()) is not None:
        lines.append((line, buffer.ended_bare))
    assert lines == [(b"one", False), (b"two", True), (b"", False), (b"", True)]
    assert len(buffer) == 3
    assert buffer.rest() == b"thr"
    assert len(buffer) == 0


def test_only_one_cr_belongs_to_the_end() -> None:
    buffer = LineBuffer(10)
    buffer.feed(b"a\r\r\nb\rc\r\n")
    assert buffer.next_line() == b"a\r"
    assert buffer.next_line() == b"b\rc"


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_line_of_exactly_the_limit_passes(end: bytes) -> None:
    buffer = LineBuffer(5)
    buffer.feed(b"12345" + end)
    assert buffer.next_line() == b"12345"


def test_cr_after_a_full_line_is_waited_for() -> None:
    buffer = LineBuffer(5)
    buffer.feed(b"12345\r")
    assert buffer.next_line() is None
    buffer.feed(b"\n")
    assert buffer.next_line() == b"12345"


@pytest.mark.parametrize("data", [b"123456", b"123456\n", b"123456\r\n", b"12345\r\r", b"12345\r\r\n"])
def test_one_byte_more_raises(data: bytes) -> None:
    buffer = LineBuffer(5)
    buffer.feed(data)
    with pytest.raises(LineTooLong):
        buffer.next_line()
    assert buffer.rest() == data


def test_limit_of_one_call() -> None:
    buffer = LineBuffer(5)
    buffer.feed(b"1234567")
    with pytest.raises(LineTooLong):
        buffer.next_line()
    assert buffer.next_line(8) is None
    buffer.feed(b"8\r\n")
    assert buffer.next_line(8) == b"12345678"


def test_take_and_peek() -> None:
    buffer = LineBuffer(100)
    buffer.feed(b"abc\ndef")
    assert buffer.peek(2) == b"ab"
    assert buffer.take(8) is None
    assert buffer.take(5) == b"abc\nd"
    assert buffer.take(0) == b""
    assert buffer.next_line() is None
    buffer.feed(b"\n")
    assert buffer.next_line() == b"ef"


@given(st.lists(st.binary(max_size=20)), st.integers(1, 7))
def test_cuts_do_not_matter(parts: list[bytes], size: int) -> None:
    data = b"\n".join(parts)

    def lines(pieces: list[bytes]) -> list[bytes]:
        buffer, found = LineBuffer(50), []
        for piece in pieces:
            buffer.feed(piece)
            while (line := buffer.next_line()) is not None:
                found.append(line + (b"\n" if buffer.ended_bare else b"\r\n"))
        return [*found, buffer.rest()]

    whole = lines([data])
    assert b"".join(whole) == data
    assert lines([data[i : i + size] for i in range(0, len(data), size)]) == whole
