"""How far a person at the portal has come, and what they must do next."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import MfaState

FRESH = 300.0
"""Seconds that a factor counts for making and revoking app passwords and for changing factors, in every MFA state."""
LIFE = 12 * 3600.0
"""Seconds after which a portal session ends, whatever happens in it (OWASP ASVS 7.3.2)."""
IDLE = 3600.0
"""Seconds without a request after which it ends (OWASP ASVS 7.3.1)."""
MINT_WAIT = 24 * 3600.0
"""Seconds after a reset of factors in which nothing is minted, unless an enrolment code was used: time for the person
to hear of a reset that somebody else talked an operator into."""


class Stage(StrEnum):
    """Of a portal session. Each stage has pages of its own, and nothing else is reachable."""

    CHALLENGE = "challenge"
    """The account password was right; a factor is due."""
    ENROL = "enrol"
    """A first factor must be registered."""
    IN = "in"


class Outcome(StrEnum):
    """Of a sign-in, as the person finds it in their history."""

    SIGNED_IN = "signed_in"
    WRONG_PASSWORD = "wrong_password"
    WRONG_FACTOR = "wrong_factor"
    DENIED = "denied"
    """On the phone: not me."""
    FRAUD = "fraud"
    """Denied, and reported."""


def after_password(mfa: MfaState, factors: Collection[FactorKind], *, remembered: bool, bypassed: bool) -> Stage:
    """Where a right account password leads. `factors` are the kinds the person has, unused recovery codes among them.

    `remembered`: this device passed a challenge and is trusted for some days. `bypassed`: an operator lets the person
    in without a factor for some minutes. Neither spares anybody the enrolment, and neither is a fresh factor.
    """
    if mfa is MfaState.DISABLED:
        return Stage.IN
    if not factors:
        return Stage.ENROL
    return Stage.IN if remembered or bypassed else Stage.CHALLENGE


def may_enrol_first(
    now: float,
    *,
    code_right: bool,
    trusted_network: bool,
    open_until: float | None,
    provider_says: bool = False,
) -> bool:
    """Whether the first factor may be registered: it takes more than the account password, which may be stolen.

    `provider_says`: the identity provider has just seen a factor of its own. `open_until`: with `enrolment: open`,
    when that ends for this person (seconds since the epoch).
    """
    return code_right or trusted_network or provider_says or (open_until is not None and now < open_until)


def is_fresh(now: float, factor_time: float | None) -> bool:
    """Whether a factor that was proven then still counts for what needs a fresh one."""
    return factor_time is not None and 0 <= now - factor_time <= FRESH
