"""The configuration as front workers get it: without secrets, on the link's first message and at every reload."""

from __future__ import annotations

from proxy.config.settings import Config
from proxy.link.messages import (
    LINK_VERSION,
    BackendSetting,
    FrontSetting,
    LimitSetting,
    Reload,
    ServiceSetting,
    TlsFiles,
    Welcome,
)


def welcome(config: Config, cut: list[str]) -> Welcome:
    """The answer to a front worker's Hello; `cut`: ids of its sessions that must go."""
    return Welcome(
        LINK_VERSION,
        config.hostname,
        config.portal.url,
        _tls(config),
        _fronts(config),
        _backends(config),
        _limits(config),
        cut,
    )


def reload(config: Config) -> Reload:
    return Reload(config.hostname, config.portal.url, _tls(config), _fronts(config), _backends(config), _limits(config))


def _tls(config: Config) -> list[TlsFiles]:
    return [TlsFiles(str(pair.certificate), str(pair.key), list(pair.names)) for pair in config.tls]


def _fronts(config: Config) -> list[FrontSetting]:
    return [
        FrontSetting(front.name, front.protocol, front.tls, front.backend, list(front.proxy_protocol_from))
        for front in config.fronts
    ]


def _backends(config: Config) -> list[BackendSetting]:
    return [
        BackendSetting(
            backend.name,
            backend.protocol,
            [str(address) for address in backend.addresses],
            backend.tls,
            str(backend.ca) if backend.ca is not None else None,
            backend.server_name,
            backend.client_address,
            backend.account_dn,
            backend.bind_names,
            list(config.domains) if backend.account_dn else [],
            [ServiceSetting(service.dn, list(service.networks)) for service in backend.service_accounts],
            backend.bind_only,
        )
        for backend in config.backends.values()
    ]


def _limits(config: Config) -> LimitSetting:
    limits = config.limits
    return LimitSetting(
        refusal_delay=limits.refusal_delay,
        login_timeout=limits.login_timeout,
        refusals_per_connection=limits.refusals_per_connection,
        connections_per_network=limits.connections_per_network,
        shared_networks=list(config.shared_networks()),
    )
