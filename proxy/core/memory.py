"""What the core remembers so that a warm login needs neither thread nor SQL.

Only what is right is remembered (names that lead to accounts, app passwords whose hash a secret verified against), and
only until anything about the account changes. Dovecot failed here twice, with a key that two users shared
(CVE-2025-30189) and a name changed behind the look-up (CVE-2026-27855): hence the account's and the app password's id
in the key, and the value checked again at every hit.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from proxy.domain.model import Account, AppPasswordRecord
from proxy.domain.secret import Secret

MAX_ACCOUNTS = 16_384
MAX_APP_PASSWORDS = 64
"""Per account: more than anybody may have live by default, with room for tombstones that old devices still send."""
KEY_BYTES = 32

Tags = Sequence[tuple[int, int]]
"""(pepper version, tag) of one secret, newest version first."""


@dataclass(slots=True)
class _Remembered:
    account: Account
    names: set[str] = field(default_factory=set)
    by_tag: OrderedDict[tuple[int, int], AppPasswordRecord] = field(default_factory=OrderedDict)
    verified: dict[tuple[int, int, bytes], tuple[int, int, int]] = field(default_factory=dict)
    """(account id, app password id, digest) -> (account id, app password id, generation)."""


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

    def verified(self, account: Account, tags: Tags, digest: bytes) -> AppPasswordRecord | None:
        """The app password, live or ended, that this secret of this account was verified against."""
        remembered = self._accounts.get(account.id)
        if remembered is None:
            return None
        for version_and_tag in tags:
            record = remembered.by_tag.get(version_and_tag)
            if record is not None and record.account_id == account.id:
                value = remembered.verified.get((account.id, record.id, digest))
                if value == (account.id, record.id, record.generation):
                    return record
        return None

    def hash_of(self, record: AppPasswordRecord, digest: bytes) -> Secret | None:
        """The hash that the secret behind `digest` was verified against, of the app password that `record` is."""
        remembered = self._accounts.get(record.account_id)
        if remembered is None or (record.account_id, record.id, digest) not in remembered.verified:
            return None
        known = remembered.by_tag.get((record.pepper_version, record.tag))
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
        remembered.by_tag[record.pepper_version, record.tag] = record
        remembered.verified[account.id, record.id, digest] = (account.id, record.id, record.generation)
        if len(remembered.by_tag) > MAX_APP_PASSWORDS:
            _, oldest = remembered.by_tag.popitem(last=False)
            remembered.verified = {key: value for key, value in remembered.verified.items() if key[1] != oldest.id}

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
