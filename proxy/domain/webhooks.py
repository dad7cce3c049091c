"""How a POST of ours is signed: Standard Webhooks 1.0.0 (standardwebhooks.com), symmetric key."""

from __future__ import annotations

import base64
import hmac

from proxy.domain.secret import Secret

PREFIX = "whsec_"
SIZES = range(24, 65)
"""Bytes of a key."""


def key_of(secret: Secret) -> bytes:
    """The key that a secret, `whsec_` and base64, is written for. ValueError for one that cannot be meant."""
    written = secret.reveal()
    key = base64.b64decode(written.removeprefix(PREFIX), validate=True)
    if not written.startswith(PREFIX) or len(key) not in SIZES:
        raise ValueError("not the secret of a webhook")
    return key


def headers(key: bytes, number: str, timestamp: int, body: bytes) -> dict[str, str]:
    """What goes with the body. `number`: of the message, the same if it is sent again."""
    return {
        "webhook-id": number,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(key, number, timestamp, body),
    }


def signature(key: bytes, number: str, timestamp: int, body: bytes) -> str:
    """Over id, seconds since the epoch and body, so that an old message cannot pass as a new one."""
    signed = f"{number}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}"
