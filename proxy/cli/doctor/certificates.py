"""Certificates that clients will see: their names and their end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from proxy.cli.doctor.finding import Finding, State
from proxy.config import Config

SOON = timedelta(days=14)
"""Certificates of 90 days are renewed 30 days before their end: 14 left means that renewal is broken."""


def certificates(config: Config) -> Iterator[Finding]:
    """Every certificate of the fronts and the portal."""
    pairs = [*config.tls, config.portal.tls, config.portal.profile_signer]
    covered: set[str] = set()
    for path in dict.fromkeys(pair.certificate for pair in pairs if pair is not None):
        names, finding = _look(path)
        covered |= names
        yield finding
    if config.tls and config.hostname not in covered and not _by_wildcard(config.hostname, covered):
        yield Finding(
            "certificates",
            State.WARNING,
            f"none is for {config.hostname}, the name that `hostname` and the DNS records tell clients",
            "set `hostname` to a name in the certificate, or get one for it",
        )


def _look(path: Path) -> tuple[set[str], Finding]:
    check = f"certificate {path}"
    try:
        leaf = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError, IndexError):
        return set(), Finding(check, State.FAILED, "cannot be read", "see `sidegate check`")
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = set(extension.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        return set(), Finding(check, State.FAILED, "has no names (subjectAltName): no client accepts it")
    left = leaf.not_valid_after_utc - datetime.now(UTC)
    listed = ", ".join(sorted(names)) or "no DNS names"
    if left <= timedelta(0):
        return names, Finding(check, State.FAILED, f"ended {(-left).days} days ago", "renew it, then reload sidegate")
    if leaf.not_valid_before_utc > datetime.now(UTC):
        return names, Finding(check, State.FAILED, "is not valid yet", "see the host's clock")
    if left < SOON:
        return names, Finding(check, State.WARNING, f"ends in {left.days} days ({listed})", "see why it is not renewed")
    return names, Finding(check, State.OK, f"valid for {left.days} days; names: {listed}")


def _by_wildcard(name: str, covered: set[str]) -> bool:
    return "*." + name.partition(".")[2] in covered
