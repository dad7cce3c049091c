"""A backend as a worker sees it: where it is, how its TLS is verified, what its last probe listed."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proxy.fronts.tls import client_context
from proxy.link.messages import BackendSetting

REMEMBER = 30.0
"""Seconds that a looked-up host name's addresses are used without asking again."""


@dataclass(frozen=True, slots=True)
class Target:
    """One address to try."""

    family: int
    sockaddr: tuple[Any, ...]
    name: str
    """host:port as configured, for the log."""
    server_name: str
    """What its certificate must carry."""


class Backend:
    """One configured backend. `offers` is what the last probe listed; empty until there was one."""

    def __init__(self, loop: AbstractEventLoop, setting: BackendSetting) -> None:
        self.setting = setting
        self.offers: frozenset[str] = frozenset()
        self.reachable: bool | None = None
        """As the last probe found it; None before the first."""
        self.context: ssl.SSLContext | None = client_context(setting.ca) if setting.tls != "none" else None
        self._loop = loop
        self._remembered: list[Target] = []
        self._fresh_until = float("-inf")

    def targets(self, found: Callable[[list[Target]], None]) -> None:
        """Call `found` with the addresses, in the configured order; host names are looked up off the event loop."""
        if self._loop.time() < self._fresh_until:
            found(self._remembered)
            return
        literal = [_literal(address, self.setting.server_name) for address in self.setting.addresses]
        if all(literal):
            self._remembered = [target for target in literal if target is not None]
            self._fresh_until = float("inf")
            found(self._remembered)
            return
        self._look_up(0, [], found)

    def _look_up(self, index: int, so_far: list[Target], found: Callable[[list[Target]], None]) -> None:
        if index == len(self.setting.addresses):
            if so_far:
                self._remembered = so_far
                self._fresh_until = self._loop.time() + REMEMBER
            found(so_far or self._remembered)  # an old answer is better than none while the resolver is away
            return
        address = self.setting.addresses[index]
        literal = _literal(address, self.setting.server_name)
        if literal is not None:
            self._look_up(index + 1, [*so_far, literal], found)
            return
        host, _, port = address.rpartition(":")

        def answered(future: Future[Any]) -> None:
            rows = [] if future.cancelled() or future.exception() else future.result()
            name = self.setting.server_name or host
            more = [Target(row[0], row[4], address, name) for row in rows]
            self._look_up(index + 1, so_far + more, found)

        lookup = self._loop.create_task(self._loop.getaddrinfo(host, int(port), type=socket.SOCK_STREAM))
        lookup.add_done_callback(answered)


def _literal(address: str, server_name: str | None) -> Target | None:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        version = ipaddress.ip_address(host.partition("%")[0]).version
    except ValueError:
        return None
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    return Target(family, (host, int(port)), address, server_name or host)
