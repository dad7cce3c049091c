"""SASL: towards clients one machine per exchange, shared by every front; towards backends one response.

A mechanism says *who* claims to be whom and decides nothing. Text that cannot be right is taken as
empty: bytes that are not UTF-8, control characters, more than MAX_NAME or MAX_SECRET. An empty name is
no login name and an empty secret is no app password, so such an attempt goes the way of every other
one, to the sentence that its shape earns after the same delay, and is never looked up. A PLAIN message
that is not three fields is three empty ones for the same reason (RFC 4616 section 2: it fails the exchange).
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from typing import Protocol as Interface

from proxy.domain.backend_login import BearerLogin, PlainLogin
from proxy.domain.model import AppPassword, Credential
from proxy.domain.secret import Secret

MECHANISMS = ("PLAIN", "LOGIN")
"""In the order in which fronts advertise them."""

MAX_NAME = 256
"""Bytes of a login name or authzid."""
MAX_SECRET = 1024
"""Bytes; an app password with every separator people add is under 60."""

_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


@dataclass(slots=True)
class Challenge:
    """Ask the client for one more response. `data` is not yet base64."""

    data: bytes


@dataclass(slots=True)
class Identity:
    """The exchange is over. `authzid` is empty when the client sent none."""

    login_name: str
    authzid: str
    credential: Credential


class SaslServer(Interface):
    """One exchange of one mechanism."""

    def step(self, response: bytes | None) -> Challenge | Identity:
        """The client's next response, decoded. The first call may get None: it sent no initial response.

        None differs from b"", an initial response that is empty (RFC 4954 section 4, RFC 4959 section 3: `=`).
        """


def start(mechanism: str) -> SaslServer | None:
    """The machine of a mechanism, in any letter case; None when we do not speak it."""
    match mechanism.upper():
        case "PLAIN":
            return _Plain()
        case "LOGIN":
            return _Login()
    return None


def initial_response(login: PlainLogin | BearerLogin) -> tuple[str, bytes]:
    """What sidegate itself logs in to a backend with: the mechanism, and its one response in base64."""
    match login:
        case PlainLogin(authzid, authcid, password):
            mechanism, message = "PLAIN", f"{authzid}\0{authcid}\0{password.reveal()}"
        case BearerLogin(user, token):
            # RFC 7628 section 3.1; the user as a saslname of RFC 5801.
            name = user.replace("=", "=3D").replace(",", "=2C")
            mechanism, message = "OAUTHBEARER", f"n,a={name},\x01auth=Bearer {token.reveal()}\x01\x01"
    return mechanism, binascii.b2a_base64(message.encode(), newline=False)


BEARER_REFUSAL = b"AQ=="
"""OAUTHBEARER: a server gives its reason as a challenge; this response asks for the refusal itself (RFC 7628 3.2.3)."""


def decode_base64(line: bytes) -> bytes | None:
    """Canonical base64 of RFC 4648 (padded, no white space); None when it is not."""
    # strict_mode would not do: it takes padding behind a whole quantum.
    return binascii.a2b_base64(line) if _BASE64.fullmatch(line) else None


def identity(login_name: bytes, secret: bytes, authzid: bytes = b"") -> Identity:
    """What a client typed, cleaned as the top of this module says."""
    name, other = _clean(login_name, MAX_NAME), _clean(authzid, MAX_NAME)
    if authzid and not other:
        name = ""  # it asked for something: being treated as if it had not would let it in
    return Identity(name, other, AppPassword(Secret(_clean(secret, MAX_SECRET))))


def _clean(raw: bytes, limit: int) -> str:
    if len(raw) > limit:
        return ""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return "" if _CONTROL.search(text) else text


class _Plain:
    """RFC 4616: authzid NUL authcid NUL password."""

    __slots__ = ()

    def step(self, response: bytes | None) -> Challenge | Identity:
        if response is None:
            return Challenge(b"")
        fields = response.split(b"\0")
        if len(fields) != 3:
            return identity(b"", b"")
        authzid, name, secret = fields
        return identity(name, secret, authzid)


class _Login:
    """draft-murchison-sasl-login-00: a name, then a password; the prompts are the ones clients look for."""

    __slots__ = ("_name",)

    def __init__(self) -> None:
        self._name: bytes | None = None

    def step(self, response: bytes | None) -> Challenge | Identity:
        if response is None:
            return Challenge(b"Username:")
        if self._name is None:
            self._name = response
            return Challenge(b"Password:")
        return identity(self._name, response)
