"""Asking each backend what it offers, so that a front advertises only what a client will really get."""

from __future__ import annotations

from asyncio import TimerHandle

from proxy import logs
from proxy.fronts.backends import Backend
from proxy.fronts.login import BackendConnection, Outcome
from proxy.fronts.protocols import PROTOCOLS
from proxy.fronts.worker import Worker
from proxy.link.messages import BackendNews
from proxy.wire.events import BackendRefused, Offers
from proxy.wire.proxy_protocol import encode_v2

RETRY = 5.0
"""Seconds between probes of a backend that did not answer, or the probe interval where that is shorter."""

_log = logs.get("front")


class Probes:
    """Runs the probes of one worker. A probe that fails changes nothing that is advertised."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._timers: dict[str, TimerHandle] = {}

    def restart(self) -> None:
        """After settings came: probe every backend now."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for backend in self._worker.backends.values():
            self._probe(backend)

    def _probe(self, backend: Backend) -> None:
        worker = self._worker
        if not self._is_current(backend):
            return
        kit = PROTOCOLS[backend.setting.protocol]
        starttls = backend.setting.tls == "starttls"
        BackendConnection(
            worker.loop,
            backend,
            worker.limits,
            lambda: kit.probe_machine(starttls=starttls),
            encode_v2(None) if backend.setting.client_address == "proxy_v2" else b"",
            lambda outcome: self._probed(backend, outcome),
        )

    def _probed(self, backend: Backend, outcome: Outcome) -> None:
        worker = self._worker
        if not self._is_current(backend):
            return
        interval = worker.limits.probe_interval
        if isinstance(outcome, Offers):
            self._news(backend, True, "")
            if outcome.capabilities != backend.offers:
                backend.offers = outcome.capabilities
                worker.advertise()
        elif isinstance(outcome, BackendRefused):
            self._news(backend, False, outcome.detail)
            interval = min(interval, RETRY)
        self._timers[backend.setting.name] = worker.loop.call_later(interval, self._probe, backend)

    def _is_current(self, backend: Backend) -> bool:
        """False once settings came anew: then another of the same name is probed in its place."""
        return self._worker.backends.get(backend.setting.name) is backend

    def _news(self, backend: Backend, ok: bool, detail: str) -> None:
        if backend.reachable is ok:
            return
        backend.reachable = ok
        setting = backend.setting
        self._worker.link.send(BackendNews(setting.name, ", ".join(setting.addresses), ok, detail))
        if not ok:
            _log.error("backend does not answer", backend=setting.name, detail=detail)
