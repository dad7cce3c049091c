"""Log lines: logfmt on stderr, one a line, in Dovecot's vocabulary.

    time=2026-11-24T08:15:00.123Z level=info logger=core event="login accepted" user=<alice@example.org>
    app_password=phone method=PLAIN rip=203.0.113.9 lip=198.51.100.1 TLS=TLSv1.3 session=<k3Jx…>

`user` and `session` stand in angle brackets, as in Dovecot's own lines, so that one search finds a session on both
sides. Whatever a value holds, a line stays one line: control characters, line separators and characters that reorder
text on a terminal are escaped, a value ends at 512 bytes and a line at 4,096. Where stderr is the journal, its `<N>`
priority replaces the time, which it has itself.

Nobody waits for the log: what stderr does not take at once (a pager that is not scrolled, a journal that hangs) is
dropped, and the next line that gets through is followed by how many were.

Own code, because two lines are written for every login: structlog took 50 us for them, this takes 18, and it loads a
terminal library and Twisted into every process (8 MiB in the core). Where many come at once, `together` spares them
system calls.
"""

from __future__ import annotations

import logging
import os
import re
import select
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from threading import get_ident
from typing import TextIO

MAX_VALUE = 512
"""Bytes of UTF-8 of one value."""
MAX_LINE = select.PIPE_BUF
"""Bytes: as many as a pipe that is writable takes at once, and keeps apart from what other processes write."""

_BRACKETED = frozenset({"user", "session"})
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

# C0, DEL, C1, line and paragraph separators, bidirectional controls (CVE-2021-42574), invisible joiners, surrogates.
_DANGEROUS = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_QUOTED = re.compile(r'[\s"=\\]|^$')
_SHORT = 64
"""Characters up to which the spelling of a value is remembered: names, addresses and programs come again and again."""


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def clean(value: object) -> str:
    """`value` as the text of one logfmt value: escaped, at most 512 bytes, quoted where it must be."""
    text = str(value)
    if len(text) > _SHORT:
        return _spelled(text)
    return text if text.isascii() and text.isalnum() else _spelled_before(text)


def _spelled(text: str) -> str:
    if len(text) > MAX_VALUE // 4:  # no character has more than 4 bytes
        raw = text[: MAX_VALUE + 1].encode("utf-8", "surrogatepass")
        if len(raw) > MAX_VALUE:
            text = raw[: MAX_VALUE - 3].decode("utf-8", "ignore") + "…"
    if _QUOTED.search(text):
        text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return _DANGEROUS.sub(_escape, text)


_spelled_before = lru_cache(maxsize=4096)(_spelled)


