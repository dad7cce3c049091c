"""Backends for tests: every connection runs a script in a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable

from proxy.wire.ldap import grammar as ldap


class Peer:
    """One end of a connection, blocking, with a deadline on everything."""

    def __init__(self, sock: socket.socket, timeout: float = 20.0) -> None:
        self.sock = sock
        sock.settimeout(timeout)
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def line(self) -> bytes:
        """The next line with its end; what there is of it when the connection ended."""
        while b"\n" not in self._buffer:
            data = self.sock.recv(65536)
            if not data:
                line, self._buffer = self._buffer, b""
                return line
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line + b"\n"

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer at the end."""
        while len(self._buffer) < size:
            data = self.sock.recv(min(size - len(self._buffer), 65536))
            if not data:
                break
            self._buffer += data
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def rest(self) -> bytes:
        """Everything up to the end (an orderly one, or a reset)."""
        parts = [self._buffer]
        self._buffer = b""
        with contextlib.suppress(ConnectionError):
            while data := self.sock.recv(65536):
                parts.append(data)
        return b"".join(parts)

    def until(self, end: bytes) -> list[bytes]:
        """Lines up to and including the first that begins with `end`."""
        lines = []
        while True:
            line = self.line()
            if not line:
                raise AssertionError(f"closed; got {lines}")
            lines.append(line)
            if line.startswith(end):
                return lines

    def start_tls(
        self, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None = None, strict: bool = False
    ) -> None:
        """`strict`: an end without close_notify is an error."""
        assert not self._buffer
        self.sock = context.wrap_socket(
            self.sock, server_side=server_side, server_hostname=server_hostname, suppress_ragged_eofs=not strict
        )

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()


class FakeBackend:
    """A listening socket on 127.0.0.1 and the script its connections run."""

    def __init__(self, script: Callable[[Peer], None], *, rcvbuf: int | None = None) -> None:
        self.script = script
        """May be changed at any time; connections made later run the new one."""
        self.connections: list[Peer] = []
        self.heard: list[bytes] = []
        """For scripts to put down what they were sent."""
        self.errors: list[BaseException] = []
        self._listener = socket.socket()
        if rcvbuf:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, rcvbuf)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(512)
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            peer = Peer(sock)
            self.connections.append(peer)
            threading.Thread(target=self._run, args=(peer,), daemon=True).start()

    def _run(self, peer: Peer) -> None:
        try:
            self.script(peer)
        except (OSError, ValueError):
            pass  # the test looks at what the client saw
        except AssertionError as error:
            self.errors.append(error)
        finally:
            with contextlib.suppress(OSError):
                peer.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self.connections:
            with contextlib.suppress(OSError):
                peer.close()


IMAP_GREETING = (
    b"* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN] Dovecot ready.\r\n"
)
IMAP_CAPABILITIES = b"IMAP4rev1 SASL-IR ID ENABLE IDLE LITERAL+ UIDPLUS MOVE"


def imap_log_in(peer: Peer) -> bytes:
    """Greet and let anybody in, as Dovecot does; returns the AUTHENTICATE or LOGIN line."""
    peer.send(IMAP_GREETING)
    while True:
        line = peer.line()
        if not line:
            raise OSError("gone before login")
        tag, _, rest = line.partition(b" ")
        verb = rest.split(b" ")[0].strip().upper()
        if verb in (b"AUTHENTICATE", b"LOGIN"):
            if verb == b"AUTHENTICATE" and len(rest.split()) < 3:
                peer.send(b"+ \r\n")
                line += peer.line()
            peer.send(tag + b" OK [CAPABILITY " + IMAP_CAPABILITIES + b"] Logged in\r\n")
            return line
        if verb == b"LOGOUT":
            peer.send(b"* BYE\r\n" + tag + b" OK done\r\n")
            raise OSError("logged out")
        if verb == b"ID":
            peer.send(b"* ID NIL\r\n" + tag + b" OK ID completed\r\n")
        elif verb == b"CAPABILITY":
            peer.send(b"* CAPABILITY IMAP4rev1 SASL-IR ID ENABLE IDLE LITERAL+ AUTH=PLAIN\r\n" + tag + b" OK done\r\n")
        else:
            peer.send(tag + b" OK done\r\n")


