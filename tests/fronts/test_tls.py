"""What a client may negotiate, and which certificate it gets."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Callable

import pytest

from proxy.fronts.tls import server_context
from proxy.link.messages import Ask
from tests.fronts.conftest import Certificates, Rig
from tests.support.fake_backend import Peer


def refused(rig: Rig, context: ssl.SSLContext) -> str:
    raw = rig.raw("imaps")
    with pytest.raises(ssl.SSLError) as caught:
        raw.start_tls(context, server_side=False, server_hostname="mail.example.test")
    return caught.value.reason or str(caught.value)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_versions_are_refused(rig: Rig) -> None:
    context = rig.client_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    assert "ALERT_PROTOCOL_VERSION" in refused(rig, context)


@pytest.mark.parametrize("cipher", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA256"])
def test_ciphers_without_forward_secrecy_or_aead_are_refused(rig: Rig, cipher: str) -> None:
    context = rig.client_context(version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(cipher)
    assert "HANDSHAKE_FAILURE" in refused(rig, context)


def test_nothing_is_compressed(rig: Rig) -> None:
    client = rig.tls("imaps", version=ssl.TLSVersion.TLSv1_2)
    assert isinstance(client.sock, ssl.SSLSocket)
    assert client.sock.compression() is None


def test_ticket_and_greeting_come_in_one_packet(rig: Rig) -> None:
    def packets() -> int:
        client = rig.tls("imaps", version=ssl.TLSVersion.TLSv1_3)
        assert client.line().startswith(b"* OK")
        info = client.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
        return int(struct.unpack_from("=I", info, 152)[0])  # tcpi_data_segs_in

    # The ServerHello's and this one; on a busy machine the kernel may have sent one of them twice.
    assert 2 in (packets() for _ in range(10))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed(rig: Rig, version: ssl.TLSVersion) -> None:
    context = rig.client_context(version=version)
    first = rig.tls("imaps", context=context)
    first.line()
    assert isinstance(first.sock, ssl.SSLSocket)
    session = first.sock.session
    first.close()
    raw = rig.raw("imaps")
    again = context.wrap_socket(raw.sock, server_hostname="mail.example.test", session=session)
    assert again.session_reused
    again.close()


def test_the_certificate_follows_the_name(rig: Rig) -> None:
    # server_hostname is also what the client verifies, so a wrong certificate fails the handshake.
    for name in ("mail.example.test", "other.example.test", "OTHER.example.test", "a.wild.example.test"):
        client = rig.tls("imaps", name=name)
        assert client.line().startswith(b"* OK")


def test_an_unknown_name_gets_the_default_certificate(rig: Rig) -> None:
    context = rig.client_context()
    context.check_hostname = False
    client = rig.tls("imaps", context=context, name="unknown.example.test")
    assert isinstance(client.sock, ssl.SSLSocket)
    certificate = client.sock.getpeercert()
    assert certificate is not None
    assert ("DNS", "mail.example.test") in certificate["subjectAltName"]


@pytest.mark.parametrize(
    ("front", "offers", "chosen"),
    [("imaps", ["imap"], "imap"), ("imaps", ["h2", "imap"], "imap"), ("smtps", ["smtp"], "smtp"), ("imaps", [], None)],
)
def test_alpn_that_overlaps_is_taken(rig: Rig, front: str, offers: list[str], chosen: str | None) -> None:
    context = rig.client_context()
    if offers:
        context.set_alpn_protocols(offers)
    client = rig.tls(front, context=context)
    assert isinstance(client.sock, ssl.SSLSocket)
    assert client.sock.selected_alpn_protocol() == chosen
    client.line()


@pytest.mark.parametrize("front", ["imaps", "smtps"])
def test_alpn_without_overlap_is_a_fatal_alert(rig: Rig, front: str) -> None:
    context = rig.client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    raw = rig.raw(front)
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        raw.start_tls(context, server_side=False, server_hostname="mail.example.test")


def test_alpn_is_looked_at_behind_starttls_too(rig: Rig) -> None:
    client = rig.raw("imap")
    client.line()
    client.send(b"a0 STARTTLS\r\n")
    client.until(b"a0 OK")
    context = rig.client_context()
    context.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        client.start_tls(context, server_side=False, server_hostname="mail.example.test")


class _Split:
    """A socket pair's end whose TLS bytes reach the front in small pieces."""

    def __init__(self, rig: Rig, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="mail.example.test")
        self.peer: Peer = rig.raw("imaps")

    def step(self, piece: int) -> None:
        data = self.outgoing.read()
        for at in range(0, len(data), piece):
            self.peer.send(data[at : at + piece])
            time.sleep(0.002)