def _where(error: BaseException) -> str:
    """An exception in one value: type, message, and the innermost frames; never a local variable."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    path = " < ".join(f"{os.path.basename(f.filename)}:{f.lineno}:{f.name}" for f in reversed(frames))
    return f"{type(error).__name__}: {error}"[:256] + (f" at {path}" if path else "")


class _Output:
    """Where the lines of all loggers go; `setup` sets it."""

    def __init__(self) -> None:
        self.threshold = logging.INFO
        self.journal = False
        self._dropped = 0
        self._millisecond = -1
        self._second = self._time = ""
        self._gatherer = 0
        """The thread whose lines wait for the end of `together`; 0: none."""
        self._gathered = ""

    def write(self, level: str, part: str, event: str, fields: dict[str, object], error: BaseException | None) -> None:
        """Write one line, at once unless in `together`: what is logged before a crash is not lost."""
        head = f"<{_PRIORITIES[level]}>" if self.journal else f"time={self._now()} "
        parts = [f"{head}level={level} logger={part} event={clean(event)}"]
        for key, value in fields.items():
            if value is not None:
                parts.append(f"{key}=<{clean(value)}>" if key in _BRACKETED else f"{key}={clean(value)}")
        if error is not None:
            parts.append(f"exception={clean(_where(error))}")
        line = " ".join(parts)
        if len(line) >= MAX_LINE // 4:  # no character has more than 4 bytes
            line = line.encode()[: MAX_LINE - 1].decode("utf-8", "ignore")
        if self._gatherer != get_ident():
            self._send(line + "\n")
            return
        if len(self._gathered) + len(line) >= MAX_LINE // 4 and len((self._gathered + line).encode()) >= MAX_LINE:
            self._send_gathered()
        self._gathered += line + "\n"

    @contextmanager
    def together(self) -> Iterator[None]:
        self._gatherer = get_ident()
        try:
            yield
        finally:
            self._gatherer = 0
            self._send_gathered()

    def _send_gathered(self) -> None:
        lines, self._gathered = self._gathered, ""
        if lines:
            self._send(lines)

    def _send(self, lines: str) -> None:
        try:
            # Looked up at every write, so that whoever redirects it (tests, the demo) gets the lines.
            if not _takes_a_line(sys.stderr):
                self._dropped += lines.count("\n")
                return
            sys.stderr.write(lines)
            sys.stderr.flush()
        except (OSError, ValueError):
            pass  # a broken log must never break a login
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self.write("warning", "logs", "log lines were dropped: stderr took no more", {"lines": dropped}, None)

    def _now(self) -> str:
        millisecond = int(time.time() * 1000)
        if millisecond != self._millisecond:
            second, rest = divmod(millisecond, 1000)
            if second != self._millisecond // 1000:
                self._second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._time = f"{self._second}.{rest:03d}Z"
            self._millisecond = millisecond
        return self._time


def _takes_a_line(stream: TextIO) -> bool:
    """Whether a line can be written at once. Not by O_NONBLOCK: whoever shares the descriptor would have it too."""
    try:
        fd = stream.fileno()
    except (OSError, ValueError):
        return True  # no file behind it
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


def _is_journal(stream: TextIO) -> bool:
    """Whether JOURNAL_STREAM names this very stream (systemd.exec(5)): what a unit starts inherits the variable, also
    where its stderr is sent elsewhere."""
    try:
        about = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{about.st_dev}:{about.st_ino}"


_output = _Output()


class Logger:
    """Lines of one part. Fields are keywords; those that are None are left out."""

    __slots__ = ("_part",)

    def __init__(self, part: str) -> None:
        self._part = clean(part)

    def debug(self, event: str, /, **fields: object) -> None:
        if _output.threshold <= logging.DEBUG:
            _output.write("debug", self._part, event, fields, None)

    def info(self, event: str, /, **fields: object) -> None:
        if _output.threshold <= logging.INFO:
            _output.write("info", self._part, event, fields, None)

    def warning(self, event: str, /, **fields: object) -> None:
        if _output.threshold <= logging.WARNING:
            _output.write("warning", self._part, event, fields, None)

    def error(self, event: str, /, *, exc_info: BaseException | None = None, **fields: object) -> None:
        _output.write("error", self._part, event, fields, exc_info)

    def exception(self, event: str, /, **fields: object) -> None:
        """An error line, in an except clause, with the exception that is being handled."""
        _output.write("error", self._part, event, fields, sys.exception())


class _Foreign(logging.Handler):
    """Lines of libraries that use the standard logging module."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level = next((name for name, value in reversed(_LEVELS.items()) if record.levelno >= value), "debug")
            error = record.exc_info[1] if record.exc_info else None
            _output.write(level, clean(record.name), record.getMessage(), {}, error)
        except Exception:
            self.handleError(record)


def setup(level: str = "info") -> None:
    """Send everything of `level` (debug, info, warning, error) and above to stderr. Libraries speak from warning on."""
    _output.threshold = _LEVELS[level]
    _output.journal = _is_journal(sys.stderr)
    logging.raiseExceptions = False
    logging.basicConfig(handlers=[_Foreign()], level=max(_output.threshold, logging.WARNING), force=True)


def together() -> AbstractContextManager[None]:
    """The lines of a `with` block leave at its end, also when it raises, in as few writes as a pipe keeps whole."""
    return _output.together()


def get(name: str) -> Logger:
    """The logger of one part: `get("core").info("login accepted", user=…)`."""
    return Logger(name)
