"""App passwords end within a minute of their `expires`, and their sessions with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sqlalchemy import Connection

from proxy import logs
from proxy.domain.audit import AuditEvent, Event
from proxy.domain.model import AppPasswordRecord, EndReason
from proxy.store import accounts, app_passwords, audit
from proxy.store.threads import StoreThreads

EVERY = 20.0
"""Seconds between two sweeps; new logins are refused from `expires` on in any case."""
SLICE = 100
"""Ended in one transaction, so that a revoke need not wait behind a thousand that expire at midnight."""

_log = logs.get("core")


async def sweep(
    store: StoreThreads,
    node: str,
    now: float,
    changed: Callable[[int], None],
    cut: Callable[[list[AppPasswordRecord]], Awaitable[int]],
) -> int:
    """End what is due at `now` (seconds since the epoch) and cut its sessions; returns how many app passwords ended."""
    total = 0
    due = await store.read(app_passwords.due, now)
    while due:
        chosen, due = due[:SLICE], due[SLICE:]
        ended = await store.write(_end, node, [record.id for record in chosen], now)
        for account_id in {record.account_id for record in ended}:
            changed(account_id)
        if ended:
            closed = await cut(ended)
            _log.info("app passwords expired", count=len(ended), sessions_cut=closed)
        total += len(ended)
    return total


def _end(c: Connection, node: str, ids: list[int], now: float) -> list[AppPasswordRecord]:
    """Runs in the writer thread; the record of a change is in the change's own transaction."""
    ended = app_passwords.end(c, ids, now, EndReason.EXPIRED)
    events = []
    for record in ended:
        account = accounts.by_id(c, record.account_id)
        events.append(
            AuditEvent(
                time=now,
                event=Event.APP_PASSWORD_EXPIRED,
                actor="sidegate",
                account=account.address if account is not None else None,
                account_id=record.account_id,
                app_password=record.name,
                detail=f"id={record.id}",
            )
        )
    if events:
        audit.append(c, node, events)
    return ended
