"""Everything an IMAP front says to refuse or to part, as one table (DESIGN section 4, RFC 5530 codes)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.domain.verdicts import Shown


@dataclass(frozen=True, slots=True)
class Refusal:
    """A tagged NO. `{url}` in its text is the portal's address.

    `alert`: the same text goes before it as `* OK [ALERT]`. Together they reach the most people: Thunderbird
    opens a dialog for the alert and hides the text of AUTHENTICATIONFAILED, others show only the tagged line.
    """

    code: str
    text: str
    alert: bool = False

    def render(self, portal_url: str) -> tuple[bytes, bytes]:
        """The untagged line (may be empty), and what follows the tag, both with their CRLF."""
        text = self.text.format(url=portal_url)
        untagged = f"* OK [ALERT] {text}\r\n" if self.alert else ""
        return untagged.encode(), f" NO [{self.code}] {text}\r\n".encode()


REFUSALS: Mapping[Shown, Refusal] = {
    Shown.NOT_APP_PASSWORD: Refusal(
        "AUTHENTICATIONFAILED", "Application-specific password required: {url}", alert=True
    ),
    Shown.NOT_ACCEPTED: Refusal("AUTHENTICATIONFAILED", "App password not accepted: {url}", alert=True),
    Shown.UNAVAILABLE: Refusal("UNAVAILABLE", "Temporary authentication failure"),
    Shown.LIMITED: Refusal("LIMIT", "Too many attempts, try again later"),
    Shown.TLS_FIRST: Refusal("PRIVACYREQUIRED", "TLS is required before login"),
}


def farewell(text: str) -> bytes:
    """The last line on a connection that the server ends (RFC 3501 section 7.1.5)."""
    return f"* BYE {text}\r\n".encode()
