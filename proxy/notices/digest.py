"""Once a week at most: what a person was not told at once, summed up."""

from __future__ import annotations

from sqlalchemy import Connection

from proxy.domain.model import AccountKind
from proxy.domain.notices import WEEK, Channel, Kind, digest_due
from proxy.notices.telling import tell
from proxy.store import accounts, history, notices
from proxy.store.threads import StoreThreads

LOOK_BACK = 2 * WEEK
"""Seconds: what is older was in a digest, or is too old for one."""
LOOKED_AT = 500
WRITTEN = 20
"""Accounts in one transaction that reads, or that writes (under the 50 ms that the writer may be held)."""


async def write_due(store: StoreThreads, now: float) -> int:
    """Put the digests that are due into the outbox; returns how many."""
    written, after = 0, 0
    while ids := await store.read(accounts.ids_after, after, LOOKED_AT):
        after = ids[-1]
        due = await store.read(_due, ids, now)
        for start in range(0, len(due), WRITTEN):
            written += await store.write(_write, due[start : start + WRITTEN], now)
    return written


def _due(c: Connection, ids: list[int], now: float) -> list[int]:
    since = now - LOOK_BACK
    something = history.refused_since(c, ids, since) | notices.told_since(c, ids, since, channel=Channel.PAGE)
    something -= notices.told_since(c, ids, now - WEEK, kind=Kind.DIGEST)
    return [account_id for account_id in sorted(something) if _facts(c, account_id, now) is not None]


def _write(c: Connection, ids: list[int], now: float) -> int:
    """Looks once more: of two that do this at a time, one writes a digest."""
    written = 0
    for account_id in ids:
        account, facts = accounts.by_id(c, account_id), _facts(c, account_id, now)
        if account is not None and facts is not None and account.enabled and account.kind is AccountKind.PERSON:
            tell(c, account, Kind.DIGEST, facts, now)
            written += 1
    return written


def _facts(c: Connection, account_id: int, now: float) -> dict[str, str] | None:
    """What a digest says, if one is due."""
    before = [one.created for one in notices.since(c, account_id, Kind.DIGEST, now - LOOK_BACK)]
    start = max([now - LOOK_BACK, *before])
    refused = [row for row in history.last(c, account_id) if row.time > start]
    untold = [one for one in notices.last(c, account_id, 200) if one.created > start and one.channel == Channel.PAGE]
    times = [max(start, row.first or row.time) for row in refused] + [one.created for one in untold]
    if not digest_due(now, max(before, default=None), times):
        return None
    return {"tries": str(sum(row.count for row in refused)), "notices": str(len(untold))}
