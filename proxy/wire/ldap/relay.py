"""Between a bound client and its backend: LDAP, framed for the whole session.

Framed, because a second Bind must be verified like the first (blindly relayed it would hand the account password to the
backend), and because every request is judged (rights.py): it goes out as the account's, or is answered here. A request
is kept until it is whole; what the backend answers streams through, of any size, and only its headers are read, so that
a word of ours never lands inside a message.
"""

from __future__ import annotations

from proxy.wire.events import BackendReady, Close, CloseBackend, LogInAgain, RelayEvent, ToBackend, ToClient
from proxy.wire.ldap import grammar, replies, rights
from proxy.wire.ldap.grammar import BerError, Pdu

MAX_PDU = 1024 * 1024
"""Bytes of a request."""
MAX_QUEUED = 64 * 1024
"""Bytes of our own answers that wait for the end of a message of the backend's; then the client is held."""
_MAX_HEADER = 2 + grammar.MAX_LENGTH_OCTETS
_MAX_ANSWER = 2**31 - 1


class LdapRelay:
    """A FramedRelay."""

    __slots__ = (
        "_header",
        "_judge",
        "_left",
        "_over",
        "_queued",
        "_request",
        "awaiting_message_reply",
        "hold_client",
    )

    def __init__(self, ready: BackendReady) -> None:
        self.hold_client = False
        self.awaiting_message_reply = False
        self._judge = rights.judge(ready.login)
        self._request = bytearray()
        """The beginning of a request."""
        self._left = 0
        """Bytes of the backend's message still to come."""
        self._header = b""
        """The beginning of a header of the backend's."""
        self._queued = bytearray()
        """Our answers that wait for the end of the backend's message."""
        self._over = False

    @property
    def in_message(self) -> bool:
        """The backend is within a message: nothing of ours may be said."""
        return bool(self._left or self._header)

    # ---- from the client -------------------------------------------------------------------------

    def client_data(self, data: bytes | memoryview) -> list[RelayEvent]:
        """Whole requests go out, or are answered here. Never raises; after Close nothing more comes."""
        if self._over:
            return []
        if self._request:
            self._request += data
            if not self._is_whole():
                return self._malformed() if self._over else []
            data = bytes(self._request)
            self._request.clear()
        happened: list[RelayEvent] = []
        to_backend: list[bytes | memoryview] = []
        again: bytes | None = None
        at, size = 0, len(data)
        try:
            while True:
                length = grammar.length(data, at, MAX_PDU)
                if length is None or at + length > size:
                    break
                pdu = grammar.parse(bytes(data[at : at + length]))
                if pdu.operation == grammar.BIND_REQUEST:
                    again = bytes(data[at:])
                    break
                at += length
                if pdu.operation == grammar.UNBIND:
                    self._over = True
                    break
                answer = self._request_arrived(pdu, to_backend)
                if answer:
                    self._queued += answer
        except BerError:
            self._over = True
            return self._malformed()
        if to_backend:
            happened.append(ToBackend(b"".join(to_backend)))
        happened += self._say_queued()
        if again is not None:
            self._over = True
            if self.in_message:
                return [CloseBackend("bound again"), Close("bound again in the middle of an answer")]
            return [*happened, CloseBackend("bound again"), LogInAgain(again)]
        if self._over:
            return [*happened, CloseBackend("client unbound"), Close("client unbound")]
        self._request += data[at:]
        self.hold_client = len(self._queued) > MAX_QUEUED
        return happened

    def _is_whole(self) -> bool:
        """The first request in the buffer has come to its end. Sets `_over` where it can be none."""
        try:
            length = grammar.length(self._request, 0, MAX_PDU)
        except BerError:
            self._over = True
            return False
        return length is not None and length <= len(self._request)

    def _malformed(self) -> list[RelayEvent]:
        notice: list[RelayEvent] = [] if self.in_message else [ToClient(replies.MALFORMED)]
        return [CloseBackend("malformed request"), *notice, Close("malformed LDAP message")]

    def _request_arrived(self, pdu: Pdu, to_backend: list[bytes | memoryview]) -> bytes | memoryview:
        """Pass one request on, or answer it."""
        operation = pdu.operation
        if pdu.message_id == 0 or operation not in grammar.REQUESTS:
            raise BerError("not a request")
        judged = self._judge(pdu)
        if isinstance(judged, ToClient):
            return judged.data
        to_backend.append(judged.data)
        return b""

    # ---- from the backend ------------------------------------------------------------------------

    def backend_data(self, data: bytes | memoryview) -> list[RelayEvent]:
        """Passes as it is; our own answers go between two messages."""
        if self._over:
            return []
        gap = self._follow(data)
        if gap is None:
            self._over = True
            return [CloseBackend("not LDAP"), Close("the backend sent what is no LDAP message")]
        if not self._queued or gap < 0:
            return [ToClient(data)]
        happened: list[RelayEvent] = [ToClient(data[:gap]), ToClient(bytes(self._queued))]
        self._queued.clear()
        self.hold_client = False
        if gap < len(data):
            happened.append(ToClient(data[gap:]))
        return happened

    def _follow(self, data: bytes | memoryview) -> int | None:
        """Read the headers in `data`. The last place in it where a message ended; -1 for none; None for no LDAP."""
        at, size, gap = 0, len(data), -1
        try:
            while at < size:
                if self._left:
                    step = min(self._left, size - at)
                    self._left -= step
                    at += step
                elif self._header:
                    taken = bytes(data[at : at + 1])
                    self._header += taken
                    at += 1
                    whole = grammar.length(self._header, 0, _MAX_ANSWER)
                    if whole is None:
                        continue
                    self._left = whole - len(self._header)
                    self._header = b""
                else:
                    whole = grammar.length(data, at, _MAX_ANSWER)
                    if whole is None:
                        self._header = bytes(data[at : at + _MAX_HEADER])
                        return gap
                    if whole <= size - at:
                        at += whole
                    else:
                        self._left = whole - (size - at)
                        return gap
                if not self._left:
                    gap = at
        except BerError:
            return None
        return gap

    def _say_queued(self) -> list[RelayEvent]:
        if not self._queued or self.in_message:
            return []
        said = bytes(self._queued)
        self._queued.clear()
        return [ToClient(said)]
