"""HTTP as it is spoken to strangers: what uvicorn leaves to a server in front, because there need not be one.

A request that takes for ever to arrive, connections without end, answers that nobody fetches, and requests that two
servers may read differently (RFC 9112 section 11.2).
"""

from __future__ import annotations

import socket
from asyncio import TimerHandle, Transport

from h11 import IDLE, SEND_BODY
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_WITHIN = 20.0
"""Seconds from the first moment until a request has arrived whole; absolute, so that a byte now and then buys none."""
MAX_CONNECTIONS = 512
"""At that many, whoever has waited longest for their own request to arrive makes room for the next."""
FETCHED_WITHIN = 30.0
"""Seconds that an answer may lie unread."""


class HttpForStrangers(H11Protocol):
    """uvicorn's HTTP protocol (`uvicorn.Config(http=HttpForStrangers)`) with deadlines and room for newcomers."""

    _late: TimerHandle | None = None
    """Runs while a request is on its way here."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(FETCHED_WITHIN * 1000))
        if len(self.connections) > MAX_CONNECTIONS:
            self._make_room()
        self._watch()

    def handle_events(self) -> None:
        super().handle_events()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.conn.their_state not in (IDLE, SEND_BODY) or self.transport.is_closing():
            self._arrived()
        elif self._late is None:
            self._late = self.loop.call_later(REQUEST_WITHIN, self._leave)

    def _arrived(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _leave(self) -> None:
        """Close without a word, as for a client that is gone."""
        self.connections.discard(self)
        self.transport.abort()

    def _make_room(self) -> None:
        """Without anybody who is to be closed, uvicorn answers the newcomer 503 (`limit_concurrency`)."""
        waiting = [
            other
            for other in self.connections
            if isinstance(other, HttpForStrangers) and other is not self and other._late is not None
        ]
        if waiting:
            min(waiting, key=lambda other: other._late.when() if other._late is not None else 0.0)._leave()


def unambiguous(pages: ASGIApp) -> ASGIApp:
    """The pages, for requests that no server in front can have seen end elsewhere (RFC 9112 section 6.1); others get
    400 and no next one. Of two lengths h11 goes by the chunks, and would take what follows them for another request.
    """

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        names = [name for name, _ in scope["headers"]]
        if b"transfer-encoding" in names and (b"content-length" in names or scope["http_version"] != "1.1"):
            refusal = PlainTextResponse("A request has one length.\n", 400, {"Connection": "close"})
            await refusal(scope, receive, send)
        else:
            await pages(scope, receive, send)

    return application
