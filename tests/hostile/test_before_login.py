"""Strangers before login (DESIGN section 8; facts: threats 1, 4, 5, 8-12, 14, 15, 22, 37), on the running product.

What the machines answer to every syntax error is held in tests/wire. Here: the limits hold at the listening port, the
backend is never contacted, sessions of others go on (the `stand` fixture), and no byte of the client comes back.
"""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests.hostile.stand import (
    ALICE,
    MARK,
    NOT_APP_PASSWORD,
    Stand,
    b64,
    rest,
)
from tests.support.talk import plain

SENTINEL = {
    "imap": (b"zz NOOP\r\n", b"zz OK NOOP completed\r\n"),
    "smtp": (b"VRFY x\r\n", b"252 2.0.0 Cannot verify before delivery\r\n"),
}
SECRET = "%SECRET%"
"""Replaced by ALICE's app password."""
RIGHT_PLAIN = "%PLAIN%"
"""Replaced by ALICE's right SASL PLAIN message."""


def answer(stand: Stand, protocol: str, tls: str, data: bytes, expected: bytes, *, closes: bool) -> bytes:
    """What comes back for `data`: to the end, or as much as `expected` and then a sentinel's answer (not returned)."""
    data = data.replace(SECRET.encode(), stand.right.encode()).replace(
        RIGHT_PLAIN.encode(), plain(ALICE, stand.right).encode()
    )
    talk = stand.talk(protocol, tls)
    if protocol == "smtp" and tls == "implicit":
        talk.smtp("EHLO client")
    with contextlib.suppress(OSError):  # closed while we still talk
        talk.socket.sendall(data)
    try:
        if closes:
            return rest(talk.socket)
        got = exactly(talk.socket, len(expected))
        ask, tell = SENTINEL[protocol]
        if tls == "starttls" and protocol == "smtp":
            ask, tell = b"RSET\r\n", b"250 2.0.0 OK\r\n"
        talk.socket.sendall(ask)
        assert exactly(talk.socket, len(tell)) == tell, "more than expected came first"
        return got
    finally:
        talk.close()


def exactly(sock: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        data = sock.recv(size - len(got))
        if not data:
            break
        got += data
    return got


LITERAL = b"a BAD Literal too large, or too many\r\n"
ALERT = f"* OK [ALERT] {NOT_APP_PASSWORD}\r\na NO [AUTHENTICATIONFAILED] {NOT_APP_PASSWORD}\r\n".encode()
PRIVACY = b"a NO [PRIVACYREQUIRED] TLS is required before login\r\n"
UNKNOWN = b"a BAD Unknown command, or not before login\r\n"
SYNTAX = b"a BAD Invalid arguments\r\n"

IMAP = [
    # limits: lines of 8,192 bytes, 12,288 in SASL, two literals of 4,096, decimal digits
    (b"x" * 8193, b"* BYE Line too long\r\n", True),
    (b"a NOOP " + b"(" * 9000 + b"\r\n", b"* BYE Line too long\r\n", True),
    (b"a AUTHENTICATE PLAIN " + b"A" * 12288 + b"\r\n", b"* BYE Line too long\r\n", True),
    (b"a AUTHENTICATE PLAIN\r\n" + b"A" * 12289 + b"\r\n", b"+ \r\n* BYE Line too long\r\n", True),
    (b"a AUTHENTICATE PLAIN\r\n" + b"A" * 12288 + b"\r\n", b"+ \r\n" + ALERT, False),
    (b"a LOGIN {4097}\r\n", LITERAL, False),
    (b"a LOGIN {4097+}\r\nb NOOP\r\n", LITERAL + b"* BYE Literal refused\r\n", True),
    (b"a LOGIN {2+}\r\nxy {2+}\r\nxy {2+}\r\nxy\r\n", LITERAL + b"* BYE Literal refused\r\n", True),
    (b"a LOGIN {-1}\r\n", SYNTAX, False),
    (b"a LOGIN {0x10}\r\n", SYNTAX, False),
    (b"a LOGIN {99999999999999999999}\r\n", LITERAL, False),
    (b"a LOGIN {4294967298+}\r\n", LITERAL + b"* BYE Literal refused\r\n", True),
    # not before login, never to the backend
    (b"a UNAUTHENTICATE\r\n", UNKNOWN, False),
    (b"a COMPRESS DEFLATE\r\n", UNKNOWN, False),
    (
        b'a SELECT INBOX\r\nb IDLE\r\nc LIST "" *\r\n',
        UNKNOWN + b"b" + UNKNOWN[1:] + b"c" + UNKNOWN[1:] + b"* BYE Too many bad commands\r\n",
        True,
    ),
    # tags and bytes that are no text
    (b"* NOOP\r\n", b"* BAD Invalid tag\r\n", False),
    (b"\x1b]0;xyzzy7\x07 NOOP\r\n", b"* BAD Invalid tag\r\n", False),
    (b"\xff\xfe\x00 NOOP\r\n", b"* BAD Invalid tag\r\n", False),
    (b'a LOGIN "xyz\0zy7" xyzzy7\r\n', SYNTAX, False),
    # SASL that is none
    (b"a AUTHENTICATE PLAIN !!xyzzy7!!\r\n", b"a BAD Invalid base64\r\n", False),
    (b"a AUTHENTICATE PLAIN\r\n*\r\n", b"+ \r\na BAD Authentication cancelled\r\n", False),
    (b"a AUTHENTICATE GSSAPI xyzzy7==\r\n", b"a NO Unsupported authentication mechanism\r\n", False),
    (b"a AUTHENTICATE OAUTHBEARER\r\n", b"a NO Unsupported authentication mechanism\r\n", False),
    (b"a AUTHENTICATE EXTERNAL =\r\n", b"a NO Unsupported authentication mechanism\r\n", False),
    # a browser that was sent here (ALPACA)
    (b"GET /xyzzy7 HTTP/1.1\r\nHost: xyzzy7\r\n\r\n", b"", True),
    (b"POST / HTTP/1.1\r\n\r\na LOGIN alice %SECRET%\r\n", b"", True),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"", True),
    # too much behind a login
    (b"a LOGIN alice xyzzy7\r\n" + b"b NOOP\r\n" * 1100, b"", True),
]

