"""The framed relay at command level: what reaches whom, in which order, and how much it keeps."""

import pytest

from proxy.wire.events import ToClient
from proxy.wire.smtp import relay as module
from proxy.wire.smtp.relay import SmtpRelay
from tests.wire.smtp.relay_wire import BARE_CR, BARE_LF, ENVELOPE, GO, OK, Wire

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
