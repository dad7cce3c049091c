"""One end of a connection: a non-blocking descriptor, with or without TLS on it. Nothing else reads or writes one.

TLS objects of the standard library work directly on the descriptor, without memory BIOs: that is what makes a relay as
cheap as the C ones and an idle session cost 15 KiB (docs/decisions/). `SSLContext._wrap_socket` is what ssl.SSLSocket
itself calls; it saves the wrapper object.

A leg is registered with the event loop once; what changes is the function called when it is readable. Nothing here
raises for what a peer does: a broken leg becomes silent and calls `on_lost` in the next turn of the loop.

Tried and given up: one epoll instance of our own for all legs, watched by the loop. It saves a login 24 system calls,
3 % of its CPU time, but costs every event 3 us more: NOOP took 8 % longer, and a session has more events than logins.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from typing import Any, Final

from proxy import logs
from proxy.fronts.sockets import close_notify, cork, words

BUFFER_SIZE: Final = 256 * 1024
RECORD: Final = 16384
"""Payload of the largest TLS record (RFC 8446 section 5.1)."""
LINGER: Final = 1.0
"""Seconds that a peer gets to take the last bytes and close, before we do."""

buffer: Final = memoryview(bytearray(BUFFER_SIZE))
"""What Leg.read fills: one for the whole process, valid until the next read of any leg."""

_log = logs.get("front")


class Leg:
    """A connected (or connecting) stream socket and its TLS state."""

    __slots__ = (
        "__weakref__",
        "_finishing",
        "_linger",
        "_loop",
        "_read_wants_write",
        "_registered",
        "_reset",
        "_secured",
        "_sock",
        "_tls",
        "_unsent",
        "_write_wants_read",
        "_writing",
        "at_end",
        "closed",
        "lost",
        "on_drained",
        "on_lost",
        "on_readable",
    )

    open_count = 0
    """Legs of this process that hold a descriptor."""
    when_closed: Callable[[], None] = staticmethod(lambda: None)
    """Called after each one gave it back."""

    def __init__(self, loop: AbstractEventLoop, sock: socket.SocketType) -> None:
        self._loop = loop
        self._sock = sock
        self._tls: Any = None
        self._unsent: bytearray | None = None
        self._secured: Callable[[], None] | None = None
        self._registered = False
        self._reset = False
        self._writing = False
        self._finishing = False
        self._read_wants_write = False
        self._write_wants_read = False
        self._linger: TimerHandle | None = None
        self.at_end = False
        """The peer sends no more: FIN or close_notify, everything before it has been read."""
        self.closed = False
        self.lost: str | None = None
        """Why it broke, in words for the log."""
        self.on_readable: Callable[[], None] | None = None
        self.on_drained: Callable[[], None] | None = None
        """Everything given to send() is with the kernel again."""
        self.on_lost: Callable[[], None] | None = None
        Leg.open_count += 1

    # ---- reading -----------------------------------------------------------------------------

    def watch(self, function: Callable[[], None]) -> None:
        """From now on `function` runs while there is something to read (level-triggered)."""
        self.on_readable = function
        if not self._registered:
            self._register()

    def _register(self) -> None:
        if not self._registered and not self.closed:
            self._registered = True
            self._loop.add_reader(self._sock.fileno(), self._readable)

    def hold(self) -> None:
        """Read nothing for now. Only a peer that speaks meanwhile costs the two system calls of leaving the loop."""
        self.on_readable = None
        if self.at_end:  # which is announced without end
            self._unregister()

    def _unregister(self) -> None:
        if self._registered and not self.closed:
            self._registered = False
            self._loop.remove_reader(self._sock.fileno())

    def _readable(self) -> None:
        if self._write_wants_read:
            self._write_wants_read = False
            self._flush()
        function = self.on_readable
        if function is None:
            if not self._write_wants_read:
                self._unregister()
            return
        try:
            function()
            if not self.closed and (self._reset or self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                self._was_reset()
        except Exception as error:
            self._broken(error)

    def _was_reset(self) -> None:
        """The peer is gone, and what it sent before may still be unread.

        libuv (uv__poll_io) stops watching a descriptor at its first error: unless it is registered anew, neither the
        rest nor the reset would ever be heard of, and a session would outlive its client.
        """
        if self.at_end:
            self.lose(os.strerror(errno.ECONNRESET))
        elif not self._reset and self._registered:
            self._loop.remove_reader(self._sock.fileno())
            self._loop.add_reader(self._sock.fileno(), self._readable)
        self._reset = True

    def read(self) -> int:
        """Fill the shared buffer; how many bytes. 0 with `at_end` false: nothing there now.

        With TLS a short record ends the round: the next one is announced by the loop again. Since a whole record always
        fits, OpenSSL never keeps decrypted bytes that no event would announce.
        """
        tls = self._tls
        try:
            if tls is None:
                count = self._sock.recv_into(buffer)
                if not count:
                    self.at_end = True
                return count
        except BlockingIOError:
            return 0
        except OSError as error:
            self.lose(words(error))
            return 0
        total = 0
        try:
            while total <= BUFFER_SIZE - RECORD:
                count = tls.read(BUFFER_SIZE - total, buffer[total:] if total else buffer)
                if not count:
                    self.at_end = True
                    break
                total += count
                if count < RECORD:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLWantWriteError:  # a KeyUpdate's answer does not fit the socket
            self._read_wants_write = True
            self._want_writable()
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):  # FIN without close_notify; close_notify after ours
            self.at_end = True
        except OSError as error:  # ssl.SSLError is one
            self.lose(words(error))
        return total

    def peek(self, size: int) -> bytes | None:
        """Up to `size` bytes that stay in the kernel (before TLS only). None: nothing there now; empty: the end."""
        try:
            return self._sock.recv(size, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError as error:
            self.lose(words(error))
            return None

    def wake_at(self, size: int) -> None:
        """Be readable only when `size` bytes are there, or the end (SO_RCVLOWAT); 1 is the normal state."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

    def discard(self, size: int) -> None:
        """Take `size` bytes that peek() has shown."""
        while size > 0:
            size -= len(self._sock.recv(size))

    # ---- writing -----------------------------------------------------------------------------

    @property
    def blocked(self) -> bool:
        """The socket does not take everything; `on_drained` will follow."""
        return self._unsent is not None

    def send(self, data: bytes | memoryview) -> bool:
        """Write; False when a rest had to be kept (copied). The caller then stops producing until on_drained."""
        if self.lost is not None or self.closed:
            return True
        if self._unsent is not None:
            self._unsent += data
            return False
        sent = self._write(data)
        if sent == len(data) or self.lost is not None:
            return True
        self._unsent = bytearray(data[sent:])
        if not self._write_wants_read:
            self._want_writable()
        return False

    def _write(self, data: bytes | bytearray | memoryview) -> int:
        tls = self._tls
        if tls is None:
            try:
                return self._sock.send(data)
            except BlockingIOError:
                return 0
            except OSError as error:
                self.lose(words(error))
                return 0
        total = len(data)
        sent = 0
        try:
            if total <= RECORD:
                return int(tls.write(data))
            view = memoryview(data)
            while sent < total:  # one record a call
                sent += tls.write(view[sent:])
        except ssl.SSLWantWriteError:
            pass
        except ssl.SSLWantReadError:
            self._write_wants_read = True
            self._register()
        except OSError as error:
            self.lose(words(error))
        return sent

    def _want_writable(self) -> None:
        if not self._writing and not self.closed:
            self._writing = True
            self._loop.add_writer(self._sock.fileno(), self._writable)

    def _writable(self) -> None:
        if self._read_wants_write:
            self._read_wants_write = False
            if self.on_readable is not None:
                self._readable()
        self._flush()
        if self._unsent is None or self._write_wants_read:
            self._stop_writing()

    def _stop_writing(self) -> None:
        if self._writing and not self._read_wants_write and not self.closed:
            self._writing = False
            self._loop.remove_writer(self._sock.fileno())

    def _flush(self) -> None:
        rest = self._unsent
        if rest is None or self.closed:
            return
        sent = self._write(rest)
        if self.lost is not None:
            return
        if sent < len(rest):
            del rest[:sent]
            if not self._write_wants_read:
                self._want_writable()
            return
        self._unsent = None
        self._stop_writing()
        if self._finishing:
            self._shut()
            if self._linger is not None and self.at_end:
                self.close()
        elif self.on_drained is not None:
            try:
                self.on_drained()
            except Exception as error:
                self._broken(error)

    # ---- TLS ---------------------------------------------------------------------------------

    @property
    def tls_version(self) -> str | None:
        return self._tls.version() if self._tls is not None else None

    def choose_context(self, context: ssl.SSLContext) -> None:
        """From the SNI callback: go on with the certificate of `context`."""
        self._tls.context = context

    def accept_tls(self, context: ssl.SSLContext, done: Callable[[], None]) -> None:
        """Do a client's TLS handshake, then call `done`. A failed one loses the leg."""
        owner = self if context.sni_callback is not None else None
        self._tls = context._wrap_socket(self._sock, True, owner=owner)  # type: ignore[attr-defined]
        self._secured = done
        self._handshake()

    def connect_tls(self, context: ssl.SSLContext, server_name: str, done: Callable[[], None]) -> None:
        """Start a TLS handshake as the client; `server_name` is what the certificate must carry."""
        self._tls = context._wrap_socket(self._sock, False, server_name)  # type: ignore[attr-defined]
        self._secured = done
        self._handshake()

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self.watch(self._handshake_answered)
            return
        except ssl.SSLWantWriteError:
            self.watch(self._handshake_answered)
            self._read_wants_write = True
            self._want_writable()
            return
        except OSError as error:
            self.lose(f"TLS handshake: {words(error)}")
            return
        self.hold()
        done, self._secured = self._secured, None
        if done is not None:
            done()

    def _handshake_answered(self) -> None:
        """The end of the handshake (a session ticket) and what is said first behind it (a greeting) leave together."""
        cork(self._sock, True)
        try:
            self._handshake()
        finally:
            if not self.closed:
                cork(self._sock, False)

    # ---- ending ------------------------------------------------------------------------------

    def finish(self) -> None:
        """Send no more: what is unsent goes out, then close_notify and FIN. Reading goes on."""
        self._finishing = True
        if self._unsent is None and self.lost is None and not self.closed:
            self._shut()

    def _shut(self) -> None:
        self._finishing = False
        try:
            if self._linger is not None:
                self._end_tls()  # what still comes in is dropped unread
            elif self._tls is not None:
                close_notify(self._tls, self._sock)
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.lose(words(error))

    def finish_and_close(self, within: float = LINGER) -> None:
        """Last bytes, close_notify, FIN; then close when the peer has, at the latest after `within` seconds.

        A close with unread bytes in the kernel would become a reset, which may overtake what we sent last.
        """
        if self.closed or self._linger is not None:
            return
        if self.lost is not None or (self.at_end and self._unsent is None):
            self.close()
            return
        self.on_drained = None
        self.on_lost = self.close
        self._linger = self._loop.call_later(within, self.close)
        self.finish()
        self.watch(self._drop_input)

    @property
    def ending(self) -> bool:
        """finish_and_close() has been called."""
        return self._linger is not None or self.closed

    def _end_tls(self) -> None:
        if self._tls is not None:
            with contextlib.suppress(OSError):
                self._tls.shutdown()
            self._tls = None

    def _drop_input(self) -> None:
        self.read()
        if self.at_end and self._unsent is None:
            self.close()
        elif self.at_end:
            self.hold()

    def close(self) -> None:
        """Give the descriptor back, now. Sends close_notify if nothing else is waiting."""
        if self.closed:
            return
        self.closed = True
        descriptor = self._sock.fileno()
        if self._registered:
            self._loop.remove_reader(descriptor)
        if self._writing:
            self._loop.remove_writer(descriptor)
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self.lost is None and self._unsent is None:
            self._end_tls()
        self._tls = None
        self._unsent = None
        self._sock.close()
        self.on_readable = self.on_drained = self.on_lost = self._secured = None
        Leg.open_count -= 1
        Leg.when_closed()

    def lose(self, why: str) -> None:
        """Give it up: nothing more is sent or read; its owner hears of it in the next turn of the loop."""
        if self.lost is None and not self.closed:
            self.lost = why
            self._unsent = None
            self.hold()
            self._loop.call_soon(self._tell_lost)

    def _tell_lost(self) -> None:
        if not self.closed:
            if self.on_lost is not None:
                self.on_lost()
            else:
                self.close()

    def _broken(self, error: Exception) -> None:
        _log.error("internal error on a connection", exc_info=error)
        self.lose("internal error")

    # ---- the descriptor ----------------------------------------------------------------------

    def connected(self) -> bool:
        try:
            self._sock.getpeername()
        except OSError:
            return False
        return True

    def when_writable(self, function: Callable[[], None]) -> None:
        """Call `function` once, when the socket first takes data (a connect() has ended)."""

        def once() -> None:
            self._writing = False
            self._loop.remove_writer(descriptor)
            code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self.lose(words(OSError(code, "")))
                return
            try:
                function()
            except Exception as error:
                self._broken(error)

        descriptor = self._sock.fileno()
        self._writing = True
        self._loop.add_writer(descriptor, once)
