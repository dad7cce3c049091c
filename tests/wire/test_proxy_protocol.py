"""PROXY protocol headers: right, partial, wrong."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.model import ClientInfo
from proxy.wire.proxy_protocol import NEED_MORE, Header, LocalHeader, Malformed, encode_v2, parse

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 203.0.113.9 192.0.2.1 5555 993\r\n"


def v2(command: int, family: int, body: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body) if length is None else length) + body


TCP4 = bytes([203, 0, 113, 9, 192, 0, 2, 1]) + struct.pack("!HH", 5555, 993)
TCP6 = bytes.fromhex("20010db800000000000000000000000720010db8000000000000000000000001") + struct.pack("!HH", 1, 65535)
MAPPED = bytes(10) + b"\xff\xff" + TCP4[:4] + bytes(10) + b"\xff\xff" + TCP4[4:8] + TCP4[8:]

GOOD = [
    (V1, Header("203.0.113.9", 5555, "192.0.2.1", 993, len(V1))),
    (b"PROXY TCP6 2001:DB8::7 2001:db8::1 0 65535\r\n", Header("2001:db8::7", 0, "2001:db8::1", 65535, 44)),
    (b"PROXY TCP6 ::ffff:203.0.113.9 ::ffff:192.0.2.1 1 2\r\n", Header("203.0.113.9", 1, "192.0.2.1", 2, 52)),
    (b"PROXY UNKNOWN\r\n", LocalHeader(15)),
    (b"PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n", LocalHeader(43)),
    (v2(0x21, 0x11, TCP4), Header("203.0.113.9", 5555, "192.0.2.1", 993, 28)),
    (v2(0x21, 0x21, TCP6), Header("2001:db8::7", 1, "2001:db8::1", 65535, 52)),
    (v2(0x21, 0x21, MAPPED), Header("203.0.113.9", 5555, "192.0.2.1", 993, 52)),
    (v2(0x21, 0x11, TCP4 + b"\x01\x00\x02h2"), Header("203.0.113.9", 5555, "192.0.2.1", 993, 33)),
    (v2(0x21, 0x11, TCP4 + bytes(508)), Header("203.0.113.9", 5555, "192.0.2.1", 993, 536)),
    (v2(0x20, 0x00, b""), LocalHeader(16)),
    (v2(0x20, 0x11, TCP4), LocalHeader(28)),
    (v2(0x21, 0x00, b""), LocalHeader(16)),
]

BAD = [
    b"EHLO x\r\n",
    b"\x16\x03\x01",
    b"proxy TCP4 203.0.113.9 192.0.2.1 1 2\r\n",
    b"PROXY TCP5 203.0.113.9 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 1 2\n",
    b"PROXY TCP4 203.0.113.9  192.0.2.1 1 2\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 1 2 \r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 01 2\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 1 65536\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 -1 2\r\n",
    b"PROXY TCP4 203.0.113.009 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 203.0.113.256 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
    b"PROXY TCP6 203.0.113.9 192.0.2.1 1 2\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1\r\n",
    b"PROXY UNKNOWNX\r\n",
    b"PROXY \r\n",
    b"PROXY UNKNOWN " + b"x" * 93,
    v2(0x11, 0x11, TCP4),
    v2(0x22, 0x11, TCP4),
    v2(0x21, 0x12, TCP4),
    v2(0x21, 0x22, TCP6),
    v2(0x21, 0x31, bytes(216)),
    v2(0x21, 0x11, TCP4[:-1]),
    v2(0x21, 0x21, TCP4),
    v2(0x21, 0x11, TCP4, 521),
    V1 + V1,
    V1 + v2(0x20, 0x00, b""),
    v2(0x20, 0x00, b"") + V1,
    v2(0x21, 0x11, TCP4) + v2(0x21, 0x11, TCP4),
]


@pytest.mark.parametrize(("wire", "expected"), GOOD)
@pytest.mark.parametrize("behind", [b"", b"EHLO x\r\n", b"\x16\x03\x01\x02\x00"])
def test_good(wire, expected, behind):
    assert parse(wire + behind) == expected
    for cut in range(len(wire)):
        assert parse(wire[:cut]) == NEED_MORE


@pytest.mark.parametrize("wire", BAD)
def test_bad(wire):
    assert isinstance(parse(wire), Malformed)


def test_longest_line():
    line = b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n"
    assert len(line) == 107
    assert parse(line) == LocalHeader(107)


@given(
    st.binary(max_size=64)
    | st.binary(max_size=600).map(lambda tail: SIGNATURE + tail)
    | st.binary(max_size=120).map(lambda t: b"PROXY " + t)
)
def test_never_raises_and_never_waits_for_ever(wire):
    outcome = parse(wire)
    assert outcome is not NEED_MORE or len(wire) < 536


def client(address: str, local: str) -> ClientInfo:
    return ClientInfo(address, 5555, local, 993, "TLSv1.3")


@pytest.mark.parametrize(
    ("address", "local", "seen", "seen_local"),
    [
        ("203.0.113.9", "192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("2001:db8::7", "2001:db8::1", "2001:db8::7", "2001:db8::1"),
        ("203.0.113.9", "2001:db8::1", "203.0.113.9", "2001:db8::1"),
        ("2001:db8::7", "192.0.2.1", "2001:db8::7", "192.0.2.1"),
    ],
)
def test_what_we_write_we_read(address, local, seen, seen_local):
    wire = encode_v2(client(address, local))
    assert parse(wire + b"behind") == Header(seen, 5555, seen_local, 993, len(wire))


def test_exact_bytes():
    assert encode_v2(client("203.0.113.9", "192.0.2.1")) == v2(0x21, 0x11, TCP4)


def test_no_address_is_local():
    assert encode_v2(client("unix", "192.0.2.1")) == v2(0x20, 0x00, b"")
