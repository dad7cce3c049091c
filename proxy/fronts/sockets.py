"""What the kernel is asked for one socket; `descriptor` and the listeners use it."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from typing import Any, Final
from typing import Protocol as Interface


class TlsObject(Interface):
    """The C object inside ssl.SSLSocket, as far as it is used here."""

    def shutdown(self) -> object: ...


_OPTIONS: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000),
)


class Socket(socket.SocketType):
    """The C type below socket.socket, which adds to it in Python what nothing here needs, 4 us a connection."""

    __slots__ = ("__weakref__",)


def accept(listening: socket.SocketType) -> tuple[Socket, tuple[Any, ...]]:
    """The next connection, non-blocking, and the peer's address. OSError as of accept(2)."""
    descriptor, peer = listening._accept()  # type: ignore[attr-defined] # what socket.accept itself calls
    sock = Socket(listening.family, listening.type, listening.proto, descriptor)
    sock.setblocking(False)
    return sock, peer


def set_options(sock: socket.SocketType) -> None:
    """No Nagle, and a dead peer is noticed within two minutes. Accepted sockets inherit it from the listening one."""
    for level, option, value in _OPTIONS:
        sock.setsockopt(level, option, value)


def cork(sock: socket.SocketType, on: bool) -> None:
    """Collect what is written, until told to send it (tcp(7) TCP_CORK)."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)


def connect_socket(family: int, sockaddr: tuple[Any, ...]) -> Socket:
    """A socket that is connecting. OSError when the kernel refuses at once."""
    sock = Socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        set_options(sock)
        sock.connect(sockaddr)
    except BlockingIOError:
        pass
    except OSError:
        sock.close()
        raise
    return sock


# A full SSL_shutdown() also reads, and application data that is on its way then kills the connection
# (SSL_R_APPLICATION_DATA_AFTER_CLOSE_NOTIFY); the ssl module always makes that second call. So the close_notify is
# produced on a socket pair that has nothing to read, put under the TLS object's descriptor for the moment, and sent
# from there. Nothing else runs meanwhile.
_pair: tuple[socket.socket, socket.socket] | None = None


def close_notify(tls: TlsObject, sock: socket.SocketType) -> None:
    global _pair  # noqa: PLW0603 - one pair a process, made when first needed
    if _pair is None:
        _pair = socket.socketpair()
        _pair[0].setblocking(False)
        _pair[1].setblocking(False)
    descriptor = sock.fileno()
    real = os.dup(descriptor)
    try:
        os.dup2(_pair[0].fileno(), descriptor, inheritable=False)
        with contextlib.suppress(ssl.SSLError):
            tls.shutdown()
    finally:
        os.dup2(real, descriptor, inheritable=False)
        os.close(real)
    with contextlib.suppress(BlockingIOError):
        sock.send(_pair[1].recv(4096))


def words(error: OSError) -> str:
    """An error without anything a peer chose: OpenSSL's reason, a certificate's fault, or the errno's text."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "TLS error").replace("_", " ").lower()
    return os.strerror(error.errno).lower() if error.errno else "closed"
