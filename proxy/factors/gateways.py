"""What sends text messages and makes calls. One file each behind this contract: webhook.py, by_apprise.py."""

from __future__ import annotations

from typing import Protocol

from proxy.domain.phone_codes import Message

WITHIN = 5.0
"""Seconds that a gateway has: a person waits."""


class NotTaken(Exception):
    """Which gateway, and why, for the operator: without the number, the message and any secret."""

    def __init__(self, gateway: str, reason: str, *, perhaps: bool = False) -> None:
        super().__init__(f"{gateway} {reason}")
        self.perhaps = perhaps
        """It may have gone out all the same."""


class Gateway(Protocol):
    """Hands a message on. Raises NotTaken, and nothing else."""

    async def __call__(self, message: Message) -> None: ...
