"""What the connections of one front worker share, and how the core's messages change it."""

from __future__ import annotations

import ssl
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy import logs
from proxy.domain.networks import NetworkSet
from proxy.fronts.backends import Backend
from proxy.fronts.descriptor import Leg
from proxy.fronts.protocols import PROTOCOLS, ProtocolKit
from proxy.fronts.refusals import RefusalTable
from proxy.fronts.sessions import Sessions
from proxy.fronts.tls import server_context
from proxy.link.client import LinkClient
from proxy.link.messages import (
    Census,
    Cut,
    CutDone,
    FromCore,
    FrontSetting,
    Limited,
    LimitSetting,
    Reload,
    TakeCensus,
    Welcome,
)
from proxy.wire.events import FrontMachine, FrontSettings

if TYPE_CHECKING:
    from proxy.fronts.connection import Connection

LEAVE_WITHIN = 1.0
"""Seconds that peers get to take what was sent last, and to close."""

_log = logs.get("front")


class Front:
    """One listening protocol, as it is for connections made from now on."""

    def __init__(self, setting: FrontSetting, backend: Backend, context: ssl.SSLContext) -> None:
        self.name = setting.name
        self.implicit_tls = setting.tls == "implicit"
        self.kit: ProtocolKit = PROTOCOLS[setting.protocol]
        self.protocol = setting.protocol
        self.backend = backend
        self.context = context
        self.proxies = NetworkSet(setting.proxy_protocol_from)
        """Who must send a PROXY header; nobody else may connect then."""
        self.make: Callable[[], FrontMachine]

    def advertise(self, portal_url: str, hostname: str) -> None:
        """Build the machine factory anew: the greeting lists what the backend's last probe found."""
        backend = self.backend
        self.make = self.kit.make_front(
            FrontSettings(
                portal_url,
                hostname,
                not self.implicit_tls,
                backend.offers,
                backend.setting.account_dn,
                tuple(backend.setting.domains),
                backend.setting.bind_names,
                tuple(backend.services),
            ),
        )


class Worker:
    """The state of this process. Everything runs on one event loop."""

    def __init__(self, loop: AbstractEventLoop, link_path: str) -> None:
        self.loop = loop
        self.limits = LimitSetting()
        self.shared_networks = NetworkSet([])
        self.fronts: dict[str, Front] = {}
        self.backends: dict[str, Backend] = {}
        self.sessions = Sessions()
        self.refusals = RefusalTable()
        self.waiting: dict[str, dict[Connection, None]] = {}
        """Connections that are not logged in, by network, oldest first."""
        self.link = LinkClient(loop, link_path, "front", live_sessions=self.sessions.report, on_message=self._hear)
        self.on_settings: Callable[[], None] = lambda: None
        """Called after settings came, first or new."""
        self._portal_url = ""
        self._hostname = ""

    def _hear(self, message: FromCore) -> None:
        match message:
            case Welcome():
                if message.cut:
                    self.sessions.cut(Cut(0, [], [], message.cut), lambda count: None)
                self._configure(message)
            case Reload():
                self._configure(message)
            case Cut():
                self.sessions.cut(message, lambda count: self._cut_done(message.cut, count))
            case TakeCensus():
                self.link.send(Census(message.census, self.sessions.report()))
            case Limited():
                self.refusals.limited = frozenset(message.networks)
            case _:
                _log.warning("message for somebody else", message=type(message).__name__)

    def _cut_done(self, cut: int, count: int) -> None:
        self.link.send(CutDone(cut, count))

    def _configure(self, settings: Welcome | Reload) -> None:
        """Take new settings whole, or keep the old ones: a certificate that cannot be read must not stop a front."""
        try:
            backends = {setting.name: Backend(self.loop, setting) for setting in settings.backends}
            contexts = {
                protocol: server_context(settings.tls, PROTOCOLS[protocol].alpn)
                for protocol in {setting.protocol for setting in settings.fronts}
            }
        except OSError as error:
            _log.error("settings not taken: a certificate, key or CA file is unusable", reason=str(error))
            return
        for name, backend in backends.items():
            if name in self.backends:
                backend.offers = self.backends[name].offers
        self._portal_url, self._hostname = settings.portal_url, settings.hostname
        self.limits = settings.limits
        self.shared_networks = NetworkSet(settings.limits.shared_networks)
        self.link.question_timeout = settings.limits.question_timeout
        self.backends = backends
        self.fronts = {
            setting.name: Front(setting, backends[setting.backend], contexts[setting.protocol])
            for setting in settings.fronts
        }
        self.advertise()
        self.on_settings()

    def advertise(self) -> None:
        """Tell clients from now on what the backends were last seen to offer."""
        for front in self.fronts.values():
            front.advertise(self._portal_url, self._hostname)

    def report_refusals(self) -> None:
        """Send what the table holds; it stays there while the core is away."""
        if self.link.up:
            report = self.refusals.take()
            if report is not None:
                self.link.send(report)

    def leave(self, left: Callable[[], None]) -> None:
        """Say goodbye to every session and tell the core of it, then call `left`: LEAVE_WITHIN seconds at most."""
        deadline = self.loop.time() + LEAVE_WITHIN
        self.sessions.shut_down()
        self.report_refusals()

        def look() -> None:
            waits = len(self.sessions) or Leg.open_count or self.link.unsent
            if waits and self.loop.time() < deadline:
                self.loop.call_later(0.02, look)
            else:
                left()

        look()

    @staticmethod
    def now() -> float:
        """Seconds since the epoch, for what people read; timeouts use loop.time()."""
        return time.time()
