"""Who is at the other end of admin.sock, from the kernel; so that the audit can say which operator it was."""

from __future__ import annotations

import asyncio
import re
import socket
import struct

from starlette.requests import Request
from uvicorn.protocols.http.h11_impl import H11Protocol

from proxy.admin.desk import Actor

_CREDENTIALS = struct.Struct("3i")
_PREFIX = "uid:"
SUDO_HEADER = "sidegate-sudo-uid"
"""Who became root to do this, as the command line tells it; believed only from root, who could do without."""


class PeerHttp(H11Protocol):
    """uvicorn's HTTP protocol (`uvicorn.Config(http=PeerHttp)`) with the peer's uid in `scope["client"]`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family == socket.AF_UNIX:
            raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            pid, uid, _ = _CREDENTIALS.unpack(raw)
            self.client = (f"{_PREFIX}{uid}", pid)


def actor_of(request: Request) -> Actor:
    """The operator who asks: `operator:UID`, or `operator:0(sudo:UID)`."""
    host = request.client.host if request.client is not None else ""
    uid = host.removeprefix(_PREFIX) if host.startswith(_PREFIX) else "?"
    sudo = request.headers.get(SUDO_HEADER, "")
    if uid == "0" and re.fullmatch(r"[0-9]{1,10}", sudo):
        return Actor(f"operator:0(sudo:{sudo})")
    return Actor(f"operator:{uid}")
