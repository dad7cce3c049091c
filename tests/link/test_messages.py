"""Frames: what goes in comes out, whatever the cuts; rubbish is an error; secrets do not show; N-1 is understood."""

from __future__ import annotations

import math
import struct

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.fronts import refusals
from proxy.link import messages as m

ASK = m.Ask(
    7,
    "s1",
    "imap:993",
    "imap",
    "alice",
    "",
    False,
    "canary-secret",
    "PLAIN",
    "203.0.113.9",
    5,
    "::1",
    993,
    "TLSv1.3",
    None,
)
LIVE = m.LiveSession("s1", 1, 2, 3, "imap", "mail", "203.0.113.9", 5, "::1", 993, None, "tb", 1.5, 10, 20)

FROM_PEER = [
    m.Hello(m.LINK_VERSION, "front", [LIVE]),
    ASK,
    m.Started("s1", "127.0.0.1:143", "tb"),
    m.Ended("s1", "closed", 1, 2, 3, 4, "connect", "127.0.0.1:143: refused"),
    m.Program("s1", "tb"),
    m.Refusals([m.RefusalRow("imap", "not_app_password", "n", "a", "alice", None, "PLAIN", None, "s1", 3)], 9),
    m.CutDone(4, 5),
    m.Census(6, [LIVE]),
    m.BackendNews("mail", "127.0.0.1:143", False, "refused"),
]
SETTINGS = (
    "mx",
    "https://login.example.org",
    [m.TlsFiles("/c", "/k", ["mx.example.org"])],
    [m.FrontSetting("imap:993", "imap", "implicit", "mail", ["10.0.0.0/8"])],
    [
        m.BackendSetting("mail", "imap", ["127.0.0.1:143"], "none", None, None, "id"),
        m.BackendSetting("it", "ldap", ["::1:389"], "none", None, None, "none", "uid={local}", True, ["example.org"]),
    ],
    m.LimitSetting(),
)
FROM_CORE = [
    m.Welcome(m.LINK_VERSION, *SETTINGS, ["s1"]),
    m.Reload(*SETTINGS),
    m.Accept(7, "s1", 1, 2, 3, m.LoginSetting("plain", "alice", "master", "canary-secret")),
    m.Refuse(7, "revoked"),
    m.Cut(4, [2], [1], ["s1"]),
    m.Limited(["203.0.113.9/32"]),
    m.TakeCensus(6),
    m.Kill(4711, "late"),
]


@given(st.lists(st.integers(1, 400), max_size=12))
@settings(max_examples=60)
def test_cut_anywhere(cuts: list[int]):
    for sent, receive in ((FROM_PEER, m.messages_from_peer), (FROM_CORE, m.messages_from_core)):
        stream = b"".join(m.encode(message) for message in sent)
        buffer, got, at = bytearray(), [], 0
        for size in [*cuts, len(stream)]:
            buffer += stream[at : at + size]
            at += size
            got += receive(buffer)
        assert got == sent
        assert buffer == b""


def test_byte_by_byte():
    buffer, got = bytearray(), []
    for byte in b"".join(m.encode(message) for message in FROM_PEER):
        buffer.append(byte)
        got += m.messages_from_peer(buffer)
    assert got == FROM_PEER


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack(">I", m.MAX_MESSAGE + 1),
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"\0\0\0\1\xc1",
        b"\0\0\0\3abc",
        struct.pack(">I", len(FROM_CORE[3].reason)) + b"revoked",
        m.encode(m.Kill(1, "the core's own word")),
        m.encode(m.Refuse(1, "the core's own word")),
    ],
)
def test_rubbish_is_an_error(frame: bytes):
    with pytest.raises(m.LinkError):
        list(m.messages_from_peer(bytearray(frame)))


def row(**fields: object) -> m.RefusalRow:
    return replace(FROM_PEER[5].rows[0], **fields)


@pytest.mark.parametrize(
    "message",
    [
        replace(ASK, login_name="x" * 16_385),
        replace(ASK, secret="x" * 16_385),
        replace(ASK, session_id="x" * 513),
        replace(ASK, address="x" * 513),
        replace(ASK, program="x" * 513),
        replace(ASK, question=-1),
        m.Started("s1", "x" * 513, None),
        m.Program("s1", "x" * 513),
        m.Ended("s1", "closed", 0, 0, messages=2**53),
        m.Ended("s1", "closed", 0, 0, detail="x" * 16_385),
        m.Refusals([row()] * (m.MAX_ROWS + 1), 0),
        m.Refusals([row(count=2**53)], 0),
        m.Refusals([row(login_name="x" * 16_385)], 0),
        m.Refusals([row(reason="x" * 513)], 0),
        m.Hello(1, "front", [LIVE] * (m.MAX_SESSIONS + 1001)),
        m.Hello(1, "front", [replace(LIVE, account_id=2**63)]),
        m.Hello(1, "front", [replace(LIVE, started=math.nan)]),
        m.Census(1, [replace(LIVE, started=math.inf)]),
        m.BackendNews("x" * 513, "a", False, ""),
    ],
)
def test_what_a_worker_says_is_bounded(message: m.Message):
    """No real one comes near; one in the hands of a stranger must not fill log, audit or memory."""
    with pytest.raises(m.LinkError):
        list(m.messages_from_peer(bytearray(m.encode(message))))


def test_what_a_client_may_type_passes():
    longest = replace(ASK, login_name="x" * 12_288, authzid="x" * 12_288, secret="x" * 12_288)
    assert list(m.messages_from_peer(bytearray(m.encode(longest)))) == [longest]
    assert refusals.MAX_ROWS <= m.MAX_ROWS


def test_a_long_frame_is_an_error_before_it_has_come():
    buffer = bytearray(struct.pack(">I", m.MAX_MESSAGE + 1) + b"x")
    with pytest.raises(m.LinkError, match="too long"):
        list(m.messages_from_peer(buffer))


def test_fields_that_came_later_have_defaults_and_newer_ones_are_skipped():
    def frame(payload: list[object]) -> bytearray:
        raw = msgspec.msgpack.encode(payload)
        return bytearray(struct.pack(">I", len(raw)) + raw)

    assert list(m.messages_from_peer(frame(["Ended", "s1", "closed", 1, 2]))) == [m.Ended("s1", "closed", 1, 2)]
    newer = frame(["CutDone", 4, 5, "a field of the next version"])
    assert list(m.messages_from_peer(newer)) == [m.CutDone(4, 5)]


def test_secrets_do_not_show():
    for message in [*FROM_PEER, *FROM_CORE]:
        assert "canary" not in repr(message)
    assert repr(ASK) == "<Ask>"
