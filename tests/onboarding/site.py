"""A site that offers everything, and an app password of Alice's."""

from __future__ import annotations

from pathlib import Path

from proxy.config import Config
from proxy.domain.model import Protocol
from proxy.domain.secret import Secret
from proxy.onboarding.handover import Handover
from tests.config.mistakes import loaded

SITE = """\
default_domain: example.org
domains: [example.org, example.net]
hostname: mail.example.org
tls: {certificate: /etc/x/chain.pem, key: /etc/x/key.pem}
portal: {url: "https://login.example.org", name: "Example & Co"}
fronts:
  - {protocol: imap, listen: "[::]:143", tls: starttls, backend: mail}
  - {protocol: imap, listen: "[::]:993", tls: implicit, backend: mail}
  - {protocol: imap, listen: "127.0.0.1:1993", tls: implicit, backend: mail}
  - {protocol: smtp, listen: "[::]:465", tls: implicit, backend: submission, public: "smtp.example.org:465"}
  - {protocol: ldap, listen: "[::]:389", tls: starttls, backend: directory}
  - {protocol: ldap, listen: "[::]:636", tls: implicit, backend: directory, public: "ldap.example.org:636"}
backends:
  mail:
    protocol: imap
    address: "127.0.0.1:10143"
    tls: none
    login: {strategy: dovecot_token, issuer: sidegate, client_id: sidegate}
  submission: {protocol: smtp, address: "127.0.0.1:10587", tls: none, login: {strategy: xclient}}
  directory:
    protocol: ldap
    address: "127.0.0.1:10389"
    tls: none
    account_dn: "mail={account},ou=people,dc=example,dc=org"
    login: {strategy: proxied_authorization, bind_dn: "cn=sidegate,dc=example,dc=org", password: pw}
"""
SECRET = "abcd-efgh-jkmn-pqrs-tuvw"
ALL = frozenset(Protocol)


def site(folder: Path, *changes: tuple[str, str]) -> Config:
    """SITE, with each first text replaced by the second."""
    text = SITE
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return loaded(folder, text)


def without(protocol: str) -> tuple[tuple[str, str], ...]:
    """Changes that stop telling about a protocol."""
    lines = [line for line in SITE.splitlines(keepends=True) if f"{{protocol: {protocol}, listen" in line]
    return tuple((line, line.partition(", public")[0].rstrip("}\n") + ", public: none}\n") for line in lines)


def handover(**more: object) -> Handover:
    fields: dict[str, object] = {
        "id": "7",
        "address": "alice@example.org",
        "display_name": "Alice Álvarez",
        "scopes": ALL,
        "secret": Secret(SECRET),
    }
    return Handover(**(fields | more))  # type: ignore[arg-type]
