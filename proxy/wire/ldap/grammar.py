"""LDAP messages: framing, the envelope, and the few fields that a front has to look at (RFC 4511 section 5.1: BER).

Nothing here recurses or copies what it does not return, so that a hostile message costs what its header says. Lengths
are definite and of at most four octets; tags have one octet: no LDAP message needs more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_LENGTH_OCTETS = 4
MAX_MESSAGE_ID = 2**31 - 1
MAX_CONTROLS = 32
MAX_OID = 128

BIND_REQUEST = 0x60
BIND_RESPONSE = 0x61
UNBIND = 0x42
SEARCH = 0x63
SEARCH_ENTRY = 0x64
SEARCH_DONE = 0x65
SEARCH_REFERENCE = 0x73
MODIFY = 0x66
ADD = 0x68
DELETE = 0x4A
MODIFY_DN = 0x6C
COMPARE = 0x6E
ABANDON = 0x50
EXTENDED_REQUEST = 0x77
EXTENDED_RESPONSE = 0x78

ANSWERS = {
    BIND_REQUEST: BIND_RESPONSE,
    SEARCH: SEARCH_DONE,
    MODIFY: 0x67,
    ADD: 0x69,
    DELETE: 0x6B,
    MODIFY_DN: 0x6D,
    COMPARE: 0x6F,
    EXTENDED_REQUEST: EXTENDED_RESPONSE,
}
"""Which message answers which request; Unbind and Abandon have no answer."""
REQUESTS = frozenset((*ANSWERS, UNBIND, ABANDON))

SEQUENCE = 0x30
SET = 0x31
INTEGER = 0x02
BOOLEAN = 0x01
OCTETS = 0x04
ENUMERATED = 0x0A
CONTROLS = 0xA0
SIMPLE = 0x80
SASL = 0xA3
REQUEST_NAME = 0x80
RESPONSE_NAME = 0x8A
RESPONSE_VALUE = 0x8B

START_TLS = b"1.3.6.1.4.1.1466.20037"
NOTICE_OF_DISCONNECTION = b"1.3.6.1.4.1.1466.20036"
WHO_AM_I = b"1.3.6.1.4.1.4203.1.11.3"
PASSWORD_MODIFY = b"1.3.6.1.4.1.4203.1.11.1"
CANCEL = b"1.3.6.1.1.8"
PROXIED_AUTHORIZATION = b"2.16.840.1.113730.3.4.18"
PROXIED_AUTHORIZATION_V1 = b"2.16.840.1.113730.3.4.12"

_OID = re.compile(rb"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+")
"""A control's type: no NUL, where a backend in C would stop reading, and no zero in front."""


class BerError(Exception):
    """No LDAP message: the peer must go, there is no way to find the next one. The text is ours, never the peer's."""


@dataclass(slots=True)
class Pdu:
    """One message. `start` and `end` bound the operation's contents in `raw`, `controls` those of its controls."""

    raw: bytes
    message_id: int
    operation: int
    id_start: int
    start: int
    end: int
    controls: tuple[int, int] | None


def length(data: bytes | bytearray | memoryview, at: int, limit: int) -> int | None:
    """Octets of the message that begins at `at`, its header included; None until the header is here.

    Raises BerError for what cannot be a message, and for one longer than `limit`, from its header alone.
    """
    size = len(data)
    if at >= size:
        return None
    if data[at] != SEQUENCE:
        raise BerError("not an LDAP message")
    if at + 1 >= size:
        return None
    first = data[at + 1]
    if first < 0x80:
        return 2 + first
    octets = first & 0x7F
    if not 0 < octets <= MAX_LENGTH_OCTETS:
        raise BerError("indefinite or oversized length")
    if at + 2 + octets > size:
        return None
    whole = 2 + octets + int.from_bytes(data[at + 2 : at + 2 + octets], "big")
    if whole > limit:
        raise BerError("message too long")
    return whole


