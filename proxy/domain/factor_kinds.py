"""The kinds of factor that a challenge is satisfied by (DESIGN section 1)."""

from __future__ import annotations

from enum import StrEnum


class FactorKind(StrEnum):
    """A person may register several of each; recovery codes are made for them, once they have another factor."""

    TOTP = "totp"
    PASSKEY = "passkey"
    PUSH = "push"
    SMS = "sms"
    CALL = "call"
    RECOVERY_CODE = "recovery_code"
