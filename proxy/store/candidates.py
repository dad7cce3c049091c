"""What the store knows about a login attempt: whom the name means, and which app passwords the secret may be."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from proxy.domain.app_passwords import tags
from proxy.domain.model import Account, AppPasswordRecord
from proxy.store import accounts, app_passwords


def of_attempt(
    c: Connection, name: str, letters: str, peppers: Mapping[int, bytes]
) -> tuple[Account | None, list[AppPasswordRecord]]:
    """By canonical login name and the secret's bare letters. Which of the candidates it is, their hashes tell."""
    account = accounts.by_login_name(c, name)
    if account is None:
        return None, []
    return account, app_passwords.by_tags(c, account.id, tags(peppers, account.id, letters))
