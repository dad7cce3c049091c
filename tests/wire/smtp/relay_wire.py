"""What the tests of the SMTP relay share: a driver that does what it asks for, and a server with Postfix's framing."""

from __future__ import annotations

from proxy.wire.events import Close, CloseBackend, Counted, RelayEvent, ToBackend, ToClient
from proxy.wire.smtp.relay import SmtpRelay

ENVELOPE = b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\n"
OK = b"250 2.0.0 Ok\r\n"
GO = b"354 End data with <CR><LF>.<CR><LF>\r\n"
BARE_LF = b"550 5.5.2 Bare <LF> is not accepted\r\n"
BARE_CR = b"550 5.5.2 Bare <CR> or <NUL> is not accepted\r\n"


class Wire:
    """Carries out what a relay asks for and remembers it. `to_backend` is what went out while that leg was open."""

    def __init__(self, *offers: str) -> None:
        self.relay = SmtpRelay(frozenset(offers))
        self.to_backend = b""
        self.to_client = b""
        self.counted: list[tuple[int, int]] = []
        self.closed: str | None = None
        self.cut_backend = False

    def client(self, data: bytes) -> Wire:
        buffer = bytearray(data)
        self._do(self.relay.client_data(memoryview(buffer)))
        buffer[:] = b"\xee" * len(buffer)  # the driver reuses its buffer: nothing may be kept by reference
        return self

    def backend(self, data: bytes) -> Wire:
        self._do(self.relay.backend_data(data))
        return self

    def _do(self, happened: list[RelayEvent]) -> None:
        self.cut_backend = self.cut_backend or any(isinstance(event, CloseBackend) for event in happened)
        for event in happened:
            assert self.closed is None, "something after Close"
            match event:
                case ToBackend(data):
                    assert len(data)
                    if not self.cut_backend:
                        self.to_backend += bytes(data)
                case ToClient(data):
                    self.to_client += bytes(data)
                case Counted(messages, recipients):
                    self.counted.append((messages, recipients))
                case Close(why):
                    self.closed = why

    def heard(self) -> bytes:
        """What the client was told since the last call."""
        said, self.to_client = self.to_client, b""
        return said

    def sent(self) -> bytes:
        """What the backend was sent since the last call."""
        said, self.to_backend = self.to_backend, b""
        return said

    def in_data(self) -> Wire:
        """A session that has just been told 354."""
        self.client(ENVELOPE + b"DATA\r\n").backend(OK + OK + GO)
        assert self.sent() == ENVELOPE + b"DATA\r\n"
        assert self.heard() == OK + OK + GO
        return self


class Server:
    """A server that frames like Postfix 3.7: lines end at LF, every CR before it goes, so does space before a verb."""

    def __init__(self) -> None:
        self.seen = b""
        self.verbs: list[bytes] = []
        """What it took for commands."""
        self._pending = b""
        self._data = False
        self._chunk = 0

    def receive(self, data: bytes) -> bytes:
        self.seen += data
        self._pending += data
        said = b""
        while self._pending:
            if self._chunk:
                taken = min(self._chunk, len(self._pending))
                self._pending, self._chunk = self._pending[taken:], self._chunk - taken
                said += b"" if self._chunk else b"250 chunk\r\n"
                continue
            line, end, rest = self._pending.partition(b"\n")
            if not end:
                break
            self._pending, line = rest, line.rstrip(b"\r")
            if not self._data:
                said += self._command(line.split() or [b""])
            elif line == b".":
                self._data = False
                said += b"250 message\r\n"
        return said

    def _command(self, words: list[bytes]) -> bytes:
        verb = words[0].upper()
        self.verbs.append(verb)
        match verb:
            case b"EHLO":
                return b"250-mx\r\n250-AUTH PLAIN\r\n250 CHUNKING\r\n"
            case b"DATA":
                self._data = True
                return GO
            case b"BDAT":
                self._chunk = int(words[1])
                return b"" if self._chunk else b"250 chunk\r\n"
            case b"QUIT":
                return b"221 bye\r\n"
        return b"250 " + verb + b"\r\n"