IMAP_CLEAR = [
    (b"a LOGIN alice %SECRET%\r\n", PRIVACY, False),
    (b"a LOGIN {5}\r\n", PRIVACY, False),
    (b"a AUTHENTICATE PLAIN %PLAIN%\r\n", PRIVACY, False),
    (b"a AUTHENTICATE LOGIN\r\n", PRIVACY, False),
    (b"a STARTTLS\r\nb LOGIN alice %SECRET%\r\n", b"* BYE Data behind STARTTLS\r\n", True),
    (b"a STARTTLS\r\n\0", b"* BYE Data behind STARTTLS\r\n", True),
    (b"GET / HTTP/1.1\r\n\r\n", b"", True),
    (b"\x16\x03\x01\x02\x00\x01" + b"\0" * 9000, b"* BYE Line too long\r\n", True),
]

NOT_SMTP = b"421 4.7.0 This is an SMTP server\r\n"
BARE = b"550 5.5.2 Bare <CR> or <NUL> is not accepted\r\n"
LOGIN_FIRST = b"530 5.7.0 Authentication required\r\n"
TLS_FIRST = b"530 5.7.0 Must issue a STARTTLS command first\r\n"

SMTP = [
    (b"x" * 8193, b"500 5.5.2 Line too long\r\n", True),
    (b"AUTH PLAIN " + b"A" * 12288 + b"\r\n", b"500 5.5.6 Authentication exchange line is too long\r\n", True),
    (b"AUTH PLAIN\r\n" + b"A" * 12289, b"334 \r\n500 5.5.6 Authentication exchange line is too long\r\n", True),
    (b"NOOP\r\n" * 101, b"250 2.0.0 OK\r\n" * 99 + b"421 4.7.0 Too many commands before login\r\n", True),
    # line ends that servers differ about
    (b"NOOP\nMAIL FROM:<>\r\n", b"550 5.5.2 Bare <LF> is not accepted\r\n", True),
    (b"NOOP\rMAIL FROM:<>\r\n", BARE, True),
    (b"NO\0OP\r\n", BARE, True),
    # not before login, never to the backend
    (b"MAIL FROM:<xyzzy7>\r\n", LOGIN_FIRST, False),
    (b"DATA\r\n", LOGIN_FIRST, False),
    (b"BDAT 5 LAST\r\n", LOGIN_FIRST, False),
    (b"BURL imap://xyzzy7\r\n", LOGIN_FIRST, False),
    (b"XCLIENT LOGIN=xyzzy7\r\n", LOGIN_FIRST, False),
    (b"XFORWARD ADDR=xyzzy7\r\n", LOGIN_FIRST, False),
    (b"\x1b]0;xyzzy7\x07\r\n", LOGIN_FIRST, False),
    (b"STARTTLS\r\n", b"503 5.5.1 TLS is already active\r\n", False),
    # SASL that is none
    (b"AUTH PLAIN !!xyzzy7!!\r\n", b"501 5.5.2 Cannot decode response\r\n", False),
    (b"AUTH PLAIN\r\n*\r\n", b"334 \r\n501 5.7.0 Authentication cancelled\r\n", False),
    (b"AUTH\r\n", b"501 5.5.4 Syntax: AUTH mechanism [initial-response]\r\n", False),
    (b"AUTH xyzzy7 =\r\n", b"504 5.5.4 Unrecognized authentication type\r\n", False),
    (b"AUTH OAUTHBEARER\r\n", b"504 5.5.4 Unrecognized authentication type\r\n", False),
    # behind AUTH, under an identity that is not there yet
    (
        b"AUTH PLAIN %PLAIN%\r\nMAIL FROM:<alice@example.org>\r\n",
        b"503 5.5.0 Nothing may follow AUTH before its reply\r\n",
        True,
    ),
    (
        b"AUTH LOGIN YWxpY2U=\r\n" + b64(b"xyzzy7").encode() + b"\r\nXCLIENT LOGIN=root\r\n",
        b"334 UGFzc3dvcmQ6\r\n503 5.5.0 Nothing may follow AUTH before its reply\r\n",
        True,
    ),
    # a browser, a balancer
    (b"GET /xyzzy7 HTTP/1.1\r\nHost: xyzzy7\r\n\r\n", NOT_SMTP, True),
    (b"POST / HTTP/1.1\r\n\r\nEHLO a\r\nAUTH PLAIN %PLAIN%\r\n", NOT_SMTP, True),
    (b"PRI * HTTP/2.0\r\n\r\n", NOT_SMTP, True),
    (b"PROXY TCP4 203.0.113.5 127.0.0.1 5 25\r\n", NOT_SMTP, True),
]

