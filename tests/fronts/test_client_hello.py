"""The look at a ClientHello, on hellos that OpenSSL wrote and on ones it would not."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.fronts.client_hello import Hello, read_hello

IMAP = frozenset({b"imap"})


def hello(*alpn: str, name: str = "mail.example.test") -> bytes:
    context = ssl.create_default_context()
    if alpn:
        context.set_alpn_protocols(list(alpn))
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize(
    ("offers", "found"),
    [
        ((), Hello.GOOD),
        (("imap",), Hello.GOOD),
        (("h2", "imap"), Hello.GOOD),
        (("h2",), Hello.NO_OVERLAP),
        (("imaps", "ima", "http/1.1"), Hello.NO_OVERLAP),
    ],
)
def test_offers(offers: tuple[str, ...], found: Hello) -> None:
    assert read_hello(hello(*offers), IMAP) is found


def test_a_front_without_protocols_takes_no_offer() -> None:
    assert read_hello(hello("imap"), frozenset()) is Hello.NO_OVERLAP
    assert read_hello(hello(), frozenset()) is Hello.GOOD


def test_every_prefix_asks_for_more_and_never_less() -> None:
    whole = hello("h2")
    for size in range(1, 5):
        assert read_hello(whole[:size], IMAP) == 5
    for size in range(5, len(whole)):
        assert read_hello(whole[:size], IMAP) == len(whole)


def test_bytes_behind_the_record_do_not_matter() -> None:
    assert read_hello(hello("imap") + b"\x16\x03\x01rubbish", IMAP) is Hello.GOOD


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1", b"\x16\x02", b"\x15\x03\x01\0\2\1\0", b"\x16\x03\x01\0\0\1", b"\x16\x03\x01\0\x05\2\0\0\1\0"],
)
def test_not_tls(data: bytes) -> None:
    assert read_hello(data, IMAP) is Hello.NOT_TLS


H2 = hello("h2")


@given(st.data())
@settings(max_examples=60)
def test_no_mutation_raises_or_hides_the_offer_list(data: st.DataObject) -> None:
    whole = bytearray(H2)
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    found = read_hello(bytes(whole), IMAP)
    assert isinstance(found, Hello | int)
