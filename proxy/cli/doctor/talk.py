"""A blocking connection that waits a little and says in words what went wrong. For doctor only."""

from __future__ import annotations

import socket
import ssl
from types import TracebackType
from typing import Self

from proxy.config.settings import Address, Backend, ClientAddress
from proxy.wire.proxy_protocol import encode_v2

WAIT = 5.0
"""Seconds for a connection, a handshake or an answer."""
_MOST = 64 * 1024


class Trouble(Exception):
    """What went wrong, as one clause: `connection refused`."""


class Talk:
    """One connection."""

    def __init__(self, host: str, port: int, wait: float = WAIT) -> None:
        try:
            self._sock: socket.socket = socket.create_connection((host, port), timeout=wait)
        except OSError as error:
            raise Trouble(_clause(error)) from None
        self._read = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._sock.close()

    def start_tls(self, context: ssl.SSLContext, name: str) -> str | None:
        """Handshake; returns the TLS version."""
        try:
            self._sock = context.wrap_socket(self._sock, server_hostname=name)
        except (OSError, ValueError) as error:
            raise Trouble(f"TLS failed: {_clause(error)}") from None
        return self.tls_version()

    def tls_version(self) -> str | None:
        """None before the handshake."""
        return self._sock.version() if isinstance(self._sock, ssl.SSLSocket) else None

    def send(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise Trouble(_clause(error)) from None

    def receive(self) -> bytes:
        """What comes next; empty at the end."""
        try:
            return self._sock.recv(16384)
        except OSError as error:
            raise Trouble(_clause(error)) from None

    def line(self) -> bytes:
        """The next line, without its end."""
        while b"\n" not in self._read:
            data = self.receive()
            if not data:
                raise Trouble("it closed the connection")
            self._read += data
            if len(self._read) > _MOST:
                raise Trouble("it sends no line ends")
        line, _, rest = bytes(self._read).partition(b"\n")
        self._read[:] = rest
        return line.removesuffix(b"\r")

    def smtp_reply(self) -> tuple[int, list[str]]:
        """Code and texts of one SMTP reply, also of several lines (RFC 5321 section 4.2.1)."""
        texts = []
        while True:
            line = self.line().decode("ascii", "replace")
            if not line[:3].isdigit():
                raise Trouble("what it says is not SMTP")
            texts.append(line[4:])
            if line[3:4] != "-":
                return int(line[:3]), texts

    def smtp(self, command: str) -> tuple[int, list[str]]:
        """A command and its reply."""
        self.send(command.encode("ascii") + b"\r\n")
        return self.smtp_reply()


def talk_to(backend: Backend, address: Address, wait: float = WAIT) -> Talk:
    """A connection to a backend, with the PROXY header where it demands one."""
    talk = Talk(address.host, address.port, wait)
    if backend.client_address is ClientAddress.PROXY_V2:
        talk.send(encode_v2(None))
    return talk


def _clause(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {WAIT:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "protocol error").replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return str(error) or type(error).__name__
