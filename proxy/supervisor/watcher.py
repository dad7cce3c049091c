"""The supervisor's end of the link: the core names a worker that did not confirm a cut, and we end it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.internet import ClientService, backoffPolicy
from twisted.internet.protocol import Factory, Protocol

from proxy import logs
from proxy.link.messages import LINK_VERSION, Hello, Kill, LinkError, encode, messages_from_core
from proxy.supervisor.slot import Reactor

log = logs.get("supervisor")


def watcher(reactor: Reactor, link: Path, kill: Callable[[int, str], None]) -> ClientService:
    """A service that stays connected to the core and calls kill(pid, why) for each Kill."""
    # This module takes LISTEN_FDS out of the environment when it is imported: not before listeners.py has read it.
    from twisted.internet.endpoints import UNIXClientEndpoint

    endpoint: Any = UNIXClientEndpoint(reactor, str(link))  # type: ignore[no-untyped-call]
    factory: Any = _Factory(kill)
    return ClientService(endpoint, factory, retryPolicy=backoffPolicy(0.1, 2.0))


class _Factory(Factory):
    noisy = False

    def __init__(self, kill: Callable[[int, str], None]) -> None:
        self._kill = kill

    def buildProtocol(self, addr: object) -> _Watcher:
        return _Watcher(self._kill)


class _Watcher(Protocol):
    transport: Any

    def __init__(self, kill: Callable[[int, str], None]) -> None:
        self._kill = kill
        self._buffer = bytearray()

    def connectionMade(self) -> None:
        self.transport.write(encode(Hello(version=LINK_VERSION, role="supervisor", sessions=[])))

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        try:
            for message in messages_from_core(self._buffer):
                if isinstance(message, Kill):
                    self._kill(message.pid, message.why)
        except LinkError:
            log.exception("the core sent rubbish on the link")
            self.transport.abortConnection()
