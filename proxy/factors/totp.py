"""Codes of an authenticator app: TOTP as every app has it (RFC 6238: SHA-1, 30 seconds, 6 digits)."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyotp
from sqlalchemy import Connection

from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account
from proxy.factors import Begun, TooMany, message
from proxy.factors.qr import picture
from proxy.factors.sealing import Sealer
from proxy.store import factors, tries
from proxy.store.factors import FactorRow, NewFactor
from proxy.store.threads import StoreThreads

SECRET_BYTES = 20
"""As long as SHA-1's output (RFC 4226 section 4): 32 letters of base32, no padding."""
STEP = 30
DIGITS = 6
SKEW = 1
"""Steps that a phone's clock may be off, either way (RFC 6238 section 5.2): 3 codes of a million are right."""
LIMITS = (tries.Limit(5, 30.0), tries.Limit(20, 3600.0))
"""Wrong codes of one account, whatever sessions and factors they are tried in (ASVS 6.5.5): what delays alone leave
open is trying in many sessions at once."""

NO_CODE = message("Enter the six digits that your authenticator app shows.")
WRONG = message(
    "That code is not right. Enter the one that your app shows now. If that is refused too, check your phone's clock."
)
USED = message("That code has been used already. Wait until your app shows the next one.")
TOO_MANY = TooMany(message("Too many wrong codes. Wait a while before you try again, or choose another way."))

_SPACES = re.compile(r"[\s-]")


class Totp:
    """The secret is kept sealed; the counter of its row is the last time step that counted."""

    kind = FactorKind.TOTP

    def __init__(
        self,
        store: StoreThreads,
        sealer: Sealer,
        issuer: str,
        clock: Callable[[], float],
        token: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._issuer = issuer.replace(":", " ")  # in a label it is what ends the issuer
        self._clock = clock
        self._token = token

    async def begin_registration(self, account: Account, name: str) -> Begun:
        """A new secret: `page` has it as `qr` (SVG), `uri` (for a link, on the phone itself) and `key` (to type)."""
        sealed = self._sealer.seal(self._token(SECRET_BYTES), context=_context(account))
        return await self.resume_registration(account, {"name": name, "sealed": base64.b64encode(sealed).decode()})

    async def resume_registration(self, account: Account, begun_notes: Mapping[str, Any]) -> Begun:
        """The same secret again: it may be in the app already."""
        secret = self._secret(account, base64.b64decode(begun_notes["sealed"]))
        totp = pyotp.TOTP(secret, digits=DIGITS, interval=STEP, name=account.address, issuer=self._issuer)
        uri = totp.provisioning_uri()
        key = " ".join(secret[i : i + 4] for i in range(0, len(secret), 4))
        return Begun({"qr": picture(uri), "uri": uri, "key": key}, begun_notes)

    async def finish_registration(
        self, account: Account, begun_notes: Mapping[str, Any], answer: Mapping[str, str]
    ) -> NewFactor | str:
        code = _code(answer)
        if code is None:
            return NO_CODE
        sealed = base64.b64decode(begun_notes["sealed"])
        steps = _matching(self._secret(account, sealed), code, self._clock())
        if not steps:
            return WRONG
        return NewFactor(FactorKind.TOTP, begun_notes["name"], sealed=sealed, counter=steps[-1])

    async def begin(self, account: Account, rows: Sequence[FactorRow], session_hash: bytes) -> Begun:
        return Begun({}, {})

    async def finish(
        self,
        account: Account,
        rows: Sequence[FactorRow],
        begun_notes: Mapping[str, Any],
        answer: Mapping[str, str],
    ) -> FactorRow | str:
        code = _code(answer)
        if code is None:
            return NO_CODE
        now = self._clock()
        right = [
            (row, step)
            for row in rows
            if row.sealed is not None
            for step in _matching(self._secret(account, row.sealed), code, now)
        ]
        return await self._store.write(_count, account.id, right, now)

    def _secret(self, account: Account, sealed: bytes) -> str:
        return base64.b32encode(self._sealer.open(sealed, context=_context(account))).decode()


def _count(c: Connection, account_id: int, right: Sequence[tuple[FactorRow, int]], now: float) -> FactorRow | str:
    """One transaction: a limit that is reached is not passed by asking in many sessions at once, and of two requests
    with one code one wins."""
    if not tries.allowed(c, account_id, FactorKind.TOTP, LIMITS, now):
        return TOO_MANY
    for row, step in right:
        if factors.advance_counter(c, row.id, step):
            return row
    tries.count(c, account_id, FactorKind.TOTP, LIMITS, now)
    return USED if right else WRONG


def _matching(secret: str, code: str, now: float) -> list[int]:
    """The time steps around now whose code it is, ascending."""
    totp = pyotp.TOTP(secret, digits=DIGITS, interval=STEP)
    step = int(now // STEP)
    around = range(step - SKEW, step + SKEW + 1)
    return [at for at in around if hmac.compare_digest(totp.generate_otp(at), code)]


def _code(answer: Mapping[str, str]) -> str | None:
    digits = _SPACES.sub("", answer.get("code", "")[:40])
    return digits if re.fullmatch(f"[0-9]{{{DIGITS}}}", digits) else None


def _context(account: Account) -> str:
    return f"factor:{account.id}:{FactorKind.TOTP}"
