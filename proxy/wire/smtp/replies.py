"""Everything a client of the front is told before it is logged in. None of it repeats what the client said."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.domain.verdicts import Shown

REFUSALS: Mapping[Shown, str] = {
    Shown.NOT_APP_PASSWORD: "534 5.7.9 Application-specific password required: {url}",
    Shown.NOT_ACCEPTED: "535 5.7.8 App password not accepted: {url}",
    Shown.UNAVAILABLE: "454 4.7.0 Temporary authentication failure",
    Shown.LIMITED: "454 4.7.0 Too many attempts, try again later",
    Shown.TLS_FIRST: "530 5.7.0 Must issue a STARTTLS command first",
}
"""One row for each way to be refused (DESIGN section 4); a test holds that none is missing."""


def _line(text: str) -> bytes:
    return text.encode() + b"\r\n"


def refusal(shown: Shown, portal_url: str) -> bytes:
    """The reply to a refused attempt."""
    return _line(REFUSALS[shown].replace("{url}", portal_url))


def farewell(text: str) -> bytes:
    """Said before we close (RFC 5321 section 3.8: 421 at any time)."""
    return _line(f"421 4.7.0 {text}")


OK = _line("250 2.0.0 OK")
BYE = _line("221 2.0.0 Bye")
VRFY = _line("252 2.0.0 Cannot verify before delivery")
START_TLS = _line("220 2.0.0 Ready to start TLS")
AUTH_REQUIRED = _line("530 5.7.0 Authentication required")
EHLO_FIRST = _line("503 5.5.1 Send EHLO first")
EHLO_SYNTAX = _line("501 5.5.4 Syntax: EHLO hostname")
STARTTLS_SYNTAX = _line("501 5.5.4 Syntax: STARTTLS")
NO_STARTTLS = _line("503 5.5.1 TLS is already active")
BEHIND_STARTTLS = _line("554 5.5.0 Nothing may follow STARTTLS before TLS")
AUTH_SYNTAX = _line("501 5.5.4 Syntax: AUTH mechanism [initial-response]")
UNKNOWN_MECHANISM = _line("504 5.5.4 Unrecognized authentication type")
NOT_BASE64 = _line("501 5.5.2 Cannot decode response")
CANCELLED = _line("501 5.7.0 Authentication cancelled")
BEHIND_AUTH = _line("503 5.5.0 Nothing may follow AUTH before its reply")
LINE_TOO_LONG = _line("500 5.5.2 Line too long")
RESPONSE_TOO_LONG = _line("500 5.5.6 Authentication exchange line is too long")
BARE_LF = _line("550 5.5.2 Bare <LF> is not accepted")
BARE_CR_OR_NUL = _line("550 5.5.2 Bare <CR> or <NUL> is not accepted")
NOT_SMTP = farewell("This is an SMTP server")
TOO_MANY_COMMANDS = farewell("Too many commands before login")
TIMED_OUT = farewell("Time to log in is over")
