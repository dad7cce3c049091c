"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    OK = "ok"
    NOTE = "note"
    """True and worth knowing; nothing is broken."""
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    """What was looked at: `front imap:993`, `backend mail`."""
    state: State
    text: str
    todo: str = ""
