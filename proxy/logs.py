"""Log lines: logfmt on stderr, one a line, in Dovecot's vocabulary. The only home of structlog.

    time=2026-11-24T08:15:00.123Z level=info logger=core event="login accepted" user=<alice@example.org>
    app_password=phone method=PLAIN rip=203.0.113.9 lip=198.51.100.1 TLS=TLSv1.3 session=<k3Jx…>

`user` and `session` stand in angle brackets, as in Dovecot's own lines, so that one search finds a session on both
sides. Whatever a value holds, a line stays one line: control characters, line separators and characters that reorder
text on a terminal are escaped, and a value ends at 512 bytes. Under systemd (JOURNAL_STREAM) the journal's `<N>`
priority replaces the time, which the journal has itself.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, cast

import structlog
from structlog.typing import FilteringBoundLogger as Logger

MAX_VALUE = 512
"""Bytes of UTF-8 of one value."""

_BRACKETED = frozenset({"user", "session"})
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

# C0, DEL, C1, line and paragraph separators, bidirectional controls (CVE-2021-42574), invisible joiners, surrogates.
_DANGEROUS = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_PLAIN = re.compile(r"[!#-<>-\[\]-~]{1,512}")
"""ASCII that needs no quotes and no escapes: nearly every value."""
_QUOTED = re.compile(r'[\s"=\\]|^$')


class _Stderr:
    """Looks sys.stderr up at every line, so that whoever redirects it (tests, the demo) gets the lines."""

    def msg(self, line: str) -> None:
        try:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            pass  # a broken log must never break a login

    debug = info = warning = error = critical = msg


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def clean(value: object) -> str:
    """`value` as the text of one logfmt value: escaped, at most 512 bytes, quoted where it must be."""
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    raw = text[:MAX_VALUE].encode("utf-8", "surrogatepass")
    if len(raw) > MAX_VALUE or len(text) > MAX_VALUE:
        text = raw[: MAX_VALUE - 3].decode("utf-8", "ignore") + "…"
    if _QUOTED.search(text):
        text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return _DANGEROUS.sub(_escape, text)


def _field(key: str, value: object) -> str:
    return f"{key}=<{clean(value)}>" if key in _BRACKETED else f"{key}={clean(value)}"


def _where(error: BaseException, trace: TracebackType | None) -> str:
    """An exception in one value: type, message, and the innermost frames; never a local variable."""
    frames = traceback.extract_tb(trace)[-4:]
    path = " < ".join(f"{os.path.basename(f.filename)}:{f.lineno}:{f.name}" for f in reversed(frames))
    return f"{type(error).__name__}: {error}"[:256] + (f" at {path}" if path else "")


class _Logfmt:
    """The last processor: an event dict becomes the line."""

    def __init__(self, *, journal: bool) -> None:
        self._journal = journal

    def __call__(self, logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        level = event.pop("level", method)
        parts = []
        if self._journal:
            head = f"<{_PRIORITIES.get(level, 6)}>"
        else:
            head = ""
            parts.append(f"time={datetime.now(UTC).isoformat(timespec='milliseconds')[:-6]}Z")
        parts.append(f"level={level}")
        parts.append(f"logger={clean(event.pop('part', '?'))}")
        parts.append(f"event={clean(event.pop('event'))}")
        exc_info = event.pop("exc_info", None)
        parts.extend(_field(key, value) for key, value in event.items() if value is not None)
        if exc_info:
            if exc_info is True:
                exc_info = sys.exc_info()
            error, trace = (exc_info, exc_info.__traceback__) if isinstance(exc_info, BaseException) else exc_info[1:]
            if error is not None:
                parts.append(f"exception={clean(_where(error, trace))}")
        return head + " ".join(parts)


class _Foreign(logging.Handler):
    """Lines of libraries that use the standard logging module."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level = next((name for name, value in reversed(_LEVELS.items()) if record.levelno >= value), "debug")
            fields: dict[str, Any] = {"exc_info": record.exc_info} if record.exc_info else {}
            getattr(get(record.name), level)(record.getMessage(), **fields)
        except Exception:
            self.handleError(record)


def setup(level: str = "info") -> None:
    """Send everything of `level` (debug, info, warning, error) and above to stderr. Libraries speak from warning on."""
    threshold = _LEVELS[level]
    structlog.configure(
        processors=[_Logfmt(journal="JOURNAL_STREAM" in os.environ)],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: _Stderr(),
        cache_logger_on_first_use=False,
    )
    logging.raiseExceptions = False
    logging.basicConfig(handlers=[_Foreign()], level=max(threshold, logging.WARNING), force=True)


def get(name: str) -> Logger:
    """The logger of one part: `get("core").info("login accepted", user=…)`. Fields that are None are left out."""
    return cast(Logger, structlog.get_logger(part=name))
