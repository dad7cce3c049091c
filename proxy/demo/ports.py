"""Ports on loopback: ones that are easy to recognize if they are free, else any."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import astuple, dataclass

HOST = "127.0.0.1"
PORTAL_HOST = "localhost"
"""The same, as a name: browsers do passkeys for names only."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What the demo's sidegate listens on."""

    imap_tls: int
    imap_starttls: int
    smtp_tls: int
    smtp_starttls: int
    ldap_tls: int
    ldap_starttls: int
    portal: int


NICE = Ports(
    imap_tls=10993,
    imap_starttls=10143,
    smtp_tls=10465,
    smtp_starttls=10587,
    ldap_tls=10636,
    ldap_starttls=10389,
    portal=10088,  # not 10080, which browsers refuse to open (Fetch section 2.9, "bad ports")
)


def hold(stack: ExitStack) -> tuple[Ports, list[socket.socket]]:
    """NICE, another one for each that is taken, and a listening socket for each; `stack` closes them."""
    sockets = [stack.enter_context(_listening(port) or listening()) for port in astuple(NICE)]
    return Ports(*(sock.getsockname()[1] for sock in sockets)), sockets


def listening(port: int = 0) -> socket.socket:
    """A listening socket on loopback, on any free port."""
    return socket.create_server((HOST, port), backlog=1024)


def _listening(port: int) -> socket.socket | None:
    try:
        return listening(port)
    except OSError:
        return None
