"""A look at a TLS ClientHello (RFC 8446 section 4.1.2): does it offer an application protocol of ours?"""

from __future__ import annotations

import struct
from enum import Enum, auto
from typing import Final

NO_OVERLAP_ALERT: Final = b"\x15\x03\x03\x00\x02\x02\x78"
"""A fatal no_application_protocol alert (RFC 7301 section 3.2), in the clear as alerts before the ServerHello are."""

_ALPN: Final = 16
_ALPN_BYTES: Final = b"\x00\x10"
_HEADER: Final = 5
_MAX_RECORD: Final = 16384
MAX_HELLO: Final = _HEADER + _MAX_RECORD
"""Bytes to look at."""
_U16: Final = struct.Struct(">H")
_TYPE_AND_LENGTH: Final = struct.Struct(">HH")


class Hello(Enum):
    """What was found."""

    GOOD = auto()
    """No ALPN, or a protocol of ours is among the offers."""
    NO_OVERLAP = auto()
    """ALPN, and nothing of ours: a client of some other protocol, or one led here by an attacker."""
    NOT_TLS = auto()
    """No ClientHello that fits one record. No mail client splits it, so it is not worth collecting."""


def read_hello(data: bytes, ours: frozenset[bytes]) -> Hello | int:
    """Judge what a new connection begins with. A number: so many bytes must be there first."""
    if data[:1] != b"\x16" or not b"\x03".startswith(data[1:2]):
        return Hello.NOT_TLS
    if len(data) < _HEADER:
        return _HEADER
    (length,) = _U16.unpack_from(data, 3)
    if not 4 < length <= _MAX_RECORD:
        return Hello.NOT_TLS
    if len(data) < _HEADER + length:
        return _HEADER + int(length)
    hello = data[_HEADER : _HEADER + length]
    if hello[0] != 1 or int.from_bytes(hello[1:4], "big") > length - 4:
        return Hello.NOT_TLS
    if _ALPN_BYTES not in hello:
        return Hello.GOOD
    try:
        offers = _alpn(hello)
    except (IndexError, struct.error):
        return Hello.NOT_TLS
    return Hello.GOOD if offers is None or offers & ours else Hello.NO_OVERLAP


def _alpn(hello: bytes) -> set[bytes] | None:
    at = 4 + 2 + 32  # handshake header, legacy_version, random
    at += 1 + hello[at]  # legacy_session_id
    at += 2 + _U16.unpack_from(hello, at)[0]  # cipher_suites
    at += 1 + hello[at]  # legacy_compression_methods
    if at >= len(hello):
        return None  # no extensions at all
    at += 2
    while at < len(hello):
        kind, length = _TYPE_AND_LENGTH.unpack_from(hello, at)
        at += 4
        if kind == _ALPN:
            names = hello[at + 2 : at + length]
            offers, i = set(), 0
            while i < len(names):
                offers.add(names[i + 1 : i + 1 + names[i]])
                i += 1 + names[i]
            return offers
        at += length
    return None
