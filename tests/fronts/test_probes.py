"""Probes and new settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from proxy.fronts import probes
from proxy.fronts.backends import Backend
from proxy.fronts.login import Outcome
from proxy.fronts.worker import Worker
from proxy.link.messages import BackendSetting
from proxy.wire.events import BackendRefused, Fault


class Loop:
    """Keeps the timers that were set."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Backend]] = []

    def call_later(self, seconds: float, _: Callable[[Backend], None], backend: Backend) -> Any:
        self.timers.append((seconds, backend))
        return SimpleNamespace(cancel=lambda: None)


def test_a_probe_that_new_settings_overtook_says_and_plans_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Callable[[Outcome], None]] = []
    monkeypatch.setattr(probes, "BackendConnection", lambda *arguments: begun.append(arguments[-1]))
    loop, said = Loop(), []
    asyncio_loop = asyncio.new_event_loop()
    setting = BackendSetting("mail", "imap", ["127.0.0.1:143"], "none", None, "localhost", "none")
    old, new = Backend(asyncio_loop, setting), Backend(asyncio_loop, setting)
    asyncio_loop.close()
    worker = SimpleNamespace(
        loop=loop,
        limits=SimpleNamespace(probe_interval=300.0),
        backends={"mail": old},
        link=SimpleNamespace(send=said.append),
    )
    it = probes.Probes(cast(Worker, worker))
    it.restart()
    worker.backends = {"mail": new}
    it.restart()
    begun[1](BackendRefused(Fault.CONNECT, "refused"))
    begun[0](BackendRefused(Fault.CONNECT, "refused"))
    assert loop.timers == [(probes.RETRY, new)]
    assert len(said) == 1
