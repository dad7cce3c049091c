"""The one place that grants a login.

The core gathers the facts (account, app password whose hash verified, live sessions); everything that
speaks for or against the login is weighed here, and nothing else in sidegate builds `Accepted`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from proxy.domain.addresses import domain_of
from proxy.domain.backend_login import BackendLogin
from proxy.domain.login_names import canonical
from proxy.domain.model import Account, AppPasswordRecord, BearerToken, EndReason, LoginAttempt, Protocol
from proxy.domain.networks import NetworkSet
from proxy.domain.values import value
from proxy.domain.verdicts import Accepted, PassThrough, Reason, Refused


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says about logins."""

    default_domain: str
    domains: frozenset[str]
    sessions_per_app_password: int
    sessions_per_account: int
    services: Mapping[str, Mapping[str, NetworkSet]] = field(default_factory=dict)
    """By backend: the service DNs that pass, each with the networks it may come from."""


@value
class LiveSessions:
    """How many sessions are registered now, the one being asked for not among them."""

    of_app_password: int
    of_account: int


def name_to_look_up(attempt: LoginAttempt, rules: Rules) -> str | Refused:
    """The canonical login name, or the refusal that needs no look-up."""
    if isinstance(attempt.credential, BearerToken):
        return Refused(Reason.BEARER_UNSUPPORTED)
    name = canonical(attempt.login_name, rules.default_domain)
    return name if name is not None else Refused(Reason.BAD_LOGIN_NAME)


def pass_through(attempt: LoginAttempt, rules: Rules) -> PassThrough | Refused:
    """The verdict on a Bind as a service DN: which, and from where. The directory still has to take its password."""
    listed = is_listed(attempt.backend, attempt.login_name, attempt.client.address, rules)
    if attempt.protocol is not Protocol.LDAP or not listed:
        return Refused(Reason.SERVICE_NETWORK)
    return PassThrough(attempt.login_name)


def is_listed(backend: str, service: str, address: str, rules: Rules) -> bool:
    """Whether a backend lets this service DN pass from there."""
    return address in rules.services.get(backend, {}).get(service, ())


def decide(
    attempt: LoginAttempt,
    rules: Rules,
    *,
    account: Account | None,
    app_password: AppPasswordRecord | None,
    live: LiveSessions,
    now: float,
    login: Callable[[Account], BackendLogin],
) -> Accepted | Refused:
    """The verdict.

    `account` is what the canonical name led to; `app_password` the record of that account, tombstone or
    live, whose hash the secret verified against, None if none did. `login` is the backend's login strategy,
    asked only for an accepted login.
    """
    if account is None:
        return Refused(Reason.UNKNOWN_ACCOUNT)
    reason = _against(attempt, rules, account, app_password, live, now)
    if reason is not None or app_password is None:
        known = app_password.id if app_password is not None else None
        return Refused(reason or Reason.UNKNOWN_APP_PASSWORD, account.id, known)
    return Accepted(
        account_id=account.id,
        account=account.address,
        app_password_id=app_password.id,
        app_password=app_password.name,
        generation=app_password.generation,
        login=login(account),
    )


def _against(
    attempt: LoginAttempt,
    rules: Rules,
    account: Account,
    app_password: AppPasswordRecord | None,
    live: LiveSessions,
    now: float,
) -> Reason | None:
    """The first thing that speaks against the login. What the store says of the app password comes before what it
    says of the session, so that `sidegate why` names the cause that lasts."""
    if domain_of(account.address) not in rules.domains:
        return Reason.FOREIGN_DOMAIN
    if not _authzid_agrees(attempt, rules, account):
        return Reason.AUTHZID_MISMATCH
    if app_password is None or app_password.account_id != account.id:
        return Reason.UNKNOWN_APP_PASSWORD
    if app_password.ended is not None:
        return Reason.EXPIRED if app_password.end_reason is EndReason.EXPIRED else Reason.REVOKED
    if app_password.expires is not None and app_password.expires <= now:
        return Reason.EXPIRED
    if not account.enabled:
        return Reason.ACCOUNT_DISABLED
    if attempt.protocol not in app_password.scopes:
        return Reason.WRONG_SCOPE
    if app_password.networks and attempt.client.address not in NetworkSet(app_password.networks):
        return Reason.WRONG_NETWORK
    if live.of_app_password >= rules.sessions_per_app_password or live.of_account >= rules.sessions_per_account:
        return Reason.TOO_MANY_SESSIONS
    return None


def _authzid_agrees(attempt: LoginAttempt, rules: Rules, account: Account) -> bool:
    """Empty, or the authcid itself, or the account's address; letter case aside (RFC 4616 section 2, threat 12)."""
    if not attempt.authzid or attempt.authzid.lower() == attempt.login_name.lower():
        return True
    return canonical(attempt.authzid, rules.default_domain) == account.address
