"""Login names, authzids and SASL messages that lead nowhere (facts: threats 11-15), with the right app password:
only what is wrong with them speaks against them.
"""

from __future__ import annotations

import base64

import pytest

from tests.hostile.stand import (
    ALICE,
    CANARY,
    NOT_ACCEPTED,
    NOT_APP_PASSWORD,
    Stand,
    b64,
    refused,
    together,
)
from tests.support.talk import plain

SECRET = "%SECRET%"
"""Replaced by ALICE's app password."""

BAD_NAMES = [
    "",
    " alice@example.org",
    "alice@example.org ",
    "\talice",
    "alice\n",
    "alice\r\nb LOGIN root x",
    "al\x1bice",
    "al\x7fice",
    "al\x85ice",
    "al\u202eice",
    "al\u200bice",
    "а" + "lice@example.org",  # a Cyrillic letter
    "ａlice@example.org",
    "alice@example.org@example.org",
    "@example.org",
    "alice@",
    "alice*master",
    "alice%u%100000n",
    "*",
    "canary@example.org*master",
    "alice' OR 1=1--",
    'alice"',
    "EXAMPLE\\alice",
    "uid=alice,dc=example,dc=org",
    "alice@[127.0.0.1]",
    "alice@example.com",
    "a" * 257,
    "alice@" + "a." * 200 + "org",
    "alice@" + "\u00e4" * 120 + ".org",
    "{account}",
    "%s%n%n",
]
"""None of them is ALICE, whatever her app password says."""

GOOD_NAMES = ["alice", "ALICE", "Alice@Example.ORG", "alice@example\u3002org", "alice@ｅxample.org"]


@pytest.mark.parametrize("protocol", ["imap", "smtp"])
def test_no_other_spelling_leads_to_an_account(stand: Stand, protocol: str) -> None:
    """Threats 13-15: with the right app password, so that only the name speaks against it."""
    answers = together([lambda name=name: stand.refusal(protocol, name, stand.right) for name in BAD_NAMES])
    for name, found in zip(BAD_NAMES, answers, strict=True):
        assert found == refused(protocol, NOT_ACCEPTED), name


def test_every_spelling_of_the_address_does(stand: Stand) -> None:
    for name in GOOD_NAMES:
        talk = stand.talk("imap")
        stand.earn()
        assert talk.imap(f"AUTHENTICATE PLAIN {plain(name, stand.right)}")[-1].startswith("t OK "), name
        talk.close()
    messages = [peer.login.split()[-1] for peer in stand.mail.connections if hasattr(peer, "login")]
    told = {base64.b64decode(message).split(b"\0")[0].decode() for message in messages}
    assert told == {ALICE, CANARY}, "the backend's name comes from the store, never from the wire"


MESSAGES = [
    b"",
    b"\0",
    b"\0\0",
    b"\0\0\0",
    b"alice",
    b"alice\0%SECRET%",
    b"\0alice\0%SECRET%\0",
    b"\0alice\0%SECRET%\0\0",
    b"\0alice\0",
    b"\0alice\0%SECRET%\x00\xff",
    b"\0alice\0%SECRET%\xff",
    b"\0alice\0%SECRET%\xc0\x80",
    b"\0alice\0%SECRET%\n",
    b"\0alice\0" + b"x" * 1025,
    b"\0alice\0%SECRET%" + b" " * 1024,
]
"""SASL PLAIN messages without a secret that could be right: all get the one sentence."""


@pytest.mark.parametrize("protocol", ["imap", "smtp"])
def test_broken_messages_are_unshaped_secrets(stand: Stand, protocol: str) -> None:
    """Threat 11."""

    def send(message: bytes) -> list[str]:
        response = b64(message.replace(SECRET.encode(), stand.right.encode())) or "="
        talk = stand.talk(protocol)
        try:
            if protocol == "imap":
                return talk.imap(f"AUTHENTICATE PLAIN {response}")
            talk.smtp("EHLO client")
            return talk.smtp(f"AUTH PLAIN {response}")
        finally:
            talk.close()

    answers = together([lambda message=message: send(message) for message in MESSAGES])
    for message, found in zip(MESSAGES, answers, strict=True):
        assert found == refused(protocol, NOT_APP_PASSWORD), message


@pytest.mark.parametrize("protocol", ["imap", "smtp"])
def test_nobody_logs_in_as_somebody_else(stand: Stand, protocol: str) -> None:
    """Threat 12: an authzid is empty or the account itself."""
    others = [
        CANARY,
        "root",
        "*",
        "alice\n",
        " alice",
        "admin@example.org",
        "\u202ealice",
        "alice@example.com",
        "a" * 300,
    ]
    answers = together([lambda z=z: stand.refusal(protocol, "alice", stand.right, authzid=z) for z in others])
    for other, found in zip(others, answers, strict=True):
        assert found == refused(protocol, NOT_ACCEPTED), other
    for itself in ("alice", "ALICE", "alice@example.org", "Alice@EXAMPLE.org"):
        stand.earn()
        assert stand.refusal(protocol, "alice", stand.right, authzid=itself)[-1].startswith(("t OK ", "235 ")), itself
