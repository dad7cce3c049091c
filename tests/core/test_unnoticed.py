"""Changes that no use case told the core of end sessions all the same: the core looks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvloop
from sqlalchemy import Connection

from proxy.backends import keys
from proxy.config import load
from proxy.core import expiry, service
from proxy.domain.model import EndReason
from proxy.link import messages as m
from proxy.store import app_passwords
from proxy.store.engine import Store
from proxy.store.threads import StoreThreads
from tests.core.test_service import Core, Worker, wait_for


class SlowStore(Store):
    """Its commits wait for `disk`."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.disk = threading.Event()
        self.disk.set()
        self.waiting = threading.Event()
        """A commit waits."""

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with super().writing() as c:
            yield c
            if not self.disk.is_set():
                self.waiting.set()
                assert self.disk.wait(30)


class Inside(Core):
    """A core in a thread of this process, over a store whose disk can hang; a write is waited for half a second."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(root, start=False)
        monkeypatch.setattr(service, "StoreThreads", lambda store: StoreThreads(store, timeout=0.5))
        self.store = SlowStore(f"sqlite:{root}/sidegate.db")
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._serve()))

    def __enter__(self) -> Inside:
        self._thread.start()
        assert self._up.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self.store.disk.set()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        self.store.close()
        self.disk.store.close()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        config = load(self.config, certificates=False)
        it = service.Service(config, keys.load(config.state_dir), self.store, self._loop)
        it.start()
        self._up.set()
        await self._stop.wait()
        await it.stop()


def welcomed(core: Core) -> Worker:
    worker = Worker(core)
    assert isinstance(worker.receive(), m.Welcome)
    return worker


def test_a_revoke_that_commits_after_its_caller_gave_up_ends_the_login_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(expiry, "EVERY", 3600.0)
    with Inside(tmp_path, monkeypatch) as core:
        _, secret = core.mint("phone")
        worker = welcomed(core)
        assert isinstance(worker.log_in(secret, "before"), m.Accept)
        answers: list[httpx.Response] = []

        def revoke() -> None:
            with core.api() as api:
                answers.append(api.post("/app-passwords/revoke", json={"account": "alice", "names": ["phone"]}))

        core.store.disk.clear()
        caller = threading.Thread(target=revoke)
        caller.start()
        assert isinstance(worker.obey(), m.Cut)  # what was meant to end ends, whatever comes of the write
        caller.join(20)
        assert answers[0].status_code == 503, answers[0].text
        assert worker.live == {}
        assert core.store.waiting.is_set()

        assert isinstance(worker.log_in(secret, "between"), m.Accept)  # nothing is revoked yet
        core.store.disk.set()
        cut = worker.obey()
        assert isinstance(cut, m.Cut)
        assert cut.sessions == ["between"]
        assert worker.live == {}
        refused = worker.log_in(secret, "after")
        assert isinstance(refused, m.Refuse)
        assert refused.reason == "revoked"
        worker.close()


def test_what_another_process_ends_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(expiry, "EVERY", 0.2)
    with Inside(tmp_path, monkeypatch) as core:
        ended, secret = core.mint("phone")
        kept, other = core.mint("laptop")
        worker = welcomed(core)
        assert isinstance(worker.log_in(secret, "s1"), m.Accept)
        assert isinstance(worker.log_in(other, "s2"), m.Accept)
        with core.disk.store.writing() as c:
            app_passwords.end(c, [ended], 1.0, EndReason.REVOKED)
        cut = worker.obey()
        assert isinstance(cut, m.Cut)
        assert cut.sessions == ["s1"]
        assert worker.live == {"s2": kept}
        refused = worker.log_in(secret, "s3")  # nor is the secret remembered
        assert isinstance(refused, m.Refuse)
        assert refused.reason == "revoked"
        worker.close()


def test_who_is_disabled_behind_the_core_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(expiry, "EVERY", 0.2)
    with Inside(tmp_path, monkeypatch) as core:
        _, secret = core.mint("phone")
        worker = welcomed(core)
        assert isinstance(worker.log_in(secret, "s1"), m.Accept)
        with core.disk.store.writing() as c:
            c.exec_driver_sql("UPDATE accounts SET enabled = 0")
        assert isinstance(worker.obey(), m.Cut)
        wait_for(lambda: worker.live == {})
        refused = worker.log_in(secret, "s2")
        assert isinstance(refused, m.Refuse)
        assert refused.reason == "account_disabled"
        worker.close()
