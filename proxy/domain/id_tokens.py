"""What an identity provider says about a person in an ID token, and when it counts (OpenID Connect Core 1.0, section
3.1.3.7). The signature was right before anything is weighed here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.domain.sign_in import FRESH

LEEWAY = 60.0
"""Seconds that the provider's clock may differ from ours."""
ISSUED_WITHIN = 600.0
"""Seconds ago that an ID token may have been issued: it came straight from the provider."""


class Untrue(Exception):
    """An ID token that does not count. The text says why, for the operator, and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What the provider vouches for."""

    subject: str
    """Whom the provider means; unique there, and no name of ours."""
    auth_time: float | None
    """When the person last proved to the provider who they are; None: it does not say."""
    acr: str
    amr: tuple[str, ...]

    def has_factor(self, acr: Collection[str], amr: Collection[str]) -> bool:
        """Whether it says that a second factor was proven: by one of these values."""
        return self.acr in acr or not set(self.amr).isdisjoint(amr)


def weigh(claims: Mapping[str, Any], *, issuer: str, client_id: str, nonce: str, now: float) -> Proof:
    """What the claims of an ID token say, if it is one of this provider, for us, for this browser, and of now. Raises
    Untrue."""
    subject, audience, party = claims.get("sub"), claims.get("aud"), claims.get("azp")
    if claims.get("iss") != issuer:
        raise Untrue("iss is not the configured issuer")
    if not isinstance(subject, str) or not subject:
        raise Untrue("there is no sub")
    audiences = audience if isinstance(audience, list) else [audience]
    if client_id not in audiences:
        raise Untrue("aud is not our client_id")
    if (party is not None or len(audiences) > 1) and party != client_id:
        raise Untrue("azp is not our client_id")
    if claims.get("nonce") != nonce:
        raise Untrue("nonce is not the one that was sent")
    expires, issued, since = _time(claims, "exp"), _time(claims, "iat"), _time(claims, "nbf")
    if expires is None or now >= expires + LEEWAY:
        raise Untrue("it has expired (see whether both clocks are right)")
    if issued is None or not -LEEWAY <= now - issued <= ISSUED_WITHIN or (since is not None and since > now + LEEWAY):
        raise Untrue("it was not issued just now (see whether both clocks are right)")
    auth_time, acr, amr = _time(claims, "auth_time"), claims.get("acr"), claims.get("amr")
    if auth_time is not None and auth_time > now + LEEWAY:
        raise Untrue("auth_time has not come yet (see whether both clocks are right)")
    return Proof(
        subject,
        None if auth_time is None else min(auth_time, now),
        acr if isinstance(acr, str) else "",
        tuple(one for one in amr if isinstance(one, str)) if isinstance(amr, list) else (),
    )


def is_new(proof: Proof, asked: float, now: float) -> bool:
    """Whether the person proved who they are after they were asked to once more, at `asked`, and just now."""
    return proof.auth_time is not None and proof.auth_time >= asked - LEEWAY and now - proof.auth_time <= FRESH


def name_in(claims: Mapping[str, Any], claim: str, *, trust_unverified_email: bool) -> str:
    """The login name that a claim holds. Raises Untrue, also for an address that the provider has not verified: people
    can often write there what they like."""
    name = claims.get(claim)
    if not isinstance(name, str) or not name:
        raise Untrue(f"there is no {claim}, the account_claim")
    verified = claims.get("email_verified")
    if claim == "email" and not trust_unverified_email and verified is not True and verified != "true":
        raise Untrue("email_verified is not true")
    return name


def _time(claims: Mapping[str, Any], claim: str) -> float | None:
    value = claims.get(claim)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise Untrue(f"{claim} is no time")
    return float(value)
