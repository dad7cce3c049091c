"""The parent process at work: order of starting and stopping, restarts, reload."""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from twisted.application.internet import ClientService

from proxy import logs
from proxy.config.errors import ConfigErrors
from proxy.config.settings import Config
from proxy.supervisor.notify import notify
from proxy.supervisor.plan import Planned
from proxy.supervisor.slot import Pace, Reactor, Role, Slot
from proxy.supervisor.watcher import watcher

log = logs.get("supervisor")


class _Phase(Enum):
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class Supervisor:
    """Owns the slots and the listening sockets; `exit_code` is what the process should end with."""

    def __init__(
        self,
        reactor: Reactor,
        config: Config,
        planned: Sequence[Planned],
        sockets: Mapping[str, socket.socket],
        load: Callable[[], Config],
        pace: Pace,
    ) -> None:
        self.exit_code = 0
        self._reactor = reactor
        self._config = config
        self._sockets = sockets
        self._load = load
        self._pace = pace
        self._phase = _Phase.STARTING
        self._slots = [Slot(reactor, self, each.name, each.role, each.program, pace) for each in planned]
        self._watcher: ClientService | None = None

    def start(self) -> None:
        """Start the core and, once it is ready, the others; without a core among ours, all at once."""
        core = self._of(Role.CORE)
        for slot in core or self._slots:
            slot.start()
        if self._of(Role.FRONT):
            self._watcher = watcher(self._reactor, self._config.run_dir / "link.sock", self.kill)
        if self._watcher is not None and not core:
            self._watcher.startService()

    def stop(self, exit_code: int = 0) -> None:
        """Close the listening sockets, end fronts and portal, then the core; each stage has `pace.stop` seconds."""
        if self._phase is _Phase.STOPPING:
            return
        self._phase = _Phase.STOPPING
        self.exit_code = exit_code
        notify("STOPPING=1")
        for sock in self._sockets.values():
            sock.close()
        if self._watcher is not None and self._watcher.running:
            self._watcher.stopService()
        self._end([slot for slot in self._slots if slot.role is not Role.CORE])
        self._next_stage()

    def reload(self) -> None:
        """SIGHUP: the new configuration if it is valid and needs no other sockets or places, else the old one."""
        if self._phase is _Phase.STOPPING:
            return
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            new = self._load()
        except ConfigErrors as errors:
            print(errors, file=sys.stderr, flush=True)  # noqa: T201 - as at start and in `check`
            log.error(  # noqa: TRY400 - the errors stand above, in full
                "configuration not reloaded, the old one stays in force", errors=len(errors.errors)
            )
        else:
            fixed = [name for name, value in _fixed(new).items() if value != _fixed(self._config)[name]]
            if fixed:
                log.error("configuration not reloaded: a restart is needed for these changes", changed=", ".join(fixed))
            else:
                self._config = new
                for slot in self._slots:
                    if slot.role is not Role.FRONT:  # fronts hear it from the core
                        slot.reload()
                log.info("configuration reloaded")
        notify("READY=1")

    def kill(self, pid: int, why: str) -> None:
        """The core wants this worker gone; only a front of ours is."""
        for slot in self._of(Role.FRONT):
            if slot.pid == pid:
                log.error("killing a worker at the core's request", child=slot.name, pid=pid, why=why)
                slot.signal(signal.SIGKILL)

    def child_ready(self, slot: Slot) -> None:
        """See slot.Owner."""
        if self._phase is not _Phase.STARTING:
            return
        if slot.role is Role.CORE:
            for other in self._slots:
                if other is not slot:
                    other.start()
            if self._watcher is not None:
                self._watcher.startService()
        if all(each.ready for each in self._slots):
            self._phase = _Phase.RUNNING
            notify("READY=1", f"STATUS={len(self._of(Role.FRONT))} front workers")
            print("ready", file=sys.stderr, flush=True)  # noqa: T201 - DESIGN section 7

    def child_ended(self, slot: Slot, exit_code: int | None) -> None:
        """See slot.Owner."""
        if self._phase is _Phase.STOPPING:
            self._next_stage()
        elif self._phase is _Phase.STARTING and exit_code is not None:
            # It has said on stderr what is wrong, and trying again would say it again.
            log.error("stopping: a child could not start", child=slot.name, exit=exit_code)
            self.stop(exit_code or 1)
        else:
            slot.restart()

    def _of(self, role: Role) -> list[Slot]:
        return [slot for slot in self._slots if slot.role is role]

    def _end(self, slots: list[Slot]) -> None:
        for slot in slots:
            slot.end()

        def kill() -> None:
            for slot in slots:
                if slot.running:
                    log.error("child does not stop, killing it", child=slot.name, pid=slot.pid)
                    slot.signal(signal.SIGKILL)

        self._deadline = self._reactor.callLater(self._pace.stop, kill)

    def _next_stage(self) -> None:
        running = [slot for slot in self._slots if slot.running]
        if not running:
            if self._deadline.active():
                self._deadline.cancel()
            if self._reactor.running:
                self._reactor.stop()
        elif all(slot.role is Role.CORE for slot in running) and not self._core_told:
            self._core_told = True
            if self._deadline.active():
                self._deadline.cancel()
            self._end(running)

    _core_told = False
    _deadline: Any = None


def _fixed(config: Config) -> dict[str, object]:
    """What a reload cannot change: other sockets, other places, another number of processes."""
    return {
        "fronts": sorted((front.name, str(front.listen)) for front in config.fronts),
        "workers": config.workers,
        "store": config.store,
        "state_dir": config.state_dir,
        "run_dir": config.run_dir,
        "portal.listen": config.portal.listen,
    }
