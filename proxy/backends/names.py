"""What a backend calls an account: from the store or from a template over what the store says, never from the wire."""

from __future__ import annotations

import re

from proxy.config.settings import Backend
from proxy.domain.addresses import templated
from proxy.domain.model import Account

_NAME = re.compile(r"[^\x00-\x20\x7f-\x9f*%]{1,256}")
"""No `*`, Dovecot's master user separator, no `%`, its variable expansion (threats 13, 15), no spaces or controls."""


class CannotName(Exception):
    """No safe name of the account for this backend: our fault, so clients get the temporary reply."""


def backend_name(backend: Backend, account: Account) -> str:
    """The account's own backend name, else the backend's template filled in. Raises CannotName."""
    name = account.backend_name
    if name is None:
        name = templated(backend.username, account.address)
    separator = backend.login.separator
    if not _NAME.fullmatch(name) or (separator and separator in name):
        raise CannotName(
            f"backend {backend.name} cannot call {account.address} what its backend name or `username` says: "
            "control characters, spaces, * and % and the master user separator are not sent to a backend"
        )
    return name
