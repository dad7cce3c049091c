"""The core's side of the link: one unix socket, a peer per front worker and supervisor.

Raw and non-blocking under the event loop: everything said to a peer in one turn of the loop goes out in one write, what
its socket does not take is kept and drained, and a peer that speaks rubbish or does not read is closed; it connects
again and says Hello. Order is a promise: what is sent first arrives first, and a front worker hears nothing before its
Welcome (what happens meanwhile, a cut for instance, follows behind it).
"""

from __future__ import annotations

import os
import socket
import struct
from asyncio import AbstractEventLoop
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol as Interface

from proxy import logs
from proxy.link.messages import FromPeer, Hello, LinkError, Message, Welcome, encode, messages_from_peer

MAX_UNSENT = 32 * 1024 * 1024
"""Bytes that wait for a peer that does not read; beyond it the peer is closed."""
OLDEST_VERSION = 1
"""Of the link; a peer of an older version is closed."""
_READ_SIZE = 256 * 1024
_CREDENTIALS = struct.Struct("3i")

_log = logs.get("link")


class Peer:
    """One connected process. `number` is unique for the life of the core; pid and uid come from the kernel."""

    __slots__ = (
        "_behind_welcome",
        "_draining",
        "_in",
        "_out",
        "_server",
        "_socket",
        "closed",
        "number",
        "pid",
        "role",
        "uid",
    )

    def __init__(self, server: LinkServer, sock: socket.socket, number: int) -> None:
        self._server = server
        self._socket = sock
        self._in = bytearray()
        self._out = bytearray()
        self._behind_welcome: list[Message] | None = None
        self._draining = False
        self.number = number
        self.pid, self.uid, _ = _CREDENTIALS.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        self.role = ""
        """front or supervisor; empty until its Hello."""
        self.closed = False

    def send(self, message: Message) -> None:
        """Queue a message; silently dropped once the peer is closed."""
        if self.closed:
            return
        if self._behind_welcome is not None:
            self._behind_welcome.append(message)
            return
        if not self._out:
            self._server.loop.call_soon(self._flush)
        self._out += encode(message)
        if len(self._out) > MAX_UNSENT:
            self._server.loop.call_soon(self.close, "does not read")

    def welcome(self, message: Welcome) -> None:
        """Answer a front worker's Hello; what was to be sent since goes behind it."""
        held, self._behind_welcome = self._behind_welcome, None
        self.send(message)
        for later in held or ():
            self.send(later)

    def close(self, why: str) -> None:
        """Close at once; the handler hears `gone`."""
        if self.closed:
            return
        self.closed = True
        fd = self._socket.fileno()
        self._server.loop.remove_reader(fd)
        if self._draining:
            self._server.loop.remove_writer(fd)
        self._socket.close()
        self._in.clear()
        self._out.clear()
        self._server.forget(self, why)

    def start(self) -> None:
        self._server.loop.add_reader(self._socket.fileno(), self._readable)

    def _flush(self) -> None:
        if self.closed:
            return
        try:
            sent = self._socket.send(self._out) if self._out else 0
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.close(error.strerror or "write failed")
            return
        del self._out[:sent]
        if self._out and not self._draining:
            self._draining = True
            self._server.loop.add_writer(self._socket.fileno(), self._flush)
        elif not self._out and self._draining:
            self._draining = False
            self._server.loop.remove_writer(self._socket.fileno())

    def _readable(self) -> None:
        if self.closed:
            return
        try:
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self.close(error.strerror or "read failed")
            return
        if not data:
            self.close("closed")
            return
        self._in += data
        received, self._in = self._in, bytearray()
        try:
            with logs.together():
                for message in messages_from_peer(received):
                    self._hear(message)
                    if self.closed:
                        return
        except LinkError as error:
            _log.error("closed a peer that does not speak the link's language", pid=self.pid, reason=str(error))
            self.close(str(error))
            return
        self._in = received

    def _hear(self, message: FromPeer) -> None:
        if isinstance(message, Hello):
            if self.role or message.role not in {"front", "supervisor"}:
                raise LinkError("unexpected Hello")
            if message.version < OLDEST_VERSION:
                raise LinkError(f"link version {message.version} is too old")
            self.role = message.role
            if self.role == "front":
                self._behind_welcome = []
        elif not self.role:
            raise LinkError("no Hello")
        try:
            if isinstance(message, Hello):
                self._server.handler.hello(self, message)
            else:
                self._server.handler.received(self, message)
        except Exception:
            # One message that we handle wrongly must not take the sessions of a whole worker along.
            _log.exception("internal error on a message from a peer", pid=self.pid, message=type(message).__name__)


