"""Whole sessions through the framed relay, cut anywhere, and rubbish from both sides."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.smtp.relay_wire import GO, OK, Server, Wire

SESSION = (
    b"EHLO x\r\n"
    b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nXCLIENT LOGIN=bob\r\nDATA\r\n"
    b"Subject: a\r\n\r\n..\r\n.x\nlone\r\r\n\r\n.\r\n"
    b"rset\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nBDAT 7\r\n\r\n.\r\nAUBDAT 0 LAST\r\n"
    b"FOO\r\nDATA\r\n.\r\nQUIT\r\n"
)


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

LET_PASS = set(b"MAIL RCPT DATA BDAT RSET NOOP QUIT EHLO HELO VRFY EXPN HELP ETRN".split())


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
    assert set(server.verbs) <= LET_PASS


REPLIES = [OK, GO, b"250-a\r\n", b"550 no\r\n", b"421 x\r\n", b"x\r\n", b"354"]


@settings(max_examples=200)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from(WORDS + REPLIES) | st.binary(max_size=8)), max_size=25))
def test_rubbish_from_both_sides_never_raises(turns):
    wire = Wire("CHUNKING")
    for from_client, data in turns:
        (wire.client if from_client else wire.backend)(data)
