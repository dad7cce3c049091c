"""Records reach the store in batches, in order, also when it was away for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.core import write_behind
from proxy.core.write_behind import WriteBehind
from proxy.domain.audit import AuditEvent, Event
from proxy.domain.model import LastUse, Protocol
from proxy.domain.verdicts import Reason
from proxy.store import app_passwords, audit, history
from proxy.store.errors import StoreUnavailable
from proxy.store.history import RefusalRecord
from proxy.store.threads import StoreThreads
from tests.core.scene import ISSUED, Disk


class Flaky:
    """The store behind a switch; counts the transactions."""

    def __init__(self, threads: StoreThreads) -> None:
        self.threads = threads
        self.away = False
        self.writes = 0

    async def write(self, fn: Any, *args: Any) -> Any:
        if self.away:
            raise StoreUnavailable("store /x: the disk is full")
        self.writes += 1
        return await self.threads.write(fn, *args)


def play(tmp_path: Path, script: Callable[[WriteBehind, Disk, Flaky], Awaitable[None]]) -> None:
    async def run() -> None:
        disk = Disk(tmp_path)
        threads = StoreThreads(disk.store)
        flaky = Flaky(threads)
        try:
            await script(WriteBehind(flaky, "node1"), disk, flaky)  # type: ignore[arg-type]
        finally:
            await threads.close()
            disk.store.close()

    asyncio.run(run())


def event(number: int) -> AuditEvent:
    return AuditEvent(float(number), Event.LOGIN_ACCEPTED, "client", detail=str(number))


def refusal(account_id: int, number: int) -> RefusalRecord:
    return RefusalRecord(account_id, ISSUED + number, Reason.REVOKED, Protocol.IMAP, f"10.0.0.{number}/32")


def written(disk: Disk) -> list[str | None]:
    with disk.store.reading() as c:
        assert audit.verify(c) == []
        return [record.event.detail for record in audit.read(c, limit=100_000)]


def test_a_batch_is_one_transaction(tmp_path: Path):
    async def script(behind: WriteBehind, disk: Disk, store: Flaky) -> None:
        for n in range(5):
            behind.audit(event(n))
            behind.refusal(refusal(disk.alice.id, n))
        await behind.write_verdicts()
        assert store.writes == 1
        assert written(disk) == list("01234")
        with disk.store.reading() as c:
            assert len(history.last(c, disk.alice.id)) == 5
        await behind.write_verdicts()  # nothing to do
        assert store.writes == 1

    play(tmp_path, script)


def test_much_comes_in_slices_so_that_a_revoke_gets_between(tmp_path: Path):
    async def script(behind: WriteBehind, disk: Disk, store: Flaky) -> None:
        count = write_behind.SLICE * 2 + 1
        for n in range(count):
            behind.audit(event(n))
        await behind.write_verdicts()
        assert store.writes == 3
        assert written(disk) == [str(n) for n in range(count)]

    play(tmp_path, script)


def test_what_waits_for_the_store_keeps_its_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    async def script(behind: WriteBehind, disk: Disk, store: Flaky) -> None:
        store.away = True
        for n in range(3):
            behind.audit(event(n))
            await behind.write_verdicts()
        store.away = False
        behind.audit(event(3))
        await behind.write_verdicts()
        assert written(disk) == list("0123")

    play(tmp_path, script)
    lines = capsys.readouterr().err.splitlines()
    assert ["wait until the store takes them" in line for line in lines] == [True, False]
    assert "the store takes records again" in lines[1]


def test_what_waits_is_bounded_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    async def script(behind: WriteBehind, disk: Disk, store: Flaky) -> None:
        monkeypatch.setattr(write_behind, "MAX_WAITING", 2)
        store.away = True
        await behind.write_verdicts()
        for n in range(5):
            behind.audit(event(n))
            behind.refusal(refusal(disk.alice.id, n))
        await behind.write_verdicts()
        store.away = False
        await behind.write_verdicts()
        assert written(disk) == ["0", "1"]

    play(tmp_path, script)
    assert "dropped=6" in capsys.readouterr().err


def test_uses_of_one_app_password_are_one_write(tmp_path: Path):
    async def script(behind: WriteBehind, disk: Disk, store: Flaky) -> None:
        phone, _ = disk.mint()
        for n in range(100):
            behind.used(phone.id, LastUse(ISSUED + n, "10.0.0.1", Protocol.SMTP, f"v{n}"), 1, 2)
        behind.used(phone.id, LastUse(ISSUED, "10.0.0.2", Protocol.IMAP, "older"))
        store.away = True
        await behind.write_uses()
        behind.used(phone.id, LastUse(ISSUED + 200, "10.0.0.3", Protocol.IMAP, None), 1)
        store.away = False
        await behind.write_uses()
        assert store.writes == 1
        with disk.store.reading() as c:
            stored = app_passwords.by_id(c, phone.id)
            assert stored is not None
            assert stored.last_used == LastUse(ISSUED + 200, "10.0.0.3", Protocol.IMAP, None)
            counters = c.exec_driver_sql("SELECT messages, recipients FROM app_passwords").one()
        assert tuple(counters) == (101, 200)

    play(tmp_path, script)
