"""Argon2 off the loop: two at a time, a short queue, and one run for identical verifications in flight."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from proxy.domain.model import AppPasswordRecord

_Key = tuple[int, str, bytes]
THREADS = 2
MAX_WAITING = 64
"""Verifications queued or running; beyond them the answer is busy, so that a flood cannot queue up seconds of work."""


class Busy(Exception):
    """Too many verifications wait."""


class Verifier:
    """`await verify(record, letters, digest)` -> whether the record's hash was made of these letters."""

    def __init__(self, verify: Callable[[str, str], bool]) -> None:
        """`verify(phc, letters)`: store/hashing.py's."""
        self._verify = verify
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="argon2")
        self._flying: dict[_Key, asyncio.Future[bool]] = {}
        self._waiting: Counter[_Key] = Counter()

    async def verify(self, record: AppPasswordRecord, letters: str, digest: bytes) -> bool:
        """Raises Busy, or StoreUnavailable for a hash that cannot be read. `digest` stands for account and letters."""
        phc = record.hash.reveal()
        key = (record.id, phc, digest)
        flying = self._flying.get(key)
        if flying is None:
            if len(self._flying) >= MAX_WAITING:
                raise Busy
            loop = asyncio.get_running_loop()
            flying = self._flying[key] = loop.run_in_executor(self._threads, self._verify, phc, letters)
            flying.add_done_callback(lambda done: self._forget(key, done) if not self._waiting[key] else None)
        # It stays known until somebody who waited has the result in hand and can remember it: a login that comes in
        # between would start it again. A client that hangs up cancels its own wait, not the verification.
        self._waiting[key] += 1
        try:
            return await asyncio.shield(flying)
        finally:
            self._waiting[key] -= 1
            if flying.done():
                self._forget(key, flying)
            if not self._waiting[key]:
                del self._waiting[key]

    def _forget(self, key: _Key, flying: asyncio.Future[bool]) -> None:
        if self._flying.get(key) is flying:
            del self._flying[key]

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
