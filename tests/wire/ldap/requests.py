"""LDAP messages for the tests, made without the encoder that they test."""

from __future__ import annotations

PEOPLE = "ou=people,dc=example,dc=org"
ALICE = f"uid=alice,{PEOPLE}"
WHO_AM_I = b"1.3.6.1.4.1.4203.1.11.3"
START_TLS = b"1.3.6.1.4.1.1466.20037"
PASSWORD_MODIFY = b"1.3.6.1.4.1.4203.1.11.1"
CANCEL = b"1.3.6.1.1.8"
PROXIED = b"2.16.840.1.113730.3.4.18"
PROXIED_V1 = b"2.16.840.1.113730.3.4.12"
PAGED = b"1.2.840.113556.1.4.319"

BIND_ALICE = bytes.fromhex(
    "3037"  # 55 bytes
    "020101"  # messageID 1
    "6032"  # BindRequest
    "020103"  # version 3
    "0425"  # name, 37 bytes
    "7569643d616c6963652c6f753d70656f706c652c64633d6578616d706c652c64633d6f7267"
    "8006736563726574"  # simple: secret
)
"""`ldapsearch -x -D 'uid=alice,…' -w secret`, byte for byte."""
BIND_DONE = bytes.fromhex("300c 020101 6107 0a0100 0400 0400")
SEARCH_ROOT = bytes.fromhex(
    "3025 020102 6320 0400 0a0100 0a0100 020100 020100 010100 870b6f626a656374436c617373 3000".replace(" ", "")
)
"""`ldapsearch -x -b '' -s base`."""
START_TLS_REQUEST = bytes.fromhex("301d 020101 7718 8016 312e332e362e312e342e312e313436362e3230303337".replace(" ", ""))
START_TLS_DONE = bytes.fromhex(
    "3024 020101 781f 0a0100 0400 0400 8a16 312e332e362e312e342e312e313436362e3230303337".replace(" ", "")
)
UNBIND = bytes.fromhex("3005 020105 4200".replace(" ", ""))
MALFORMED = bytes.fromhex(
    "303a 020100 7835 0a0102 0400 0416 4d616c666f726d6564204c444150206d657373616765"
    " 8a16 312e332e362e312e342e312e313436362e3230303336".replace(" ", "")
)
"""Notice of Disconnection: message 0, protocolError, "Malformed LDAP message", 1.3.6.1.4.1.1466.20036."""


def tlv(tag: int, *contents: bytes, octets: int = 0) -> bytes:
    """An element; with `octets`, its length in that many of them behind 0x80 + octets."""
    inside = b"".join(contents)
    if not octets and len(inside) >= 0x80:
        octets = (len(inside).bit_length() + 7) // 8
    if octets:
        return bytes((tag, 0x80 + octets)) + len(inside).to_bytes(octets, "big") + inside
    return bytes((tag, len(inside))) + inside


def text(value: str | bytes, tag: int = 4) -> bytes:
    return tlv(tag, value.encode() if isinstance(value, str) else value)


def number(value: int, tag: int = 2) -> bytes:
    size = 1
    while not -(1 << (8 * size - 1)) <= value < 1 << (8 * size - 1):
        size += 1
    return tlv(tag, value.to_bytes(size, "big", signed=True))


def message(message_id: int, operation: bytes, *controls: bytes) -> bytes:
    return tlv(0x30, number(message_id), operation, tlv(0xA0, *controls) if controls else b"")


def control(name: bytes, critical: bool | None = None, value: bytes | None = None) -> bytes:
    flag = b"" if critical is None else tlv(1, b"\xff" if critical else b"\0")
    return tlv(0x30, text(name), flag, b"" if value is None else text(value))


def bind(message_id: int, name: str | bytes = ALICE, secret: str | bytes = "secret", *controls: bytes) -> bytes:
    return message(message_id, tlv(0x60, number(3), text(name), text(secret, 0x80)), *controls)


def extended(message_id: int, name: bytes, value: bytes | None = None, *controls: bytes) -> bytes:
    tail = b"" if value is None else text(value, 0x81)
    return message(message_id, tlv(0x77, text(name, 0x80), tail), *controls)


def equal(name: str | bytes, value: str = "x", tag: int = 0xA3) -> bytes:
    return tlv(tag, text(name), text(value))


def present(name: str = "objectClass") -> bytes:
    return text(name, 0x87)


def search_request(wanted: bytes | None = None, *attributes: str) -> bytes:
    limits = number(2, 10) + number(0, 10) + number(0) + number(0) + tlv(1, b"\0")
    return tlv(0x63, text(PEOPLE), limits, wanted or present(), tlv(0x30, *map(text, attributes)))


def search(message_id: int, wanted: bytes | None = None, *controls: bytes) -> bytes:
    return message(message_id, search_request(wanted), *controls)


def change(name: str | bytes, *values: str) -> bytes:
    return tlv(0x30, number(2, 10), attribute(name, *values))


def attribute(name: str | bytes, *values: str) -> bytes:
    return tlv(0x30, text(name), tlv(0x31, *map(text, values)))


def modify(message_id: int, *changes: bytes) -> bytes:
    return message(message_id, tlv(0x66, text(ALICE), tlv(0x30, *changes)))


def add(message_id: int, *attributes: bytes) -> bytes:
    return message(message_id, tlv(0x68, text(ALICE), tlv(0x30, *attributes)))


def compare(message_id: int, name: str | bytes, value: str = "x") -> bytes:
    return message(message_id, tlv(0x6E, text(ALICE), tlv(0x30, text(name), text(value))))


def delete(message_id: int) -> bytes:
    return message(message_id, text(ALICE, 0x4A))


def modify_dn(message_id: int, rdn: str, above: str | None = None) -> bytes:
    tail = b"" if above is None else text(above, 0x80)
    return message(message_id, tlv(0x6C, text(ALICE), text(rdn), tlv(1, b"\0"), tail))


def abandon(message_id: int, of: int, *controls: bytes) -> bytes:
    return message(message_id, number(of, 0x50), *controls)


def answer(message_id: int, tag: int, code: int, says: str = "", *tail: bytes) -> bytes:
    return message(message_id, tlv(tag, number(code, 10), text(""), text(says), *tail))


def entry(message_id: int, size: int = 10) -> bytes:
    """A search result entry with a value of that size."""
    return message(message_id, tlv(0x64, text(ALICE), tlv(0x30, attribute("cn", "x" * size))))
