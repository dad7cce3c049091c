"""Everything a client of the front is told before it is logged in. None of it repeats what the client said."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.domain.verdicts import Shown
from proxy.wire.ldap import grammar

OPERATIONS_ERROR = 1
PROTOCOL_ERROR = 2
AUTH_METHOD_NOT_SUPPORTED = 7
REFERRAL = 10
UNAVAILABLE_CRITICAL_EXTENSION = 12
CONFIDENTIALITY_REQUIRED = 13
SASL_IN_PROGRESS = 14
INVALID_DN_SYNTAX = 34
INAPPROPRIATE_AUTHENTICATION = 48
INVALID_CREDENTIALS = 49
INSUFFICIENT_ACCESS = 50
BUSY = 51
UNAVAILABLE = 52
UNWILLING = 53
AUTHORIZATION_DENIED = 123

REFUSALS: Mapping[Shown, tuple[int, str]] = {
    Shown.NOT_APP_PASSWORD: (INVALID_CREDENTIALS, "Application-specific password required: {url}"),
    Shown.NOT_ACCEPTED: (INVALID_CREDENTIALS, "App password not accepted: {url}"),
    Shown.UNAVAILABLE: (UNAVAILABLE, "Temporary authentication failure"),
    Shown.LIMITED: (BUSY, "Too many attempts, try again later"),
    Shown.TLS_FIRST: (CONFIDENTIALITY_REQUIRED, "Use StartTLS first"),
}
"""One row for each way to be refused (DESIGN section 4); a test holds that none is missing."""

NO_PASSWORD = (UNWILLING, "A password is required")
"""RFC 4513 section 5.1.2: a name without a password is no login, and must not look like one."""
NO_ANONYMOUS = (INAPPROPRIATE_AUTHENTICATION, "Anonymous access is not available")
NO_SASL = (AUTH_METHOD_NOT_SUPPORTED, "Only simple authentication is available")
NO_VERSION = (PROTOCOL_ERROR, "Only LDAP version 3 is available")
NO_DN = (INVALID_DN_SYNTAX, "Malformed distinguished name")
NO_CONTROL = (UNAVAILABLE_CRITICAL_EXTENSION, "A critical control is not available")
BIND_FIRST = (INSUFFICIENT_ACCESS, "Bind first")
TLS_ACTIVE = (OPERATIONS_ERROR, "TLS is already active")
NO_START_TLS = (PROTOCOL_ERROR, "StartTLS is not available")
NO_PASSWORDS = (UNWILLING, "Passwords cannot be compared or changed here")
NO_IDENTITY = (UNAVAILABLE_CRITICAL_EXTENSION, "Proxied authorization is not available")
NO_IDENTITY_UNCRITICAL = (PROTOCOL_ERROR, "Proxied authorization is not available")
NO_EXTENSION = (PROTOCOL_ERROR, "This extended operation is not available")
READ_ONLY = (UNWILLING, "Only searching and comparing is available here")
NOT_LISTED = (INSUFFICIENT_ACCESS, "This part of the directory, or one of these attributes, is not available here")
NO_FILTER = (PROTOCOL_ERROR, "Malformed filter")
TOO_LARGE = (UNWILLING, "The request has too many parts")


def refusal(shown: Shown, portal_url: str) -> tuple[int, str]:
    """Result code and diagnosticMessage of a refused Bind."""
    code, text = REFUSALS[shown]
    return code, text.replace("{url}", portal_url)


def to_request(message_id: int, operation: int, reply: tuple[int, str]) -> bytes:
    """The response of the kind that the request calls for."""
    return grammar.answer(message_id, grammar.ANSWERS[operation], *reply)


def disconnection(code: int, text: str) -> bytes:
    """A Notice of Disconnection (RFC 4511 section 4.4.1)."""
    return grammar.answer(0, grammar.EXTENDED_RESPONSE, code, text, name=grammar.NOTICE_OF_DISCONNECTION)


def farewell(text: str) -> bytes:
    """Said before we close."""
    return disconnection(UNAVAILABLE, text)


MALFORMED = disconnection(PROTOCOL_ERROR, "Malformed LDAP message")
TOO_MANY_REQUESTS = farewell("Too many requests before a successful Bind")
TIMED_OUT = farewell("Time to log in is over")
