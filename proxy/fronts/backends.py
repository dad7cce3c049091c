"""A backend as a worker sees it: where it is, how its TLS is verified, what its last probe listed."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
from asyncio import AbstractEventLoop, Task, TimerHandle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proxy.domain.networks import NetworkSet
from proxy.fronts.tls import client_context
from proxy.link.messages import BackendSetting

REMEMBER = 30.0
"""Seconds that a looked-up host name's addresses are used without asking again."""
LOOK_UP_WITHIN = 5.0
"""Seconds that a login waits for the resolver."""


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
        self.services = {service.dn: NetworkSet(service.networks) for service in setting.services}
        """The service DNs that may be passed through, and from where."""
        self.service_networks = NetworkSet([network for one in setting.services for network in one.networks])
        self.offers: frozenset[str] = frozenset()
        self.reachable: bool | None = None
        """As the last probe found it; None before the first."""
        self.context: ssl.SSLContext | None = client_context(setting.ca) if setting.tls != "none" else None
        self._loop = loop
        self._remembered: list[Target] = []
        self._fresh_until = float("-inf")
        self._look_up: Task[list[Target]] | None = None
        self._waiting: list[Callable[[list[Target]], None]] = []
        self._patience: TimerHandle | None = None

    def targets(self, found: Callable[[list[Target]], None]) -> None:
        """Call `found` with the addresses, in the configured order; none when no name could be looked up in time.

        Host names are looked up off the event loop, once for all that wait. An old answer is better than none while the
        resolver is away.
        """
        if self._loop.time() < self._fresh_until:
            found(self._remembered)
            return
        literal = [_literal(address, self.setting.server_name) for address in self.setting.addresses]
        if all(literal):
            self._remembered = [target for target in literal if target is not None]
            self._fresh_until = float("inf")
            found(self._remembered)
            return
        self._waiting.append(found)
        if self._look_up is None:
            self._look_up = self._loop.create_task(self._resolve())
            self._look_up.add_done_callback(self._resolved)
        if self._patience is None:
            self._patience = self._loop.call_later(LOOK_UP_WITHIN, self._tell)

    async def _resolve(self) -> list[Target]:
        targets: list[Target] = []
        for address in self.setting.addresses:
            literal = _literal(address, self.setting.server_name)
            if literal is not None:
                targets.append(literal)
                continue
            host, _, port = address.rpartition(":")
            with contextlib.suppress(OSError, UnicodeError):
                rows = await self._loop.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
                targets += [Target(row[0], row[4], address, self.setting.server_name or host) for row in rows]
        return targets

    def _resolved(self, look_up: Task[list[Target]]) -> None:
        self._look_up = None
        self._remembered = look_up.result() or self._remembered
        self._tell()

    def _tell(self) -> None:
        """Who waits gets what there is. What is remembered counts as fresh, so that not every login waits anew."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if self._remembered:
            self._fresh_until = self._loop.time() + REMEMBER
        waiting, self._waiting = self._waiting, []
        for found in waiting:
            self._loop.call_soon(found, self._remembered)


def _literal(address: str, server_name: str | None) -> Target | None:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        version = ipaddress.ip_address(host.partition("%")[0]).version
    except ValueError:
        return None
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    return Target(family, (host, int(port)), address, server_name or host)
