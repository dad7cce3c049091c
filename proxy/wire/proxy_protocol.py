"""The PROXY protocol, versions 1 and 2: read on fronts, written to backends.

haproxy.org/download/2.9/doc/proxy-protocol.txt. Strict, because a receiver "must not guess": a header is wholly
right or the connection goes. Only the first bytes of a connection are ever parsed here. A second header is
the client's own bytes: in the same read `parse` itself calls it malformed; arriving later it is no TLS handshake, and
the fronts close on it (version 1 begins with a foreign verb; version 2 is bare line ends, a NUL and no command).
"""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass

from proxy.domain.model import ClientInfo

MAX_V1 = 107
"""Bytes with CRLF, from the specification's section 2.1."""
MAX_V2 = 536
"""Bytes; what Postfix and HAProxy size their buffers for."""

_V1_START = b"PROXY "
_V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V1 = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n")
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [\x20-\x7e]*)?\r\n")
_V2_FIXED = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6 = 0x00, 0x11, 0x21
_V2_LOCAL = _V2_FIXED.pack(_V2_SIGNATURE, _LOCAL, _UNSPECIFIED, 0)


@dataclass(frozen=True, slots=True)
class NeedMore:
    """So far it may become a header."""


@dataclass(frozen=True, slots=True)
class Header:
    """The real client and the address it connected to; IPv4-mapped addresses are written as IPv4."""

    address: str
    port: int
    local_address: str
    local_port: int
    consumed: int
    """Bytes of the header; what follows is the client's."""


@dataclass(frozen=True, slots=True)
class LocalHeader:
    """The sender speaks for itself (LOCAL, UNKNOWN, UNSPEC): the peer of the socket is the client."""

    consumed: int


@dataclass(frozen=True, slots=True)
class Malformed:
    """Close. `why` is for the log."""

    why: str


NEED_MORE = NeedMore()


def parse(data: bytes) -> NeedMore | Header | LocalHeader | Malformed:
    """The header at the start of a connection; `data` is everything received so far."""
    if _may_start(data, _V2_SIGNATURE):
        header = _parse_v2(data)
    elif _may_start(data, _V1_START):
        header = _parse_v1(data)
    else:
        return Malformed("no PROXY header")
    if isinstance(header, Header | LocalHeader) and data.startswith((_V1_START, _V2_SIGNATURE), header.consumed):
        return Malformed("two PROXY headers")
    return header


def _may_start(data: bytes, start: bytes) -> bool:
    return data[: len(start)] == start[: len(data)]


def _parse_v1(data: bytes) -> NeedMore | Header | LocalHeader | Malformed:
    end = data.find(b"\n", 0, MAX_V1)
    if end < 0:
        return NEED_MORE if len(data) < MAX_V1 else Malformed("PROXY line too long")
    line = data[: end + 1]
    if _V1_UNKNOWN.fullmatch(line):
        return LocalHeader(len(line))
    match = _V1.fullmatch(line)
    if match is None:
        return Malformed("PROXY line malformed")
    family, source, destination, source_port, destination_port = (group.decode("ascii") for group in match.groups())
    version = ipaddress.IPv4Address if family == "4" else ipaddress.IPv6Address
    ports = int(source_port), int(destination_port)
    if max(ports) > 0xFFFF:
        return Malformed("PROXY port out of range")
    try:
        return Header(_plain(version(source)), ports[0], _plain(version(destination)), ports[1], len(line))
    except ValueError:
        return Malformed("PROXY address malformed")


def _parse_v2(data: bytes) -> NeedMore | Header | LocalHeader | Malformed:
    if len(data) < _V2_FIXED.size:
        return NEED_MORE
    _, command, family, length = _V2_FIXED.unpack_from(data)
    consumed = _V2_FIXED.size + length
    if consumed > MAX_V2:
        return Malformed("PROXY header too long")
    if command not in (_LOCAL, _PROXY):
        return Malformed("PROXY version or command unknown")
    if command == _PROXY and family not in (_UNSPECIFIED, _TCP4, _TCP6):
        return Malformed("PROXY family is not TCP")
    width = {_TCP4: 4, _TCP6: 16}.get(family, 0) if command == _PROXY else 0
    if width and length < 2 * width + 4:
        return Malformed("PROXY header too short")
    if len(data) < consumed:
        return NEED_MORE
    if not width:
        return LocalHeader(consumed)
    source, destination, *ports = struct.unpack_from(f"!{width}s{width}sHH", data, _V2_FIXED.size)
    return Header(
        _plain(ipaddress.ip_address(source)), ports[0], _plain(ipaddress.ip_address(destination)), ports[1], consumed
    )


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def encode_v2(client: ClientInfo | None) -> bytes:
    """The header a backend with `client_address: proxy_v2` gets first, on every connection.

    LOCAL when we speak for ourselves (no client: a probe), or an address is no IP address.
    """
    if client is None:
        return _V2_LOCAL
    try:
        source = ipaddress.ip_address(client.address)
        destination = ipaddress.ip_address(client.local_address)
    except ValueError:
        return _V2_LOCAL
    family = _TCP4
    if source.version != destination.version or source.version == 6:
        # One family for both: RFC 4291 section 2.5.5.2 writes IPv4 inside IPv6.
        source, destination, family = _mapped(source), _mapped(destination), _TCP6
    addresses = source.packed + destination.packed + struct.pack("!HH", client.port, client.local_port)
    return _V2_FIXED.pack(_V2_SIGNATURE, _PROXY, family, len(addresses)) + addresses


def _mapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    return address if address.version == 6 else ipaddress.IPv6Address(f"::ffff:{address}")
