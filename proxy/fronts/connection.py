"""One client connection until it is logged in: PROXY header, TLS, the protocol's front machine, refusals, time."""

from __future__ import annotations

import os
from asyncio import TimerHandle
from dataclasses import replace
from typing import Any

from proxy import logs
from proxy.domain.model import ClientInfo
from proxy.domain.networks import network_of
from proxy.domain.verdicts import Reason, Shown
from proxy.fronts.attempt import PendingAttempt
from proxy.fronts.bound import Bound
from proxy.fronts.descriptor import Leg, buffer
from proxy.fronts.handshake import accept_tls
from proxy.fronts.login import Connect, LoggedIn
from proxy.fronts.relay import Relay
from proxy.fronts.sessions import Session
from proxy.fronts.worker import Front, Worker
from proxy.wire import proxy_protocol
from proxy.wire.events import Attempt, AttemptRefused, BackendReady, Close, FrontEvent, FrontMachine, Send, StartTls

PROXY_HEADER_TIMEOUT = 5.0
"""Seconds."""
TOO_MANY_REFUSALS = "Too many failed logins"

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_TO_ALPHABET = bytes(_ALPHABET[i % len(_ALPHABET)] for i in range(256))

_REASONS = {Shown.TLS_FIRST: Reason.TLS_REQUIRED, Shown.NOT_ACCEPTED: Reason.BAD_LOGIN_NAME}
"""What the machine refused by itself; anything else it refuses because the secret is no app password."""

_log = logs.get("front")


def new_session_id() -> str:
    """16 characters of [A-Za-z0-9]: about 94 bits."""
    return os.urandom(16).translate(_TO_ALPHABET).decode("ascii")


