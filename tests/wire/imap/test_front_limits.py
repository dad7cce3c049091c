"""Hostile input (facts: threats 1, 8, 9, 10, 37): an exact answer or a clean close, and bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.domain.verdicts import Shown
from proxy.wire.events import Attempt, Close, FrontMachine, Send, StartTls
from proxy.wire.imap.front import ImapFront
from tests.support.transcript import run_front
from tests.wire.imap.fronts import GREETED, IMPLICIT, STARTTLS

ARGUMENTS = b"a BAD Invalid arguments\r\n"
UNKNOWN = b"a BAD Unknown command, or not before login\r\n"
TAG = b"* BAD Invalid tag\r\n"
LITERAL = b"a BAD Literal too large, or too many\r\n"
REFUSED = b"* BYE Literal refused\r\n"
LONG = b"* BYE Line too long\r\n"


def answers(machine: FrontMachine, data: bytes, size: int | None = None) -> tuple[bytes, bool]:
    """What is sent, and whether the connection is closed."""
    sent, closed = b"", False
    for at in range(0, len(data), size or len(data)):
        for event in machine.receive_data(data[at : at + (size or len(data))]):
            sent += event.data if isinstance(event, Send) else b""
            closed |= isinstance(event, Close)
        if closed:
            break
    return sent, closed


def greeted(make: object = IMPLICIT) -> FrontMachine:
    machine = IMPLICIT() if make is IMPLICIT else STARTTLS()
    machine.connected(tls=make is IMPLICIT)
    return machine


@pytest.mark.parametrize("size", [None, 1, 7])
@pytest.mark.parametrize(
    ("data", "sent", "closed"),
    [
        # tags
        (b"\r\n", TAG, False),
        (b" NOOP\r\n", TAG, False),
        (b"* NOOP\r\n", TAG, False),
        (b"+ NOOP\r\n", TAG, False),
        (b'"a" NOOP\r\n', TAG, False),
        (b"{5} NOOP\r\n", TAG, False),
        (b"\xff\xfe NOOP\r\n", TAG, False),
        (b"a\0b NOOP\r\n", TAG, False),
        (b"\x1b[2J NOOP\r\n", TAG, False),
        (b"t" * 65 + b" NOOP\r\n", TAG, False),
        (b"t" * 64 + b" NOOP\r\n", b"t" * 64 + b" OK NOOP completed\r\n", False),
        # commands
        (b"a\r\n", UNKNOWN, False),
        (b"a \r\n", UNKNOWN, False),
        (b"a  NOOP\r\n", UNKNOWN, False),
        (b"a NOOP\0\r\n", UNKNOWN, False),
        (b"a N\xd6\xd6P\r\n", UNKNOWN, False),
        (b"a SELECT INBOX\r\n", UNKNOWN, False),
        (b"a UNAUTHENTICATE\r\n", UNKNOWN, False),
        (b"a COMPRESS DEFLATE\r\n", UNKNOWN, False),
        (b"a NOOP x\r\n", ARGUMENTS, False),
        (b"a NOOP " + b"(" * 8000 + b"\r\n", ARGUMENTS, False),
        (b"a STARTTLS x\r\n", ARGUMENTS, False),
        (b"a LOGIN\r\n", ARGUMENTS, False),
        (b"a LOGIN alice\r\n", ARGUMENTS, False),
        (b"a LOGIN alice \r\n", ARGUMENTS, False),
        (b"a LOGIN  alice secret\r\n", ARGUMENTS, False),
        (b"a LOGIN alice  secret\r\n", ARGUMENTS, False),
        (b"a LOGIN alice secret \r\n", ARGUMENTS, False),
        (b"a LOGIN alice secret more\r\n", ARGUMENTS, False),
        (b"a LOGIN (alice) secret\r\n", ARGUMENTS, False),
        (b"a LOGIN al\0ice secret\r\n", ARGUMENTS, False),
        (b"a LOGIN alice sec\ret\r\n", ARGUMENTS, False),
        (b'a LOGIN "alice secret\r\n', ARGUMENTS, False),
        (b'a LOGIN "alice" "sec\0ret"\r\n', ARGUMENTS, False),
        (b'a LOGIN "alice" "sec\\ret"\r\n', ARGUMENTS, False),
        (b'a LOGIN "alice" "secret\\"\r\n', ARGUMENTS, False),
        (b'a LOGIN "alice""secret"\r\n', ARGUMENTS, False),
        (b'a LOGIN "' + b'\\"' * 4000 + b"\r\n", ARGUMENTS, False),
        (b"a AUTHENTICATE\r\n", ARGUMENTS, False),
        (b"a AUTHENTICATE PLAIN AA== AA==\r\n", ARGUMENTS, False),
        (b"a AUTHENTICATE {5+}\r\nPLAIN\r\n", ARGUMENTS, False),
        (b"a ID\r\n", ARGUMENTS, False),
        (b"a ID (\r\n", ARGUMENTS, False),
        (b"a ID ((((\r\n", ARGUMENTS, False),
        (b'a ID ("name")\r\n', ARGUMENTS, False),
        (b'a ID ("name" "x"\r\n', ARGUMENTS, False),
        (b'a ID ("name" ("x"))\r\n', ARGUMENTS, False),
        (b"a ID (name x)\r\n", ARGUMENTS, False),
        # literals
        (b"a LOGIN {-1}\r\n", ARGUMENTS, False),
        (b"a LOGIN {+5}\r\n", ARGUMENTS, False),
        (b"a LOGIN { 5}\r\n", ARGUMENTS, False),
        (b"a LOGIN {0x5}\r\n", ARGUMENTS, False),
        (b"a LOGIN {}\r\n", ARGUMENTS, False),
        (b"a LOGIN {5+\r\n", ARGUMENTS, False),
        (b"a LOGIN {5-}\r\n", ARGUMENTS, False),
        (b"a LOGIN ~{5}\r\n", ARGUMENTS, False),
        (b"a LOGIN {5+}x\r\n", ARGUMENTS, False),
        (b"a LOGIN alice sec{5+}\r\n", ARGUMENTS, False),
        ("a LOGIN {٣}\r\n".encode(), ARGUMENTS, False),
        (b"a LOGIN {4097}\r\n", LITERAL, False),
        (b"a LOGIN {4096}\r\n", b"+ OK\r\n", False),
        (b"a LOGIN {00000000005}\r\n", LITERAL, False),
        (b"a LOGIN {99999999999999999999}\r\n", LITERAL, False),
        (b"a LOGIN {" + b"9" * 8000 + b"}\r\n", LITERAL, False),
        (b"a LOGIN {4097+}\r\nb NOOP\r\n", LITERAL + REFUSED, True),
        (b"a LOGIN {2147483648+}\r\n", LITERAL + REFUSED, True),
        (b"a APPEND INBOX {10000000+}\r\n", LITERAL + REFUSED, True),
        (b"a LOGIN {1+}\r\na {1+}\r\nb {1}\r\n", LITERAL, False),
        (b"a LOGIN {1+}\r\na {1+}\r\nb {1+}\r\n", LITERAL + REFUSED, True),
        (b"* X {4097+}\r\n", b"* BAD Literal too large, or too many\r\n" + REFUSED, True),
        (b"* X {3+}\r\nabc\r\n", TAG, False),
        (b"a NOOP {8+}\r\nb NOOP\r\n\r\n", ARGUMENTS, False),  # what is inside a literal is no command
        (b"a LOGIN {1+}\r\na" + b"x" * 8193, LONG, True),
        # lines
        (b"a NOOP" + b" " * 8187, LONG, True),
        (b"a NOOP" + b" " * 8187 + b"\r\n", LONG, True),
        (b"x" * 8193, LONG, True),
        (b"a AUTHENTICATE PLAIN " + b"A" * 12_268, LONG, True),
        (b"a AUTHENTICATE PLAIN\r\n" + b"A" * 12_289, b"+ \r\n" + LONG, True),
        (b"a AUTHENTICATE PLAIN " + b"A" * 12_263 + b"\r\n", b"a BAD Invalid base64\r\n", False),
        # other protocols
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"", True),
        (b"POST /a LOGIN x y\r\n", b"", True),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"", True),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 143\r\n", b"", True),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", TAG * 3 + b"* BYE Too many bad commands\r\n", True),
        (b"OPTIONS * RTSP/1.0\r\n", b"", True),
        (b"a NOOP\r\nHEAD / HTTP/1.0\r\n", b"a OK NOOP completed\r\n", True),
        (b"Host: example.org\r\n", b"Host: BAD Unknown command, or not before login\r\n", False),
        (b"EHLO example.org\r\n", b"EHLO BAD Unknown command, or not before login\r\n", False),
        (b"\x16\x03\x01\x02\x00\r\n", TAG, False),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_hostile(data: bytes, sent: bytes, closed: bool, size: int | None) -> None:
    assert answers(greeted(), data, size) == (sent, closed)


@pytest.mark.parametrize(
    "data",
    [b"a NOOP " + b"x" * 8185, b"a AUTHENTICATE PLAIN " + b"A" * 12_267],
    ids=lambda value: repr(value)[:50],
)
def test_a_line_of_exactly_the_limit_is_read(data: bytes) -> None:
    sent, closed = answers(greeted(), data + b"\r\n")
    assert sent.startswith(b"a BAD ")
    assert not closed


def test_three_bad_commands_in_a_row() -> None:
    run_front(
        IMPLICIT,
        GREETED
        + """
        C: a X
        S: a BAD Unknown command, or not before login
        C: b X
        S: b BAD Unknown command, or not before login
        C: c NOOP
        S: c OK NOOP completed
        C: d X
        S: d BAD Unknown command, or not before login
        C: e AUTHENTICATE GSSAPI
        S: e NO Unsupported authentication mechanism
        C: f LOGIN {5000}
        S: f BAD Literal too large, or too many
        S: * BYE Too many bad commands
        + close
        """,
    )


def test_after_a_close_nothing_is_answered() -> None:
    machine = greeted()
    assert answers(machine, b"x\r\nx\r\nx\r\na LOGIN alice secret\r\n")[1]
    assert machine.receive_data(b"a LOGIN alice secret\r\n") == []


def test_invalid_base64_ten_thousand_times() -> None:
    """Every third closes; nothing grows, nothing leaks into the next connection."""
    for _ in range(3_000):
        sent, closed = answers(greeted(), b"a AUTHENTICATE PLAIN %%%\r\n" * 4)
        assert closed
        assert sent == b"a BAD Invalid base64\r\n" * 3 + b"* BYE Too many bad commands\r\n"


def held(machine: FrontMachine) -> int:
    assert isinstance(machine, ImapFront)
    return len(machine._buffer) + sum(map(len, machine._lines)) + sum(map(len, machine._literals))


@pytest.mark.parametrize(
    "pattern",
    [b"x", b"a NOOP (", b"a LOGIN {4096+}\r\n" + b"x" * 4096, b"a AUTHENTICATE PLAIN " + b"A" * 12_000],
    ids=lambda value: repr(value)[:50],
)
def test_memory_is_bounded(pattern: bytes) -> None:
    machine = greeted()
    for _ in range(4_000_000 // len(pattern)):
        events = machine.receive_data(pattern)
        assert held(machine) <= 3 * 8_193 + 2 * 4_096 + len(pattern)
        if any(isinstance(event, Close) for event in events):
            break
    else:
        raise AssertionError("never closed")


# ---- whatever the bytes ----------------------------------------------------------------------

PIECES = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from(
            [
                b"a ",
                b"LOGIN ",
                b"AUTHENTICATE ",
                b"PLAIN",
                b"ID ",
                b"STARTTLS",
                b"NOOP",
                b"\r\n",
                b"\n",
                b"{3}\r\n",
                b"{3+}\r\n",
                b"{5000+}\r\n",
                b'"x" ',
                b"abc",
                b"=",
                b"*",
                b"AGEAYg==",
                b"(",
                b") ",
                b"NIL",
            ]
        ),
    ),
    max_size=40,
)


@settings(max_examples=300)
@given(PIECES, st.booleans(), st.sampled_from([None, 1, 5]))
def test_arbitrary_bytes(pieces: list[bytes], tls: bool, size: int | None) -> None:
    machine = IMPLICIT() if tls else STARTTLS()
    machine.connected(tls=tls)
    data = b"".join(pieces)
    size = size or len(data) or 1
    pending = closed = False
    for at in range(0, len(data), size):
        for event in machine.receive_data(data[at : at + size]):
            assert not closed, "an event after Close"
            if isinstance(event, Attempt):
                assert tls
                assert not pending, "a second attempt while the first is pending"
                pending = True
            elif isinstance(event, Send):
                assert not pending, "an answer while an attempt is pending"
                assert event.data.endswith(b"\r\n")
            closed = isinstance(event, Close)
            if isinstance(event, StartTls):
                return
        if closed:
            return
    if pending:
        machine.refuse(Shown.NOT_ACCEPTED)


@pytest.mark.parametrize("command", [b"a CAPABILITY\r\n", b"a ID NIL\r\n", b"a LOGIN {0+}\r\n\r\na NOOP\r\n"])
def test_a_flood_of_commands_is_cut_short(command: bytes) -> None:
    machine = greeted()
    happened = machine.receive_data(command * 10_000)
    assert happened[-2:] == [
        Send(b"* BYE Too many commands before login\r\n"),
        Close("too many commands before login"),
    ]
    assert len(happened) <= 102
    assert machine.receive_data(command) == []


def test_the_flood_is_counted_over_refused_logins_too() -> None:
    machine = greeted()
    login = b"a LOGIN alice secret\r\n"
    assert isinstance(machine.receive_data(b"a NOOP\r\n" * 99 + login)[-1], Attempt)
    assert machine.receive_data(login) == []
    assert isinstance(machine.refuse(Shown.NOT_ACCEPTED)[-1], Attempt)
    assert isinstance(machine.receive_data(b"a NOOP\r\n" * 2) or machine.refuse(Shown.NOT_ACCEPTED)[-1], Close)
