"""Codes that are sent to phone numbers: how long they are good, and how many are sent.

Whoever has an account password can have them sent, and each costs money: people are paid to have them sent to numbers
of their own (toll fraud), most often to many that are neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

DIGITS = 6
WITHIN = 300.0
"""Seconds that a code is good."""
TRIES = 3
"""Answers to one code, the right one among them: 3 of a million are right by chance."""
HOUR = 3600.0
DAY = 86400.0
ACCOUNT_AN_HOUR = 3
"""Codes to one account, text messages and calls together."""
PREFIX_AN_HOUR = 10
"""Codes to numbers that begin alike, of all accounts."""
PREFIX_DIGITS = 6

_CODE = re.compile(f"[0-9]{{{DIGITS}}}")
_SPACES = re.compile(r"[\s-]")


class Sending(StrEnum):
    """Whether a code may be sent."""

    YES = "yes"
    ACCOUNT = "account"
    """This account was sent too many."""
    PREFIX = "prefix"
    """Numbers like this one were."""
    DAY = "day"
    """Everybody together was: the daily limit."""
    BLOCKED = "blocked"
    """The person reported fraud: nothing reaches them unasked."""


@dataclass(frozen=True, slots=True)
class Sent:
    """How many were sent: in the last hour to the account and to numbers like this one, and in the last day to all."""

    account: int
    prefix: int
    day: int


@dataclass(frozen=True, slots=True)
class Message:
    """What a gateway is asked to say."""

    to: str
    """E.164, `+34612345678`."""
    text: str = field(repr=False)
    language: str
    kind: str
    """sms or call."""
    digits: str | None = field(default=None, repr=False)
    """Of a call: the code by itself, for a voice of one's own."""

    def fields(self) -> Mapping[str, str]:
        """As JSON has it."""
        plain = {"to": self.to, "text": self.text, "language": self.language, "kind": self.kind}
        return plain if self.digits is None else plain | {"digits": self.digits}


def may_send(sent: Sent, daily_limit: int) -> Sending:
    """Whether one more may be sent."""
    if sent.account >= ACCOUNT_AN_HOUR:
        return Sending.ACCOUNT
    if sent.prefix >= PREFIX_AN_HOUR:
        return Sending.PREFIX
    return Sending.DAY if sent.day >= daily_limit else Sending.YES


def prefix_of(number: str) -> str:
    """What neighbours have in common, of a number in E.164."""
    return number.lstrip("+")[:PREFIX_DIGITS]


def code_from(raw: bytes) -> str:
    """A code that these random bytes stand for; 16 of them favour none."""
    return f"{int.from_bytes(raw, 'big') % 10**DIGITS:0{DIGITS}}"


def code_of(typed: str) -> str | None:
    """The digits of a code as people type it."""
    digits = _SPACES.sub("", typed[:40])
    return digits if _CODE.fullmatch(digits) else None
