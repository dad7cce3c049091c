"""The DNS records by which programs find the fronts and the documents about them."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from proxy.config.settings import Config, FrontTls
from proxy.domain.model import Protocol
from proxy.onboarding import pacc
from proxy.onboarding.servers import mail_servers, servers

TTL = 3600
SERVICES = (
    ("_imaps", Protocol.IMAP, FrontTls.IMPLICIT),
    ("_imap", Protocol.IMAP, FrontTls.STARTTLS),
    ("_submissions", Protocol.SMTP, FrontTls.IMPLICIT),
    ("_submission", Protocol.SMTP, FrontTls.STARTTLS),
    ("_ldaps", Protocol.LDAP, FrontTls.IMPLICIT),
    ("_ldap", Protocol.LDAP, FrontTls.STARTTLS),
)
"""Service name, and the fronts that offer it (RFC 6186, RFC 8314 section 5.1; `_ldaps` is a custom of clients)."""


class Record(NamedTuple):
    """One record; `value` is as in a zone file."""

    name: str
    type: str
    value: str


def records(config: Config, domain: str) -> list[Record]:
    """All of them, in an order that reads well."""
    return [*_services(config, domain), *_documents(config, domain)]


def _services(config: Config, domain: str) -> list[Record]:
    """A record per front. Mail services that are not offered are denied with target `.` (RFC 6186 section 3.4)."""
    found = []
    for service, protocol, tls in SERVICES:
        name = f"{service}._tcp.{domain}."
        priority = 0 if tls is FrontTls.IMPLICIT else 10  # RFC 8314 prefers it
        offered = [server for server in servers(config, protocol) if server.tls is tls]
        found += [Record(name, "SRV", f"{priority} 1 {server.port} {server.host}.") for server in offered]
        # `_ldap` may be a directory's own, such as a domain controller's: that is not ours to deny.
        if not offered and protocol is not Protocol.LDAP:
            found.append(Record(name, "SRV", "0 0 0 ."))
    return found


def _documents(config: Config, domain: str) -> list[Record]:
    """The portal's host for what it publishes. Autodiscover gets a SRV record alone, which needs no certificate in the
    domain's name; the other two are looked up at fixed names and at port 443.
    """
    url = urlsplit(config.portal.url)
    host = url.hostname or ""
    found: list[Record] = []
    if url.scheme != "https" or ":" in host or host.rpartition(".")[2].isdigit():
        return found
    port = url.port or 443
    if mail_servers(config):
        found.append(Record(f"_autodiscover._tcp.{domain}.", "SRV", f"0 0 {port} {host}."))
    if port != 443:
        return found
    if mail_servers(config):
        found.append(Record(f"autoconfig.{domain}.", "CNAME", f"{host}."))
    body = pacc.document(config)
    if body is not None:
        found.append(Record(f"ua-auto-config.{domain}.", "CNAME", f"{host}."))
        found.append(Record(f"_ua-auto-config.{domain}.", "TXT", f'"{pacc.digest(body)}"'))
    return found


def names_of_the_portal(found: list[Record]) -> list[str]:
    """Host names, of these records, that the portal has to answer for with a certificate."""
    return [record.name.removesuffix(".") for record in found if record.type == "CNAME"]
