"""Outlook's Autodiscover in plain old XML (MS-OXDSCLI): servers for an address, never a password.

Every address of a served domain gets the same answer, whether or not there is such an account.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NoReturn
from xml.etree import ElementTree as ET
from xml.parsers import expat

from proxy.config.settings import Config, FrontTls
from proxy.domain.addresses import domain_of
from proxy.domain.login_names import canonical
from proxy.onboarding.servers import Server, mail_servers

MAX_REQUEST = 8192
"""Bytes; Outlook's have about 400."""
MAX_DEPTH = 8

RESPONSES = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"
OUTLOOK = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
ENCRYPTION = {FrontTls.IMPLICIT: "SSL", FrontTls.STARTTLS: "TLS"}

INVALID_REQUEST = 600
NOT_AVAILABLE = 601
MESSAGES = {INVALID_REQUEST: "Invalid Request", NOT_AVAILABLE: "Provider Not Available"}


class _Refused(Exception):
    """The bytes are no request that we would answer."""


def answer(config: Config, request: bytes, now: float) -> bytes:
    """The document for a request's bytes. Errors are documents too, and go out with status 200."""
    try:
        texts = _texts(request)
    except _Refused:
        return error(INVALID_REQUEST, now)
    address = canonical(texts.get("Autodiscover/Request/EMailAddress", "").strip(), "")
    if address is None or not domain_of(address):
        return error(INVALID_REQUEST, now)
    schema = texts.get("Autodiscover/Request/AcceptableResponseSchema", "").strip()
    mail = mail_servers(config)
    if schema != OUTLOOK or domain_of(address) not in config.domains or mail is None:
        return error(NOT_AVAILABLE, now)
    return _settings(address, mail)


def error(code: int, now: float) -> bytes:
    """An error document; also the answer to a GET, which carries no request."""
    root = ET.Element("Autodiscover", xmlns=RESPONSES)
    time = f"{datetime.fromtimestamp(now, UTC):%H:%M:%S.%f}0"
    element = ET.SubElement(ET.SubElement(root, "Response"), "Error", Time=time, Id="0")
    _add(element, "ErrorCode", str(code))
    _add(element, "Message", MESSAGES[code])
    _add(element, "DebugData", "")
    return _document(root)


def _settings(address: str, mail: tuple[Server, Server]) -> bytes:
    root = ET.Element("Autodiscover", xmlns=RESPONSES)
    response = ET.SubElement(root, "Response", xmlns=OUTLOOK)
    _add(ET.SubElement(response, "User"), "DisplayName", address)
    account = ET.SubElement(response, "Account")
    _add(account, "AccountType", "email")
    _add(account, "Action", "settings")
    for server in mail:
        protocol = ET.SubElement(account, "Protocol")
        _add(protocol, "Type", str(server.protocol).upper())
        _add(protocol, "Server", server.host)
        _add(protocol, "Port", str(server.port))
        _add(protocol, "DomainRequired", "off")
        _add(protocol, "LoginName", address)
        _add(protocol, "SPA", "off")
        _add(protocol, "SSL", "on")
        _add(protocol, "Encryption", ENCRYPTION[server.tls])
        _add(protocol, "AuthRequired", "on")
    return _document(root)


def _add(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = text


def _document(root: ET.Element) -> bytes:
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


# ---- reading the request: strangers' bytes ----------------------------------------------------


def _texts(request: bytes) -> dict[str, str]:
    """The text of each element by its path of local names. A document type is refused, and with it all entities."""
    if len(request) > MAX_REQUEST:
        raise _Refused
    texts: dict[str, str] = {}
    path: list[str] = []

    def refuse(*_: object) -> NoReturn:
        raise _Refused

    def start(name: str, _attributes: dict[str, str]) -> None:
        namespace, _, local = name.rpartition(" ")
        path.append(local)
        known = namespace.startswith("http://schemas.microsoft.com/exchange/autodiscover/")
        if not known or "/".join(path) in texts or len(path) > MAX_DEPTH:
            raise _Refused
        texts["/".join(path)] = ""

    def end(_: str) -> None:
        path.pop()

    def text(data: str) -> None:
        texts["/".join(path)] += data

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    try:
        parser.Parse(request, True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # the latter: encodings that are none
        raise _Refused from error
    return texts
