"""A blocking line client for black-box tests: every read has a deadline."""

from __future__ import annotations

import base64
import socket
import ssl
from pathlib import Path


def closes(sock: socket.socket) -> bool:
    """Whether the other side closes within the socket's timeout; what it says before does not matter."""
    try:
        while sock.recv(65536):
            pass
    except (ConnectionResetError, ssl.SSLEOFError):
        return True
    except TimeoutError:
        return False
    return True


class Talk:
    """One client connection to 127.0.0.1:`port`, from `source`; behind TLS if `ca` is given and `tls`."""

    def __init__(
        self, port: int, ca: Path | None = None, *, tls: bool = True, source: str = "127.0.0.1", timeout: float = 15
    ) -> None:
        self._context = ssl.create_default_context(cafile=str(ca)) if ca is not None else None
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", port), timeout, (source, 0))
        self._buffer = b""
        if tls:
            self.start_tls()

    def start_tls(self) -> None:
        assert self._context is not None
        self.socket = self._context.wrap_socket(self.socket, server_hostname="localhost")

    def send(self, data: bytes | str) -> None:
        """Send bytes as they are; text gets its CRLF."""
        self.socket.sendall(data if isinstance(data, bytes) else data.encode() + b"\r\n")

    def line(self) -> str:
        """The next line without its end; empty string at EOF."""
        while b"\n" not in self._buffer:
            try:
                data = self.socket.recv(65536)
            except (ConnectionResetError, ssl.SSLEOFError):
                data = b""
            if not data:
                return ""
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line.rstrip(b"\r").decode("utf-8", "replace")

    def until(self, start: str) -> list[str]:
        """Lines up to and including the first that begins with `start`; AssertionError at EOF."""
        lines = []
        while True:
            lines.append(self.line())
            assert lines[-1], f"closed before {start!r}: {lines}"
            if lines[-1].startswith(start):
                return lines

    def imap(self, command: str, tag: str = "t") -> list[str]:
        """Send one IMAP command; every line of its answer, the tagged one last."""
        self.send(f"{tag} {command}")
        return self.until(f"{tag} ")

    def smtp(self, command: str | None = None) -> list[str]:
        """Send one SMTP command (None: just read); every line of the reply."""
        if command is not None:
            self.send(command)
        lines = [self.line()]
        while lines[-1][3:4] == "-":
            lines.append(self.line())
        return lines

    def closed(self) -> bool:
        """Whether the other side closes now (reads to EOF within the timeout)."""
        return closes(self.socket)

    def close(self) -> None:
        self.socket.close()


def plain(user: str, password: str, authzid: str = "") -> str:
    """SASL PLAIN's initial response, base64."""
    return base64.b64encode(f"{authzid}\0{user}\0{password}".encode()).decode()
