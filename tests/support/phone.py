"""A phone in software: the key and the signatures of static/phone.js, honest unless told otherwise."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from tests.support.push_service import encoded, point


@dataclass
class SoftPhone:
    origin: str
    account: int = 0
    """Of what it was registered for; 0: not yet."""
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def key(self) -> str:
        return encoded(point(self.private.public_key()))

    @property
    def id(self) -> str:
        return encoded(hashlib.sha256(self.key.encode()).digest()[:16])

    def sign(self, verb: str, *parts: str, account: int | None = None) -> str:
        lines = ["sidegate phone", verb, self.origin, str(self.account if account is None else account), self.id]
        r, s = decode_dss_signature(self.private.sign("\n".join([*lines, *parts]).encode(), ec.ECDSA(SHA256())))
        return encoded(r.to_bytes(32, "big") + s.to_bytes(32, "big"))

    def registration(self, token: str, subscription: dict[str, Any] | None = None) -> dict[str, Any]:
        """The body of POST /phone/add/TOKEN."""
        return {"key": self.key, "subscription": subscription, "signature": self.sign("register", token, account=0)}

    def request(self, verb: str, now: float, *parts: str, **more: Any) -> dict[str, Any]:
        """The body of POST /phone/VERB."""
        time = str(int(now * 1000))
        signature = self.sign(verb, time, *parts)
        return {"account": self.account, "id": self.id, "time": time, "signature": signature, **more}

    def answer(
        self, now: float, challenge: str, decision: str, number: str = "", cut: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """The body of POST /phone/answer."""
        parts = (challenge, decision, number, ",".join(cut))
        more = {"challenge": challenge, "decision": decision, "number": number, "cut": list(cut)}
        return self.request("answer", now, *parts, **more)
