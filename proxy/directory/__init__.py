"""Who the accounts are, and whether an account password is right. Only the portal's sign-in asks.

embedded.py   sidegate's own: Argon2id hashes in the store
ldap.py       an LDAP server: a Bind with the password
oidc.py       an identity provider, which is asked in the place of all these
pool.py       the threads that both check in, so many and no more
choosing.py   what a new account password must not be
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from proxy.domain.model import Account
from proxy.domain.secret import Secret


class Checked(StrEnum):
    """What a directory says about an account password."""

    RIGHT = "right"
    WRONG = "wrong"
    MUST_CHANGE = "must_change"
    """Right, but expired or to be changed: said only after it was right."""
    UNAVAILABLE = "unavailable"
    """It cannot be told now: our fault, or too many ask at once."""


class Directory(Protocol):
    """One per portal process."""

    async def check(self, account: Account | None, password: Secret) -> Checked:
        """Whether it is the account's password. None is an unknown account: WRONG, after the same time."""
        ...

    async def close(self) -> None:
        """Finish what was asked for."""
        ...
