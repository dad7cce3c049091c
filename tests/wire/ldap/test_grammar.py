"""Framing and envelope of LDAP messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.ldap import grammar
from proxy.wire.ldap.grammar import BerError
from tests.wire.ldap import requests as ldap

LIMIT = 1024 * 1024


@pytest.mark.parametrize("data", [ldap.BIND_ALICE, ldap.SEARCH_ROOT, ldap.START_TLS_REQUEST, ldap.UNBIND])
def test_a_message_is_as_long_as_its_header_says(data):
    assert grammar.length(data, 0, LIMIT) == len(data)
    assert grammar.length(memoryview(b"xx" + data + b"behind"), 2, LIMIT) == len(data)
    assert grammar.length(data, len(data), LIMIT) is None
    assert grammar.length(data[:1], 0, LIMIT) is None


@pytest.mark.parametrize("octets", [1, 2, 3, 4])
def test_long_lengths(octets):
    data = ldap.tlv(0x30, b"x" * 100, octets=octets)
    for cut in range(2 + octets):
        assert grammar.length(data[:cut], 0, LIMIT) is None
    assert grammar.length(data[: 2 + octets], 0, LIMIT) == len(data)


def test_a_message_that_is_too_long_is_known_by_its_header():
    assert grammar.length(bytes.fromhex("3082fffc"), 0, 65536) == 65536
    with pytest.raises(BerError, match="too long"):
        grammar.length(bytes.fromhex("3082fffd"), 0, 65536)
    with pytest.raises(BerError, match="too long"):
        grammar.length(bytes.fromhex("3084ffffffff"), 0, LIMIT)


@pytest.mark.parametrize("header", ["3080", "3085", "30ff", "31", "04", "00", "47"])
def test_headers_that_are_none(header):
    with pytest.raises(BerError):
        grammar.length(bytes.fromhex(header), 0, LIMIT)


def test_the_envelope():
    pdu = grammar.parse(ldap.search(0x7FFFFFFF, None, ldap.control(ldap.PAGED, True, b"v"), ldap.control(b"1.2.3")))
    assert (pdu.message_id, pdu.operation) == (0x7FFFFFFF, grammar.SEARCH)
    assert grammar.controls(pdu) == [(ldap.PAGED, True, b"v"), (b"1.2.3", False, b"")]
    assert ldap.tlv(pdu.operation, pdu.raw[pdu.start : pdu.end]) == ldap.search_request()
    assert grammar.controls(grammar.parse(ldap.UNBIND)) == []


def envelope(*parts: bytes) -> bytes:
    return ldap.tlv(0x30, *parts)


DELETE = ldap.text("cn=x", 0x4A)


@pytest.mark.parametrize(
    "data",
    [
        envelope(),
        envelope(ldap.number(1)),
        envelope(ldap.number(-1), DELETE),
        envelope(ldap.number(2**31), DELETE),
        envelope(ldap.tlv(2), DELETE),
        envelope(ldap.tlv(2, b"\0" * 6), DELETE),
        envelope(ldap.text("1"), DELETE),
        envelope(ldap.number(1), b"\x4a"),
        envelope(ldap.number(1), b"\x4a\x05cn=x"),
        envelope(ldap.number(1), b"\x4a\x80cn=x\0\0"),
        envelope(ldap.number(1), b"\x4a\x85\0\0\0\0\4cn=x"),
        envelope(ldap.number(1), b"\x4a\x84\0\0\0"),
        envelope(ldap.number(1), b"\x5f\x0a\x04cn=x"),
        envelope(ldap.number(1), DELETE, b"\0\0"),
        envelope(ldap.number(1), DELETE, ldap.tlv(0xA0), ldap.tlv(0xA0)),
    ],
)
def test_envelopes_that_are_none(data):
    with pytest.raises(BerError):
        grammar.parse(data)


@pytest.mark.parametrize(
    "bad",
    [
        ldap.tlv(0x31, ldap.text(b"1.2.3")),
        ldap.tlv(0x30),
        ldap.tlv(0x30, ldap.text(b"")),
        ldap.tlv(0x30, ldap.text(b"1.2.3\0")),
        ldap.tlv(0x30, ldap.text(b"1.2.03")),
        ldap.tlv(0x30, ldap.text(b" 1.2.3")),
        ldap.tlv(0x30, ldap.text(b"1.2.3"), ldap.tlv(1)),
        ldap.tlv(0x30, ldap.text(b"1.2.3"), ldap.tlv(1, b"\0\xff")),
        ldap.tlv(0x30, ldap.text(b"1.2.3"), ldap.tlv(1, b"\0"), ldap.tlv(1, b"\xff")),
        ldap.tlv(0x30, ldap.text(b"1.2.3"), ldap.text(b"v"), ldap.text(b"v")),
        ldap.tlv(0x30, ldap.text(b"1.2.3"), ldap.text(b"v"), ldap.control(ldap.PROXIED, True, b"dn:cn=admin")),
        ldap.tlv(0x30, ldap.text(b"1.2.3"), b"\x04\x40"),  # a value that reaches over what comes behind
    ],
)
def test_controls_that_are_none(bad):
    with pytest.raises(BerError):
        grammar.controls(grammar.parse(ldap.search(1, None, bad)))


def test_controls_are_counted():
    few = [ldap.control(b"1.2.3")] * grammar.MAX_CONTROLS
    assert len(grammar.controls(grammar.parse(ldap.search(1, None, *few)))) == 32
    with pytest.raises(BerError):
        grammar.controls(grammar.parse(ldap.search(1, None, *few, few[0])))


@given(st.integers(0, 2**31 - 1), st.binary(max_size=300))
def test_what_is_written_reads_the_same(message_id, contents):
    raw = grammar.message(message_id, grammar.encode(grammar.DELETE, contents), grammar.control(b"1.2.3", contents))
    assert raw == ldap.message(message_id, ldap.tlv(0x4A, contents), ldap.control(b"1.2.3", True, contents))
    pdu = grammar.parse(raw)
    assert grammar.length(raw, 0, LIMIT) == len(raw)
    assert (pdu.message_id, raw[pdu.start : pdu.end]) == (message_id, contents)
    assert grammar.controls(pdu) == [(b"1.2.3", True, contents)]


def test_a_control_more():
    own, ours = ldap.control(ldap.PAGED, True, b"v"), ldap.control(ldap.PROXIED, True, b"dn:cn=x")
    assert grammar.with_control(grammar.parse(ldap.search(3)), ours) == ldap.search(3, None, ours)
    assert grammar.with_control(grammar.parse(ldap.search(3, None, own)), ours) == ldap.search(3, None, ours, own)


def test_a_result():
    pdu = grammar.parse(ldap.answer(1, 0x61, 123, "why"))
    assert grammar.result(pdu)[0] == 123
    for bad in (ldap.tlv(0x61), ldap.tlv(0x61, ldap.tlv(10), ldap.text(""), ldap.text(""))):
        with pytest.raises(BerError):
            grammar.result(grammar.parse(ldap.message(1, bad)))


@given(st.binary(max_size=60))
def test_rubbish_is_refused_and_nothing_worse(data):
    for raw in (data, ldap.tlv(0x30, data), ldap.message(1, data)):
        try:
            grammar.length(raw, 0, LIMIT)
            grammar.controls(grammar.parse(raw))
        except BerError:
            pass
