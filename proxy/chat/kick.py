"""The contract of a kick, and the chat user that an account is."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from proxy.domain.addresses import templated
from proxy.domain.model import Account

WITHIN = 5.0
"""Seconds that a kick may take in all, names looked up and connection made."""
MAX_ANSWER = 64 * 1024
"""Bytes."""

Kick = Callable[[Account], Awaitable[int | None]]
"""Ends every chat session of an account; how many chat users that threw out (0: none was there; None: not said).

Raises CannotKick. Ended are the sessions of other app passwords, too: a chat server does not know which let whom in,
and programs whose app password is still good come back by themselves.
"""

_CHAT_USER = re.compile(r"[a-z0-9._+-]+@[a-z0-9.-]+")
"""What sidegate takes in an address, all of which a JID may hold (RFC 7622) and none of which ends a quotation."""


class CannotKick(Exception):
    """Chat sessions may still be there. One line, without a secret: where, what is wrong, what to do next."""

    def __init__(self, where: str, what: str, then: str) -> None:
        super().__init__(f"{where} {what}; {then}")


def chat_user(template: str, account: Account) -> str:
    """The address of the chat user that `account` is, alice@chat.example.org. Raises CannotKick."""
    name = templated(template, account.address)
    if not _CHAT_USER.fullmatch(name):
        raise CannotKick(
            "on_revoke.chat_user", f"makes no chat user of {account.address!r}", "end its sessions by hand"
        )
    return name
