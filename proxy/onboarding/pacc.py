"""Automatic configuration without ports (draft-ietf-mailmaint-pacc-03): one document, whose digest stands in the DNS.

The bytes are canonical: the same configuration always gives the same digest, so that DNS need not change. The document
is the same for every domain and tells of nothing but IMAP on 993 and submission on 465: the draft has no ports.
"""

from __future__ import annotations

import base64
import hashlib
import json

from proxy.config.settings import Config, FrontTls
from proxy.domain.model import Protocol
from proxy.onboarding.servers import servers

PROTOCOLS = (("imap", Protocol.IMAP, 993), ("submit", Protocol.SMTP, 465))
MAX_NAME, MAX_SHORT_NAME = 60, 20
"""Characters."""


def document(config: Config) -> bytes | None:
    """user-agent-configuration.json. None if there is nothing that the draft can express."""
    protocols = {
        name: {"host": server.host}
        for name, protocol, port in PROTOCOLS
        for server in reversed(servers(config, protocol))
        if server.tls is FrontTls.IMPLICIT and server.port == port
    }
    if not protocols:
        return None
    provider = {"name": config.portal.name[:MAX_NAME]}
    if len(config.portal.name) <= MAX_SHORT_NAME:
        provider["shortName"] = config.portal.name
    tree = {
        "authentication": {"password": True},
        "info": {"help": {"documentation": config.portal.url}, "provider": provider},
        "protocols": protocols,
    }
    return json.dumps(tree, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")


def digest(body: bytes) -> str:
    """The TXT record that vouches for these bytes."""
    return f"v=UAAC1; a=sha256; d={base64.b64encode(hashlib.sha256(body).digest()).decode('ascii')}"
