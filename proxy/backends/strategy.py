"""Which login strategy a backend names, and what that backend calls an account."""

from __future__ import annotations

from collections.abc import Callable

from proxy.backends import master_user, proxied_authorization, service_identity, static, xclient
from proxy.backends.keys import Keys
from proxy.backends.names import backend_name
from proxy.config.settings import Backend, Strategy
from proxy.domain.backend_login import BackendLogin
from proxy.domain.model import Account

LoginStrategy = Callable[[Account], BackendLogin]
"""Makes the backend login of one account, anew for each login. Raises names.CannotName."""


def make(backend: Backend, keys: Keys, clock: Callable[[], float]) -> LoginStrategy:
    """The strategy of `backend`. `clock` gives seconds since the epoch (tokens carry times)."""
    login = backend.login
    present: Callable[[str], BackendLogin]
    match login.strategy:
        case Strategy.MASTER_USER:
            present = master_user.make(login)
        case Strategy.STATIC:
            present = static.make(login)
        case Strategy.XCLIENT:
            present = xclient.make(login)
        case Strategy.DOVECOT_TOKEN:
            from proxy.backends import dovecot_token  # the JOSE library is a fifteenth of what the core loads

            present = dovecot_token.make(login, keys.signing, clock)
        case Strategy.PROXIED_AUTHORIZATION:
            return proxied_authorization.make(backend)  # by DN: `username` and backend names are for mail servers
        case Strategy.SERVICE_IDENTITY:
            return service_identity.make(backend)
    return lambda account: present(backend_name(backend, account))
