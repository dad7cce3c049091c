"""App passwords whose time has come end, with a record and a cut."""

from __future__ import annotations

import asyncio
from pathlib import Path

from proxy.core import expiry
from proxy.domain.audit import Event
from proxy.domain.model import AppPasswordRecord, EndReason
from proxy.store import app_passwords, audit
from proxy.store.threads import StoreThreads
from tests.core.scene import ISSUED, Disk


def sweep(disk: Disk, now: float) -> tuple[int, list[object]]:
    """How many ended, and what was told in which order."""
    told: list[object] = []

    async def cut(ended: list[AppPasswordRecord]) -> int:
        told.append(("cut", [record.id for record in ended]))
        return 2

    async def run() -> int:
        threads = StoreThreads(disk.store)
        try:
            return await expiry.sweep(threads, "node1", now, told.append, cut)
        finally:
            await threads.close()

    return asyncio.run(run()), told


def test_what_is_due_ends(tmp_path: Path):
    disk = Disk(tmp_path)
    due, _ = disk.mint("due", expires=ISSUED + 10)
    later, _ = disk.mint("later", expires=ISSUED + 11)
    never, _ = disk.mint("never")
    assert sweep(disk, ISSUED + 9) == (0, [])
    assert sweep(disk, ISSUED + 10) == (1, [disk.alice.id, ("cut", [due.id])])  # forgotten first, then cut
    assert sweep(disk, ISSUED + 10) == (0, [])
    with disk.store.reading() as c:
        ended = app_passwords.by_id(c, due.id)
        assert ended is not None
        assert (ended.ended, ended.end_reason, ended.generation) == (ISSUED + 10, EndReason.EXPIRED, 2)
        assert [record.id for record in app_passwords.of_account(c, disk.alice.id, live_only=True)] == [
            later.id,
            never.id,
        ]
        (record,) = audit.read(c)
        event = record.event
        assert (event.event, event.actor, event.account, event.app_password, event.time) == (
            Event.APP_PASSWORD_EXPIRED, "sidegate", "alice@example.org", "due", ISSUED + 10,
        )  # fmt: skip
        assert audit.verify(c) == []
    disk.store.close()


def test_many_end_in_slices(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(expiry, "SLICE", 2)
    disk = Disk(tmp_path)
    ids = [disk.mint(f"n{n}", expires=ISSUED)[0].id for n in range(5)]
    count, told = sweep(disk, ISSUED)
    assert count == 5
    assert [what for what in told if isinstance(what, tuple)] == [("cut", ids[:2]), ("cut", ids[2:4]), ("cut", ids[4:])]
    disk.store.close()


def test_one_that_was_revoked_meanwhile_keeps_its_reason(tmp_path: Path):
    disk = Disk(tmp_path)
    phone, _ = disk.mint(expires=ISSUED)
    with disk.store.writing() as c:
        app_passwords.end(c, [phone.id], ISSUED - 1, EndReason.REVOKED)
    assert sweep(disk, ISSUED) == (0, [])
    disk.store.close()
