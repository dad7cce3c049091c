"""The one-time code that lets a person register a first factor: from an operator, in a letter, over the telephone.

It is made like an app password (86 random bits, a check letter for typing errors) and written in other groups, so that
nobody takes one for the other.
"""

from __future__ import annotations

from proxy.domain.app_passwords import LENGTH, mint, normalize
from proxy.domain.secret import Secret

__all__ = ["grouped", "mint", "normalize"]


def grouped(code: Secret) -> str:
    """As it is shown, once: `abcde-fghjk-mnpqr-stuvw`."""
    letters = code.reveal()
    return "-".join(letters[i : i + 5] for i in range(0, LENGTH, 5))