@pytest.mark.parametrize(("offers", "good"), [(["imap"], True), (["h2"], False)])
def test_a_hello_in_pieces_is_judged_whole(rig: Rig, offers: list[str], good: bool) -> None:
    context = rig.client_context()
    context.set_alpn_protocols(offers)
    split = _Split(rig, context)
    with pytest.raises(ssl.SSLWantReadError):
        split.tls.do_handshake()
    split.step(7)
    outcome = ""
    while not outcome:
        split.incoming.write(split.peer.sock.recv(65536) or pytest.fail("closed without an alert"))
        try:
            split.tls.do_handshake()
            outcome = "done"
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as error:
            outcome = str(error).lower()
    assert ("done" if good else "no application protocol") in outcome


def test_a_hello_that_stops_half_way_does_not_spin(rig: Rig) -> None:
    def processor_time() -> float:
        with open(f"/proc/{rig.process.pid}/schedstat") as stat:
            return int(stat.read().split()[0]) / 1e9

    halves = [rig.raw("imaps") for _ in range(5)]
    for half in halves:
        half.send(b"\x16\x03\x01\x02\x00\x01\x00\x01")
    before = processor_time()
    time.sleep(1)
    assert processor_time() - before < 0.3
    for half in halves:
        half.sock.shutdown(socket.SHUT_WR)
        assert half.rest() == b""


def test_renegotiation_is_off(certificates: Certificates) -> None:
    """Python's client cannot ask for one, so the option is looked at."""
    front = server_context(certificates.tls, [b"imap"])
    assert front.options & ssl.OP_NO_RENEGOTIATION
    assert front.options & ssl.OP_NO_COMPRESSION


def test_garbage_instead_of_a_handshake_is_closed(rig: Rig) -> None:
    for garbage in (
        b"a1 LOGIN alice secret\r\n",
        b"\x16\x03\x01\xff\xff",
        b"\x80\x2e\x01\x00\x02",
        b"\x16\x03\x01\0\5" + b"\2\0\0\1\0",
    ):
        client = rig.raw("imaps")
        client.send(garbage)
        assert client.rest() == b""
    oversized = b"\x16\x03\x01" + struct.pack(">H", 100) + b"\x01\x00\x40\x00" + b"\0" * 96
    client = rig.raw("imaps")
    client.send(oversized)  # a ClientHello that goes on in the next record
    assert client.rest() == b""
    assert rig.core.of(Ask) == []


def test_a_handshake_that_fails_disturbs_nobody(rig: Rig) -> None:
    session = rig.log_in()
    for _ in range(5):
        raw = rig.raw("imaps")
        with pytest.raises(ssl.SSLError):
            raw.start_tls(ssl.create_default_context(), server_side=False, server_hostname="mail.example.test")
    session.send(b"b NOOP\r\n")
    assert session.until(b"b ")[-1] == b"b OK done\r\n"


def test_starttls_waits_for_what_was_said_before_it(make_rig: Callable[..., Rig]) -> None:
    """To a client that reads only later: the hello must not be taken for plain text meanwhile."""
    rig = make_rig(buffers=4096)
    client = rig.raw("imap", size=4096)
    client.send(b"a CAPABILITY\r\n" * 90 + b"b STARTTLS\r\n")
    time.sleep(0.3)
    assert client.until(b"b ")[-1] == b"b OK Begin TLS negotiation now\r\n"
    client.start_tls(rig.client_context(), server_side=False, server_hostname="mail.example.test")
    client.send(b"c NOOP\r\n")
    assert client.line() == b"c OK NOOP completed\r\n"
