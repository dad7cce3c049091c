"""RFC 8291's own example, and what is no subscription."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from proxy.notices.encryption import BadSubscription, decoded, encrypt, server_key
from tests.support.push_service import Subscriber, encoded, point

# RFC 8291 section 5 and appendix A.
PLAIN = b"When I grow up, I want to be a watermelon"
SENDER = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
BROWSER = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml"
    "mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT"
    "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def test_the_example_of_rfc_8291() -> None:
    sender = ec.derive_private_key(int.from_bytes(decoded(SENDER), "big"), ec.SECP256R1())
    assert encoded(encrypt(PLAIN, BROWSER, AUTH, salt=decoded(SALT), key=sender)) == BODY


def test_no_two_are_alike_and_the_browser_reads_each() -> None:
    browser = Subscriber("https://push.example.net/1")
    keys = browser.subscription["p256dh"], browser.subscription["auth"]
    one, other = encrypt(PLAIN, *keys), encrypt(PLAIN, *keys)
    assert one[:16] != other[:16]
    assert one[21:86] != other[21:86]
    assert browser.decrypt(one) == browser.decrypt(other) == PLAIN


@pytest.mark.parametrize(
    ("p256dh", "auth"),
    [
        ("", AUTH),
        (BROWSER[:-4], AUTH),
        ("A" * 87, AUTH),  # not on the curve
        (BROWSER, ""),
        (BROWSER, AUTH[:-3]),
        ("é" * 87, AUTH),
        (BROWSER, "!" * 22),
    ],
)
def test_damaged_keys(p256dh: str, auth: str) -> None:
    with pytest.raises(BadSubscription):
        encrypt(PLAIN, p256dh, auth)


@pytest.mark.parametrize("raw", [bytes(48), b"\xff" * 48, os.urandom(48)], ids=["zeros", "ones", "random"])
def test_any_bytes_make_a_key_always_the_same(raw: bytes) -> None:
    key = server_key(raw)
    assert key == server_key(raw)
    loaded = load_pem_private_key(key.private_pem, None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    assert point(loaded.public_key()) == key.public
    assert b"PRIVATE" not in repr(key).encode()
