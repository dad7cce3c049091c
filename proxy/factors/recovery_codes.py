"""Recovery codes: ten that are written down, each good once, for when every other factor is out of reach.

They have no rows in `factors`: an account that has nothing else left is to register something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from proxy.domain.app_passwords import ALPHABET
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account
from proxy.factors import Begun, message
from proxy.factors.sealing import Sealer
from proxy.store import codes
from proxy.store.factors import FactorRow, NewFactor
from proxy.store.threads import StoreThreads

HOW_MANY = 10
LETTERS = 15
"""67.8 bits: enough to need no limit on tries (ASVS 6.5.4 asks for 20 with one), and shorter than an app password, so
that neither is taken for the other."""
GROUP = 5

NO_CODE = message("Enter one of your recovery codes: fifteen letters in three groups.")
WRONG = message("That is not one of your recovery codes, or it has been used already. Try the next one.")

_SEPARATORS = re.compile(r"[\s-]")
_CODE = re.compile(f"[{ALPHABET}]{{{LETTERS}}}")


class RecoveryCodes:
    """Kept is an HMAC of each under the portal key."""

    kind = FactorKind.RECOVERY_CODE

    def __init__(
        self, store: StoreThreads, sealer: Sealer, clock: Callable[[], float], token: Callable[[int], bytes]
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._token = token

    async def begin_registration(self, account: Account, name: str) -> Begun:
        """Ten new ones, shown this once as `codes`. The old ones hold until `finish_registration`: who loses the page
        has lost nothing."""
        made = [self._mint() for _ in range(HOW_MANY)]
        return Begun(
            {"codes": [_grouped(code) for code in made]}, {"hashes": [self._hash(account, code).hex() for code in made]}
        )

    async def resume_registration(self, account: Account, begun_notes: Mapping[str, Any]) -> Begun:
        return await self.begin_registration(account, "")  # nobody knows the others any more

    async def finish_registration(
        self, account: Account, begun_notes: Mapping[str, Any], answer: Mapping[str, str]
    ) -> NewFactor | str:
        """Nothing is proven: the person says that the codes are in a safe place."""
        return NewFactor(FactorKind.RECOVERY_CODE, "", public={"hashes": begun_notes["hashes"]})

    async def begin(self, account: Account, rows: Sequence[FactorRow], session_hash: bytes) -> Begun:
        return Begun({"left": await self._store.read(codes.recovery_left, account.id)}, {})

    async def finish(
        self,
        account: Account,
        rows: Sequence[FactorRow],
        begun_notes: Mapping[str, Any],
        answer: Mapping[str, str],
    ) -> FactorRow | str:
        code = _SEPARATORS.sub("", answer.get("code", "")[:80]).lower()
        if not _CODE.fullmatch(code):
            return NO_CODE
        now = self._clock()
        return await self._store.write(self._use, account, code, now)

    def _use(self, c: Connection, account: Account, code: str, now: float) -> FactorRow | str:
        if not codes.use_recovery(c, account.id, self._hash(account, code), now):
            return WRONG
        left = codes.recovery_left(c, account.id)
        return FactorRow(0, account.id, FactorKind.RECOVERY_CODE, "", now, now, None, {"left": left}, 0)

    def _mint(self) -> str:
        number = int.from_bytes(self._token(32), "big")  # 23 ** 15 divides 2 ** 256 evenly enough
        letters = []
        for _ in range(LETTERS):
            number, value = divmod(number, len(ALPHABET))
            letters.append(ALPHABET[value])
        return "".join(letters)

    def _hash(self, account: Account, code: str) -> bytes:
        return self._sealer.digest(code, context=f"factor:{account.id}:{FactorKind.RECOVERY_CODE}")


def _grouped(code: str) -> str:
    return "-".join(code[i : i + GROUP] for i in range(0, LETTERS, GROUP))
