"""An LDAP Bind as a service that speaks for the account with every request (RFC 4370): the account's own rights hold.

The account is named by its DN, which `account_dn` makes of its address: a backend name is for mail servers and not used
here. Whoever holds this login can speak for every account that the directory lets the service speak for: `check` and
docs/backends say so.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.backends.names import CannotName
from proxy.config.settings import Backend
from proxy.domain.backend_login import ProxiedLogin
from proxy.domain.dn import Template
from proxy.domain.model import Account


def make(backend: Backend) -> Callable[[Account], ProxiedLogin]:
    """A function from an account to its login. It raises CannotName for an address that account_dn has no DN for."""
    login = backend.login
    password = login.password
    assert password is not None  # the configuration holds that
    template = Template(backend.account_dn)

    def present(account: Account) -> ProxiedLogin:
        try:
            name = template.fill(account.address)
        except ValueError as error:
            raise CannotName(f"backend {backend.name} has no DN for {account.address}: {error}") from None
        return ProxiedLogin(login.bind_dn, password, f"dn:{name}")

    return present
