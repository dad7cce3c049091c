"""The embedded directory: account passwords as Argon2id hashes in the store."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from proxy.directory import Checked
from proxy.directory.choosing import MAX_PASSWORD
from proxy.domain.model import Account, AccountKind
from proxy.domain.secret import Secret
from proxy.store import accounts, hashing, people
from proxy.store.errors import StoreUnavailable
from proxy.store.threads import StoreThreads

if TYPE_CHECKING:
    from sqlalchemy import Connection

THREADS = 2
"""Verifications at a time: each takes 19 MiB and tens of milliseconds."""
WAITING = 64
"""Verifications that may wait: a flood of sign-ins must not grow without bound, nor keep everybody waiting."""

R = TypeVar("R")


class Embedded:
    """A Directory."""

    def __init__(self, store: StoreThreads) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(THREADS, "account-password")
        self._asked = 0
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
            right = await self._in_pool(
                hashing.verify_account_password, phc.reveal() if phc is not None and known else self._nobodys, typed
            )
        except (StoreUnavailable, _Busy):
            return Checked.UNAVAILABLE
        if not (right and known):
            return Checked.WRONG
        return Checked.MUST_CHANGE if person.must_change else Checked.RIGHT

    async def hash(self, password: Secret) -> str | None:
        """PHC string of a new account password, for accounts.set_password_hash; None: too many ask at once."""
        try:
            return await self._in_pool(hashing.hash_account_password, password.reveal())
        except _Busy:
            return None

    async def close(self) -> None:
        """Finish what was asked for, then end the threads."""
        await asyncio.to_thread(self._pool.shutdown)

    async def _in_pool(self, fn: Callable[..., R], *args: str) -> R:
        if self._asked >= WAITING:
            raise _Busy
        self._asked += 1
        job = asyncio.get_running_loop().run_in_executor(self._pool, fn, *args)
        job.add_done_callback(self._over)  # not when its caller goes: the thread is still at it
        return await asyncio.shield(job)

    def _over(self, job: asyncio.Future[R]) -> None:
        self._asked -= 1
        if not job.cancelled():
            job.exception()  # seen, also where nobody waits any more


class _Busy(Exception):
    """Too many ask at once."""


def _of(c: Connection, account_id: int) -> tuple[Secret | None, people.Person]:
    return accounts.password_hash(c, account_id), people.by_id(c, account_id)
