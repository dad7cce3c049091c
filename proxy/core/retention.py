"""The audit keeps its records for `policy.audit_keep`, then they go, the oldest first."""

from __future__ import annotations

from proxy import logs
from proxy.store import audit
from proxy.store.threads import StoreThreads

EVERY = 3600.0
"""Seconds between two rounds."""

_log = logs.get("core")


async def prune(store: StoreThreads, keep: float | None, now: float) -> int:
    """Remove what is older than `keep` seconds (None: nothing is), in slices: revokes go between. Returns how many."""
    total = 0
    while keep is not None and (removed := await store.write(audit.prune, now - keep)):
        total += removed
    if total:
        _log.info("audit records removed for their age", count=total)
    return total
