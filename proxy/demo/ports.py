"""Ports on loopback: ones that are easy to recognize if they are free, else any."""

from __future__ import annotations

import socket
from dataclasses import dataclass

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Ports:
    """What the demo's sidegate listens on."""

    imap_tls: int
    imap_starttls: int
    smtp_tls: int
    smtp_starttls: int
    portal: int


NICE = Ports(imap_tls=10993, imap_starttls=10143, smtp_tls=10465, smtp_starttls=10587, portal=10080)


def choose() -> Ports:
    """NICE, another one for each that is taken. Nothing holds them until the supervisor binds them, a moment later."""
    held: list[socket.socket] = []
    try:
        for port in (NICE.imap_tls, NICE.imap_starttls, NICE.smtp_tls, NICE.smtp_starttls, NICE.portal):
            held.append(_bound(port) or listening())
        return Ports(*(sock.getsockname()[1] for sock in held))
    finally:
        for sock in held:
            sock.close()


def _bound(port: int) -> socket.socket | None:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((HOST, port))
        sock.listen(1)
    except OSError:
        sock.close()
        return None
    return sock


def listening() -> socket.socket:
    """A listening socket on any free port of loopback."""
    return socket.create_server((HOST, 0), backlog=128)
