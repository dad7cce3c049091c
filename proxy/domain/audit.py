"""Audit records and the chain over them.

The chain runs over digests (DESIGN section 8): chain_n = SHA-256(chain_{n-1} || digest_n), and a digest
covers a record's fields and its salt. Erasing a person's fields erases the salt too; the digest stays, so
the chain still verifies and the digest tells nothing about what was erased.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from enum import StrEnum
from operator import attrgetter

from proxy.domain.values import value

CHAIN_START = bytes(32)


class Event(StrEnum):
    """What happened. Names are part of the contract of `sidegate audit --json`."""

    ACCOUNT_ADDED = "account_added"
    ACCOUNT_CHANGED = "account_changed"
    ACCOUNT_ENABLED = "account_enabled"
    ACCOUNT_DISABLED = "account_disabled"
    ACCOUNT_REMOVED = "account_removed"
    MFA_CHANGED = "mfa_changed"
    APP_PASSWORD_CREATED = "app_password_created"
    APP_PASSWORD_CHANGED = "app_password_changed"
    APP_PASSWORD_REVOKED = "app_password_revoked"
    APP_PASSWORD_EXPIRED = "app_password_expired"
    SESSIONS_CUT = "sessions_cut"
    CHAT_KICKED = "chat_kicked"
    """A chat server threw the account's user out, or was told to."""
    CHAT_KICK_FAILED = "chat_kick_failed"
    LOGIN_ACCEPTED = "login_accepted"
    SERVICE_PASSED = "service_passed"
    """The directory took the Bind of a listed service; `account` is its DN."""
    LOGIN_REFUSED = "login_refused"
    LOGINS_REFUSED = "logins_refused"
    """Refusals of one network in one minute, unshaped or over a limit; `detail` has the count."""
    EXPOSED_IN_CLEAR = "exposed_in_clear"
    """A secret was sent before TLS."""
    CONFIG_RELOADED = "config_reloaded"
    SIGNED_IN = "signed_in"
    """At the portal, with all that it takes; `detail` has the factor."""
    SIGN_IN_REFUSED = "sign_in_refused"
    BREAK_GLASS_USED = "break_glass_used"
    """Somebody signed in with a password of ours where an identity provider keeps the others."""
    ACCOUNT_PASSWORD_CHANGED = "account_password_changed"
    PASSWORD_LINK_ISSUED = "password_link_issued"
    """A one-time link that sets an account password."""
    ENROLMENT_CODE_ISSUED = "enrolment_code_issued"
    FACTOR_ADDED = "factor_added"
    FACTOR_CHANGED = "factor_changed"
    FACTOR_REMOVED = "factor_removed"
    FACTORS_RESET = "factors_reset"
    MFA_BYPASSED = "mfa_bypassed"
    """An operator lets the person in without a factor for some minutes, or no longer."""
    MFA_UNBLOCKED = "mfa_unblocked"
    """An operator ends what a report of fraud began: phones are asked again."""
    RECOVERY_CODES_MADE = "recovery_codes_made"
    RECOVERY_CODE_USED = "recovery_code_used"
    PASSKEY_COUNTER_WENT_BACK = "passkey_counter_went_back"
    """A right signature with a counter that was used before: there may be a copy of the passkey. It was refused."""
    RECOVERY_ADDRESS_CHANGED = "recovery_address_changed"
    DEVICE_REMEMBERED = "device_remembered"
    DEVICE_REMOVED = "device_removed"
    FRAUD_REPORTED = "fraud_reported"
    NOT_ME = "not_me"
    """A person said so of what they were told, and it was undone; `reason` is its kind."""
    NOTICE_FAILED = "notice_failed"
    """A person could not be told something; `detail` says over which channel, and why."""
    GATEWAY_FAILED = "gateway_failed"
    """A text message or a call was not sent: what should do it does not, or the daily limit is reached. `detail` says
    which, and why."""
    ERASED = "erased"
    PRUNED = "pruned"
    """What is left of the newest record that was removed for its age; the chain begins behind it."""


@value
class AuditEvent:
    """One record. `actor` is who did it: `operator:UID`, `person:ADDRESS`, `client` or `sidegate`; accounts are
    addresses."""

    time: float
    event: Event | str
    """Of a record that another version wrote, it may be text that this one has no word for."""
    actor: str
    account: str | None = None
    account_id: int | None = None
    app_password: str | None = None
    """Its name."""
    protocol: str | None = None
    network: str | None = None
    reason: str | None = None
    detail: str | None = None


_values = attrgetter(*(field.name for field in fields(AuditEvent)))
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def digest(event: AuditEvent, salt: bytes) -> bytes:
    """32 bytes that stand for the record. `salt` is 16 random bytes stored beside it."""
    return hashlib.sha256(salt + _encode(_values(event)).encode("ascii")).digest()


def chain(previous: bytes, record_digest: bytes) -> bytes:
    """The chain value after a record; CHAIN_START comes before a node's first."""
    return hashlib.sha256(previous + record_digest).digest()
