"""Accepting connections, and not accepting them while descriptors are short."""

from __future__ import annotations

import resource
import socket

from proxy import logs
from proxy.fronts.connection import Connection
from proxy.fronts.descriptor import Leg
from proxy.fronts.sockets import accept, set_options
from proxy.fronts.worker import Worker

RESERVED = 64
"""Descriptors that connections never get: listeners, link, logs, certificates being reloaded."""
PAUSE_AT = 0.95
RESUME_AT = 0.93
"""Shares of the rest at which accepting stops and goes on. What is left between is for backend legs."""
BATCH = 16
"""Connections taken at one go, so that a storm does not starve the sessions."""

_log = logs.get("front")


def raise_descriptor_limit() -> int:
    """Lift RLIMIT_NOFILE to its hard limit; how many descriptors connections may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(hard - RESERVED, 2)


class Listeners:
    """The listening sockets of this worker: inherited, shared with the other workers."""

    def __init__(self, worker: Worker, sockets: dict[str, socket.SocketType], capacity: int) -> None:
        """`sockets` by name of the front; `capacity`: legs that may be open at once."""
        self._worker = worker
        self._sockets = sockets
        self._pause_at = int(capacity * PAUSE_AT)
        self._resume_at = int(capacity * RESUME_AT)
        self._accepting = False
        for sock in sockets.values():
            sock.setblocking(False)
            set_options(sock)

    def start(self) -> None:
        """Accept. A listening socket whose front the core does not know is left alone."""
        Leg.when_closed = self._leg_closed
        self._resume()

    def stop(self) -> None:
        """Close the listening sockets; sessions go on."""
        self._pause()
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()

    def _resume(self) -> None:
        if not self._accepting:
            self._accepting = True
            for name, sock in self._sockets.items():
                self._worker.loop.add_reader(sock.fileno(), self._accept, name, sock)

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            for sock in self._sockets.values():
                self._worker.loop.remove_reader(sock.fileno())

    def _leg_closed(self) -> None:
        if not self._accepting and Leg.open_count <= self._resume_at and self._sockets:
            _log.info("accepting connections again", open=Leg.open_count)
            self._resume()

    def _accept(self, name: str, sock: socket.SocketType) -> None:
        for _ in range(BATCH):
            if Leg.open_count >= self._pause_at:
                _log.error("out of descriptors: not accepting for now", open=Leg.open_count)
                self._pause()
                return
            try:
                accepted, peer = accept(sock)
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:  # EMFILE, ENFILE, ENOBUFS, ENOMEM: somebody else took what we counted on
                _log.error("cannot accept", front=name, reason=error.strerror)
                self._pause()
                self._worker.loop.call_later(0.5, self._resume)
                return
            front = self._worker.fronts.get(name)
            if front is None:
                accepted.close()
                continue
            try:
                local = accepted.getsockname()
            except OSError:
                accepted.close()
                continue
            Connection(self._worker, front, Leg(self._worker.loop, accepted), peer, local)
