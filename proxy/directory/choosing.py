"""What a new account password must not be (NIST SP 800-63B-4 section 3.1.1.2): short, common, or the account's name.

Checked offline against common_passwords.txt. No rules about digits and signs: they make passwords worse.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from functools import cache
from pathlib import Path

from proxy.domain.secret import Secret

MIN_PASSWORD = 8
"""Characters of an account password (NIST SP 800-63B: at least 8 where a second factor follows)."""
MAX_PASSWORD = 1024
_COMMON = Path(__file__).with_name("common_passwords.txt")
_AROUND = re.compile(r"^[\W\d_]+|[\W\d_]+$")
"""What people put before and behind a word to get past a rule: 2024!"""


class Unfit(StrEnum):
    """Why an account password cannot be chosen."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    COMMON = "common"
    """Whoever guesses begins with it."""
    NAME = "name"
    """It is the account's name, or a part of it with signs around."""


def unfit(password: Secret, *names: str) -> Unfit | None:
    """What is wrong with it, if anything. `names`: the account's login names and display name."""
    typed = unicodedata.normalize("NFKC", password.reveal())
    if len(typed) < MIN_PASSWORD:
        return Unfit.TOO_SHORT
    if len(typed) > MAX_PASSWORD:
        return Unfit.TOO_LONG
    folded = typed.casefold()
    if folded in _common() or len(set(folded)) < 3:
        return Unfit.COMMON
    words = {part.casefold() for name in names for part in (name, *re.split(r"[@\s]", name)) if part}
    return Unfit.NAME if folded in words or _AROUND.sub("", folded) in words else None


@cache
def _common() -> frozenset[str]:
    return frozenset(_COMMON.read_text("utf-8").split("\n")) - {""}
