"""Between a logged-in client and its backend: SMTP, framed at command level for the whole session.

Framed, because what a client may not say (XCLIENT, XFORWARD, AUTH, STARTTLS) would make it somebody else. That
holds only while both sides agree where a command and where a message begins and ends, so:

* a command line is one ended by CRLF, without other CR, LF or NUL, that begins with a known verb;
* behind a command that changes what follows (EHLO, DATA, QUIT) nothing goes out before the backend's reply;
* a message begins at the backend's own 354 and ends at CRLF.CRLF (message.py), or is a counted BDAT chunk.

Message bytes are passed as views of the driver's buffer. Everything kept is bounded.
"""

from __future__ import annotations

import re
from collections import deque
from enum import Enum

from proxy.wire.events import Close, CloseBackend, Counted, RelayEvent, ToBackend, ToClient
from proxy.wire.smtp import replies
from proxy.wire.smtp.grammar import FOREIGN_VERBS, Reply, ReplyError, ReplyReader, ehlo_lines, visible
from proxy.wire.smtp.message import BadEnd, MessageScanner

MAX_COMMAND = 2048
"""Bytes of a command line with its end: Postfix's line_length_limit, above which servers differ in what is one line."""
MAX_HELD = 64 * 1024
"""Bytes kept of a client that goes on after `hold_client` was set (what one read brought before that is kept whole)."""
MAX_OUTSTANDING = 1000
"""Commands without a reply; then the client is held until all are answered."""
MAX_REFUSED = 100
"""Commands refused here since the last message was accepted; one more closes. A flood must not cost a worker more."""
MAX_CHUNK = 2**31 - 1
"""Bytes of a BDAT chunk: what fits the smallest integer a server may count in."""

_COMMAND = re.compile(rb"([^\r\n\0]{0,%d}+)\r\n" % (MAX_COMMAND - 2))
_BARE = re.compile(rb"[\n\0]|\r(?!\n|\Z)")
_VERB = re.compile(rb"([A-Za-z]+)(?: |\Z)")
_BDAT = re.compile(rb"[A-Za-z]+ ([0-9]{1,10})( [Ll][Aa][Ss][Tt])?")

_PASSED = frozenset(b"MAIL RCPT DATA BDAT RSET NOOP QUIT EHLO HELO VRFY EXPN HELP ETRN".split())
_OURS = frozenset(b"XCLIENT XFORWARD AUTH STARTTLS".split())

_NOT_HERE = b"550 5.7.0 Not available after login\r\n"
_UNKNOWN = b"500 5.5.1 Command not recognized\r\n"
_NO_CHUNKING = b"502 5.5.1 BDAT is not available\r\n"
_BAD_CHUNK = b"501 5.5.4 Syntax: BDAT size [LAST]\r\n"
_TOO_FAR_AHEAD = replies.farewell("Too much sent ahead of the reply")
_TOO_MANY_REFUSED = replies.farewell("Too many refused commands")
_BACKEND_LOST = replies.farewell("The mail server said something unexpected")


class _Asked(Enum):
    """A command that is out: what its reply will mean to us."""

    HELLO = "hello"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    MESSAGE = "message"
    """The final dot, or BDAT with LAST."""
    RESET = "reset"
    QUIT = "quit"
    OTHER = "other"


_MEANINGS = {
    b"EHLO": _Asked.HELLO,
    b"HELO": _Asked.HELLO,
    b"MAIL": _Asked.MAIL,
    b"RCPT": _Asked.RCPT,
    b"DATA": _Asked.DATA,
    b"RSET": _Asked.RESET,
    b"QUIT": _Asked.QUIT,
}
_HOLDS = frozenset((_Asked.HELLO, _Asked.DATA, _Asked.QUIT))


