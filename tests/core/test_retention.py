"""Audit records that are too old go, unless they are kept for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path

from proxy.core import retention
from proxy.domain.audit import AuditEvent, Event
from proxy.store import audit
from proxy.store.threads import StoreThreads
from tests.core.scene import Disk


def test_what_is_too_old_goes_in_slices(tmp_path: Path):
    async def run() -> None:
        disk = Disk(tmp_path)
        threads = StoreThreads(disk.store)
        with disk.store.writing() as c:
            audit.append(c, "node1", [AuditEvent(float(n), Event.LOGIN_ACCEPTED, "client") for n in range(1300)])
        assert await retention.prune(threads, None, 10_000.0) == 0
        assert await retention.prune(threads, 1000.0, 2200.0) > 1200 - 2
        with disk.store.reading() as c:
            left = audit.read(c, limit=10_000)
            assert audit.verify(c) == []
        assert [record.event.time for record in left] == [float(n) for n in range(1199, 1300)]
        await threads.close()
        disk.store.close()

    asyncio.run(run())
