"""What sidegate wants to know of a client that is logged in: its ID, and whether it asked for COMPRESS."""

from __future__ import annotations

import re

from proxy.wire.imap import grammar

LINES = 8
"""How many of the client's first lines may be its ID (DESIGN section 8, Program)."""
MAX_ID_LINE = 2_048
"""Bytes; a longer line counts and is not read."""
MAX_LOOK = LINES * MAX_ID_LINE
"""Bytes; beyond them is an upload, even if it has no line ends."""
SHORT = 512
"""Bytes. COMPRESS is a short command whose answer is waited for; a search in every chunk of an upload would cost."""

_COMPRESS = re.compile(rb"(?:\A|\n)" + grammar.TAG + rb" COMPRESS DEFLATE\r?\n", re.IGNORECASE)


class ImapObserver:
    """See wire.events.ClientObserver. Missing a COMPRESS costs a client an unreadable farewell, no more."""

    __slots__ = ("_bytes_left", "_lines_left", "_partial", "compressed", "program")

    def __init__(self) -> None:
        self.program: str | None = None
        self.compressed = False
        self._lines_left = LINES
        self._bytes_left = MAX_LOOK
        self._partial = b""

    def observe(self, data: bytes | memoryview) -> bool:
        if self.compressed or (not self._lines_left and len(data) > SHORT):
            return False
        if not self._lines_left:
            self.compressed = _COMPRESS.search(data) is not None
            return False
        return self._first_lines(bytes(data[: self._bytes_left]))

    def _first_lines(self, data: bytes) -> bool:
        self._bytes_left -= len(data)
        *lines, partial = (self._partial + data).split(b"\n", self._lines_left)
        found = False
        for line in lines:
            self._lines_left -= 1
            if len(line) <= MAX_ID_LINE:
                found |= self._line(line.removesuffix(b"\r"))
        if not self._bytes_left:
            self._lines_left = 0
        if self._lines_left:
            self._partial = partial[: MAX_ID_LINE + 1]
        else:
            self._partial = b""
            self.observe(partial)
        return found

    def _line(self, line: bytes) -> bool:
        if self.compressed:
            return False
        tag, name, start = grammar.split_command(line)
        self.compressed = tag is not None and name == b"COMPRESS"
        if tag is None or name != b"ID":
            return False
        arguments = grammar.Arguments([line], [], start)
        try:
            arguments.space()
            program = grammar.program_of(arguments.id_fields())
        except grammar.BadSyntax:
            return False
        self.program = program or self.program
        return program is not None
