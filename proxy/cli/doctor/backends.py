"""Each backend: the probe that the fronts make, made here, with its answer in words."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from proxy.cli.doctor.finding import Finding, State
from proxy.cli.doctor.probing import probe_by
from proxy.cli.doctor.smtp_trust import smtp_trust
from proxy.cli.doctor.talk import Trouble, talk_to
from proxy.config import Config
from proxy.config.settings import Address, Backend, BackendTls, Strategy
from proxy.domain.model import Protocol
from proxy.wire.events import BackendMachine
from proxy.wire.imap import backend as imap
from proxy.wire.ldap import backend as ldap
from proxy.wire.smtp import backend as smtp


def backends(config: Config) -> Iterator[Finding]:
    """A finding an address, and what it offers that matters for its strategy."""
    for backend in config.backends.values():
        for address in backend.addresses:
            yield from _look(backend, address)


def _look(backend: Backend, address: Address) -> Iterator[Finding]:
    check = f"backend {backend.name}"
    context = client_context(backend)
    name = backend.server_name or address.host
    try:
        offers = probe(backend, address, context, name)
    except Trouble as trouble:
        yield Finding(check, State.FAILED, f"{address}: {trouble}", "see whether it runs and what its log says")
        return
    missing = missing_offer(backend, offers)
    if missing is not None:
        yield Finding(check, State.FAILED, f"{address} answers, but {missing}", "docs/backends has the lines for it")
    elif backend.protocol is Protocol.LDAP:
        yield Finding(check, State.OK, f"{address} answers (whom the service may speak for, only a login shows)")
    else:
        yield Finding(check, State.OK, f"{address} answers and offers what {backend.login.strategy} needs")
    if backend.protocol is Protocol.SMTP:
        yield from smtp_trust(check, backend, address, context, name)


def client_context(backend: Backend) -> ssl.SSLContext:
    """TLS towards a backend, verified as the fronts verify it."""
    return ssl.create_default_context(cafile=str(backend.ca) if backend.ca is not None else None)


def probe(backend: Backend, address: Address, context: ssl.SSLContext, name: str) -> frozenset[str]:
    """What the backend lists before login. Trouble says where the dialogue stopped."""
    with talk_to(backend, address) as talk:
        return probe_by(_machine(backend), talk, context, name, implicit=backend.tls is BackendTls.IMPLICIT)


def _machine(backend: Backend) -> BackendMachine:
    starttls = backend.tls is BackendTls.STARTTLS
    match backend.protocol:
        case Protocol.IMAP:
            return imap.probe_machine(starttls=starttls)
        case Protocol.SMTP:
            return smtp.probe_machine(starttls=starttls)
        case Protocol.LDAP:
            return ldap.probe_machine(starttls=starttls)


def missing_offer(backend: Backend, offers: frozenset[str]) -> str | None:
    """What the login strategy needs and the backend does not list, as a clause."""
    listed = offers if backend.protocol is Protocol.IMAP else _smtp_mechanisms(offers)
    prefix = "AUTH=" if backend.protocol is Protocol.IMAP else ""
    match backend.login.strategy:
        case Strategy.DOVECOT_TOKEN if f"{prefix}OAUTHBEARER" not in listed:
            return "it does not offer OAUTHBEARER, which dovecot_token needs"
        case Strategy.XCLIENT if not any(offer.split()[0] == "XCLIENT" for offer in offers if offer):
            return "it does not offer XCLIENT to this host (smtpd_authorized_xclient_hosts)"
        case Strategy.MASTER_USER | Strategy.STATIC if f"{prefix}PLAIN" not in listed:
            return "it does not offer PLAIN (plain text logins are off until TLS, or at all)"
        case _:
            return None


def _smtp_mechanisms(offers: frozenset[str]) -> set[str]:
    return {
        mechanism for offer in offers for keyword, *rest in [offer.split()] if keyword == "AUTH" for mechanism in rest
    }
