"""One child's place: it is started, watched, restarted with growing delays, and ended."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from typing import Protocol as Interface

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from proxy import logs

STATUS_FD = 3
"""Descriptor of the status pipe in the child (proxy/child.py); listening sockets follow."""

log = logs.get("supervisor")


class Reactor(Interface):
    """The part of Twisted's reactor that the supervisor uses."""

    running: bool

    def callLater(self, delay: float, function: Callable[..., object], *arguments: object) -> Any: ...  # noqa: ANN401 - IDelayedCall

    def callFromThread(self, function: Callable[..., object]) -> None: ...

    def seconds(self) -> float: ...

    def spawnProcess(self, *arguments: object, **options: object) -> object: ...

    def stop(self) -> None: ...


class Role(StrEnum):
    CORE = "core"
    FRONT = "front"
    PORTAL = "portal"


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of a slot, in seconds."""

    silence: float = 10.0
    """A ready child that says nothing for so long is killed."""
    start: float = 60.0
    """A child that is not ready after so long is killed; a busy machine takes its time over imports."""
    last_chance: float = 1.0
    """Between noticing silence and killing: if *we* were stopped, what the child said is still to be read."""
    backoff: float = 0.1
    backoff_max: float = 5.0
    settled: float = 10.0
    """A child that was ready for so long starts the next delay from `backoff` again."""
    stop: float = 8.0
    """What a stage of the orderly stop may take before it is killed: fronts and portal, then the core, which needs its
    time for requests in progress and for the last records (core/service.py)."""


@dataclass(frozen=True, slots=True)
class Program:
    """What a slot runs: arguments of the Python interpreter, and descriptors of ours by their number in the child."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    descriptors: Mapping[int, int]


class Owner(Interface):
    """Who a slot reports to."""

    def child_ready(self, slot: Slot) -> None:
        """The child says that it does its work."""

    def child_ended(self, slot: Slot, exit_code: int | None) -> None:
        """It is gone, by a signal if `exit_code` is None. The owner decides whether to restart()."""


class Slot:
    """Runs one program at a time; `name` is for the log (`front-2`)."""

    def __init__(self, reactor: Reactor, owner: Owner, name: str, role: Role, program: Program, pace: Pace) -> None:
        self.name = name
        self.role = role
        self._reactor = reactor
        self._owner = owner
        self._program = program
        self._pace = pace
        self._delay = pace.backoff
        self._due: Any = None
        self._life: _Life | None = None

    @property
    def pid(self) -> int | None:
        """Of the running child."""
        return self._life.transport.pid if self._life else None

    @property
    def running(self) -> bool:
        return self._life is not None

    @property
    def ready(self) -> bool:
        return self._life is not None and self._life.ready_since is not None

    def start(self) -> None:
        """Spawn the child now."""
        self._due = None
        self._life = _Life(self, self._reactor, self._pace)
        self._reactor.spawnProcess(
            self._life,
            sys.executable,
            [sys.executable, *self._program.arguments],
            env=dict(self._program.environment),
            childFDs={1: 1, 2: 2, STATUS_FD: "r", **self._program.descriptors},
        )
        log.info("child started", child=self.name, pid=self.pid)

    def restart(self) -> None:
        """Start again after the delay, which doubles each time until a child has lasted."""
        self._due = self._reactor.callLater(self._delay, self.start)
        self._delay = min(self._delay * 2, self._pace.backoff_max)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask the child to stop, or kill it; a restart that was due is called off."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self.signal(number)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the running child, if any."""
        if self._life is not None:
            self._life.signal(number)

    def reload(self) -> None:
        """SIGHUP to the running child; one that is still starting gets it when it is ready and knows what it means."""
        if self._life is not None:
            self._life.reload()

    def became_ready(self) -> None:
        """From the running child."""
        log.info("child ready", child=self.name, pid=self.pid)
        self._owner.child_ready(self)

    def ended(self, failure: Failure, lasted: float) -> None:
        """From the running child, which is reaped; it was ready for `lasted` seconds."""
        exit_code, number = failure.value.exitCode, failure.value.signal  # type: ignore[union-attr]
        log.info("child ended", child=self.name, pid=self.pid, exit=exit_code, signal=number)
        self._life = None
        if lasted >= self._pace.settled:
            self._delay = self._pace.backoff
        self._owner.child_ended(self, exit_code)


class _Life(ProcessProtocol):
    """One process, from spawn to reaping."""

    transport: Any

    def __init__(self, slot: Slot, reactor: Reactor, pace: Pace) -> None:
        self.ready_since: float | None = None
        self._reload_due = False
        self._slot = slot
        self._reactor = reactor
        self._pace = pace
        self._watch = reactor.callLater(pace.start, self._silent)

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessExitedAlready):
            self.transport.signalProcess(int(number))

    def reload(self) -> None:
        self._reload_due = self.ready_since is None
        if not self._reload_due:
            self.signal(signal.SIGHUP)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        if self.ready_since is None:
            if b"R" not in data:
                return
            self.ready_since = self._reactor.seconds()
            if self._reload_due:
                self.reload()
            self._slot.became_ready()
        self._watch.cancel()
        self._watch = self._reactor.callLater(self._pace.silence, self._silent)

    def _silent(self) -> None:
        self._watch = self._reactor.callLater(self._pace.last_chance, self._hung)

    def _hung(self) -> None:
        after = self._pace.start if self.ready_since is None else self._pace.silence
        log.error("child does not answer, killing it", child=self._slot.name, pid=self.transport.pid, seconds=after)
        self.signal(signal.SIGKILL)

    def childConnectionLost(self, childFD: int) -> None:
        if self._watch.active():  # it closed its pipe: whatever it still does, nobody can watch it
            self._watch.reset(self._pace.last_chance)

    def processEnded(self, reason: Failure) -> None:
        if self._watch.active():
            self._watch.cancel()
        lasted = 0.0 if self.ready_since is None else self._reactor.seconds() - self.ready_since
        self._slot.ended(reason, lasted)
