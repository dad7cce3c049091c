"""A session whose client is bound and whose backend was not asked anything yet: the first request opens that leg."""

from __future__ import annotations

from collections.abc import Callable

from proxy.fronts.descriptor import Leg, buffer
from proxy.fronts.login import BackendConnection, Connect, LoggedIn, Outcome
from proxy.fronts.relay import GOODBYE, Relay
from proxy.fronts.sessions import Parting, Session
from proxy.fronts.worker import Front, Worker
from proxy.link.messages import Ended, Started
from proxy.wire.events import BackendRefused, BoundMachine, Close, Fault, LogInAgain, RelayEvent, ToBackend, ToClient

UNAVAILABLE = "The directory does not answer"


class Bound:
    """Owns the client's leg until a Relay, or another login, takes it. Started by its construction."""

    __slots__ = (
        "_again",
        "_backend",
        "_client",
        "_connect",
        "_front",
        "_machine",
        "_over",
        "_request",
        "_session",
        "_worker",
    )

    def __init__(
        self,
        worker: Worker,
        front: Front,
        session: Session,
        client: Leg,
        machine: BoundMachine,
        from_client: bytes,
        connect: Connect,
        again: Callable[[bytes], None],
    ) -> None:
        """`from_client` is what the client sent behind its login. `connect` logs in to the backend; `again` takes the
        client back, with the bytes that begin another login."""
        self._worker = worker
        self._front = front
        self._session = session
        self._client = client
        self._machine = machine
        self._connect = connect
        self._again = again
        self._backend: BackendConnection | None = None
        self._request = b""
        """What the backend is being asked for."""
        self._over = False
        session.cut = self._cut
        session.live = True
        worker.link.report(Started(session.id, "", session.program))
        client.on_lost = self._lost
        client.on_drained = None
        client.hold()
        if from_client:
            self._carry(machine.client_data(from_client))
        self._go_on()

    def _readable(self) -> None:
        count = self._client.read()
        if count:
            self._session.bytes_in += count
            self._carry(self._machine.client_data(buffer[:count]))
        self._go_on()

    def _go_on(self) -> None:
        if self._over or self._backend is not None:
            return
        if self._client.at_end:
            self._end("closed")
        else:
            self._client.watch(self._readable)

    def _carry(self, events: list[RelayEvent]) -> None:
        for event in events:
            match event:
                case ToBackend(data):
                    self._client.hold()
                    self._request = bytes(data)
                    self._backend = self._connect(self._answered)
                case ToClient(data):
                    self._client.send(data)
                case LogInAgain(data):
                    self._client.hold()
                    self._leave("bound again")
                    self._again(data)
                case Close(why):
                    self._end(why)

    def _answered(self, outcome: Outcome) -> None:
        self._backend = None
        if isinstance(outcome, LoggedIn):
            self._over = True
            request = self._request
            self._session.bytes_in -= len(request)  # the relay counts it
            Relay(self._worker, self._front, self._session, self._client, outcome, request, self._again)
            return
        refused = outcome if isinstance(outcome, BackendRefused) else BackendRefused(Fault.PROTOCOL, "no result")
        self._client.send(self._front.kit.farewell(UNAVAILABLE))
        self._end("backend login failed", refused)

    def _lost(self) -> None:
        self._end(f"client: {self._client.lost}")

    def _cut(self, why: Parting, done: Callable[[], None]) -> None:
        """Session.cut: nothing was asked, or nothing answered."""
        self._client.send(self._front.kit.farewell(GOODBYE[why]))
        self._end(why)
        done()

    def _end(self, why: str, refused: BackendRefused | None = None) -> None:
        if not self._over:
            self._client.finish_and_close()
            self._leave(why, refused)

    def _leave(self, why: str, refused: BackendRefused | None = None) -> None:
        self._over = True
        if self._backend is not None:
            self._backend.abandon()
            self._backend = None
        session, worker = self._session, self._worker
        worker.sessions.remove(session)
        fault, detail = (refused.fault, refused.detail) if refused is not None else (None, "")
        worker.link.report(Ended(session.id, why, session.bytes_in, session.bytes_out, fault=fault, detail=detail))
