"""Each front, as a client on this host sees it: is somebody there, and is TLS."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator

from proxy.cli.doctor.finding import Finding, State
from proxy.cli.doctor.probing import probe_by
from proxy.cli.doctor.talk import Talk, Trouble
from proxy.config import Config
from proxy.config.settings import Address, Front, FrontTls
from proxy.domain.model import Protocol
from proxy.domain.networks import NetworkSet
from proxy.wire.ldap import backend as ldap


def fronts(config: Config) -> Iterator[Finding]:
    """A finding a front."""
    for front in config.fronts:
        yield _look(front, config.hostname)


def _look(front: Front, hostname: str) -> Finding:
    check = f"front {front.name}"
    host = reachable(front.listen)
    if host in NetworkSet(front.proxy_protocol_from):
        return Finding(check, State.NOTE, "expects a PROXY header from this host: not tried")
    # Whether clients trust the certificate is for them to know; it may be for a CA of their own.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with Talk(host, front.listen.port) as talk:
            version = _handshake(talk, front, context, hostname)
    except Trouble as trouble:
        return Finding(
            check, State.FAILED, f"{front.listen}: {trouble}", "see whether sidegate runs, and what else has the port"
        )
    return Finding(check, State.OK, f"{front.listen} answers, {version}")


def _handshake(talk: Talk, front: Front, context: ssl.SSLContext, hostname: str) -> str | None:
    if front.protocol is Protocol.LDAP:  # has no greeting: it is asked what a backend is asked
        implicit = front.tls is FrontTls.IMPLICIT
        probe_by(ldap.probe_machine(starttls=not implicit), talk, context, hostname, implicit=implicit)
        return talk.tls_version()
    if front.tls is FrontTls.IMPLICIT:
        version = talk.start_tls(context, hostname)
        _greeting(talk, front.protocol)
        return version
    _greeting(talk, front.protocol)
    if front.protocol is Protocol.SMTP:
        talk.smtp("EHLO doctor.invalid")
        if talk.smtp("STARTTLS")[0] != 220:
            raise Trouble("it does not start TLS")
    else:
        talk.send(b"d STARTTLS\r\n")
        if not talk.line().startswith(b"d OK"):
            raise Trouble("it does not start TLS")
    return talk.start_tls(context, hostname)


def _greeting(talk: Talk, protocol: Protocol) -> None:
    expected = b"220" if protocol is Protocol.SMTP else b"* OK"
    if not talk.line().startswith(expected):
        raise Trouble(f"what answers there does not speak {protocol}")


def reachable(listen: Address) -> str:
    """Where a client on this host finds a listener: loopback for one on every address."""
    address = ipaddress.ip_address(listen.host)
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"
    return listen.host
