"""One app password on its way into a program."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.domain.model import Protocol
from proxy.domain.secret import Secret

MAIL = frozenset({Protocol.IMAP, Protocol.SMTP})


@dataclass(frozen=True, slots=True)
class Handover:
    """An app password, of which account, and its secret while that may still be shown."""

    id: str
    address: str
    """Of the account that it opens: what programs call the user name, and the address they send from."""
    display_name: str
    """Of the account; may be empty."""
    scopes: frozenset[Protocol]
    secret: Secret | None = None

    @property
    def sender(self) -> str:
        """The display name on one line, as formats want it."""
        return " ".join(self.display_name.split())

    @property
    def for_mail(self) -> bool:
        """Whether a mail program can read and send with it."""
        return self.scopes >= MAIL

    def revealed(self) -> str:
        """The secret as people see it. Every use ends in a document that must be shown once and not kept."""
        assert self.secret is not None, "shown once already"
        return self.secret.reveal()