def imap_echo(peer: Peer) -> None:
    """After login: answers every line with `* ECHO line` and a tagged OK; LOGOUT ends."""
    imap_log_in(peer)
    while line := peer.line():
        tag, _, rest = line.partition(b" ")
        if rest.strip().upper() == b"LOGOUT":
            peer.send(b"* BYE Logging out\r\n" + tag + b" OK Logout completed.\r\n")
            return
        peer.send(b"* ECHO " + rest + tag + b" OK done\r\n")


def smtp_greet(peer: Peer, *extra: bytes) -> None:
    """220, then answer EHLO, XCLIENT and AUTH as Postfix does, until the login is done."""
    peer.send(b"220 backend.example.test ESMTP\r\n")
    while True:
        line = peer.line()
        verb = line.split(b" ")[0].strip().upper()
        if verb == b"EHLO":
            keywords = [
                b"backend.example.test",
                b"PIPELINING",
                b"SIZE 10240000",
                b"XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT",
            ]
            keywords += [b"AUTH PLAIN LOGIN", b"ENHANCEDSTATUSCODES", b"8BITMIME", *extra]
            for word in keywords[:-1]:
                peer.send(b"250-" + word + b"\r\n")
            peer.send(b"250 " + keywords[-1] + b"\r\n")
            if getattr(peer, "logged_in", False):
                return
        elif verb == b"XCLIENT":
            peer.xclient = line  # type: ignore[attr-defined]
            if b"LOGIN=" in line:
                peer.logged_in = True  # type: ignore[attr-defined]
            peer.send(b"220 backend.example.test ESMTP\r\n")
        elif verb == b"AUTH":
            peer.logged_in = True  # type: ignore[attr-defined]
            peer.send(b"235 2.7.0 Authentication successful\r\n")
            if not extra:
                return
        elif verb == b"QUIT" or not line:
            raise OSError("quit before login")
        else:
            peer.send(b"250 2.0.0 Ok\r\n")


def ldap_read(peer: Peer) -> bytes:
    """One LDAP message; empty at the end."""
    head = peer.read(2)
    if len(head) < 2:
        return b""
    if head[1] < 0x80:
        return head + peer.read(head[1])
    octets = peer.read(head[1] & 0x7F)
    return head + octets + peer.read(int.from_bytes(octets, "big"))


def ldap_directory(peer: Peer) -> None:
    """Lets anybody bind, says whom a control names to Who am I?, and answers a search with one entry."""
    while raw := ldap_read(peer):
        pdu = ldap.parse(raw)
        match pdu.operation:
            case ldap.BIND_REQUEST:
                peer.send(ldap.answer(pdu.message_id, ldap.BIND_RESPONSE, 0))
            case ldap.EXTENDED_REQUEST:
                done = (ldap.encode_integer(0, ldap.ENUMERATED), ldap.encode(ldap.OCTETS), ldap.encode(ldap.OCTETS))
                name = ldap.encode(ldap.RESPONSE_VALUE, raw[raw.index(b"dn:") :])
                peer.send(ldap.message(pdu.message_id, ldap.encode(ldap.EXTENDED_RESPONSE, *done, name)))
            case ldap.SEARCH:
                entry = ldap.encode(ldap.SEARCH_ENTRY, ldap.encode(ldap.OCTETS, b"cn=x"), ldap.encode(ldap.SEQUENCE))
                peer.send(ldap.message(pdu.message_id, entry))
                peer.send(ldap.answer(pdu.message_id, ldap.SEARCH_DONE, 0))
            case ldap.UNBIND:
                return
