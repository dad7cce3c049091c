"""Records reach the store in batches, in order, also when it was away for a while."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.core import write_behind
from proxy.core.write_behind import WriteBehind
from proxy.domain.audit import AuditEvent, Event
from proxy.domain.model import LastUse, Protocol
from proxy.domain.verdicts import Reason
from proxy.store import app_passwords, audit, history, notices
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

    async def write(self, fn: Any, *args: Any, **how: Any) -> Any:
        if self.away:
            raise StoreUnavailable("store /x: the disk is full")
        self.writes += 1
        return await self.threads.write(fn, *args, **how)


def play(tmp_path: Path, script: Callable[[WriteBehind, Disk, Flaky], Awaitable[None]]) -> None:
    async def run() -> None:
        disk = Disk(tmp_path)
        threads = StoreThreads(disk.store, timeout=0.2)
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


def test_an_old_phone_of_theirs_is_put_into_the_outbox_with_its_refusal(tmp_path: Path):
    async def script(behind: WriteBehind, disk: Disk, store: Flaky) -> None:
        phone, _ = disk.mint()
        behind.used(phone.id, LastUse(ISSUED, "10.0.0.7", Protocol.IMAP, "K-9"))
        await behind.write_uses()
        for n in (6, 7, 7, 8):
            behind.refusal(refusal(disk.alice.id, n))
        await behind.write_verdicts()
        with disk.store.reading() as c:
            (notice,) = notices.due(c, ISSUED + 60)
        assert (notice.kind, notice.text["network"]) == ("old_program", "10.0.0.7/32")

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


def busy(threads: StoreThreads) -> threading.Event:
    """Keep the writer busy until the event is set."""
    go = threading.Event()
    threads._writes.put(threads._job(0, lambda c: go.wait(20), ()))
    return go


def test_what_a_slow_store_was_given_is_written_once(tmp_path: Path):
    """A write whose caller gave up may still be done: given again, it would be in the audit twice."""

    async def script(behind: WriteBehind, disk: Disk, store: Flaky) -> None:
        slow = threading.Event()
        real = behind._write_verdicts

        def slowly(c: Any, *args: Any) -> None:
            slow.wait(20)
            real(c, *args)

        behind._write_verdicts = slowly  # type: ignore[method-assign]
        behind.audit(event(0))
        first = asyncio.get_running_loop().create_task(behind.write_verdicts())
        await asyncio.sleep(0.5)  # longer than a caller waits for the store
        behind.audit(event(1))
        slow.set()
        await first
        await behind.write_verdicts()
        assert written(disk) == ["0", "1"]

    play(tmp_path, script)


@pytest.mark.parametrize("begun", [True, False])
def test_nothing_is_lost_or_doubled_when_the_core_stops_in_the_middle(tmp_path: Path, begun: bool):
    async def script(behind: WriteBehind, disk: Disk, store: Flaky) -> None:
        phone, _ = disk.mint()
        go = busy(store.threads)
        if begun:
            go.set()
        for n in range(3):
            behind.audit(event(n))
        behind.used(phone.id, LastUse(ISSUED, "10.0.0.1", Protocol.SMTP, None), 1, 2)
        works = [asyncio.get_running_loop().create_task(work()) for work in (behind.write_verdicts, behind.write_uses)]
        await asyncio.sleep(0.05 if not begun else 0)
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        behind.audit(event(3))
        behind.used(phone.id, LastUse(ISSUED, "10.0.0.1", Protocol.SMTP, None), 1, 2)
        go.set()
        await behind.write_verdicts()
        await behind.write_uses()
        assert written(disk) == list("0123")
        with disk.store.reading() as c:
            counters = c.exec_driver_sql("SELECT messages, recipients FROM app_passwords").one()
        assert tuple(counters) == (2, 4)

    play(tmp_path, script)


def test_what_a_slow_store_made_us_drop_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    async def script(behind: WriteBehind, disk: Disk, store: Flaky) -> None:
        monkeypatch.setattr(write_behind, "MAX_WAITING", 2)
        for n in range(5):
            behind.audit(event(n))
        await behind.write_verdicts()
        behind.audit(event(5))
        await behind.write_verdicts()

    play(tmp_path, script)
    (line,) = capsys.readouterr().err.splitlines()
    assert "faster than the store takes them" in line
    assert "dropped=3" in line


def test_a_slice_holds_the_writer_for_a_moment_only(tmp_path: Path):
    """Revokes wait behind it: 50 ms at most (DESIGN section 2), here with room for a busy machine."""

    async def script(behind: WriteBehind, disk: Disk, store: Flaky) -> None:
        people = [disk.account(f"p{n}@example.org") for n in range(write_behind.SLICE)]
        real, took = behind._write_verdicts, []

        def measured(c: Any, *args: Any) -> None:
            begun = time.thread_time()
            real(c, *args)
            took.append(time.thread_time() - begun)

        behind._write_verdicts = measured  # type: ignore[method-assign]
        for turn in range(5):
            for n, person in enumerate(people):
                behind.audit(event(n))
                behind.refusal(refusal(person.id, turn))
            await behind.write_verdicts()
        print(f"a slice: median {statistics.median(took) * 1e3:.1f} ms of the writer's time")
        assert statistics.median(took) < 0.05

    play(tmp_path, script)
