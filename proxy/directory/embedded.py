"""The embedded directory: account passwords as Argon2id hashes in the store."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from proxy.directory import Checked
from proxy.directory.choosing import MAX_PASSWORD
from proxy.directory.pool import Busy, Pool
from proxy.domain.model import Account, AccountKind
from proxy.domain.secret import Secret
from proxy.store import accounts, hashing, people
from proxy.store.errors import StoreUnavailable
from proxy.store.threads import StoreThreads

if TYPE_CHECKING:
    from sqlalchemy import Connection

THREADS = 2
"""Verifications at a time: each takes 19 MiB and tens of milliseconds."""


class Embedded:
    """A Directory."""

    def __init__(self, store: StoreThreads) -> None:
        self._store = store
        self._pool = Pool(THREADS, "account-password")
        self._nobodys = hashing.hash_account_password(secrets.token_hex())
        """What is verified where there is nothing to verify, so that it takes as long."""

    async def check(self, account: Account | None, password: Secret) -> Checked:
        """As Directory.check. Disabled accounts, and those that are no persons, have no right password."""
        signs_in = account is not None and account.enabled and account.kind is AccountKind.PERSON
        account_id = account.id if account is not None and signs_in else 0
        typed = password.reveal()
        if len(typed) > MAX_PASSWORD:
            return Checked.WRONG
        try:
            phc, person = await self._store.read(_of, account_id)
            known = phc is not None and signs_in
            right = await self._pool.run(
                hashing.verify_account_password, phc.reveal() if phc is not None and known else self._nobodys, typed
            )
        except (StoreUnavailable, Busy):
            return Checked.UNAVAILABLE
        if not (right and known):
            return Checked.WRONG
        return Checked.MUST_CHANGE if person.must_change else Checked.RIGHT

    async def hash(self, password: Secret) -> str | None:
        """PHC string of a new account password, for accounts.set_password_hash; None: too many ask at once."""
        try:
            return await self._pool.run(hashing.hash_account_password, password.reveal())
        except Busy:
            return None

    async def close(self) -> None:
        """Finish what was asked for, then end the threads."""
        await self._pool.close()


def _of(c: Connection, account_id: int) -> tuple[Secret | None, people.Person]:
    return accounts.password_hash(c, account_id), people.by_id(c, account_id)
