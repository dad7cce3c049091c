"""Argon2 off the loop: two at a time, a short queue, and one run for identical verifications in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from proxy.domain.model import AppPasswordRecord

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
        self._flying: dict[tuple[int, str, bytes], asyncio.Future[bool]] = {}

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
            flying.add_done_callback(lambda _: self._flying.pop(key, None))
        # A client that hangs up cancels its own wait, not the verification others wait for.
        return await asyncio.shield(flying)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
