"""The nouns: accounts, app passwords, and who connects."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from proxy.domain.secret import Secret
from proxy.domain.values import value


class Protocol(StrEnum):
    """A legacy protocol that a front speaks; also the scopes an app password may have."""

    IMAP = "imap"
    SMTP = "smtp"
    LDAP = "ldap"


DEFAULT_SCOPES = frozenset({Protocol.IMAP, Protocol.SMTP})


class AccountKind(StrEnum):
    """person signs in at the portal; shared is a mailbox with members; service has only an owner."""

    PERSON = "person"
    SHARED = "shared"
    SERVICE = "service"


class MfaState(StrEnum):
    """disabled, enabled (must enrol at next sign-in), enforced (enrolled)."""

    DISABLED = "disabled"
    ENABLED = "enabled"
    ENFORCED = "enforced"


class EndReason(StrEnum):
    """Why an app password is a tombstone."""

    REVOKED = "revoked"
    EXPIRED = "expired"
    ACCOUNT_REMOVED = "account_removed"


@dataclass(frozen=True, slots=True)
class Account:
    """Who or what a login is for. `address` is canonical; `backend_name` None means the backend's template."""

    id: int
    address: str
    kind: AccountKind
    enabled: bool
    backend_name: str | None
    display_name: str | None
    mfa: MfaState
    admin: bool
    owner_id: int | None
    """Of a service account: the person who answers for it."""
    created: float
    """Seconds since the epoch."""
    login_names: tuple[str, ...] = ()
    """Every spelling that leads here, the address first; filled by the store."""


@value
class LastUse:
    """When, from where, by which protocol and which program an app password was last used."""

    time: float
    address: str
    protocol: Protocol
    program: str | None


@dataclass(frozen=True, slots=True)
class AppPasswordRecord:
    """One app password as stored: never the secret. Live while `ended` is None and it is not past `expires`."""

    id: int
    account_id: int
    owner_id: int
    """The person who minted it (a member, for a shared mailbox)."""
    name: str
    scopes: frozenset[Protocol]
    networks: tuple[str, ...]
    """CIDRs a client must come from; empty: anywhere."""
    created: float
    expires: float | None
    ended: float | None
    end_reason: EndReason | None
    generation: int
    """Grows with every change that must end sessions (narrowed scope or network, revoke, expiry)."""
    pepper_version: int
    tag: int
    """32 bits; unique per account, tombstones included (domain/app_passwords.py)."""
    hash: Secret = field(repr=False)
    """PHC string of Argon2id."""
    last_used: LastUse | None = None
    messages: int = 0
    """Sent with it, as counted so far; so are `recipients`."""
    recipients: int = 0


@value
class ClientInfo:
    """One client connection as the front saw it; `address` is the real client's, after a PROXY header."""

    address: str
    port: int
    local_address: str
    local_port: int
    tls: str | None
    """TLS version as the TLS library names it ("TLSv1.3"), None in the clear."""
    program: str | None = None
    """IMAP ID or EHLO argument, cleaned and at most 128 characters (wire/events.py)."""


@value
class AppPassword:
    """A credential on the wire: what the client typed as a password, raw."""

    secret: Secret


@value
class BearerToken:
    """A credential on the wire: an OAuth access token (RFC 7628)."""

    token: Secret


@dataclass(frozen=True, slots=True)
class ServiceBind:
    """An LDAP Bind as a listed service DN, which is the attempt's login name. What proves it is the directory's to
    check, and never comes here."""


Credential = AppPassword | BearerToken


@value
class LoginAttempt:
    """What a front asks the gatekeeper. Names are as the client spelled them, decoded as UTF-8."""

    session_id: str
    protocol: Protocol
    front: str
    backend: str
    login_name: str
    authzid: str
    """Empty when the client sent none."""
    credential: Credential | ServiceBind
    mechanism: str
    """LOGIN, PLAIN, … in Dovecot's vocabulary, for the log."""
    client: ClientInfo