def element(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Tag, start and end of the contents of the element at `at`, which lies within `end`; BerError if it does not."""
    if at + 2 > end:
        raise BerError("truncated element")
    tag, first = data[at], data[at + 1]
    if tag & 0x1F == 0x1F:
        raise BerError("tag of several octets")
    start = at + 2
    if first >= 0x80:
        octets = first & 0x7F
        if not 0 < octets <= MAX_LENGTH_OCTETS:
            raise BerError("indefinite or oversized length")
        start += octets
        if start > end:
            raise BerError("truncated element")
        first = int.from_bytes(data[at + 2 : start], "big")
    if start + first > end:
        raise BerError("element longer than what holds it")
    return tag, start, start + first


def elements(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Each element from `at` on, which together fill it up to `end`."""
    while at < end:
        found = element(data, at, end)
        yield found
        at = found[2]


def expect(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Bounds of the contents of an element that must have this tag."""
    found, start, stop = element(data, at, end)
    if found != tag:
        raise BerError("unexpected element")
    return start, stop


def skip(data: bytes, at: int, end: int, tags: tuple[int, ...]) -> int:
    """Where elements with these tags, in this order, end. As `expect` for each, in half the time."""
    for tag in tags:
        if at + 2 > end:
            raise BerError("truncated element")
        if data[at] != tag:
            raise BerError("unexpected element")
        size = data[at + 1]
        if size < 0x80:
            at += 2 + size
        else:
            _, at = expect(data, at, end, tag)
        if at > end:
            raise BerError("element longer than what holds it")
    return at


def integer(data: bytes, at: int, end: int, most: int) -> tuple[int, int]:
    """A number from 0 to `most`, and where its element ends."""
    start, stop = expect(data, at, end, INTEGER)
    if not 0 < stop - start <= 5:
        raise BerError("number out of range")
    value = int.from_bytes(data[start:stop], "big", signed=True)
    if not 0 <= value <= most:
        raise BerError("number out of range")
    return value, stop


def parse(raw: bytes) -> Pdu:
    """The envelope of one whole message (as cut by `length`)."""
    start, end = expect(raw, 0, len(raw), SEQUENCE)
    message_id, at = integer(raw, start, end, MAX_MESSAGE_ID)
    operation, op_start, op_end = element(raw, at, end)
    controls = None
    if op_end < end:
        controls = expect(raw, op_end, end, CONTROLS)
        if controls[1] != end:
            raise BerError("bytes behind the controls")
    return Pdu(raw, message_id, operation, start, op_start, op_end, controls)


def peek(buffer: bytearray, limit: int) -> Pdu | None:
    """The next message, which stays in the buffer; None until it is whole. BerError as `length` and `parse`."""
    size = length(buffer, 0, limit)
    return parse(bytes(buffer[:size])) if size is not None and size <= len(buffer) else None


def take(buffer: bytearray, limit: int) -> Pdu | None:
    """As peek, and out of the buffer."""
    pdu = peek(buffer, limit)
    if pdu is not None:
        del buffer[: len(pdu.raw)]
    return pdu


def controls(pdu: Pdu) -> list[tuple[bytes, bool, bytes]]:
    """Type, criticality and value of each control (RFC 4511 section 4.1.11).

    Strictly of their form: a backend that reads on where an element's contents end, and not where the element says it
    does (OpenLDAP's liblber), would find other controls than we, or take one that is added for part of a value.
    """
    if pdu.controls is None:
        return []
    found: list[tuple[bytes, bool, bytes]] = []
    raw = pdu.raw
    for tag, start, end in elements(raw, *pdu.controls):
        if tag != SEQUENCE or len(found) >= MAX_CONTROLS:
            raise BerError("not a list of controls")
        name, at = expect(raw, start, end, OCTETS)
        kind, critical, value = raw[name:at], False, b""
        if len(kind) > MAX_OID or not _OID.fullmatch(kind):
            raise BerError("not a control")
        if at < end and raw[at] == BOOLEAN:
            flag, at = expect(raw, at, end, BOOLEAN)
            if at - flag != 1:
                raise BerError("not a control")
            critical = raw[flag] != 0
        if at < end:
            content, at = expect(raw, at, end, OCTETS)
            value = raw[content:at]
        if at != end:
            raise BerError("not a control")
        found.append((kind, critical, value))
    return found


def request_name(pdu: Pdu) -> bytes:
    """The object identifier of an ExtendedRequest."""
    start, end = expect(pdu.raw, pdu.start, pdu.end, REQUEST_NAME)
    return pdu.raw[start:end]


# ---- writing -----------------------------------------------------------------------------------


def encode(tag: int, *contents: bytes) -> bytes:
    """One element."""
    inside = b"".join(contents)
    size = len(inside)
    if size < 0x80:
        return bytes((tag, size)) + inside
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return b"".join((bytes((tag, 0x80 | len(octets))), octets, inside))


def encode_integer(value: int, tag: int = INTEGER) -> bytes:
    """A number from 0 on."""
    return encode(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def message(message_id: int, operation: bytes, *with_controls: bytes) -> bytes:
    """A message around an encoded operation."""
    tail = encode(CONTROLS, *with_controls) if with_controls else b""
    return encode(SEQUENCE, encode_integer(message_id), operation, tail)


def extended_request(name: bytes) -> bytes:
    """An ExtendedRequest without a value."""
    return encode(EXTENDED_REQUEST, encode(REQUEST_NAME, name))


def control(name: bytes, value: bytes | None, *, critical: bool = True) -> bytes:
    """A control."""
    flag = encode(BOOLEAN, b"\xff") if critical else b""
    return encode(SEQUENCE, encode(OCTETS, name), flag, b"" if value is None else encode(OCTETS, value))


def with_control(pdu: Pdu, added: bytes) -> bytes:
    """The message again, with one control more, in front of the client's."""
    head = pdu.raw[pdu.id_start : pdu.end]
    others = pdu.raw[slice(*pdu.controls)] if pdu.controls is not None else b""
    return encode(SEQUENCE, head, encode(CONTROLS, added, others))


def answer(message_id: int, tag: int, code: int, text: str = "", *, name: bytes = b"") -> bytes:
    """A message that carries an LDAPResult; `name` is the responseName of an extended one."""
    parts = [encode_integer(code, ENUMERATED), encode(OCTETS), encode(OCTETS, text.encode())]
    if name:
        parts.append(encode(RESPONSE_NAME, name))
    return message(message_id, encode(tag, *parts))


def result(pdu: Pdu) -> tuple[int, int]:
    """The result code of a response, and where its diagnosticMessage ends."""
    raw = pdu.raw
    start, at = expect(raw, pdu.start, pdu.end, ENUMERATED)
    if not 0 < at - start <= 4:
        raise BerError("number out of range")
    _, after_dn = expect(raw, at, pdu.end, OCTETS)
    _, after_text = expect(raw, after_dn, pdu.end, OCTETS)
    return int.from_bytes(raw[start:at], "big"), after_text
