"""What is kept in the store but only the portal may read: sealed under the portal key (keyfiles.py).

AES-256-GCM (NIST SP 800-38D) with random nonces: at most 2^32 messages under one key, far from what a site makes.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"
_NONCE = 12


class Unsealable(Exception):
    """Sealed under another key or for another purpose, or damaged. For the operator: what to do."""


class Sealer:
    """One per portal process. `randbytes(n)` must be cryptographically random (secrets.token_bytes).

    The portal key itself is used for nothing: sealing and each context of digests have keys of their own made of it.
    """

    def __init__(self, key: bytes, randbytes: Callable[[int], bytes]) -> None:
        self._key = key
        self._randbytes = randbytes
        self._aead = AESGCM(self._derived("seal"))

    def seal(self, plain: bytes, *, context: str) -> bytes:
        """`plain`, so that only `open` with the same context gets it back: `factor:ACCOUNT_ID:KIND` for a factor, so
        that a row copied to another account opens nothing there."""
        nonce = self._randbytes(_NONCE)
        return _VERSION + nonce + self._aead.encrypt(nonce, plain, context.encode())

    def open(self, sealed: bytes, *, context: str) -> bytes:
        """What was sealed. Raises Unsealable."""
        if sealed[:1] == _VERSION and len(sealed) > 1 + _NONCE:
            try:
                return self._aead.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], context.encode())
            except InvalidTag:
                pass
        raise Unsealable(
            f"a sealed value ({context.partition(':')[0]}) cannot be opened: it was sealed under another portal key, "
            "or is damaged; restore keys/portal-1 that belongs to this store"
        )

    def digest(self, data: str, *, context: str) -> bytes:
        """32 bytes that stand for text of few bits, such as a recovery code: without the key nobody can try them out.

        `context` as in `seal`; digests of different contexts have nothing in common.
        """
        return hmac.digest(self._derived(f"digest:{context}"), data.encode("utf-8", "surrogatepass"), "sha256")

    def derive(self, purpose: str, size: int) -> bytes:
        """So many bytes (at most 64) that only the portal key leads to, always the same: for another key."""
        return hmac.digest(self._key, f"sidegate key:{purpose}".encode(), "sha512")[:size]

    def _derived(self, purpose: str) -> bytes:
        return hmac.digest(self._key, f"sidegate {purpose}".encode(), "sha256")
