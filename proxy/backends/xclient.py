"""Postfix XCLIENT LOGIN= (https://www.postfix.org/XCLIENT_README.html): no credential; the backend trusts our address.

The front always sends ADDR with it: without, a logged-in client that sits in Postfix's trusted network could send
XCLIENT itself and become anybody.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.config.settings import Login
from proxy.domain.backend_login import XclientLogin


def make(_: Login) -> Callable[[str], XclientLogin]:
    """A function from the backend's name of an account to its login."""
    return XclientLogin