class Handler(Interface):
    """What the core does with what peers say."""

    def hello(self, peer: Peer, message: Hello) -> None:
        """A peer's first message. A front worker waits for peer.welcome()."""

    def received(self, peer: Peer, message: FromPeer) -> None:
        """Any later message."""

    def gone(self, peer: Peer) -> None:
        """The link to a peer that had said Hello is gone, for whatever cause."""


class LinkServer:
    """Listens on `path`. Only root, our own uid and `uids` may be peers, whoever can open the socket.

    With `uids` anybody can open it: they share no group with us, or they could open admin.sock as well.
    """

    def __init__(self, loop: AbstractEventLoop, path: Path, handler: Handler, uids: frozenset[int]) -> None:
        self.loop = loop
        self.handler = handler
        self._path = path
        self._uids = uids | {0, os.getuid()}
        self._peers: dict[int, Peer] = {}
        self._numbers = 0
        self._socket: socket.socket | None = None

    def listen(self) -> None:
        """Open the socket. OSError if that cannot be; `address in use` when another core serves it."""
        others = self._uids - {0, os.getuid()}
        self._socket = listen_on(self._path, mode=0o666 if others else 0o660)
        self.loop.add_reader(self._socket.fileno(), self._accept)

    def fronts(self) -> list[Peer]:
        """Front workers that have said Hello."""
        return [peer for peer in self._peers.values() if peer.role == "front"]

    def supervisors(self) -> list[Peer]:
        return [peer for peer in self._peers.values() if peer.role == "supervisor"]

    def to_fronts(self, message: Message) -> None:
        for peer in self.fronts():
            peer.send(message)

    def close(self) -> None:
        """Close every link and the socket. Workers keep their sessions and look for the next core."""
        if self._socket is not None:
            self.loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        for peer in list(self._peers.values()):
            peer.close("the core stops")

    def forget(self, peer: Peer, why: str) -> None:
        """Called by a peer that has closed."""
        self._peers.pop(peer.number, None)
        if peer.role:
            _log.info("peer gone", role=peer.role, pid=peer.pid, reason=why)
            self.handler.gone(peer)

    def _accept(self) -> None:
        for sock in self._waiting():
            sock.setblocking(False)
            self._numbers += 1
            peer = Peer(self, sock, self._numbers)
            if peer.uid not in self._uids:
                _log.error(
                    "refused a peer of a foreign user; list it in link_users if it is a front worker's",
                    pid=peer.pid,
                    uid=peer.uid,
                )
                sock.close()
                continue
            self._peers[peer.number] = peer
            peer.start()

    def _waiting(self) -> Iterator[socket.socket]:
        assert self._socket is not None
        for _ in range(64):
            try:
                yield self._socket.accept()[0]
            except BlockingIOError:
                return
            except OSError as error:
                _log.error("cannot accept a peer; trying again in a second", reason=error.strerror)
                self.loop.remove_reader(self._socket.fileno())  # out of descriptors: asking at once would spin
                self.loop.call_later(1.0, self._resume)
                return

    def _resume(self) -> None:
        if self._socket is not None:
            self.loop.add_reader(self._socket.fileno(), self._accept)


def listen_on(path: Path, *, mode: int = 0o660) -> socket.socket:
    """A listening unix socket at `path`, replacing one that nobody serves any more."""
    probe = socket.socket(socket.AF_UNIX)
    with probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    previous = os.umask(0o777 & ~mode)
    try:
        sock.bind(str(path))  # fails with EADDRINUSE where the probe was answered
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(previous)
    sock.setblocking(False)
    sock.listen(128)
    return sock
