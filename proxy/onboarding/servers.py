"""Where programs find the fronts, and what they call an account there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from proxy.config.settings import Config, FrontTls
from proxy.domain.dn import Template
from proxy.domain.model import Protocol


@dataclass(frozen=True, slots=True)
class Server:
    """One front as programs are told about it."""

    protocol: Protocol
    host: str
    port: int
    tls: FrontTls
    backend: str


@dataclass(frozen=True, slots=True)
class DirectoryLogin:
    """What a program that reads the directory needs for one account."""

    server: Server
    dn: str
    base: str
    """Where to search."""


def servers(config: Config, protocol: Protocol) -> tuple[Server, ...]:
    """What is told about a protocol, best first: implicit TLS before STARTTLS (RFC 8314 section 3), else as configured.

    Fronts that only this host reaches are not told about, unless `public` says where they are found.
    """
    told = dict.fromkeys(
        Server(protocol, front.public.host, front.public.port, front.tls, front.backend)
        for front in config.fronts
        if front.protocol is protocol and front.public is not None
    )
    return tuple(sorted(told, key=lambda server: server.tls is not FrontTls.IMPLICIT))


def best(config: Config, protocol: Protocol) -> Server | None:
    """The one that a program is given when it takes only one."""
    return next(iter(servers(config, protocol)), None)


def mail_servers(config: Config) -> tuple[Server, Server] | None:
    """IMAP and SMTP; None where either is missing: a mail program cannot be set up with one."""
    imap, smtp = best(config, Protocol.IMAP), best(config, Protocol.SMTP)
    return None if imap is None or smtp is None else (imap, smtp)


def directory_login(config: Config, address: str) -> DirectoryLogin | None:
    """How the account with that address signs in at the directory."""
    server = best(config, Protocol.LDAP)
    if server is None:
        return None
    backend = config.backends[server.backend]
    dn = Template(backend.account_dn).fill(address)
    return DirectoryLogin(server, dn, backend.login.bases[0] if backend.login.bases else _parent(dn))


def _parent(dn: str) -> str:
    """The DN above; the DN itself where there is none."""
    return re.sub(r"^(?:[^\\,]|\\.)*,\s*", "", dn, count=1)
