"""Pepper and signing key: files in `state_dir/keys`, made once, readable by the core's user alone.

    pepper-N        32 random bytes, hexadecimal; the highest N mints, the others still verify
    signing-N.pem   ECDSA P-256, PKCS #8; the highest N signs

The home of cryptography for keys; joserfc signs with them in dovecot_token.py.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy import keyfiles
from proxy.keyfiles import FOLDER, KeysError

_NAMES = re.compile(r"(pepper|signing)-([1-9][0-9]{0,8})(\.pem)?")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An ES256 key. `id` is its `kid` in tokens and its file name at the validating server."""

    id: str
    private_pem: bytes = field(repr=False)
    public_pem: str


@dataclass(frozen=True, slots=True)
class Keys:
    """Everything in the folder."""

    peppers: dict[int, bytes] = field(repr=False)
    """By version, never empty."""
    signing: SigningKey


def create(state_dir: Path) -> bool:
    """Make what is missing (folder 0700, files 0600); False when nothing was. OSError if the folder cannot be written.

    Never replaces a key: without its pepper every app password would be lost.
    """
    folder = keyfiles.folder(state_dir)
    present = {match[1] for name in os.listdir(folder) if (match := _NAMES.fullmatch(name))}
    if "pepper" not in present:
        keyfiles.write(folder / "pepper-1", keyfiles.new_key())
    if "signing" not in present:
        key = ec.generate_private_key(ec.SECP256R1())
        keyfiles.write(
            folder / "signing-1.pem",
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )
    return present != {"pepper", "signing"}


def load(state_dir: Path) -> Keys:
    """Read all keys. Raises KeysError."""
    folder = state_dir / FOLDER
    peppers: dict[int, bytes] = {}
    signing: dict[int, Path] = {}
    for name in _listing(folder):
        match = _NAMES.fullmatch(name)
        if match is None:
            continue
        if match[1] == "pepper" and not match[3]:
            peppers[int(match[2])] = keyfiles.hex_key(folder / name)
        elif match[1] == "signing" and match[3]:
            signing[int(match[2])] = folder / name
    if not peppers or not signing:
        raise KeysError(f"{folder} has no {'signing key' if peppers else 'pepper'}; run: sidegate init")
    return Keys(peppers, _signing_key(signing[max(signing)]))


def _listing(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        raise KeysError(f"{folder} is not there; run: sidegate init") from None
    except OSError as error:
        raise KeysError(f"{folder} cannot be read: {error.strerror}") from None


def _signing_key(path: Path) -> SigningKey:
    pem = keyfiles.private(path)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeysError(f"{path} is damaged: an unencrypted ECDSA P-256 key in PEM form is expected; restore it")
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return SigningKey(path.stem, pem, public.decode("ascii"))
