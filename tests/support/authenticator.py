"""A passkey authenticator in software: a browser and a security key in one, honest unless told otherwise."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


@dataclass
class Passkey:
    rp_id: str
    user: bytes
    id: bytes = field(default_factory=lambda: os.urandom(16))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    counter: int = 0


class Authenticator:
    """`counts`: whether its signature counter grows; that of a passkey which is synced between devices stays at 0.
    `algorithm`: what it says its keys are. `attestation`: what it says in place of none."""

    def __init__(
        self,
        origin: str,
        *,
        counts: bool = True,
        algorithm: int = -7,
        attestation: Mapping[str, Any] = MappingProxyType({"fmt": "none", "attStmt": {}}),
    ) -> None:
        self.origin = origin
        self.counts = counts
        self.algorithm = algorithm
        self.attestation = attestation
        self.passkeys: list[Passkey] = []

    def create(self, options: str, *, verified: bool = True) -> dict[str, str]:
        """The form field for options of a registration."""
        wanted = json.loads(options)
        passkey = Passkey(wanted["rp"]["id"], decoded(wanted["user"]["id"]))
        self.passkeys.append(passkey)
        numbers = passkey.key.public_key().public_numbers()
        cose = {1: 2, 3: self.algorithm, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        attested = bytes(16) + struct.pack(">H", len(passkey.id)) + passkey.id + cbor2.dumps(cose)
        data = self._data(passkey, PRESENT | ATTESTED | (VERIFIED if verified else 0)) + attested
        response = {
            "clientDataJSON": encoded(self._client("webauthn.create", wanted["challenge"])),
            "attestationObject": encoded(cbor2.dumps({**self.attestation, "authData": data})),
            "transports": ["internal", "carrier-pigeon"],
        }
        return self._answer(passkey, response)

    def get(self, options: str, *, passkey: Passkey | None = None, verified: bool = True) -> dict[str, str]:
        """The form field for options of a challenge; `passkey`: this one, whatever is asked for."""
        wanted = json.loads(options)
        allowed = [decoded(one["id"]) for one in wanted.get("allowCredentials", ())]
        if passkey is None:
            passkey = next(one for one in self.passkeys if not allowed or one.id in allowed)
        client = self._client("webauthn.get", wanted["challenge"])
        data = self._data(passkey, PRESENT | (VERIFIED if verified else 0))
        signature = passkey.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        response = {
            "clientDataJSON": encoded(client),
            "authenticatorData": encoded(data),
            "signature": encoded(signature),
            "userHandle": encoded(passkey.user),
        }
        return self._answer(passkey, response)

    def _client(self, type_: str, challenge: str) -> bytes:
        said = {"type": type_, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps(said).encode()

    def _data(self, passkey: Passkey, flags: int) -> bytes:
        passkey.counter += self.counts
        return hashlib.sha256(passkey.rp_id.encode()).digest() + struct.pack(">BI", flags, passkey.counter)

    def _answer(self, passkey: Passkey, response: dict[str, Any]) -> dict[str, str]:
        name = encoded(passkey.id)
        credential = {"id": name, "rawId": name, "type": "public-key", "response": response}
        return {"credential": json.dumps({**credential, "clientExtensionResults": {}})}


def encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "==")
