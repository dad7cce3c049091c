"""Encryption of what a push service carries (RFC 8291): RFC 8188's aes128gcm, with a key agreed with the browser.

By the functions of `cryptography`: why not by a library of its own stands in docs/decisions. The example of RFC 8291
holds it (tests/notices/test_encryption.py).
"""

from __future__ import annotations

import base64
import os
import struct
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

RECORD = 4096
SEED_BYTES = 48
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256's base point (FIPS 186-5, SP 800-186 section 3.2.1.3)."""


class BadSubscription(ValueError):
    """Its keys are none."""


@dataclass(frozen=True, slots=True)
class ServerKey:
    """What a site signs with towards push services (VAPID, RFC 8292): ECDSA P-256."""

    private_pem: bytes = field(repr=False)
    public: bytes
    """An uncompressed point."""


def server_key(raw: bytes) -> ServerKey:
    """The key that these SEED_BYTES random bytes stand for: they have 128 bits more than it, so that no key is likelier
    than another (FIPS 186-5 A.2.1)."""
    assert len(raw) == SEED_BYTES
    key = ec.derive_private_key(int.from_bytes(raw, "big") % (_ORDER - 1) + 1, ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return ServerKey(pem, _point(key.public_key()))


def encrypt(
    plain: bytes, p256dh: str, auth: str, *, salt: bytes | None = None, key: ec.EllipticCurvePrivateKey | None = None
) -> bytes:
    """One record for the browser that has these keys (base64url), under a new key and salt unless given. Raises
    BadSubscription."""
    try:
        browser = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decoded(p256dh))
        secret = decoded(auth)
    except ValueError:
        raise BadSubscription("the keys of a push subscription are damaged") from None
    if len(secret) != 16:
        raise BadSubscription("the secret of a push subscription is not 16 bytes")
    salt = os.urandom(16) if salt is None else salt
    key = key or ec.generate_private_key(ec.SECP256R1())
    ours = _point(key.public_key())
    # RFC 8291 section 3.4, then RFC 8188 sections 2.2 and 2.3.
    shared = _hkdf(key.exchange(ec.ECDH(), browser), secret, b"WebPush: info\0" + _point(browser) + ours, 32)
    content_key = _hkdf(shared, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _hkdf(shared, salt, b"Content-Encoding: nonce\0", 12)
    header = salt + struct.pack("!LB", RECORD, len(ours)) + ours
    return header + AESGCM(content_key).encrypt(nonce, plain + b"\2", None)  # \2: the last record


def decoded(text: str) -> bytes:
    """Base64url, with or without padding. Raises ValueError."""
    return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)
