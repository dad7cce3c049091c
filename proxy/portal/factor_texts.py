"""The kinds of factor, in words."""

from __future__ import annotations

from typing import NamedTuple

from proxy.domain.factor_kinds import FactorKind
from proxy.portal.texts import message


class Words(NamedTuple):
    """Message ids."""

    label: str
    hint: str
    """What it takes and what it is good for."""


KINDS = {
    FactorKind.PASSKEY: Words(
        message("Passkey"),
        message(
            "Unlock with your fingerprint, face or PIN on this device, your phone or a security key. The safest way: "
            "it works on this site only, and nobody can talk you out of it."
        ),
    ),
    FactorKind.TOTP: Words(
        message("Authenticator app"),
        message("An app on your phone shows six digits that you type in. Works without a network."),
    ),
    FactorKind.PUSH: Words(
        message("Approve on your phone"), message("Your phone asks you, and you type the number that this site shows.")
    ),
    FactorKind.SMS: Words(message("Text message"), message("A code is sent to your phone number.")),
    FactorKind.CALL: Words(message("Phone call"), message("A voice reads a code to you.")),
    FactorKind.RECOVERY_CODE: Words(
        message("Recovery code"), message("One of the codes that you wrote down, for when nothing else is at hand.")
    ),
}
"""One row per kind."""
