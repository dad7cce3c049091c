"""The gatekeeper's answers, and the one place where a true reason becomes what a client may see."""

from __future__ import annotations

from enum import StrEnum

from proxy.domain.backend_login import BackendLogin
from proxy.domain.values import value


class Shown(StrEnum):
    """What a client is told. Each wire protocol has one row per member (wire/*/replies.py)."""

    NOT_APP_PASSWORD = "not_app_password"
    NOT_ACCEPTED = "not_accepted"
    UNAVAILABLE = "unavailable"
    LIMITED = "limited"
    TLS_FIRST = "tls_first"


class Reason(StrEnum):
    """Why a login was not accepted: the truth, for the log, the audit and `sidegate why`."""

    NOT_APP_PASSWORD = "not_app_password"
    """Not shaped like an app password: most often the account password."""
    NOT_APP_PASSWORD_NAME = "not_app_password_name"
    """Unshaped, and the login name could not be one either."""
    BAD_LOGIN_NAME = "bad_login_name"
    FOREIGN_DOMAIN = "foreign_domain"
    AUTHZID_MISMATCH = "authzid_mismatch"
    UNKNOWN_ACCOUNT = "unknown_account"
    ACCOUNT_DISABLED = "account_disabled"
    UNKNOWN_APP_PASSWORD = "unknown_app_password"
    REVOKED = "revoked"
    EXPIRED = "expired"
    WRONG_SCOPE = "wrong_scope"
    WRONG_NETWORK = "wrong_network"
    BEARER_UNSUPPORTED = "bearer_unsupported"
    LIMITED = "limited"
    TOO_MANY_SESSIONS = "too_many_sessions"
    TLS_REQUIRED = "tls_required"
    SERVICE_NETWORK = "service_network"
    """A Bind as a listed service DN from none of its networks."""
    SERVICE_REFUSED = "service_refused"
    """The directory refused the Bind of a listed service DN."""
    STORE_UNAVAILABLE = "store_unavailable"
    CORE_UNAVAILABLE = "core_unavailable"
    BACKEND_UNAVAILABLE = "backend_unavailable"
    BACKEND_REFUSED_US = "backend_refused_us"
    BACKEND_UNKNOWN_ACCOUNT = "backend_unknown_account"
    BUSY = "busy"
    INTERNAL_ERROR = "internal_error"


SHOWN: dict[Reason, Shown] = {
    Reason.NOT_APP_PASSWORD: Shown.NOT_APP_PASSWORD,
    Reason.NOT_APP_PASSWORD_NAME: Shown.NOT_APP_PASSWORD,
    Reason.BAD_LOGIN_NAME: Shown.NOT_ACCEPTED,
    Reason.FOREIGN_DOMAIN: Shown.NOT_ACCEPTED,
    Reason.AUTHZID_MISMATCH: Shown.NOT_ACCEPTED,
    Reason.UNKNOWN_ACCOUNT: Shown.NOT_ACCEPTED,
    Reason.ACCOUNT_DISABLED: Shown.NOT_ACCEPTED,
    Reason.UNKNOWN_APP_PASSWORD: Shown.NOT_ACCEPTED,
    Reason.REVOKED: Shown.NOT_ACCEPTED,
    Reason.EXPIRED: Shown.NOT_ACCEPTED,
    Reason.WRONG_SCOPE: Shown.NOT_ACCEPTED,
    Reason.WRONG_NETWORK: Shown.NOT_ACCEPTED,
    Reason.BEARER_UNSUPPORTED: Shown.NOT_APP_PASSWORD,
    Reason.LIMITED: Shown.LIMITED,
    Reason.TOO_MANY_SESSIONS: Shown.LIMITED,
    Reason.TLS_REQUIRED: Shown.TLS_FIRST,
    Reason.SERVICE_NETWORK: Shown.NOT_APP_PASSWORD,
    Reason.SERVICE_REFUSED: Shown.NOT_ACCEPTED,
    Reason.STORE_UNAVAILABLE: Shown.UNAVAILABLE,
    Reason.CORE_UNAVAILABLE: Shown.UNAVAILABLE,
    Reason.BACKEND_UNAVAILABLE: Shown.UNAVAILABLE,
    Reason.BACKEND_REFUSED_US: Shown.UNAVAILABLE,
    Reason.BACKEND_UNKNOWN_ACCOUNT: Shown.UNAVAILABLE,
    Reason.BUSY: Shown.UNAVAILABLE,
    Reason.INTERNAL_ERROR: Shown.UNAVAILABLE,
}
"""One row per reason (a test holds that).

The reply depends on the shape of what was sent, never on what the store knows.
"""


@value
class Accepted:
    """Log this client in. Only domain/gatekeeper.py builds one."""

    account_id: int
    account: str
    app_password_id: int
    app_password: str
    """Its name."""
    generation: int
    login: BackendLogin


@value
class Refused:
    """Not this time; the reply is SHOWN[reason]. The ids are for log and history, None where nothing matched."""

    reason: Reason
    account_id: int | None = None
    app_password_id: int | None = None


@value
class PassThrough:
    """A listed LDAP service DN: relay this one Bind, and then what a service may do. Only the gatekeeper builds one."""

    service: str
    """The DN, as the configuration has it."""


@value
class Unavailable:
    """We cannot decide now; the temporary reply. `detail` is for our log only."""

    reason: Reason
    detail: str = ""


Verdict = Accepted | Refused | PassThrough | Unavailable
