"""`sidegate dns records`: what mail programs look up to find the fronts and what is published about them."""

from __future__ import annotations

import click

from proxy.cli.base import Failure, SidegateGroup, load_config
from proxy.cli.show import echo_json, json_option, note


@click.group(cls=SidegateGroup)
def dns() -> None:
    """DNS records that let mail programs find sidegate."""


@dns.command()
@click.argument("domain")
@json_option
def records(domain: str, as_json: bool) -> None:
    """Print the records for a domain, as lines for its zone file."""
    from proxy.domain.addresses import domain_of
    from proxy.domain.login_names import canonical
    from proxy.onboarding import dns as onboarding

    config = load_config(files=False)
    name = domain_of(canonical(f"x@{domain.rstrip('.')}", "") or "")
    if not name:
        raise Failure(f"{domain!r} is not a domain")
    if name not in config.domains:
        note(f"sidegate: note: {name} is not among `domains:` in {config.path}; logins for it are refused")
    for bare in sorted({front.public.host for front in config.fronts if front.public and "." not in front.public.host}):
        note(f"sidegate: note: {bare} is no full host name; write hostname: {bare}.{name}, or public: of the fronts")
    found = onboarding.records(config, name)
    for host in onboarding.names_of_the_portal(found):
        note(f"sidegate: note: the portal must answer https://{host} with a certificate for that name")
    if as_json:
        echo_json([record._asdict() | {"ttl": onboarding.TTL} for record in found])
        return
    for record in found:
        click.echo(f"{record.name:<32} {onboarding.TTL} IN {record.type} {record.value}")
