"""Random tokens in cookies and links. They have 256 bits, so that their SHA-256 is all that need be kept."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode

from proxy.domain.secret import Secret

BYTES = 32


def written(raw: bytes) -> Secret:
    """The token of these random BYTES, as a cookie or a link has it: 43 characters that need no quoting anywhere."""
    return Secret(urlsafe_b64encode(raw).rstrip(b"=").decode("ascii"))


def hash_of(token: str) -> bytes:
    """What the store knows a token by. Whatever a client sent has one: it is then nobody's."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
