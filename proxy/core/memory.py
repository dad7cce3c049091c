"""What the core remembers so that a warm login needs neither thread nor SQL.

Only what is right is remembered (names that lead to accounts, app passwords whose hash a secret verified against), and
only until anything about the account changes. Dovecot failed here twice, with a key that two users shared
(CVE-2025-30189) and a name changed behind the look-up (CVE-2026-27855): hence the account's id in the digest that is
the key, a table of them for each account, and the value checked again at every hit. The tag that the store is searched
by is not computed for a hit: it told nothing that the digest does not, and was a fifth of what deciding costs.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

from proxy.domain.model import Account, AppPasswordRecord
from proxy.domain.secret import Secret

MAX_ACCOUNTS = 16_384
MAX_APP_PASSWORDS = 64
"""Per account: more than anybody may have live by default, with room for tombstones that old devices still send."""
KEY_BYTES = 32


@dataclass(slots=True)
class _Remembered:
    account: Account
    names: set[str] = field(default_factory=set)
    verified: dict[bytes, AppPasswordRecord] = field(default_factory=dict)
    """Digest of a secret -> the app password whose hash it verified against; the first in goes first."""


class Memory:
    """Accounts by name and verified app passwords by digest; the account used longest ago is forgotten first."""

    def __init__(self, key: bytes, max_accounts: int = MAX_ACCOUNTS) -> None:
        """`key`: KEY_BYTES random bytes of this process, so that what is kept is worthless outside of it."""
        self._key = key
        self._max = max_accounts
        self._accounts: OrderedDict[int, _Remembered] = OrderedDict()
        self._names: dict[str, int] = {}
        self.changes = 0
        """Grows with every `forget`. A look-up during which it grew may be stale."""

    def digest(self, account_id: int, letters: str) -> bytes:
        """What stands for a secret here: keyed, and different for each account."""
        message = account_id.to_bytes(8, "big") + letters.encode("ascii")
        return hashlib.blake2b(message, key=self._key, digest_size=32).digest()

    def account(self, name: str) -> Account | None:
        """The account that a canonical login name led to."""
        account_id = self._names.get(name)
        if account_id is None:
            return None
        self._accounts.move_to_end(account_id)
        return self._accounts[account_id].account

    def verified(self, account: Account, digest: bytes) -> AppPasswordRecord | None:
        """The app password, live or ended, that this secret of this account was verified against."""
        remembered = self._accounts.get(account.id)
        record = remembered.verified.get(digest) if remembered is not None else None
        return record if record is not None and record.account_id == account.id else None

    def hash_of(self, record: AppPasswordRecord, digest: bytes) -> Secret | None:
        """The hash that the secret behind `digest` was verified against, of the app password that `record` is."""
        remembered = self._accounts.get(record.account_id)
        known = remembered.verified.get(digest) if remembered is not None else None
        return known.hash if known is not None and known.id == record.id else None

    def remember_account(self, name: str, account: Account) -> None:
        """`name` leads to `account`."""
        remembered = self._accounts.get(account.id)
        if remembered is None:
            remembered = self._accounts[account.id] = _Remembered(account)
            if len(self._accounts) > self._max:
                self._drop(next(iter(self._accounts)))
        remembered.names.add(name)
        self._names[name] = account.id

    def remember_verified(self, account: Account, record: AppPasswordRecord, digest: bytes) -> None:
        """The secret behind `digest` verified against `record`. Does nothing for an account that is not remembered."""
        remembered = self._accounts.get(account.id)
        if remembered is None:
            return
        remembered.verified[digest] = record
        if len(remembered.verified) > MAX_APP_PASSWORDS:
            del remembered.verified[next(iter(remembered.verified))]

    def forget(self, account_id: int) -> None:
        """Something about the account or one of its app passwords changed, or is about to be found changed."""
        self.changes += 1
        self._drop(account_id)

    def forget_all(self) -> None:
        """Anything may have changed."""
        self.changes += 1
        self._accounts.clear()
        self._names.clear()

    def _drop(self, account_id: int) -> None:
        remembered = self._accounts.pop(account_id, None)
        for name in remembered.names if remembered is not None else ():
            if self._names.get(name) == account_id:
                del self._names[name]
