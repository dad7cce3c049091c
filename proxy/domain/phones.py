"""What a registered phone signs, and how often it is asked.

The number travels from the page that waits into the phone (NIST SP 800-63B-4 section 3.1.3: to compare and approve is
no longer enough), where it is typed or scanned; the phone signs it with a key that never leaves it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

WITHIN = 300.0
"""Seconds that a number is good (OWASP ASVS 6.6.2 asks for minutes)."""
LONGEST = 600.0
"""Seconds that a person may extend that to in all (SP 800-63B-4: 10 minutes)."""
DIGITS = 6
TRIES = 3
"""Wrong numbers that end a challenge."""
IN_TEN_MINUTES = 3
IN_A_DAY = 10
"""Times that an account's phones are asked, whatever becomes of it: who has the password must not wear a person out."""
CLOCK_OFF = 300.0
"""Seconds that a phone's clock may be off when it asks what there is; it is told the time, and asks again."""

_PART = re.compile(r"[A-Za-z0-9_,:.-]*")
_NUMBER = re.compile(f"[0-9]{{{DIGITS}}}")
_SPACES = re.compile(r"[\s-]")


class Decision(StrEnum):
    """What a person says about a sign-in on their phone."""

    CONFIRM = "confirm"
    DENY = "deny"
    FRAUD = "fraud"


class Answered(StrEnum):
    """What that came to."""

    CONFIRMED = "confirmed"
    WRONG = "wrong"
    """Another number is shown; it may be tried again."""
    ENDED = "ended"
    """Wrong once too often."""
    DENIED = "denied"
    REPORTED = "reported"
    OVER = "over"
    """It was not waiting any more."""


class Asking(StrEnum):
    """Whether the phones may be asked."""

    YES = "yes"
    BUSY = "busy"
    """They are being asked about another sign-in."""
    TOO_OFTEN = "too_often"


@dataclass(frozen=True, slots=True)
class Claim:
    """Who a phone says it is."""

    account: int
    """Its account's id."""
    key: str
    """The id of its key."""


def may_ask(other_open: bool, ten_minutes: int, day: int) -> Asking:
    """Whether an account's phones may be asked once more. They are asked about one sign-in at a time."""
    if other_open:
        return Asking.BUSY
    return Asking.TOO_OFTEN if ten_minutes >= IN_TEN_MINUTES or day >= IN_A_DAY else Asking.YES


def signed_text(verb: str, origin: str, claim: Claim, *parts: str) -> bytes:
    """What the phone signs for this. ValueError for a part that could be taken for two."""
    for part in (verb, claim.key, *parts):
        if not _PART.fullmatch(part):
            raise ValueError("not a part of what a phone signs")
    return "\n".join(("sidegate phone", verb, origin, str(claim.account), claim.key, *parts)).encode("ascii")


def number_of(typed: str) -> str | None:
    """The digits of a number as people type it."""
    digits = _SPACES.sub("", typed[:40])
    return digits if _NUMBER.fullmatch(digits) else None


def number_from(raw: bytes) -> str:
    """A number that these random bytes stand for; 16 of them favour none."""
    return f"{int.from_bytes(raw, 'big') % 10**DIGITS:0{DIGITS}}"


def on_time(now: float, said: float) -> bool:
    """Whether what a phone signed is of now."""
    return abs(now - said) <= CLOCK_OFF
