"""The audit: read, followed, verified."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

from proxy.admin import values
from proxy.admin.desk import Desk
from proxy.admin.views import AuditView, stamp
from proxy.domain.login_names import canonical
from proxy.store import audit as store

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from proxy.store.audit import AuditRecord

PAGE = 500
"""Records a read."""
POLL = 0.5
"""Seconds between looks for new records while following."""


async def read(desk: Desk, *, account: str | None = None, since: str | None = None) -> AsyncIterator[list[AuditView]]:
    """Pages of records, the oldest first; of one account (also one that is removed), from a moment on."""
    async for _, page in _pages(desk, account, since, None):
        yield page


async def follow(desk: Desk, *, account: str | None = None, since: str | None = None) -> AsyncIterator[list[AuditView]]:
    """As read, then new ones as they come, until the caller or the core stops. Without `since`: new ones only.

    Yields an empty page when nothing came for a while, so that a reader that is gone is noticed.
    """
    after = None if since is not None else await desk.store.read(store.last_seq)
    while not desk.stopping.is_set():
        async for last, page in _pages(desk, account, since, after):
            after, since = last, None
            yield page
        yield []
        with suppress(TimeoutError):
            await asyncio.wait_for(desk.stopping.wait(), POLL)


async def verify(desk: Desk) -> list[str]:
    """What is wrong with the hash chains; empty when nothing was changed, cut out or cut off."""
    progress = store.Verification()
    while not progress.done:
        progress = await desk.store.read(store.verify_slice, progress)
    return progress.problems


async def _pages(
    desk: Desk, account: str | None, since: str | None, after: int | None
) -> AsyncIterator[tuple[int, list[AuditView]]]:
    """Pages with the number of their last record."""
    # An account that was removed is not in the store, its records are: the name is not looked up.
    address = (canonical(account, desk.config.default_domain) or account) if account is not None else None
    start = values.since(since, desk.clock()) if since is not None else None

    def page_behind(c: Connection, behind: int | None) -> list[AuditRecord]:
        return store.read(c, account=address, since=start, after=behind, limit=PAGE)

    while rows := await desk.store.read(page_behind, after):
        after = rows[-1].seq
        yield after, [_view(row) for row in rows]


def _view(record: AuditRecord) -> AuditView:
    event = record.event
    return {
        "time": stamp(event.time),
        "event": event.event,
        "actor": event.actor or None,
        "account": event.account,
        "app_password": event.app_password,
        "protocol": event.protocol,
        "network": event.network,
        "reason": event.reason,
        "detail": event.detail,
    }
