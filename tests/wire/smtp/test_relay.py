"""The framed relay between a client and a scripted backend: what reaches whom, in which order."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.wire.events import Close, CloseBackend, Counted, ToBackend, ToClient
from proxy.wire.smtp import relay as module
from proxy.wire.smtp.relay import SmtpRelay
from tests.wire.smtp.test_message import BAD_ENDS

ENVELOPE = b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\n"
OK = b"250 2.0.0 Ok\r\n"
GO = b"354 End data with <CR><LF>.<CR><LF>\r\n"
BARE_LF = b"550 5.5.2 Bare <LF> is not accepted\r\n"
BARE_CR = b"550 5.5.2 Bare <CR> or <NUL> is not accepted\r\n"


class Wire:
    """Carries out what a relay asks for and remembers it. `to_backend` is what went out while that leg was open."""

    def __init__(self, *offers: str) -> None:
        self.relay = SmtpRelay(frozenset(offers))
        self.to_backend = b""
        self.to_client = b""
        self.counted: list[tuple[int, int]] = []
        self.closed: str | None = None
        self.cut_backend = False

    def client(self, data: bytes) -> "Wire":
        buffer = bytearray(data)
        self._do(self.relay.client_data(memoryview(buffer)))
        buffer[:] = b"\xee" * len(buffer)  # the driver reuses its buffer: nothing may be kept by reference
        return self

    def backend(self, data: bytes) -> "Wire":
        self._do(self.relay.backend_data(data))
        return self

    def _do(self, happened) -> None:
        self.cut_backend = self.cut_backend or any(isinstance(event, CloseBackend) for event in happened)
        for event in happened:
            assert self.closed is None, "something after Close"
            match event:
                case ToBackend(data):
                    assert len(data)
                    if not self.cut_backend:
                        self.to_backend += bytes(data)
                case ToClient(data):
                    self.to_client += bytes(data)
                case Counted(messages, recipients):
                    self.counted.append((messages, recipients))
                case Close(why):
                    self.closed = why

    def heard(self) -> bytes:
        """What the client was told since the last call."""
        said, self.to_client = self.to_client, b""
        return said

    def sent(self) -> bytes:
        """What the backend was sent since the last call."""
        said, self.to_backend = self.to_backend, b""
        return said

    def in_data(self) -> "Wire":
        """A session that has just been told 354."""
        self.client(ENVELOPE + b"DATA\r\n").backend(OK + OK + GO)
        assert self.sent() == ENVELOPE + b"DATA\r\n"
        assert self.heard() == OK + OK + GO
        return self


# ---- commands ---------------------------------------------------------------------------------------


def test_a_message_is_passed_and_counted():
    wire = Wire().in_data()
    assert (wire.relay.in_message, wire.relay.awaiting_message_reply) == (True, False)
    wire.client(b"Subject: x\r\n\r\n..stuffed\nlone LF\rlone CR\0\xff")
    assert wire.sent() == b"Subject: x\r\n\r\n..stuffed\nlone LF\rlone CR\0\xff"
    wire.client(b"\r\n.\r\n")
    assert wire.sent() == b"\r\n.\r\n"
    assert (wire.relay.in_message, wire.relay.awaiting_message_reply) == (False, True)
    wire.backend(b"250 2.0.0 Ok: queued\r\n")
    assert wire.heard() == b"250 2.0.0 Ok: queued\r\n"
    assert (wire.relay.in_message, wire.relay.awaiting_message_reply) == (False, False)
    assert wire.counted == [(1, 1)]


@pytest.mark.parametrize(
    "command",
    [
        b"MAIL FROM:<a@x> SIZE=5",
        b"rcpt to:<b@x>",
        b"RSET",
        b"NOOP x",
        b"VRFY a",
        b"EXPN a",
        b"HELP",
        b"ETRN x",
        b"DATA",
        b"QUIT",
    ],
)
def test_verbs_that_pass(command):
    wire = Wire().client(command + b"\r\n")
    assert (wire.sent(), wire.heard()) == (command + b"\r\n", b"")


@pytest.mark.parametrize("verb", [b"XCLIENT", b"XFORWARD", b"AUTH", b"STARTTLS", b"xclient", b"Auth", b"starttls"])
@pytest.mark.parametrize("arguments", [b"", b" ADDR=127.0.0.1 LOGIN=bob"])
def test_verbs_that_would_make_it_somebody_else(verb, arguments):
    wire = Wire().client(verb + arguments + b"\r\n")
    assert (wire.sent(), wire.heard()) == (b"", b"550 5.7.0 Not available after login\r\n")
    assert wire.closed is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" ",
        b" XCLIENT LOGIN=bob",
        b"\tXCLIENT LOGIN=bob",
        b"XCLIENT\tLOGIN=bob",
        b"TURN",
        b"XEXCH50 2 1",
        b"NOOPX",
        b"\xffMAIL",
        b"MAIL\tFROM:<a@x>",
        b"\x0bXCLIENT x",
        b"BURL imap://x LAST",
        b"NOOP;XCLIENT x",
    ],
)
def test_what_is_not_known_stays_here(line):
    wire = Wire().client(line + b"\r\n")
    assert (wire.sent(), wire.heard(), wire.closed) == (b"", b"500 5.5.1 Command not recognized\r\n", None)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"NOOP\n", BARE_LF),
        (b"\n", BARE_LF),
        (b"NOOP\nXCLIENT LOGIN=bob\r\n", BARE_LF),
        (b"NOOP\rXCLIENT LOGIN=bob\r\n", BARE_CR),
        (b"NOOP\r\r\n", BARE_CR),
        (b"NO\0OP\r\n", BARE_CR),
        (b"NOOP " + b"x" * 2042 + b"\r\n", b"500 5.5.2 Line too long\r\n"),
        (b"x" * 300_000, b"500 5.5.2 Line too long\r\n"),
        (b"GET / HTTP/1.1\r\n", b"421 4.7.0 This is an SMTP server\r\n"),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_lines_that_close(line, reply, step):
    wire = Wire()
    for start in range(0, min(len(line), 4000 if step < 1000 else len(line)), step):
        wire.client(line[start : start + step])
    assert (wire.sent(), wire.heard()) == (b"", reply)
    assert wire.cut_backend
    assert wire.closed
    assert wire.relay.client_data(b"NOOP\r\n") == wire.relay.backend_data(OK) == []


def test_longest_line():
    line = b"NOOP " + b"x" * 2041 + b"\r\n"
    assert len(line) == 2048
    assert Wire().client(line).sent() == line


def test_our_replies_wait_their_turn():
    wire = Wire().client(b"NOOP\r\nXCLIENT x\r\nFOO\r\nNOOP\r\nAUTH PLAIN\r\n")
    assert (wire.sent(), wire.heard()) == (b"NOOP\r\nNOOP\r\n", b"")
    wire.backend(b"250 one\r\n")
    assert wire.heard() == b"250 one\r\n550 5.7.0 Not available after login\r\n500 5.5.1 Command not recognized\r\n"
    wire.backend(b"250-two\r\n250 ")
    assert wire.heard() == b""
    wire.backend(b"three\r\n")
    assert wire.heard() == b"250-two\r\n250 three\r\n550 5.7.0 Not available after login\r\n"


def test_passed_commands_go_out_in_one_piece():
    data = ENVELOPE + b"RCPT TO:<c@x>\r\n" * 50 + b"DATA\r\n"
    happened = SmtpRelay(frozenset()).client_data(data)
    assert [bytes(event.data) for event in happened] == [data]


def test_quit():
    wire = Wire().client(b"QUIT\r\nNOOP\r\n")
    assert wire.sent() == b"QUIT\r\n"
    wire.backend(b"221 2.0.0 Bye\r\n")
    assert (wire.heard(), wire.closed, wire.cut_backend) == (b"221 2.0.0 Bye\r\n", "client quit", False)


def test_421_at_any_time_passes_and_closes():
    for wire in (Wire(), Wire().client(b"NOOP\r\nXCLIENT\r\n"), Wire().in_data()):
        wire.backend(b"421 4.4.2 timeout\r\n250 more\r\n")
        assert (wire.heard(), wire.closed) == (b"421 4.4.2 timeout\r\n", "backend said 421")


@pytest.mark.parametrize(
    ("asked", "reply"),
    [
        (b"", OK),
        (b"NOOP\r\n", OK + OK),
        (b"NOOP\r\n", GO),
        (b"NOOP\r\n", b"334 x\r\n"),
        (b"DATA\r\n", b"334 \r\n"),
        (b"NOOP\r\n", b"rubbish\r\n"),
    ],
)
def test_a_backend_out_of_step_is_cut(asked, reply):
    wire = Wire().client(asked).backend(reply)
    assert wire.heard().endswith(b"421 4.7.0 The mail server said something unexpected\r\n")
    assert wire.cut_backend
    assert wire.closed


# ---- EHLO -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "filtered"),
    [
        (b"250-mx\r\n250-PIPELINING\r\n250-AUTH PLAIN\r\n250 DSN\r\n", b"250-mx\r\n250-PIPELINING\r\n250 DSN\r\n"),
        (b"250-mx\r\n250-size 10\r\n250 XCLIENT ADDR LOGIN\r\n", b"250-mx\r\n250 size 10\r\n"),
        (b"250-mx\r\n250-STARTTLS\r\n250-xforward A\r\n250-AUTH=PLAIN\r\n250 BURL imap\r\n", b"250 mx\r\n"),
        (b"250 mx\r\n", b"250 mx\r\n"),
        (b"501-AUTH\r\n501 XCLIENT\r\n", b"501-AUTH\r\n501 XCLIENT\r\n"),
    ],
)
def test_ehlo_after_login_lists_what_we_let_pass(reply, filtered):
    wire = Wire().client(b"EHLO x\r\n")
    for i in range(len(reply)):
        wire.backend(reply[i : i + 1])
    assert wire.heard() == filtered


def test_behind_ehlo_nothing_goes_out_before_its_reply():
    wire = Wire().client(b"EHLO x\r\nNOOP\r\n")
    assert wire.sent() == b"EHLO x\r\n"
    assert wire.relay.hold_client
    wire.backend(b"250 mx\r\n")
    assert wire.sent() == b"NOOP\r\n"
    assert not wire.relay.hold_client


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


# ---- bounds -----------------------------------------------------------------------------------------


def test_a_client_that_ignores_holding_is_closed():
    wire = Wire().client(b"DATA\r\n").client(b"x" * 200_000)
    assert wire.relay.hold_client
    assert wire.closed is None
    wire.client(b"x")
    assert (wire.heard(), wire.cut_backend) == (b"421 4.7.0 Too much sent ahead of the reply\r\n", True)
    wire = Wire().client(b"DATA\r\nx").client(b"x" * (module.MAX_HELD - 1))
    assert wire.closed is None
    assert wire.client(b"x").closed


def test_outstanding_commands_are_bounded():
    commands = b"NOOP\r\n" * (module.MAX_OUTSTANDING + 10)
    wire = Wire().client(commands)
    assert wire.sent() == b"NOOP\r\n" * module.MAX_OUTSTANDING
    assert wire.relay.hold_client
    wire.backend(OK * (module.MAX_OUTSTANDING - 1))
    assert wire.sent() == b""
    wire.backend(OK)
    assert wire.sent() == b"NOOP\r\n" * 10
    assert not wire.relay.hold_client


def test_a_chunk_is_passed_even_when_too_much_is_outstanding():
    wire = (
        Wire("CHUNKING")
        .client(b"NOOP\r\n" * (module.MAX_OUTSTANDING - 1) + b"BDAT 4\r\nab")
        .client(b"cd")
        .client(b"NOOP\r\n")
    )
    assert wire.sent().endswith(b"BDAT 4\r\nabcd")
    wire.backend(OK * module.MAX_OUTSTANDING)
    assert wire.sent() == b"NOOP\r\n"


def test_a_flood_of_refused_commands_is_cut_short():
    happened = SmtpRelay(frozenset()).client_data(b"\r\n" * 100_000)
    assert len(happened) == module.MAX_REFUSED + 3
    assert happened[-2] == ToClient(b"421 4.7.0 Too many refused commands\r\n")


def test_a_delivered_message_forgives_refused_commands():
    wire = Wire()
    for _ in range(3):
        wire.client(b"FOO\r\n" * module.MAX_REFUSED)
        wire.heard()
        wire.in_data().client(b".\r\n").backend(OK)
        wire.sent(), wire.heard()
    assert wire.closed is None


def test_message_bytes_are_not_copied():
    wire = Wire().in_data()
    buffer = memoryview(bytearray(b"x" * 100_000))
    [event] = wire.relay.client_data(buffer)
    assert event.data.obj is buffer.obj
    assert len(event.data) == 100_000


# ---- any cut ----------------------------------------------------------------------------------------

SESSION = (
    b"EHLO x\r\n"
    b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nXCLIENT LOGIN=bob\r\nDATA\r\n"
    b"Subject: a\r\n\r\n..\r\n.x\nlone\r\r\n\r\n.\r\n"
    b"rset\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nBDAT 7\r\n\r\n.\r\nAUBDAT 0 LAST\r\n"
    b"FOO\r\nDATA\r\n.\r\nQUIT\r\n"
)


class Server:
    """A server that frames like Postfix 3.7: lines end at LF, every CR before it goes, so does space before a verb."""

    def __init__(self) -> None:
        self.seen = b""
        self.verbs: list[bytes] = []
        """What it took for commands."""
        self._pending = b""
        self._data = False
        self._chunk = 0

    def receive(self, data: bytes) -> bytes:
        self.seen += data
        self._pending += data
        said = b""
        while self._pending:
            if self._chunk:
                taken = min(self._chunk, len(self._pending))
                self._pending, self._chunk = self._pending[taken:], self._chunk - taken
                said += b"" if self._chunk else b"250 chunk\r\n"
                continue
            line, end, rest = self._pending.partition(b"\n")
            if not end:
                break
            self._pending, line = rest, line.rstrip(b"\r")
            if not self._data:
                said += self._command(line.split() or [b""])
            elif line == b".":
                self._data = False
                said += b"250 message\r\n"
        return said

    def _command(self, words: list[bytes]) -> bytes:
        verb = words[0].upper()
        self.verbs.append(verb)
        match verb:
            case b"EHLO":
                return b"250-mx\r\n250-AUTH PLAIN\r\n250 CHUNKING\r\n"
            case b"DATA":
                self._data = True
                return GO
            case b"BDAT":
                self._chunk = int(words[1])
                return b"" if self._chunk else b"250 chunk\r\n"
            case b"QUIT":
                return b"221 bye\r\n"
        return b"250 " + verb + b"\r\n"


def converse(pieces: list[bytes], reply_size: int) -> tuple[bytes, bytes, list[tuple[int, int]]]:
    """A whole session with a client that obeys hold_client. What the backend saw, what the client heard, the counts."""
    wire, server = Wire("CHUNKING"), Server()
    waiting = list(pieces)
    replies = b""
    while True:
        if waiting and not wire.relay.hold_client:
            wire.client(waiting.pop(0))
        replies += server.receive(wire.sent())
        if replies:
            wire.backend(replies[:reply_size])
            replies = replies[reply_size:]
        elif not waiting or wire.relay.hold_client:
            break
    assert wire.closed == "client quit"
    return server.seen, wire.to_client, wire.counted


def test_the_session_is_what_it_should_be():
    seen, heard, counted = converse([SESSION], 1 << 20)
    assert seen == SESSION.replace(b"XCLIENT LOGIN=bob\r\n", b"").replace(b"FOO\r\n", b"")
    assert b"AUTH" not in heard
    assert heard.count(b"550 5.7.0 Not available after login\r\n") == 1
    assert heard.endswith(b"250 chunk\r\n500 5.5.1 Command not recognized\r\n" + GO + b"250 message\r\n221 bye\r\n")
    assert counted == [(1, 1), (1, 1), (1, 0)]


@settings(max_examples=150)
@given(st.lists(st.integers(0, len(SESSION)), max_size=40), st.integers(1, 200))
def test_any_cutting_gives_the_same_session(cuts, reply_size):
    edges = [0, *sorted(cuts), len(SESSION)]
    pieces = [SESSION[start:end] for start, end in itertools.pairwise(edges) if start < end]
    assert converse(pieces, reply_size) == converse([SESSION], 1 << 20)


WORDS = [
    *(b"DATA\r\n", b"BDAT 3 LAST\r\n", b"BDAT 12\r\n", b"MAIL FROM:<a>\r\n", b"EHLO x\r\n", b"NOOP\r\n", b"QUIT\r\n"),
    *(b"XCLIENT LOGIN=bob\r\n", b"XCLIENT LOGIN=bob\n", b"AUTH PLAIN x\r\n", b" XCLIENT x\r\n", b"NOOP\n", b"NOOP\r"),
    *(b"\r\n.\r\n", b"\n.\n", b"\r\n.\r\r\n", b".", b"\r", b"\n", b"\r\n", b"\0", b"text"),
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(WORDS) | st.binary(max_size=4), max_size=30), st.booleans())
def test_whatever_a_client_sends_postfix_runs_only_what_we_let_pass(pieces, byte_wise):
    wire, server = Wire("CHUNKING"), Server()
    waiting = list(b"".join(pieces)) if byte_wise else pieces
    for piece in waiting:
        if wire.closed is not None:
            break
        wire.client(bytes([piece]) if byte_wise else piece)
        while wire.closed is None and (said := server.receive(wire.sent())):
            wire.backend(said)
    server.receive(wire.sent())
    assert set(server.verbs) <= {b"MAIL", b"DATA", b"BDAT", b"NOOP", b"QUIT", b"EHLO"}


REPLIES = [OK, GO, b"250-a\r\n", b"550 no\r\n", b"421 x\r\n", b"x\r\n", b"354"]


@settings(max_examples=200)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from(WORDS + REPLIES) | st.binary(max_size=8)), max_size=25))
def test_rubbish_from_both_sides_never_raises(turns):
    wire = Wire("CHUNKING")
    for from_client, data in turns:
        (wire.client if from_client else wire.backend)(data)
