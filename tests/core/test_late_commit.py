"""A revoke whose caller gave up waiting, and which the store did all the same: its sessions must go."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection

from proxy.backends import keys
from proxy.core import service, takeover
from proxy.domain.model import ClientInfo, EndReason, Protocol
from proxy.domain.session_table import Session
from proxy.link import messages as m
from proxy.store import app_passwords
from proxy.store.errors import StoreUnavailable
from tests.core.scene import ISSUED, Disk, FakePeer, config


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for is in another object
            await asyncio.sleep(0.002)


def test_a_late_commit_cuts_what_it_ended_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(takeover, "AGAIN", 0.01)
    keys.create(tmp_path / "state")

    async def run() -> None:
        disk = Disk(tmp_path)
        phone, _ = disk.mint("phone")
        laptop, _ = disk.mint("laptop")
        core = service.Service(config(tmp_path), keys.load(tmp_path / "state"), disk.store, asyncio.get_running_loop())
        core._store._timeout = 0.1
        worker = FakePeer(1)
        core._link._peers[1] = worker  # type: ignore[assignment]
        worker.on_send = lambda message: (
            core._cutter.confirmed(worker, m.CutDone(message.cut, 1)) if isinstance(message, m.Cut) else None  # type: ignore[arg-type]
        )
        client = ClientInfo("203.0.113.9", 5, "::1", 993, None)
        for record in (phone, laptop):
            core._table.register(
                Session(
                    record.name,
                    1,
                    disk.alice.id,
                    "alice@example.org",
                    record.id,
                    record.name,
                    1,
                    Protocol.IMAP,
                    "mail",
                    client,
                    ISSUED,
                    live=True,
                )
            )
        core._memory.remember_account("alice", disk.alice)
        slow = threading.Event()

        def revoke(c: Connection) -> None:
            app_passwords.end(c, [phone.id], time.time(), EndReason.REVOKED)
            slow.wait(20)

        with pytest.raises(StoreUnavailable, match="may still be done"):
            await core._store.write(revoke)
        assert worker.sent == []
        slow.set()
        await until(lambda: worker.sent)
        (order,) = worker.sent
        assert isinstance(order, m.Cut)
        assert (order.app_passwords, order.accounts, order.sessions) == ([], [], ["phone"])
        assert core._memory.account("alice") is None
        await core._tasks.stop()
        core._verifier.close()
        await core._store.close()
        disk.store.close()

    asyncio.run(run())
