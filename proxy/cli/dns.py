"""`sidegate dns records`: what mail programs look up to find the fronts (RFC 6186, RFC 8314 section 5.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from proxy.cli.base import Failure, SidegateGroup, load_config
from proxy.cli.show import echo_json, json_option, note

if TYPE_CHECKING:
    from proxy.config.settings import Config

TTL = 3600
SERVICES = (
    ("_imaps", "imap", "implicit"),
    ("_imap", "imap", "starttls"),
    ("_submissions", "smtp", "implicit"),
    ("_submission", "smtp", "starttls"),
)
"""Service name, protocol and TLS of the front that offers it."""


class Srv(NamedTuple):
    """One SRV record; target `.` and port 0 say that the service is not offered (RFC 6186 section 3.4)."""

    name: str
    priority: int
    weight: int
    port: int
    target: str


def srv_records(config: Config, domain: str) -> list[Srv]:
    """A record per service: implicit TLS first, since RFC 8314 prefers it."""
    records = []
    for service, protocol, tls in SERVICES:
        ports = [front.listen.port for front in config.fronts if front.protocol == protocol and front.tls == tls]
        name = f"{service}._tcp.{domain}."
        if ports:
            priority = 0 if tls == "implicit" else 10
            records += [Srv(name, priority, 1, port, f"{config.hostname}.") for port in sorted(set(ports))]
        else:
            records.append(Srv(name, 0, 0, 0, "."))
    return records


@click.group(cls=SidegateGroup)
def dns() -> None:
    """DNS records that let mail programs find sidegate."""


@dns.command()
@click.argument("domain")
@json_option
def records(domain: str, as_json: bool) -> None:
    """Print the SRV records for a domain, as lines for its zone file."""
    from proxy.domain.addresses import domain_of
    from proxy.domain.login_names import canonical

    config = load_config(files=False)
    name = domain_of(canonical(f"x@{domain.rstrip('.')}", "") or "")
    if not name:
        raise Failure(f"{domain!r} is not a domain")
    if name not in config.domains:
        note(f"sidegate: note: {name} is not among `domains:` in {config.path}; logins for it are refused")
    found = srv_records(config, name)
    if as_json:
        echo_json([record._asdict() for record in found])
        return
    for record in found:
        click.echo(f"{record.name:<32} {TTL} IN SRV {record.priority} {record.weight} {record.port} {record.target}")