class Connection:
    """Holds the client's leg and drives its machine; hands the leg to a Relay after the login."""

    __slots__ = (
        "_address",
        "_attempt",
        "_deadline",
        "_leg",
        "_local",
        "_network",
        "_refusals",
        "_stage",
        "_tls",
        "client",
        "front",
        "machine",
        "session_id",
        "worker",
    )

    def __init__(self, worker: Worker, front: Front, leg: Leg, peer: tuple[Any, ...], local: tuple[Any, ...]) -> None:
        """`peer` and `local` are socket addresses."""
        self.worker = worker
        self.front = front
        self.session_id = new_session_id()
        self.client = ClientInfo(_plain(peer[0]), peer[1], _plain(local[0]), local[1], None)
        self.machine: FrontMachine
        self._tls = False
        self._leg = leg
        self._attempt: PendingAttempt | None = None
        self._refusals = 0
        self._network: str | None = None
        self._stage: TimerHandle | None = None
        leg.on_lost = self._lost
        self._deadline: TimerHandle | None = worker.loop.call_later(worker.limits.login_timeout, self._timed_out)
        if front.proxies:
            self._expect_proxy_header()
        else:
            self._begin()

    # ---- stages ------------------------------------------------------------------------------

    def _expect_proxy_header(self) -> None:
        if self.client.address not in self.front.proxies:
            self._drop("not a listed proxy")
            return
        self._stage = self.worker.loop.call_later(PROXY_HEADER_TIMEOUT, self._drop, "no PROXY header in time")
        so_far = b""

        def look() -> None:
            nonlocal so_far
            seen = self._leg.peek(proxy_protocol.MAX_V2 + 16)
            if seen is None:
                return
            match proxy_protocol.parse(so_far + seen) if seen else proxy_protocol.Malformed("closed"):
                case proxy_protocol.NeedMore():
                    so_far += seen
                    self._leg.discard(len(seen))
                case proxy_protocol.Malformed(why):
                    self._drop(why)
                case proxy_protocol.LocalHeader(consumed):
                    self._leg.discard(consumed - len(so_far))
                    self._begin()
                case proxy_protocol.Header(address, port, local_address, local_port, consumed):
                    self._leg.discard(consumed - len(so_far))
                    self.client = ClientInfo(address, port, local_address, local_port, None)
                    self._begin()

        self._leg.watch(look)

    def _begin(self) -> None:
        """The client's address is known."""
        self._leg.hold()
        self._stop_stage()
        worker = self.worker
        if self.client.address not in worker.shared_networks:
            self._take_a_place()
        if self.front.implicit_tls:
            self._start_tls()
        else:
            self.machine = self.front.make()
            self._perform(self.machine.connected(tls=False))
            self._go_on()

    def _take_a_place(self) -> None:
        """At the cap the oldest connection that waits on a refusal goes, else the oldest: the newcomer may be right."""
        self._network = network_of(self.client.address)
        places = self.worker.waiting.setdefault(self._network, {})
        if len(places) >= self.worker.limits.connections_per_network:
            victim = next((c for c in places if c._attempt is not None and c._attempt.releasing), next(iter(places)))
            victim._drop("too many connections of one network that are not logged in")
            places = self.worker.waiting.setdefault(self._network, {})
        places[self] = None

    def _start_tls(self) -> None:
        self._stage = self.worker.loop.call_later(
            self.worker.limits.handshake_timeout, self._drop, "TLS handshake timed out"
        )
        self._shake_hands()

    def _shake_hands(self) -> None:
        """Once everything said in the clear is out."""
        leg = self._leg
        if leg.blocked:
            leg.hold()
            leg.on_drained = self._shake_hands
            return
        leg.on_drained = None
        accept_tls(leg, self.front.context, self.front.kit.alpn, self._tls_up)

    def _tls_up(self) -> None:
        self._stop_stage()
        self._tls = True
        client = self.client
        self.client = ClientInfo(
            client.address, client.port, client.local_address, client.local_port, self._leg.tls_version
        )
        if self.front.implicit_tls:
            self.machine = self.front.make()
            self._perform(self.machine.connected(tls=True))
        else:
            self._perform(self.machine.tls_started())
        self._go_on()

    # ---- the conversation --------------------------------------------------------------------

    def _readable(self) -> None:
        leg = self._leg
        count = leg.read()
        if count:
            self._perform(self.machine.receive_data(bytes(buffer[:count])))
        self._go_on()

    def _go_on(self) -> None:
        """Wait for what is due next: our bytes to leave, the attempt's answer, or the client."""
        leg = self._leg
        if leg.closed or self._attempt is not None or self._stage is not None or leg.ending:
            return
        if leg.at_end:
            self._end("client closed")
        elif leg.blocked:
            leg.hold()
            leg.on_drained = self._go_on
        else:
            leg.watch(self._readable)

    def _perform(self, events: list[FrontEvent]) -> None:
        for event in events:
            match event:
                case Send(data):
                    self._leg.send(data)
                case Attempt():
                    self._leg.hold()
                    self._attempt = PendingAttempt(self)
                    self._attempt.start(event)
                case StartTls():
                    self._start_tls()
                case AttemptRefused(shown, mechanism):
                    self.count_refusal(_REASONS.get(shown, Reason.NOT_APP_PASSWORD), mechanism=mechanism)
                    self._refusals += 1
                    if self._too_many_refusals():
                        return
                case Close(why):
                    self._end(why)
                    return

    def client_info(self) -> ClientInfo:
        """Who this is, with the program it has named so far."""
        program = self.machine.program
        return self.client if program is None else replace(self.client, program=program)

    def count_refusal(self, reason: Reason, *, login_name: str = "", mechanism: str = "", detail: str = "") -> None:
        """Note a refusal that the core will only hear of as a number. `detail` is ours, never the client's."""
        self.worker.refusals.count(
            self.front.protocol,
            reason,
            self.client,
            self.machine.program,
            self.session_id,
            login_name=login_name,
            mechanism=mechanism,
            backend=self.front.backend.setting.name,
            detail=detail,
        )

    def renew_session_id(self) -> None:
        """The core knows the old one and may still hear of its end: the next attempt must not be mistaken for it."""
        self.session_id = new_session_id()

    # ---- answers of the attempt --------------------------------------------------------------

    def refused(self, shown: Shown, pass_on: bytes | None) -> None:
        """Tell the client no."""
        self._attempt = None
        self._refusals += 1
        events = self.machine.refuse(shown, pass_on)
        if self._refused_enough():
            for event in events:
                if isinstance(event, Send):
                    self._leg.send(event.data)
            self._too_many_refusals()
            return
        self._perform(events)
        self._go_on()

    def _refused_enough(self) -> bool:
        return self.front.kit.one_person_a_connection and self._refusals >= self.worker.limits.refusals_per_connection

    def _too_many_refusals(self) -> bool:
        if not self._refused_enough():
            return False
        self._leg.send(self.front.kit.farewell(TOO_MANY_REFUSALS))
        self._end("too many refusals")
        return True

    def accepted(self, session: Session, backend: LoggedIn) -> None:
        """The backend said OK, so the client may hear it; from here on bytes are relayed."""
        self._accept(session, backend.ready)
        again = None if self.front.kit.one_person_a_connection else self._log_in_again
        Relay(self.worker, self.front, session, self._leg, backend, self.machine.trailing_data(), again)

    def bound(self, session: Session, connect: Connect) -> None:
        """The client hears OK, and the backend nothing until it is asked for something."""
        self._accept(session, BackendReady(b""))
        assert self.front.kit.bound is not None
        machine, data = self.front.kit.bound(), self.machine.trailing_data()
        Bound(self.worker, self.front, session, self._leg, machine, data, connect, self._log_in_again)

    def _accept(self, session: Session, ready: BackendReady) -> None:
        self._attempt = None
        self._leave()
        for event in self.machine.accept(ready):
            if isinstance(event, Send):
                self._leg.send(event.data)
        session.program = self.machine.program

    def _log_in_again(self, data: bytes) -> None:
        """From the relay of a session that is over: `data` begins another login, judged as if it were the first."""
        self.renew_session_id()
        self._refusals = 0
        self._leg.on_lost = self._lost
        self._deadline = self.worker.loop.call_later(self.worker.limits.login_timeout, self._timed_out)
        if self.client.address not in self.worker.shared_networks:
            self._take_a_place()
        self.machine = self.front.make()
        self._perform([*self.machine.connected(tls=True), *self.machine.receive_data(data)])
        self._go_on()

    # ---- the end -----------------------------------------------------------------------------

    def _timed_out(self) -> None:
        self._deadline = None
        if self._attempt is not None:
            self._attempt.abandon("time to log in is over")
            self._attempt = None
        if self._stage is None and not self._leg.closed:
            for event in self.machine.timed_out():
                if isinstance(event, Send):
                    self._leg.send(event.data)
        self._end("time to log in is over")

    def _lost(self) -> None:
        self._drop(self._leg.lost or "lost")

    def _drop(self, why: str) -> None:
        """Close at once."""
        self._leave(why)
        self._leg.close()

    def _end(self, why: str) -> None:
        """Close once everything sent before is out."""
        self._leave(why)
        self._leg.finish_and_close()

    def _leave(self, why: str = "") -> None:
        """Stop the clocks, give the place up, let a pending attempt go."""
        self._stop_stage()
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._network is not None:
            places = self.worker.waiting.get(self._network, {})
            places.pop(self, None)
            if not places:
                self.worker.waiting.pop(self._network, None)
            self._network = None
        if self._attempt is not None:
            self._attempt.abandon("client closed")
            self._attempt = None
        if why:
            _log.debug("connection closed", session=self.session_id, rip=self.client.address, reason=why)

    def _stop_stage(self) -> None:
        if self._stage is not None:
            self._stage.cancel()
            self._stage = None


def _plain(address: str) -> str:
    """An IPv4 client on a [::] socket is an IPv4 client."""
    return address.removeprefix("::ffff:") if address.startswith("::ffff:") and "." in address else address
