"""A Dovecot master user: one credential that may log in as anybody (https://doc.dovecot.org/2.3/ "Master users").

Without a separator the account goes into SASL's authzid, which needs no setting at the backend; with one it is the form
`account*master` in the authcid. Whoever holds this login can reach every mailbox: `check` and docs/backends say so.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.config.settings import Login
from proxy.domain.backend_login import PlainLogin


def make(login: Login) -> Callable[[str], PlainLogin]:
    """A function from the backend's name of an account to its login."""
    password = login.password
    assert password is not None  # the configuration holds that
    if login.separator:
        suffix = login.separator + login.user
        return lambda name: PlainLogin("", name + suffix, password)
    return lambda name: PlainLogin(name, login.user, password)
