"""Mozilla's autoconfiguration (draft-ietf-mailmaint-autoconfig-06): what Thunderbird, Evolution and KMail look up.

The file is called config-v1.1.xml whatever its version. It names no account: programs fill in %EMAILADDRESS%.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from proxy.config.settings import Config, FrontTls
from proxy.domain.model import Protocol
from proxy.onboarding.servers import mail_servers, servers

SOCKET_TYPE = {FrontTls.IMPLICIT: "SSL", FrontTls.STARTTLS: "STARTTLS"}
DOCUMENTATION = {"en": "App passwords for mail programs", "es": "Contraseñas de aplicación para programas de correo"}


def config_v1_1(config: Config, domain: str) -> bytes | None:
    """The document for a domain. None if no mail program could be set up (Thunderbird wants both ways)."""
    if mail_servers(config) is None:
        return None
    root = ET.Element("clientConfig", version="1.2")
    provider = ET.SubElement(root, "emailProvider", id=domain)
    _add(provider, "domain", domain)
    _add(provider, "displayName", config.portal.name)
    _add(provider, "displayShortName", domain)
    for tag, protocol in (("incomingServer", Protocol.IMAP), ("outgoingServer", Protocol.SMTP)):
        for server in servers(config, protocol):
            element = ET.SubElement(provider, tag, type=str(protocol))
            _add(element, "hostname", server.host)
            _add(element, "port", str(server.port))
            _add(element, "socketType", SOCKET_TYPE[server.tls])
            _add(element, "authentication", "password-cleartext")
            _add(element, "username", "%EMAILADDRESS%")
    documentation = ET.SubElement(provider, "documentation", url=config.portal.url)
    for language, text in DOCUMENTATION.items():
        _add(documentation, "descr", text, lang=language)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    return document + b"\n"


def _add(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = text
