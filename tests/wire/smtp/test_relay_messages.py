"""Messages through the framed relay: DATA, every bad end, BDAT, and the counts."""

import re

import pytest

from tests.wire.smtp.relay_wire import BARE_LF, ENVELOPE, GO, OK, Wire
from tests.wire.smtp.test_message import BAD_ENDS

# ---- DATA -------------------------------------------------------------------------------------------


def test_the_message_starts_only_at_the_backend_s_354():
    wire = Wire().client(ENVELOPE + b"DATA\r\nXCLIENT\n")
    assert wire.sent() == ENVELOPE + b"DATA\r\n"
    assert wire.relay.hold_client
    wire.client(b"\r\n.\r\nNOOP\r\n").backend(OK + OK)
    assert wire.sent() == b""
    wire.backend(GO)
    assert wire.sent() == b"XCLIENT\n\r\n.\r\nNOOP\r\n"
    assert not wire.relay.hold_client
    wire.backend(OK + b"250 noop\r\n")
    assert wire.heard() == OK + OK + GO + OK + b"250 noop\r\n"
    assert wire.counted == [(1, 1)]


def test_a_client_that_waits_is_never_held():
    wire = Wire().client(ENVELOPE + b"DATA\r\n")
    assert not wire.relay.hold_client


def test_without_354_what_was_held_is_commands():
    wire = (
        Wire()
        .client(ENVELOPE + b"DATA\r\nNOOP\r\nXCLIENT x\r\n")
        .backend(OK + b"550 no such user\r\n554 no valid recipients\r\n")
    )
    assert wire.sent() == ENVELOPE + b"DATA\r\nNOOP\r\n"
    assert wire.heard() == OK + b"550 no such user\r\n554 no valid recipients\r\n"
    wire.backend(OK)
    assert wire.heard() == OK + b"550 5.7.0 Not available after login\r\n"
    assert not wire.relay.in_message


@pytest.mark.parametrize("end", BAD_ENDS)
@pytest.mark.parametrize("text", [b"Subject: x\r\n\r\nhi", b"\r\n"])
def test_behind_a_bad_end_nothing_reaches_the_backend(end, text):
    """At every cut in two: the backend never gets the LF that would end the message for it."""
    data = text + end + b"XCLIENT ADDR=127.0.0.1 LOGIN=bob\r\n"
    for cut in range(len(data) + 1):
        wire = Wire().in_data().client(data[:cut]).client(data[cut:])
        assert wire.cut_backend
        assert (wire.heard(), wire.closed) == (BARE_LF, "bare LF or CR at an end of message")
        sent = wire.sent()
        assert (text + end).startswith(sent)
        assert not re.search(rb"\n\.\r*\n", sent)


@pytest.mark.parametrize("end", BAD_ENDS)
def test_bad_end_in_what_was_held(end):
    wire = Wire().client(ENVELOPE + b"DATA\r\ntext" + end + b"XCLIENT x\r\n").backend(OK + OK + GO)
    assert wire.sent() == ENVELOPE + b"DATA\r\n"
    assert wire.heard() == OK + OK + GO + BARE_LF
    assert wire.cut_backend


def test_a_refused_message_is_not_counted():
    wire = Wire().in_data().client(b".\r\n").backend(b"554 5.7.1 spam\r\n")
    assert (wire.counted, wire.sent(), wire.heard()) == ([], b".\r\n", b"554 5.7.1 spam\r\n")
    wire.in_data().client(b".\r\n").backend(OK)
    assert wire.counted == [(1, 1)]


def test_accepted_recipients_are_counted_per_message():
    wire = Wire()
    wire.client(
        b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nRSET\r\n" + ENVELOPE + b"RCPT TO:<c@x>\r\nRCPT TO:<d@x>\r\nDATA\r\n"
    )
    wire.backend(OK * 3 + OK + OK + b"550 unknown\r\n" + OK + GO).client(b".\r\n" + ENVELOPE + b"DATA\r\n").backend(
        OK * 3 + GO
    )
    wire.client(b".\r\n").backend(OK)
    assert wire.counted == [(1, 2), (1, 1)]


# ---- BDAT -------------------------------------------------------------------------------------------


def test_chunks_are_passed_and_counted():
    wire = Wire("CHUNKING").client(ENVELOPE).backend(OK + OK)
    wire.sent()
    wire.client(b"BDAT 10\r\n01\n.\r\n")
    assert (wire.relay.in_message, wire.relay.awaiting_message_reply) == (True, False)
    wire.client(b"789XBDAT 5 LAST\r\nXCLIENT x\r\n")
    assert wire.sent() == b"BDAT 10\r\n01\n.\r\n789XBDAT 5 LAST\r\nXCLIE"
    assert (wire.relay.in_message, wire.relay.awaiting_message_reply) == (False, True)
    wire.backend(OK + OK)
    assert wire.heard() == OK * 4 + b"500 5.5.1 Command not recognized\r\n"
    assert wire.counted == [(1, 1)]


@pytest.mark.parametrize("last", [b"LAST", b"last", b"Last"])
def test_last_chunk(last):
    chunk = b"BDAT 4 " + last + b"\r\nabcd"
    wire = Wire("CHUNKING").client(ENVELOPE + chunk + b"NOOP\r\n")
    assert wire.sent() == ENVELOPE + chunk + b"NOOP\r\n"
    assert (wire.relay.in_message, wire.relay.awaiting_message_reply) == (False, True)
    wire.backend(OK + OK + b"250 4 bytes\r\n")
    assert wire.counted == [(1, 1)]
    assert not wire.relay.awaiting_message_reply


def test_empty_last_chunk():
    wire = Wire("CHUNKING").client(ENVELOPE + b"BDAT 0 LAST\r\nNOOP\r\n").backend(OK * 4)
    assert wire.counted == [(1, 1)]


@pytest.mark.parametrize(
    "line",
    [
        b"BDAT",
        b"BDAT ",
        b"BDAT -1",
        b"BDAT +1",
        b"BDAT 1 LAS",
        b"BDAT 1  LAST",
        b"BDAT  1",
        b"BDAT 1 LAST ",
        b"BDAT 0x10",
        b"BDAT 1 LAST x",
        b"BDAT 2147483648",
        b"BDAT 99999999999",
        b"BDAT \xd9\xa1",
        b"BDAT 1 2",
    ],
)
def test_malformed_bdat_closes(line):
    wire = Wire("CHUNKING").client(line + b"\r\nXCLIENT x\r\n")
    assert (wire.sent(), wire.heard()) == (b"", b"501 5.5.4 Syntax: BDAT size [LAST]\r\n")
    assert wire.cut_backend
    assert wire.closed == "malformed BDAT"


def test_bdat_needs_a_backend_that_offers_it():
    wire = Wire("PIPELINING").client(b"BDAT 12 LAST\r\nXCLIENT x\r\n\r\n")
    assert (wire.sent(), wire.heard()) == (b"", b"502 5.5.1 BDAT is not available\r\n")
    assert wire.cut_backend


@pytest.mark.parametrize(
    ("reply", "allowed"), [(b"250-mx\r\n250 CHUNKING\r\n", True), (b"250 mx\r\n", False), (b"501 syntax\r\n", True)]
)
def test_the_last_ehlo_counts(reply, allowed):
    wire = Wire("CHUNKING").client(b"HELO x\r\nBDAT 1\r\nx").backend(reply)
    assert wire.sent() == b"HELO x\r\n" + (b"BDAT 1\r\nx" if allowed else b"")
    assert (wire.closed is None) is allowed
