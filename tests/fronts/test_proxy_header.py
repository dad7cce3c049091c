"""PROXY headers: from whom they are required, and whose address counts afterwards."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from proxy.link.messages import Ask, LimitSetting
from tests.fronts.conftest import Certificates, Rig, Shape, quick_limits, start_rig, stop_rig
from tests.support.fake_backend import Peer
from tests.support.fake_core import RIGHT

V1 = b"PROXY TCP4 203.0.113.9 198.51.100.1 40000 993\r\n"
V2 = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11"
    + struct.pack(">H", 12)
    + socket.inet_aton("203.0.113.9")
    + socket.inet_aton("198.51.100.1")
    + struct.pack(">HH", 40000, 993)
)
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Rig]:
    rig = start_rig(tmp_path_factory.mktemp("rig"), certificates, Shape(quick_limits(), proxies=["127.0.0.1/32"]))
    yield rig
    stop_rig(rig)


@pytest.fixture
def behind(listed: Rig) -> Rig:
    """Fronts that require a header from 127.0.0.1."""
    listed.reset()
    return listed


def log_in(client: Peer, rig: Rig) -> Ask:
    client.start_tls(rig.client_context(), server_side=False, server_hostname="mail.example.test")
    client.line()
    client.send(b"a1 LOGIN alice %s\r\n" % RIGHT.encode())
    assert client.line().startswith(b"a1 OK")
    ask = rig.core.wait(Ask)[-1]
    assert isinstance(ask, Ask)
    return ask


@pytest.mark.parametrize("header", [V1, V2])
@pytest.mark.parametrize("pieces", [1, 7, 1000])
def test_the_real_client_counts(behind: Rig, header: bytes, pieces: int) -> None:
    client = behind.raw("imaps")
    for at in range(0, len(header), pieces):
        client.send(header[at : at + pieces])
        if pieces < 1000:
            time.sleep(0.002)
    ask = log_in(client, behind)
    assert (ask.address, ask.port, ask.local_address, ask.local_port) == ("203.0.113.9", 40000, "198.51.100.1", 993)


def test_the_hello_may_follow_in_the_same_segment(behind: Rig) -> None:
    import ssl

    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = behind.client_context().wrap_bio(incoming, outgoing, server_hostname="mail.example.test")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    client = behind.raw("imaps")
    client.send(V2 + outgoing.read())
    while True:
        incoming.write(client.sock.recv(65536))
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            continue
    assert tls.version() == "TLSv1.3"


def test_local_means_the_peer_itself(behind: Rig) -> None:
    client = behind.raw("imaps")
    client.send(LOCAL)
    assert log_in(client, behind).address == "127.0.0.1"


def test_on_a_starttls_front_the_greeting_waits_for_the_header(behind: Rig) -> None:
    client = behind.raw("smtp")
    client.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.line()
    client.sock.settimeout(10)
    client.send(V1)
    assert client.line().startswith(b"220 ")


@pytest.mark.parametrize(
    "first", [b"\x16\x03\x01\x02\x00", b"PROXY TCP4 1.2.3.4\r\n", b"PROXY " + b"x" * 200, V1 + V1, b"EHLO me\r\n"]
)
def test_anything_else_closes(behind: Rig, first: bytes) -> None:
    client = behind.raw("smtp")
    client.send(first)
    assert client.rest() == b""


def test_an_unlisted_peer_is_closed_even_with_a_header(behind: Rig) -> None:
    client = behind.raw("smtp", source="127.0.0.9")
    client.send(V1)
    assert client.rest() == b""


def test_where_no_network_is_listed_a_header_is_only_rubbish(rig: Rig) -> None:
    client = rig.raw("imaps")
    client.send(V1)
    assert client.rest() == b""
    assert rig.core.of(Ask) == []


def test_a_header_that_does_not_come_is_waited_for_five_seconds(
    behind: Rig,
) -> None:
    client = behind.raw("smtp")
    client.send(b"PROXY ")
    start = time.monotonic()
    assert client.rest() == b""
    assert 4.5 < time.monotonic() - start < 9


def test_the_time_to_log_in_begins_with_the_connection(make_rig: Callable[..., Rig], limits: LimitSetting) -> None:
    limits.login_timeout = 2.0
    rig = make_rig(limits=limits, proxies=["127.0.0.1/32"])
    client = rig.raw("imap")
    start = time.monotonic()
    time.sleep(1.2)
    client.send(V1)
    assert client.rest().endswith(b"* BYE Too slow to log in\r\n")
    assert 1.8 < time.monotonic() - start < 3.0
