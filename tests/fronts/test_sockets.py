"""What both legs' sockets are asked for (docs/architecture.md): no delay, and a dead peer is noticed."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing
from types import SimpleNamespace

from proxy.fronts.listeners import Listeners
from proxy.fronts.sockets import accept, connect_socket

WANTED = {
    "TCP_NODELAY": (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    "SO_KEEPALIVE": (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    "TCP_KEEPIDLE": (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    "TCP_KEEPINTVL": (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    "TCP_KEEPCNT": (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6),
    "TCP_USER_TIMEOUT": (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000),
}


def options(sock: socket.SocketType) -> dict[str, int]:
    return {name: sock.getsockopt(level, option) for name, (level, option, _) in WANTED.items()}


def test_both_legs_have_every_option() -> None:
    wanted = {name: value for name, (_, _, value) in WANTED.items()}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert options(listener) != wanted  # as the kernel makes it
        worker = SimpleNamespace(loop=asyncio.new_event_loop())
        Listeners(worker, {"imap": listener}, 100)  # type: ignore[arg-type]
        worker.loop.close()
        with closing(connect_socket(socket.AF_INET, listener.getsockname())) as backend_leg:
            listener.setblocking(True)
            client_leg, peer = accept(listener)
            with closing(client_leg):
                assert options(client_leg) == wanted  # inherited
                assert options(backend_leg) == wanted
                assert peer == backend_leg.getsockname()
                assert not client_leg.getblocking()
