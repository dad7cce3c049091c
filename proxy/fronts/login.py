"""Logging in to a backend: connect, TLS, and drive the protocol's backend machine to its end. Probes do the same."""

from __future__ import annotations

import errno
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from dataclasses import dataclass

from proxy.fronts.backends import Backend, Target
from proxy.fronts.descriptor import Leg, buffer
from proxy.fronts.sockets import connect_socket
from proxy.link.messages import LimitSetting
from proxy.wire.events import (
    BackendEvent,
    BackendMachine,
    BackendReady,
    BackendRefused,
    Close,
    Fault,
    Offers,
    Send,
    StartTls,
)


@dataclass(slots=True)
class LoggedIn:
    """The backend said OK; the leg is the caller's now."""

    leg: Leg
    ready: BackendReady
    trailing: bytes
    """Backend bytes behind the login's reply: they belong to the client."""
    address: str


Outcome = LoggedIn | BackendRefused | Offers


Connect = Callable[[Callable[[Outcome], None]], "BackendConnection"]
"""Begins to log in; its argument gets the outcome."""


class BackendConnection:
    """One way to a backend, from looking up its address to an Outcome, which `done` gets exactly once."""

    __slots__ = (
        "_backend",
        "_deadline",
        "_done",
        "_header",
        "_heard",
        "_heard_anything",
        "_leg",
        "_limits",
        "_loop",
        "_machine",
        "_make",
        "_target",
        "_targets",
    )

    def __init__(
        self,
        loop: AbstractEventLoop,
        backend: Backend,
        limits: LimitSetting,
        make: Callable[[], BackendMachine],
        header: bytes,
        done: Callable[[Outcome], None],
    ) -> None:
        """`make` gives a fresh machine for each address tried; `header` (PROXY) goes out before everything else."""
        self._loop = loop
        self._backend = backend
        self._limits = limits
        self._make: Callable[[], BackendMachine] | None = make
        self._header = header
        self._done: Callable[[Outcome], None] | None = done
        self._machine: BackendMachine | None = None
        self._leg: Leg | None = None
        self._deadline: TimerHandle | None = None
        self._targets: list[Target] = []
        self._target: Target | None = None
        self._heard = 0.0
        self._heard_anything = False
        backend.targets(self._found)

    def abandon(self) -> None:
        """Close without an outcome."""
        self._done = None
        self._release()

    def _found(self, targets: list[Target]) -> None:
        if self._done is None:
            return
        self._targets = list(targets)
        self._next("host name not found" if not targets else "")

    def _next(self, why: str) -> None:
        """Try the next address; `why` the last one failed."""
        self._drop_leg()
        if not self._targets:
            self._end(BackendRefused(Fault.CONNECT, why))
            return
        target = self._target = self._targets.pop(0)
        try:
            sock = connect_socket(target.family, target.sockaddr)
        except OSError as error:
            busy = error.errno in (errno.EMFILE, errno.ENFILE)
            self._next("out of descriptors" if busy else f"{target.name}: {error.strerror}")
            return
        leg = self._leg = Leg(self._loop, sock)
        leg.on_lost = self._lost
        self._heard = self._loop.time()
        self._deadline = self._loop.call_later(self._limits.connect_timeout, self._check_connected)
        if self._backend.setting.tls == "implicit" or self._header:
            leg.when_writable(self._connected)
        else:
            # The server speaks first: its greeting, or the error of the connect, is the first event. Saves one
            # registration with the kernel. (LDAP's does not: there the request waits in the leg for the connect.)
            self._connected()

    def _check_connected(self) -> None:
        if self._leg is None or not self._leg.connected():
            self._next(f"{self._name}: connecting timed out")
        else:
            self._check_silence()

    def _check_silence(self) -> None:
        silent = self._loop.time() - self._heard
        left = self._limits.backend_timeout - silent
        if left <= 0:
            self._end(self._refused(Fault.CONNECT, f"silent for {silent:.0f} s"))
        else:
            self._deadline = self._loop.call_later(left, self._check_silence)

    def _connected(self) -> None:
        leg = self._leg
        assert leg is not None
        assert self._make is not None
        if self._header:
            leg.send(self._header)
        self._machine = self._make()
        if self._backend.setting.tls == "implicit":
            self._start_tls(lambda machine: machine.connected(tls=True))
        else:
            leg.watch(self._readable)
            self._perform(self._machine.connected(tls=False))

    def _start_tls(self, up: Callable[[BackendMachine], list[BackendEvent]]) -> None:
        leg, machine, target = self._leg, self._machine, self._target
        assert leg is not None
        assert target is not None
        assert self._backend.context is not None

        def done() -> None:
            if self._leg is leg and machine is not None:
                self._heard = self._loop.time()
                leg.watch(self._readable)
                self._perform(up(machine))

        leg.connect_tls(self._backend.context, target.server_name, done)

    def _readable(self) -> None:
        leg, machine = self._leg, self._machine
        if leg is None or machine is None:
            return
        count = leg.read()
        if count:
            self._heard = self._loop.time()
            self._heard_anything = True
            self._perform(machine.receive_data(bytes(buffer[:count])))
        if leg.at_end and self._leg is leg:
            self._failed("closed the connection")

    def _perform(self, events: list[BackendEvent]) -> None:
        for event in events:
            leg = self._leg
            if leg is None:
                return
            match event:
                case Send(data):
                    leg.send(data)
                case StartTls():
                    self._start_tls(lambda machine: machine.tls_started())
                case BackendReady():
                    self._ready(event)
                case BackendRefused(fault, detail, pass_on):
                    self._end(BackendRefused(fault, f"{self._name}: {detail}", pass_on))
                case Offers():
                    self._end(event)
                case Close(why):
                    self._end(self._refused(Fault.PROTOCOL, why))

    def _ready(self, ready: BackendReady) -> None:
        leg, machine = self._leg, self._machine
        assert leg is not None
        assert machine is not None
        leg.hold()
        leg.on_lost = None
        self._leg = None
        self._end(LoggedIn(leg, ready, machine.trailing_data(), self._name))

    def _lost(self) -> None:
        leg = self._leg
        why = (leg.lost if leg is not None else None) or "lost"
        self._failed(why)

    def _failed(self, why: str) -> None:
        """The leg is of no use. Before the backend said anything the next address gets its chance."""
        if self._heard_anything:
            self._end(self._refused(Fault.CONNECT, why))
        else:
            self._next(f"{self._name}: {why}")

    @property
    def _name(self) -> str:
        return self._target.name if self._target is not None else "?"

    def _refused(self, fault: Fault, why: str) -> BackendRefused:
        where = self._machine.state if self._machine is not None else "connect"
        return BackendRefused(fault, f"{self._name}: {why} (at {where})")

    def _end(self, outcome: Outcome) -> None:
        done, self._done = self._done, None
        self._release()
        if done is not None:
            done(outcome)

    def _release(self) -> None:
        self._drop_leg()
        self._machine = self._make = None  # they hold the backend login

    def _drop_leg(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._leg is not None:
            self._leg.close()
            self._leg = None
