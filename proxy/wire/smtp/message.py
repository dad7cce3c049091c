"""Where a message ends (RFC 5321 section 4.1.1.4), without copying or changing it.

Only CRLF.CRLF ends a message here. Servers differ: Postfix 3.7 strips every CR before a LF and takes a bare LF
as a line end, so it also ends at LF.LF, LF.CRLF, CRLF.LF and CRLF.CR…CRLF (seen), and would run what follows
as commands that the relay never inspected (SMTP smuggling, CVE-2023-51764). Such an end is reported as bad
before its last byte, the one that would end the message, goes out.
"""

from __future__ import annotations

import re
from enum import Enum

_END = re.compile(rb"\n\.\r*+(?:\n|\Z)")
"""A lone dot on a line by anybody's reading; or one that the end of the chunk leaves open."""
_TAIL = re.compile(rb"\r*+(?:\n|\Z)")
_DOT_TAIL = re.compile(rb"\.\r*+(?:\n|\Z)")


class _At(Enum):
    """What the scanned bytes end with, as far as an end of message may begin there."""

    TEXT = "text"
    CR = "CR"
    LINE = "CRLF"
    LINE_DOT = "CRLF."
    LINE_DOT_CR = "CRLF.CR"
    BARE_LINE = "LF without CR"
    BARE_DOT = "a dot whose line can only end badly"


class BadEnd(Exception):
    """The message would end here for some servers and not for others."""


class MessageScanner:
    """Finds the end of one message in chunks of any size; a new one for each message."""

    __slots__ = ("_at",)

    def __init__(self) -> None:
        self._at = _At.LINE  # the DATA command's own CRLF: an empty message is a dot

    def find_end(self, data: memoryview, start: int) -> int | None:
        """Where the message that goes on at `data[start]` ends: the index behind its CRLF.CRLF, None if not in `data`.

        Raises BadEnd, and then nothing of `data` may go out.
        """
        if start == len(data):
            return None
        at = self._at
        if at is _At.LINE_DOT or at is _At.LINE_DOT_CR or at is _At.BARE_DOT:
            match = _TAIL.match(data, start)
            wanted = {_At.LINE_DOT: b"\r\n", _At.LINE_DOT_CR: b"\n"}.get(at)
        elif at is _At.LINE or at is _At.BARE_LINE:
            match = _DOT_TAIL.match(data, start)
            wanted = b".\r\n" if at is _At.LINE else None
        else:
            match, wanted = None, None
        if match is None:
            # A byte search is ten times as fast as the expression, and base64 has no dots: worth a passing copy.
            dot = bytes(data[start:]).find(b".")
            match = _END.search(data, max(start, start + dot - 1)) if dot >= 0 else None
            if match is None:
                self._at = self._tail(data, start)
                return None
            after_cr = data[match.start() - 1] == 0x0D if match.start() > start else at is _At.CR
            wanted = b"\n.\r\n" if after_cr else None
        found = match[0]
        if found[-1:] == b"\n":
            if found != wanted:
                raise BadEnd
            return match.end()
        self._at = self._open(found, wanted)
        return None

    @staticmethod
    def _open(found: bytes, wanted: bytes | None) -> _At:
        """The state after a dot (and CRs) that stands last in a chunk; `wanted` is the only right way it may go on."""
        if wanted is None or not wanted.startswith(found):
            return _At.BARE_DOT
        return _At.LINE_DOT if found.endswith(b".") else _At.LINE_DOT_CR

    def _tail(self, data: memoryview, start: int) -> _At:
        """The state after a chunk without an end in it."""
        last = data[-1]
        if last == 0x0D:
            return _At.CR
        if last != 0x0A:
            return _At.TEXT
        after_cr = data[-2] == 0x0D if len(data) - start > 1 else self._at is _At.CR
        return _At.LINE if after_cr else _At.BARE_LINE
