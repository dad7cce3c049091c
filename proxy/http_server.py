"""uvicorn as the core and the portal run it: inside a loop and with signals that are ours."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn

HANDSHAKE_WITHIN = 10.0
"""Seconds for a TLS handshake."""


class Server(uvicorn.Server):
    """uvicorn without its hands on our signals, and without its looking ten times a second whether it is to stop."""

    def __init__(self, settings: uvicorn.Config, on_started: Callable[[], None] = lambda: None) -> None:
        super().__init__(settings)
        self._on_started = on_started
        self._stopping = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's, which has no word for the time that a handshake may take."""
        loop, tls = asyncio.get_running_loop(), self.config.ssl
        self.servers = [
            await loop.create_server(
                self._protocol,
                sock=sock,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else HANDSHAKE_WITHIN,
                backlog=self.config.backlog,
            )
            for sock in sockets or ()
        ]
        self.started = True
        self._on_started()

    def stop(self) -> None:
        """Accept nothing more, finish what is open, return from serve()."""
        self.should_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        """Wakes up for the Date header alone."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0 if self.config.date_header else None):
                    await self._stopping.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM is ours; uvicorn would raise it again after the end."""
        yield

    def _protocol(self) -> asyncio.Protocol:
        protocol: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
