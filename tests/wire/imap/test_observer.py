"""What is noted of a client that is logged in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.imap.observer import LINES, ImapObserver

THUNDERBIRD = b'4 ID ("name" "Thunderbird" "version" "153.0")\r\n'


def watch(data: bytes, size: int | None = None) -> tuple[str | None, bool, int]:
    """Program, COMPRESS, and how often the program became known."""
    observer = ImapObserver()
    size = size or len(data) or 1
    news = sum(observer.observe(memoryview(data)[at : at + size]) for at in range(0, len(data), size))
    return observer.program, observer.compressed, news


@pytest.mark.parametrize("size", [None, 1, 10])
def test_id_among_the_first_lines(size: int | None) -> None:
    assert watch(b"1 NAMESPACE\r\n2 LIST () x y\r\n" + THUNDERBIRD + b"5 NOOP\r\n", size) == (
        "Thunderbird 153.0",
        False,
        1,
    )


@pytest.mark.parametrize(("before", "program"), [(LINES - 1, "Thunderbird 153.0"), (LINES, None)])
def test_only_the_first_lines_count(before: int, program: str | None) -> None:
    assert watch(b"x NOOP\r\n" * before + THUNDERBIRD, 7)[0] == program


def test_observe_says_when_the_program_becomes_known() -> None:
    observer = ImapObserver()
    assert not observer.observe(THUNDERBIRD[:10])
    assert observer.observe(THUNDERBIRD[10:])
    assert not observer.observe(b"5 NOOP\r\n")


@pytest.mark.parametrize(
    "line", [b"a ID NIL\r\n", b"a ID (\r\n", b"a ID {3}\r\nabc\r\n", b'ID ("name" "x")\r\n', b"\0\xff\r\n"]
)
def test_what_is_no_id(line: bytes) -> None:
    assert watch(line) == (None, False, 0)


@pytest.mark.parametrize("size", [None, 1])
def test_no_id_is_read_behind_compress(size: int | None) -> None:
    assert watch(b"a COMPRESS DEFLATE\r\n" + THUNDERBIRD, size) == (None, True, 0)


@pytest.mark.parametrize("command", [b"a COMPRESS DEFLATE\r\n", b"z9 compress deflate\r\n"])
def test_compress_at_any_time(command: bytes) -> None:
    assert watch(command)[1]
    assert watch(b"x NOOP\r\n" * LINES + command)[1]
    observer = ImapObserver()
    observer.observe(b"x NOOP\r\n" * 100)
    observer.observe(b"y APPEND z {100000}\r\n" + b"m" * 100_000)
    assert not observer.compressed
    observer.observe(b"y NOOP\r\n" + command)
    assert observer.compressed


def test_an_upload_is_not_searched() -> None:
    observer = ImapObserver()
    observer.observe(b"x NOOP\r\n" * LINES)
    observer.observe(b"m" * 1_000 + b"\na COMPRESS DEFLATE\r\n")
    assert not observer.compressed


def test_a_line_too_long_counts_and_is_not_kept() -> None:
    observer = ImapObserver()
    for _ in range(10):
        observer.observe(b"x" * 1_000)
        assert len(observer._partial) <= 2_049
    observer.observe(b"\r\n" + THUNDERBIRD)
    assert observer.program == "Thunderbird 153.0"


def test_an_upload_without_line_ends_is_no_first_line_for_ever() -> None:
    observer = ImapObserver()
    for _ in range(100):
        observer.observe(b"x" * 1_000)
    assert observer._partial == b""
    observer.observe(b"\r\n" + THUNDERBIRD)
    assert observer.program is None
    observer.observe(b"a COMPRESS DEFLATE\r\n")
    assert observer.compressed


def test_an_id_before_an_upload_in_the_same_segment_is_read() -> None:
    assert watch(THUNDERBIRD + b"y APPEND z {100000+}\r\n" + b"m" * 100_000)[0] == "Thunderbird 153.0"


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=20), st.sampled_from([b"\r\n", b"a ID ", b'("name" "x")', b"b COMPRESS DEFLATE\r\n"])
        )
    )
)
def test_arbitrary_bytes(pieces: list[bytes]) -> None:
    observer = ImapObserver()
    for piece in pieces:
        observer.observe(piece)
    assert observer.program is None or observer.program.isprintable()
