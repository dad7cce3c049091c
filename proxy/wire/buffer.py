"""Bytes that arrived and are not yet understood."""

from __future__ import annotations


class LineTooLong(Exception):
    """No line end within the limit: the peer must go, there is no way to find the next line."""


class LineBuffer:
    """Cuts a byte stream into lines and counted chunks.

    Lines end at LF; a CR before it belongs to the end. `limit` is the longest line in bytes, its end
    not counted. Nothing is dropped silently: what was fed is returned by exactly one of next_line, take
    and rest.
    """

    __slots__ = ("_data", "_scanned", "ended_bare", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.ended_bare = False
        """The line returned last ended in LF without CR."""
        self._data = bytearray()
        self._scanned = 0

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: bytes) -> None:
        self._data += data

    def next_line(self, limit: int | None = None) -> bytes | None:
        """The next line without its end; None when its end is not here yet.

        `limit` replaces the buffer's own for this call. Raises LineTooLong as soon as the line cannot
        fit any more; the buffer is unchanged then, so that the caller may look and ask again with more.
        """
        limit = self.limit if limit is None else limit
        data = self._data
        end = data.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(data)
            if len(data) - data.endswith(b"\r") > limit:
                raise LineTooLong
            return None
        bare = end == 0 or data[end - 1] != 0x0D
        line = bytes(data[: end if bare else end - 1])
        if len(line) > limit:
            raise LineTooLong
        del data[: end + 1]
        self._scanned = 0
        self.ended_bare = bare
        return line

    def peek(self, size: int) -> bytes:
        """Up to `size` bytes from the front, which stay."""
        return bytes(self._data[:size])

    def take(self, size: int) -> bytes | None:
        """Exactly `size` bytes, or None until they are here."""
        if len(self._data) < size:
            return None
        taken = bytes(self._data[:size])
        del self._data[:size]
        self._scanned = 0
        return taken

    def rest(self) -> bytes:
        """Everything; the buffer is empty afterwards."""
        taken = bytes(self._data)
        self._data.clear()
        self._scanned = 0
        return taken