class SmtpRelay:
    """A FramedRelay. `offers`: what the backend listed at login (BackendReady.offers)."""

    __slots__ = (
        "_chunk",
        "_chunking",
        "_held",
        "_holding",
        "_message",
        "_over",
        "_queue",
        "_reader",
        "_recipients",
        "_refused",
        "awaiting_message_reply",
        "hold_client",
        "in_message",
    )

    def __init__(self, offers: frozenset[str]) -> None:
        self.hold_client = False
        self.in_message = False
        self.awaiting_message_reply = False
        self._chunking = "CHUNKING" in offers
        self._queue: deque[_Asked | bytes] = deque()
        """In the order the client hears them: commands the backend owes a reply, and replies of our own."""
        self._held = bytearray()
        """Client bytes not yet acted on: part of a command line, or what ran ahead."""
        self._holding = False
        self._message: MessageScanner | None = None
        self._chunk = 0
        """Bytes of a BDAT chunk still to come."""
        self._recipients = 0
        """Accepted in this transaction."""
        self._refused = 0
        self._over = False
        self._reader = ReplyReader()

    def client_data(self, data: bytes | memoryview) -> list[RelayEvent]:
        """A message's bytes go out as they are. Never raises; after Close nothing more comes."""
        if self._over:
            return []
        if self._holding and not self._chunk:
            if self.hold_client and len(self._held) + len(data) > MAX_HELD:
                return self._fail(_TOO_FAR_AHEAD, "client ran ahead of the backend")
            self._held += data
            self.hold_client = True
            return []
        if self._held:
            data = bytes(self._held) + data
            self._held.clear()
        happened: list[RelayEvent] = []
        self._read_client(memoryview(data), happened)
        return happened

    def backend_data(self, data: bytes | memoryview) -> list[RelayEvent]:
        """Replies go out whole, each in its turn."""
        if self._over:
            return []
        happened: list[RelayEvent] = []
        self._reader.feed(data)
        try:
            while not self._over and (reply := self._reader.next_reply()) is not None:
                self._answered(reply, happened)
        except ReplyError as error:
            return happened + self._fail(_BACKEND_LOST, f"backend: {error}")
        return happened

    # ---- client to backend ----------------------------------------------------------------------

    def _read_client(self, data: memoryview, happened: list[RelayEvent]) -> None:
        start = position = 0  # data[start:position] goes to the backend, in one piece
        while position < len(data) and not self._over:
            if self._chunk:
                end, passes = self._chunk_part(data, position), True
            elif self._message is not None:
                end, passes = self._message_part(self._message, data, position, happened), True
            elif self._holding:
                break
            else:
                end, passes = self._command(data, position, happened)
            if end == position:
                break
            if not passes:
                if start < position:
                    happened.append(ToBackend(data[start:position]))
                start = end
            position = end
        if self._over:
            return
        if start < position:
            happened.append(ToBackend(data[start:position]))
        self._held += data[position:]
        self.hold_client = self._holding and bool(self._held)

    def _chunk_part(self, data: memoryview, position: int) -> int:
        end = min(len(data), position + self._chunk)
        self._chunk -= end - position
        self.in_message = self._chunk > 0
        return end

    def _message_part(
        self, message: MessageScanner, data: memoryview, position: int, happened: list[RelayEvent]
    ) -> int:
        try:
            end = message.find_end(data, position)
        except BadEnd:
            happened += self._fail(replies.BARE_LF, "bare LF or CR at an end of message")
            return position
        if end is None:
            return len(data)
        self._message = None
        self.in_message = False
        self._ask(_Asked.MESSAGE)
        return end

    def _command(self, data: memoryview, position: int, happened: list[RelayEvent]) -> tuple[int, bool]:
        """One command line: where it ends (`position` when it is not all here), and whether it goes to the backend."""
        found = _COMMAND.match(data, position)
        if found is None:
            begun = bytes(data[position : position + MAX_COMMAND])
            bare = _BARE.search(begun)
            if bare is not None:
                reply = replies.BARE_LF if bare[0] == b"\n" else replies.BARE_CR_OR_NUL
                happened += self._fail(reply, "bare LF, CR or NUL in a command line")
            elif len(begun) >= MAX_COMMAND:
                happened += self._fail(replies.LINE_TOO_LONG, "command line too long")
            return position, False
        line = found[1]
        verb = _VERB.match(line)
        name = verb[1].upper() if verb else b""
        passes = name in _PASSED
        if not passes:
            self._refuse(name, happened)
        elif name == b"BDAT":
            self._begin_chunk(line, happened)
        else:
            self._ask(_MEANINGS.get(name, _Asked.OTHER))
        return found.end(), passes

    def _refuse(self, name: bytes, happened: list[RelayEvent]) -> None:
        self._refused += 1
        if self._refused > MAX_REFUSED:
            happened += self._fail(_TOO_MANY_REFUSED, "too many refused commands")
        elif name in FOREIGN_VERBS:
            happened += self._fail(replies.NOT_SMTP, "not an SMTP client")
        else:
            self._answer(_NOT_HERE if name in _OURS else _UNKNOWN, happened)

    def _begin_chunk(self, line: bytes, happened: list[RelayEvent]) -> None:
        # Behind a BDAT that we or the backend will not count, its bytes would be commands: no going on from there.
        match = _BDAT.fullmatch(line)
        if match is None or int(match[1]) > MAX_CHUNK:
            happened += self._fail(_BAD_CHUNK, "malformed BDAT")
        elif not self._chunking:
            happened += self._fail(_NO_CHUNKING, "BDAT to a backend that does not offer CHUNKING")
        else:
            self._chunk = int(match[1])
            self.in_message = self._chunk > 0
            self._ask(_Asked.MESSAGE if match[2] else _Asked.OTHER)

    def _ask(self, asked: _Asked) -> None:
        self._queue.append(asked)
        if asked is _Asked.MESSAGE:
            self.awaiting_message_reply = True
        if asked in _HOLDS or len(self._queue) >= MAX_OUTSTANDING:
            self._holding = True

    # ---- backend to client ----------------------------------------------------------------------

    def _answer(self, reply: bytes, happened: list[RelayEvent]) -> None:
        """A reply of our own, in its turn."""
        if self._queue:
            self._queue.append(reply)
            self._holding = self._holding or len(self._queue) >= MAX_OUTSTANDING
        else:
            happened.append(ToClient(reply))

    def _answered(self, reply: Reply, happened: list[RelayEvent]) -> None:
        if reply.code == 421:
            # RFC 5321 section 3.8: it closes, whatever was asked.
            self._over = True
            happened += [ToClient(reply.encode()), Close("backend said 421")]
            return
        asked = self._queue.popleft() if self._queue else None
        if not isinstance(asked, _Asked) or (300 <= reply.code < 400 and (asked, reply.code) != (_Asked.DATA, 354)):
            happened += self._fail(_BACKEND_LOST, "backend sent a reply that nothing asked for")
            return
        if asked is _Asked.HELLO:
            reply = self._greeted(reply)
        happened.append(ToClient(reply.encode()))
        self._note(asked, reply, happened)
        while self._queue and isinstance(ours := self._queue[0], bytes):
            happened.append(ToClient(ours))
            self._queue.popleft()
        if asked is _Asked.QUIT:
            self._over = True
            happened.append(Close("client quit"))
        elif self._holding and not self._queue:
            self._go_on(happened)

    def _greeted(self, reply: Reply) -> Reply:
        """The EHLO list without what a client may not use behind us."""
        if not reply.positive:
            return reply
        self._chunking = "CHUNKING" in ehlo_lines(reply)
        first, *rest = reply.lines
        return Reply(reply.code, (first, *(line for line in rest if visible(line.decode("latin-1").rstrip().upper()))))

    def _note(self, asked: _Asked, reply: Reply, happened: list[RelayEvent]) -> None:
        """What a reply changes for us."""
        match asked:
            case _Asked.DATA if reply.code == 354:
                self._message = MessageScanner()
                self.in_message = True
            case _Asked.RCPT if reply.positive:
                self._recipients += 1
            case _Asked.MAIL | _Asked.RESET | _Asked.HELLO if reply.positive:
                self._recipients = 0
            case _Asked.MESSAGE:
                self.awaiting_message_reply = _Asked.MESSAGE in self._queue
                if reply.positive:
                    happened.append(Counted(1, self._recipients))
                    self._refused = 0
                self._recipients = 0

    def _go_on(self, happened: list[RelayEvent]) -> None:
        """Everything is answered: what the client sent meanwhile is a message or commands now."""
        self._holding = False
        ahead = bytes(self._held)
        self._held.clear()
        self._read_client(memoryview(ahead), happened)

    def _fail(self, reply: bytes, why: str) -> list[RelayEvent]:
        """The end: the backend leg first, so that nothing unfinished is delivered."""
        self._over = True
        self._held.clear()
        self._queue.clear()
        return [CloseBackend(why), ToClient(reply), Close(why)]
