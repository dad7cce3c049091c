"""The phone's side of push: what a phone proves, and what its answers come to.

Everything a phone says is signed with its own key (domain/phones.signed_text), which WebCrypto made and does not give
out: ECDSA P-256 over SHA-256, signatures as r and s (IEEE P1363).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy import Connection

from proxy.domain import tokens
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account
from proxy.domain.phones import TRIES, Answered, Claim, Decision, number_of, on_time, signed_text
from proxy.factors.push import number_context, phone_context
from proxy.factors.sealing import Sealer
from proxy.store import accounts, challenges, factors, links, portal_sessions
from proxy.store.challenges import Challenge, State
from proxy.store.factors import FactorRow
from proxy.store.links import Purpose
from proxy.store.portal_sessions import PortalSession

SIGNATURE = 64
"""Bytes."""
POINT = 65
MAX_KEY = 200
"""Characters of a key of a push subscription."""


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone that has proven which one it is."""

    account: Account
    row: FactorRow


@dataclass(frozen=True, slots=True)
class Asked:
    """A sign-in that waits for a phone."""

    challenge: Challenge
    session: PortalSession


def key_id(key: str) -> str:
    """What a phone's key (base64url) goes by."""
    return urlsafe_b64encode(hashlib.sha256(key.encode()).digest()[:16]).rstrip(b"=").decode("ascii")


def proven(key: str, text: bytes, signature: str) -> bool:
    """Whether the key (an uncompressed point, base64url) signed this."""
    try:
        point, raw = _decoded(key), _decoded(signature)
        if len(point) != POINT or len(raw) != SIGNATURE:
            return False
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        public.verify(encode_dss_signature(r, s), text, ec.ECDSA(SHA256()))
    except (ValueError, InvalidSignature):
        return False
    return True


def subscription_of(given: object, accepts: Callable[[str], bool]) -> dict[str, str]:
    """The push subscription that a browser gave (`toJSON()`), flat; empty where it is none that anything is sent to."""
    if not isinstance(given, Mapping) or not isinstance(given.get("keys"), Mapping):
        return {}
    parts = {
        "endpoint": given.get("endpoint"),
        "p256dh": given["keys"].get("p256dh"),
        "auth": given["keys"].get("auth"),
    }
    flat = {name: part for name, part in parts.items() if isinstance(part, str)}
    if len(flat) < len(parts) or not accepts(flat["endpoint"]):
        return {}
    return flat if max(len(flat["p256dh"]), len(flat["auth"])) <= MAX_KEY else {}


def connect(
    c: Connection, sealer: Sealer, origin: str, token: str, phone: Mapping[str, str], signature: str, now: float
) -> Account | None:
    """Leave a phone (`public` of a push factor) in a link: the account it is for. None: the link works no more, another
    phone was there first, or the signature is not of this key."""
    token_hash = tokens.hash_of(token)
    link = links.find(c, token_hash, now, Purpose.PHONE)
    account = None if link is None else accounts.by_id(c, link.account_id)
    if account is None or not account.enabled:
        return None
    try:
        text = signed_text("register", origin, Claim(0, key_id(phone["key"])), token)  # whose link it is, it is told
    except ValueError:
        return None
    if not proven(phone["key"], text, signature):
        return None
    sealed = sealer.seal(json.dumps(dict(phone)).encode(), context=phone_context(account.id))
    return account if links.leave(c, token_hash, now, Purpose.PHONE, sealed) else None


def phone_of(
    c: Connection, origin: str, claim: Claim, verb: str, parts: tuple[str, ...], signature: str
) -> Phone | None:
    """The registered phone that signed this. Whose it is not is told nothing."""
    account = accounts.by_id(c, claim.account)
    if account is None or not account.enabled:
        return None
    try:
        text = signed_text(verb, origin, claim, *parts)
    except ValueError:
        return None
    for row in factors.of_account(c, account.id, FactorKind.PUSH):
        if key_id(row.public["key"]) == claim.key:
            return Phone(account, row) if proven(row.public["key"], text, signature) else None
    return None


def is_now(said: str, now: float) -> bool:
    """Whether a phone's time (milliseconds) is near enough."""
    return said.isascii() and said.isdigit() and len(said) < 16 and on_time(now, int(said) / 1000)


def waiting(c: Connection, account_id: int, now: float) -> list[Asked]:
    """What the account's phones are asked now."""
    found = []
    for challenge in challenges.open_of(c, account_id, now, FactorKind.PUSH):
        session = portal_sessions.by_token(c, challenge.session_hash, now)
        if session is not None:
            found.append(Asked(challenge, session))
    return found


def of_account(c: Connection, account_id: int, id_hash: bytes) -> Challenge | None:
    """The challenge of this name, if it is this account's."""
    challenge = challenges.by_id(c, id_hash)
    if challenge is None or challenge.account_id != account_id or challenge.kind is not FactorKind.PUSH:
        return None
    return challenge


def answer(
    c: Connection, sealer: Sealer, phone: Phone, id_hash: bytes, decision: Decision, typed: str, now: float
) -> tuple[Answered, Challenge | None]:
    """What a phone's answer comes to; of several at once one counts. What follows from a denial and from a report is
    the portal's (portal/fraud.py)."""
    challenge = of_account(c, phone.account.id, id_hash)
    if challenge is None:
        return Answered.OVER, None
    if decision is not Decision.CONFIRM:
        denied = decision is Decision.DENY
        # What was denied, has expired, or nobody went on with yet may still be reported.
        states = (State.OPEN,) if denied else (State.OPEN, State.DENIED, State.ANSWERED)
        state = State.DENIED if denied else State.FRAUD
        moved = any(challenges.answer(c, id_hash, one, state, now, factor_id=phone.row.id) for one in states)
        came_to = Answered.DENIED if denied else Answered.REPORTED
        return (came_to if moved else Answered.OVER), challenge
    if challenge.state is not State.OPEN or now >= challenge.expires:
        return Answered.OVER, challenge
    number = sealer.open(challenge.sealed or b"", context=number_context(challenge.account_id)).decode()
    if not hmac.compare_digest(number_of(typed) or "", number):
        if challenges.count_try(c, id_hash) < TRIES:
            return Answered.WRONG, challenge
        challenges.answer(c, id_hash, State.OPEN, State.DENIED, now, factor_id=phone.row.id)
        return Answered.ENDED, challenge
    moved = challenges.answer(c, id_hash, State.OPEN, State.ANSWERED, now, factor_id=phone.row.id)
    return (Answered.CONFIRMED if moved else Answered.OVER), challenge


def _decoded(text: str) -> bytes:
    """Base64url without padding. Raises ValueError."""
    return b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
