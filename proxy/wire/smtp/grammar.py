"""What both sides of SMTP have in common: replies, EHLO lists, xtext."""

from __future__ import annotations

import re
from dataclasses import dataclass

from proxy.wire.buffer import LineBuffer, LineTooLong

MAX_REPLY_LINE = 4096
"""Bytes of one reply line. RFC 5321 section 4.5.3.1.5 says 512; servers do exceed it in texts."""

MAX_REPLY_LINES = 200
"""Lines of one reply; a long EHLO list has 30."""

LET_PASS = frozenset(
    {"8BITMIME", "BINARYMIME", "CHUNKING", "DELIVERBY", "DSN", "ENHANCEDSTATUSCODES", "ETRN", "EXPN", "FUTURERELEASE"}
    | {"HELP", "LIMITS", "MT-PRIORITY", "NO-SOLICITING", "PIPELINING", "REQUIRETLS", "RRVS", "SIZE", "SMTPUTF8", "VRFY"}
)
"""EHLO keywords a client may see, before login and after.

All are parameters of commands that relay.py passes. A list of what is allowed, not of what is not: an
extension with commands or data phases of its own (AUTH, STARTTLS, XCLIENT, XFORWARD, BURL, XEXCH50 and
the next one) must be understood by the relay before a client hears of it.
"""

FOREIGN_VERBS = frozenset(b"GET POST HEAD PUT OPTIONS PRI CONNECT DELETE PATCH TRACE".split())
"""A browser that was sent here (the ALPACA attack) says these; Postfix's smtpd_forbidden_commands."""

_REPLY_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_EHLO_LINE = re.compile(r"[A-Z0-9][A-Z0-9-]*(?: [\x21-\x7e]+)*")
_NOT_XTEXT = re.compile(rb"[^\x21-\x2a\x2c-\x3c\x3e-\x7e]")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


class ReplyError(Exception):
    """The server said something that is no SMTP reply, or one without end. The text is ours, not the server's."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole reply. `lines` are the texts behind the code, as received."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def positive(self) -> bool:
        """2xx: done as asked."""
        return 200 <= self.code < 300

    @property
    def temporary(self) -> bool:
        """4xx: may work later."""
        return 400 <= self.code < 500

    def encode(self) -> bytes:
        """The bytes to pass on, every line ended by CRLF and all but the last marked with a dash."""
        code = b"%d" % self.code
        *first, last = self.lines
        return b"".join([code + b"-" + text + b"\r\n" for text in first] + [code + b" " + last + b"\r\n"])

    def __str__(self) -> str:
        """Code and last line for a log: printable ASCII, short."""
        return f"{self.code} {_UNPRINTABLE.sub('?', self.lines[-1].decode('latin-1'))[:200]}".rstrip()


class ReplyReader:
    """Cuts a server's bytes into whole replies (RFC 5321 section 4.2.1)."""

    __slots__ = ("_buffer", "_texts")

    def __init__(self) -> None:
        self._buffer = LineBuffer(MAX_REPLY_LINE)
        self._texts: list[bytes] = []

    def feed(self, data: bytes | memoryview) -> None:
        self._buffer.feed(bytes(data))

    def next_reply(self) -> Reply | None:
        """The next whole reply, None when it is not all here. ReplyError when it never can be."""
        while True:
            try:
                line = self._buffer.next_line()
            except LineTooLong:
                raise ReplyError("a reply line is too long") from None
            if line is None:
                return None
            match = _REPLY_LINE.fullmatch(line)
            if match is None:
                raise ReplyError("a line is no SMTP reply")
            self._texts.append(match[3] or b"")
            if match[2] != b"-":
                reply = Reply(int(match[1]), tuple(self._texts))
                self._texts.clear()
                return reply
            if len(self._texts) >= MAX_REPLY_LINES:
                raise ReplyError("a reply has too many lines")

    def __len__(self) -> int:
        """Bytes and lines that belong to no whole reply yet."""
        return len(self._buffer) + len(self._texts)

    def rest(self) -> bytes:
        """What came behind the last reply; taken away."""
        return self._buffer.rest()


def ehlo_lines(reply: Reply) -> frozenset[str]:
    """The extensions in a reply to EHLO, upper case, keyword and parameters; malformed lines left out."""
    lines = (line.decode("latin-1").rstrip().upper() for line in reply.lines[1:])
    return frozenset(line for line in lines if _EHLO_LINE.fullmatch(line))


def parameters(offers: frozenset[str], keyword: str) -> list[str] | None:
    """What an EHLO list says behind `keyword`; None when it is not listed."""
    for line in offers:
        name, *rest = line.split(" ")
        if name == keyword:
            return rest
    return None


def visible(line: str) -> bool:
    """A client may see this EHLO line (upper case)."""
    return line.partition(" ")[0] in LET_PASS and _EHLO_LINE.fullmatch(line) is not None


def xtext(value: str) -> str:
    """RFC 3461 section 4: the one way anything gets into XCLIENT. Never longer than three times its UTF-8."""
    return _NOT_XTEXT.sub(lambda found: b"+%02X" % found[0][0], value.encode("utf-8", "replace")).decode("ascii")
