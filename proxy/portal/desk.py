"""What every page works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

from starlette.requests import Request

from proxy.config.settings import Config
from proxy.directory import Directory
from proxy.directory.oidc import Provider
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.networks import NetworkSet
from proxy.factors import Factor
from proxy.factors.sealing import Sealer
from proxy.notices.mailer import Mailer
from proxy.notices.web_push import WebPush
from proxy.portal.core_client import CoreClient
from proxy.portal.texts import Texts
from proxy.store.threads import StoreThreads


@dataclass(slots=True)
class PortalDesk:
    """Built once by the portal process; on `app.state.desk`."""

    config: Config
    store: StoreThreads
    sealer: Sealer
    """What only the portal can open and check: everything under the portal key goes through it."""
    directory: Directory
    factors: Mapping[FactorKind, Factor]
    """What may be registered and asked for here."""
    core: CoreClient
    clock: Callable[[], float]
    """Seconds since the epoch."""
    token: Callable[[int], bytes]
    """That many random bytes."""
    texts: Mapping[str, Texts]
    """By language."""
    mailer: Mailer | None = None
    """None: no mail is sent."""
    web_push: WebPush | None = None
    """None: browsers are not woken from here."""
    provider: Provider | None = None
    """Where people sign in, if it is not here."""
    base: str = field(init=False)
    """The path of portal.url, without a slash at its end."""
    origin: str = field(init=False)
    """Of portal.url, as browsers write it (RFC 6454)."""
    forwarded_from: NetworkSet = field(init=False)
    trusted: NetworkSet = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.config.portal.url)
        usual = {"https": 443, "http": 80}.get(parts.scheme)
        port = "" if parts.port in (None, usual) else f":{parts.port}"
        host = parts.hostname or ""
        self.base = parts.path.rstrip("/")
        self.origin = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"
        self.forwarded_from = NetworkSet(self.config.portal.forwarded_from)
        self.trusted = NetworkSet(self.config.portal.trusted_networks)

    @property
    def secure(self) -> bool:
        """Whether browsers reach the pages over TLS: all but the demo."""
        return self.origin.startswith("https:")


def desk_of(request: Request) -> PortalDesk:
    return cast(PortalDesk, request.app.state.desk)
