"""A logged-in session: bytes move between the client's leg and the backend's until one of them, or a cut, ends it.

One side is not read while the other cannot take more, so at most one shared buffer's worth waits per direction, as a
copy in the leg that is blocked. IMAP is a plain relay with an observer; SMTP stays framed.
"""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable

from proxy.fronts.descriptor import LINGER, Leg, buffer
from proxy.fronts.login import LoggedIn
from proxy.fronts.sessions import Parting, Session
from proxy.fronts.worker import Front, Worker
from proxy.link.messages import Ended, Program, Started
from proxy.wire.events import (
    ClientObserver,
    Close,
    CloseBackend,
    Counted,
    FramedRelay,
    LogInAgain,
    RelayEvent,
    ToBackend,
    ToClient,
)

MESSAGE_REPLY_WAIT = 0.5
"""Seconds that a cut waits for the backend's answer to a message whose final dot is out."""
GOODBYE = {
    Parting.REVOKED: "Session ended by an administrator or the owner",
    Parting.CUT: "Session ended by an administrator or the owner",
    Parting.SHUTDOWN: "Server is shutting down",
}
_LF = 10


class Relay:
    """Owns both legs. Started by its construction."""

    __slots__ = (
        "_again",
        "_at_line_end",
        "_backend",
        "_client",
        "_cut_done",
        "_farewell",
        "_framed",
        "_observer",
        "_over",
        "_parting",
        "_session",
        "_timer",
        "_worker",
    )

    def __init__(
        self,
        worker: Worker,
        front: Front,
        session: Session,
        client: Leg,
        backend: LoggedIn,
        from_client: bytes,
        again: Callable[[bytes], None] | None,
    ) -> None:
        """`from_client` is what the client sent behind its login. `again` takes the client back, with the bytes that
        begin another login, where the protocol has such a thing."""
        kit = front.kit
        self._again = again
        self._worker = worker
        self._session = session
        self._client = client
        self._backend = backend.leg
        self._farewell = kit.farewell
        self._framed: FramedRelay | None = kit.framed(backend.ready) if kit.framed is not None else None
        self._observer: ClientObserver | None = kit.observer() if kit.observer is not None else None
        self._at_line_end = True
        self._over = False
        self._timer: TimerHandle | None = None
        self._cut_done: list[Callable[[], None]] = []
        self._parting = Parting.CUT
        session.cut = self._cut
        session.live = True
        worker.link.report(Started(session.id, backend.address, session.program))
        client.on_lost = self._client_lost
        backend.leg.on_lost = self._backend_lost
        client.on_drained = backend.leg.on_drained = self._regulate
        if backend.trailing:
            self._from_backend(memoryview(backend.trailing))
        if from_client and not self._over:
            self._from_client(memoryview(from_client))
        self._after_client()
        self._after_backend()

    # ---- moving ------------------------------------------------------------------------------

    def _client_readable(self) -> None:
        count = self._client.read()
        if count:
            self._from_client(buffer[:count])
        self._after_client()

    def _from_client(self, data: memoryview) -> None:
        session = self._session
        session.bytes_in += len(data)
        if self._framed is not None:
            self._carry(self._framed.client_data(data))
            return
        observer = self._observer
        if observer is not None and observer.observe(data):
            session.program = observer.program
            self._worker.link.report(Program(session.id, observer.program or ""))
        self._backend.send(data)

    def _after_client(self) -> None:
        if self._over:
            return
        if self._client.at_end:
            self._client.hold()
            self._client_ended()
        else:
            self._regulate()

    def _backend_readable(self) -> None:
        count = self._backend.read()
        if count:
            self._from_backend(buffer[:count])
        self._after_backend()

    def _from_backend(self, data: memoryview) -> None:
        framed = self._framed
        if framed is not None:
            held = framed.hold_client
            self._carry(framed.backend_data(data))
            if held and not framed.hold_client and self._client.at_end and not self._over:
                self._client_ended()
            return
        self._session.bytes_out += len(data)
        self._at_line_end = data[-1] == _LF
        self._client.send(data)

    def _after_backend(self) -> None:
        if self._over:
            return
        if self._cut_done and not self._reply_due:
            self._finish_cut()
        elif self._backend.at_end:
            self._backend.hold()
            self._backend_ended()
        else:
            self._regulate()

    def _regulate(self) -> None:
        """Read each side only while the other takes everything."""
        if self._over:
            return
        client, backend, framed = self._client, self._backend, self._framed
        if (
            client.at_end
            or self._cut_done
            or backend.blocked
            or (framed is not None and (framed.hold_client or client.blocked))
        ):
            client.hold()
        else:
            client.watch(self._client_readable)
        if backend.at_end or client.blocked:
            backend.hold()
        else:
            backend.watch(self._backend_readable)

    def _carry(self, events: list[RelayEvent]) -> None:
        session = self._session
        for event in events:
            match event:
                case ToBackend(data):
                    if not self._cut_done:  # or a reply awaited by the cut would let out what the client ran ahead with
                        self._backend.send(data)
                case ToClient(data):
                    session.bytes_out += len(data)
                    self._client.send(data)
                case Counted(messages, recipients):
                    session.messages += messages
                    session.recipients += recipients
                case CloseBackend():
                    self._backend.close()
                case LogInAgain(data):
                    self._log_in_again(data)
                    return
                case Close(why):
                    self._end(why)
                    return

    # ---- the end -----------------------------------------------------------------------------

    def _client_ended(self) -> None:
        """The client sends no more: the backend hears so, behind everything that the framed relay still holds."""
        if self._framed is not None and self._framed.hold_client:
            return
        self._backend.finish()
        if self._backend.at_end and not self._client.blocked:
            self._end("closed")

    def _backend_ended(self) -> None:
        """The backend sends no more: the client gets all of it, then the end; what it still says has a second."""
        if self._client.blocked:
            self._client.on_drained = self._backend_ended
            return
        if self._client.at_end:
            self._end("closed")
            return
        self._client.on_drained = self._regulate
        self._client.finish()
        if self._timer is None:
            self._timer = self._worker.loop.call_later(LINGER, self._end, "backend closed")
            self._regulate()

    def _client_lost(self) -> None:
        self._end(f"client: {self._client.lost}")

    def _backend_lost(self) -> None:
        self._end(f"backend: {self._backend.lost}")

    def _log_in_again(self, data: bytes) -> None:
        """The session is over, the client stays: nobody's backend leg is used by somebody else."""
        client, again = self._client, self._again
        assert again is not None
        self._over = True
        client.hold()
        client.on_drained = None
        self._leave("bound again")
        again(data)

    def _end(self, why: str) -> None:
        """The session is over: the backend leg goes at once, the client's when it has what was sent to it."""
        if not self._over:
            self._over = True
            self._client.finish_and_close()
            self._leave(why)

    def _leave(self, why: str) -> None:
        """Give the backend leg up and tell of the end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._backend.close()
        session, worker = self._session, self._worker
        worker.sessions.remove(session)
        worker.link.report(
            Ended(session.id, why, session.bytes_in, session.bytes_out, session.messages, session.recipients)
        )
        for done in self._cut_done:
            done()
        self._cut_done.clear()

    # ---- a cut -------------------------------------------------------------------------------

    def _cut(self, why: Parting, done: Callable[[], None]) -> None:
        """Session.cut: nothing passes any more, except the answer to a message that is already sent."""
        self._cut_done.append(done)
        if len(self._cut_done) > 1:
            return
        self._parting = why
        if self._reply_due:
            self._client.hold()
            self._timer = self._worker.loop.call_later(MESSAGE_REPLY_WAIT, self._finish_cut)
        else:
            self._finish_cut()

    @property
    def _reply_due(self) -> bool:
        """A final dot is out, and the backend's answer to it may still come."""
        framed, backend = self._framed, self._backend
        return framed is not None and framed.awaiting_message_reply and not backend.blocked and not backend.at_end

    def _finish_cut(self) -> None:
        """Say why, where the protocol allows a word now; then close both legs, the backend's first."""
        framed, client = self._framed, self._client
        self._backend.close()
        if framed is not None:
            may_speak = not framed.in_message and not client.blocked
        else:
            compressed = self._observer is not None and self._observer.compressed
            may_speak = self._at_line_end and not compressed and not client.blocked
        if may_speak:
            client.send(self._farewell(GOODBYE[self._parting]))
        else:
            client.close()
        self._end(self._parting)
