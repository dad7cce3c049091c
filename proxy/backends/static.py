"""One login for everybody: a shared mailbox whose server knows a single user. The account's own name is not sent."""

from __future__ import annotations

from collections.abc import Callable

from proxy.config.settings import Login
from proxy.domain.backend_login import PlainLogin


def make(login: Login) -> Callable[[str], PlainLogin]:
    """A function that gives the one login, whatever the account."""
    assert login.password is not None  # the configuration holds that
    the_login = PlainLogin("", login.user, login.password)
    return lambda _: the_login
