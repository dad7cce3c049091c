"""What the portal does by the clock: forget what is over, so that its tables stay bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy import logs
from proxy.store import pruning
from proxy.store.errors import StoreUnavailable
from proxy.store.threads import StoreThreads

EVERY = 60.0
"""Seconds between two rounds."""

_log = logs.get("portal")


async def prune_forever(store: StoreThreads, clock: Callable[[], float], every: float = EVERY) -> None:
    """Until cancelled. A store that is away now is there again some other time."""
    while True:
        await asyncio.sleep(every)
        try:
            await store.write(pruning.prune, clock())
        except StoreUnavailable as error:
            _log.error("nothing forgotten", reason=str(error))
