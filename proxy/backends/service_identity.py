"""An LDAP Bind as a service, under whose rights every account reads the same listed parts of the directory.

For directories that do not let a service speak for a person (RFC 4370), such as Active Directory. Who somebody is
makes no difference to what they may see there, so what they may see is written in the configuration, and nobody writes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from proxy.config.settings import Backend
from proxy.domain.backend_login import ServiceIdentityLogin
from proxy.domain.dn import Template
from proxy.domain.model import Account


def make(backend: Backend) -> Callable[[Account], ServiceIdentityLogin]:
    """A function from an account to its login. Who am I? says the DN that `account_dn` makes, where it does."""
    login = backend.login
    password = login.password
    assert password is not None  # the configuration holds that
    template = Template(backend.account_dn) if backend.account_dn else None

    def present(account: Account) -> ServiceIdentityLogin:
        identity = f"u:{account.address}"
        if template is not None:
            with suppress(ValueError):
                identity = f"dn:{template.fill(account.address)}"
        return ServiceIdentityLogin(login.bind_dn, password, identity, login.bases, login.attributes)

    return present