SMTP_CLEAR = [
    (b"AUTH PLAIN %PLAIN%\r\n", TLS_FIRST, False),
    (b"MAIL FROM:<xyzzy7>\r\n", TLS_FIRST, False),
    (b"STARTTLS\r\nEHLO a\r\nAUTH PLAIN %PLAIN%\r\n", b"554 5.5.0 Nothing may follow STARTTLS before TLS\r\n", True),
    (b"STARTTLS\r\n\0", b"554 5.5.0 Nothing may follow STARTTLS before TLS\r\n", True),
    (b"STARTTLS xyzzy7\r\n", b"501 5.5.4 Syntax: STARTTLS\r\n", False),
    (b"GET / HTTP/1.1\r\n\r\n", NOT_SMTP, True),
]

ROWS = [
    pytest.param(protocol, tls, *row, id=f"{protocol}-{tls}-{number}")
    for protocol, tls, rows in (
        ("imap", "implicit", IMAP),
        ("imap", "starttls", IMAP_CLEAR),
        ("smtp", "implicit", SMTP),
        ("smtp", "starttls", SMTP_CLEAR),
    )
    for number, row in enumerate(rows)
]


@pytest.mark.parametrize(("protocol", "tls", "data", "expected", "closes"), ROWS)
def test_exact_answer(stand: Stand, protocol: str, tls: str, data: bytes, expected: bytes, closes: bool) -> None:
    got = answer(stand, protocol, tls, data, expected, closes=closes)
    assert got == expected
    assert MARK.encode() not in got


def test_nothing_of_the_clear_outlives_starttls(stand: Stand) -> None:
    """Threat 5: what was said before TLS was never said, and TLS begins once."""
    talk = stand.talk("smtp", "starttls")
    talk.smtp("EHLO client")
    assert talk.smtp("STARTTLS") == ["220 2.0.0 Ready to start TLS"]
    talk.start_tls()
    assert talk.smtp("AUTH PLAIN " + plain(ALICE, stand.right)) == ["503 5.5.1 Send EHLO first"]
    assert not any("STARTTLS" in line for line in talk.smtp("EHLO client"))
    assert talk.smtp("STARTTLS") == ["503 5.5.1 TLS is already active"]
    talk.close()
    talk = stand.talk("imap", "starttls")
    assert "LOGINDISABLED" in talk.imap("CAPABILITY")[0]
    talk.imap("STARTTLS")
    talk.start_tls()
    (capabilities, _) = talk.imap("CAPABILITY")
    assert "LOGINDISABLED" not in capabilities
    assert "STARTTLS" not in capabilities
    assert talk.imap("STARTTLS") == ["t BAD TLS is already active"]
    talk.close()
