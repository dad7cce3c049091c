"""PROXY headers, from listed balancers and from others (DESIGN section 8; threat 24): whose address counts everywhere.

Which headers are well-formed is held in tests/fronts and tests/wire.
"""

from __future__ import annotations

import ssl
import struct

import pytest

from tests.hostile.stand import ALICE, NOT_ACCEPTED, Stand, refused, rest
from tests.support.talk import Talk, plain

BALANCER = "127.0.77.1"
"""One of the networks that the proxied fronts list; the outsider is in none."""
OUTSIDER = "127.0.9.1"
CLIENT = "203.0.113.9"
V1 = f"PROXY TCP4 {CLIENT} 198.51.100.1 40000 993\r\n".encode()
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V2 = (
    SIGNATURE
    + b"\x21\x11"
    + struct.pack("!H", 12)
    + bytes([203, 0, 113, 9, 198, 51, 100, 1])
    + struct.pack("!HH", 4, 993)
)
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


def behind(stand: Stand, protocol: str, header: bytes, *, source: str = BALANCER) -> Talk:
    """A connection through a balancer; the greeting is still to be read."""
    talk = Talk(stand.gate.ports[protocol, "proxied"], stand.ca, tls=False, source=source)
    talk.socket.sendall(header)
    talk.start_tls()
    return talk


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
def test_the_client_behind_the_balancer_is_the_client_everywhere(stand: Stand, header: bytes) -> None:
    talk = behind(stand, "imap", header)
    talk.line()
    stand.earn()
    assert talk.imap(f'LOGIN "{ALICE}" {stand.right}')[-1].startswith("t OK ")
    (session,) = [row for row in stand.gate.json("sessions", "list", ALICE) if CLIENT in str(row["client"])]
    assert f"rip={CLIENT} " in stand.gate.log()
    assert stand.gate.cli("sessions", "cut", "--id", session["id"]).returncode == 0
    assert rest(talk.socket).startswith(b"* BYE ")
    talk.close()
    smtp = behind(stand, "smtp", header)
    smtp.line()
    smtp.smtp("EHLO x")
    stand.earn()
    assert smtp.smtp(f"AUTH PLAIN {plain(ALICE, stand.right)}")[0].startswith("235 ")
    assert f"ADDR={CLIENT} ".encode() in stand.submission.xclient[-1]
    smtp.close()


def test_networks_of_an_app_password_are_those_of_the_client(stand: Stand) -> None:
    secret = stand.mint(ALICE, "only there", "--network", f"{CLIENT}/32")
    talk = behind(stand, "imap", V1)
    talk.line()
    stand.earn()
    assert talk.imap(f'LOGIN "{ALICE}" {secret}')[-1].startswith("t OK ")
    talk.close()
    local = behind(stand, "imap", LOCAL)
    local.line()
    assert local.imap(f'LOGIN "{ALICE}" {secret}') == refused("imap", NOT_ACCEPTED)
    local.close()


@pytest.mark.parametrize("protocol", ["imap", "smtp"])
@pytest.mark.parametrize(
    ("source", "header"),
    [
        (OUTSIDER, V1),
        (OUTSIDER, V2),
        (OUTSIDER, b""),
        (BALANCER, V1 + V1),
        (BALANCER, V2 + V1),
        (BALANCER, V1.replace(b"203.0.113.9", b"203.0.113.999")),
        (BALANCER, V1.replace(b"TCP4", b"TCP6")),
        (BALANCER, V1.replace(b"\r\n", b"\n")),
        (BALANCER, b"PROXY TCP4 " + b"1" * 200),
        (BALANCER, SIGNATURE + b"\x21\x11\xff\xff" + b"\0" * 600),
        (BALANCER, SIGNATURE + b"\x31\x11\x00\x0c" + b"\0" * 12),
        (BALANCER, b"GET / HTTP/1.1\r\n\r\n"),
    ],
)
def test_everything_else_is_closed_without_a_word(stand: Stand, protocol: str, source: str, header: bytes) -> None:
    talk = Talk(stand.gate.ports[protocol, "proxied"], tls=False, source=source)
    talk.socket.sendall(header)
    assert rest(talk.socket) == b""
    talk.close()


def test_where_nobody_is_listed_a_header_is_no_handshake(stand: Stand) -> None:
    for protocol in ("imap", "smtp"):
        talk = Talk(stand.gate.ports[protocol, "implicit"], stand.ca, tls=False, source=BALANCER)
        talk.socket.sendall(V1)
        with pytest.raises((ssl.SSLError, OSError)):
            talk.start_tls()
        talk.close()
