"""The IMAP server a client meets until it is logged in (RFC 3501 sections 6.1 and 6.2).

The client's turn is read by one of two readers: commands, whose literals are collected first, and the
responses of a SASL exchange. Rule 1: whatever is answered before the end of a command is known must not
depend on what follows it in the same segment, STARTTLS excepted. Rule 2: nothing of the client's but its
tag is ever sent back.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from enum import Enum, auto

from proxy.domain.verdicts import Shown
from proxy.wire import sasl
from proxy.wire.buffer import LineBuffer, LineTooLong
from proxy.wire.events import (
    Attempt,
    AttemptRefused,
    BackendReady,
    Close,
    FrontEvent,
    FrontMachine,
    FrontSettings,
    Send,
    StartTls,
)
from proxy.wire.imap import grammar
from proxy.wire.imap.grammar import MAX_LINE, MAX_LITERAL, MAX_LITERALS, MAX_SASL_LINE, Arguments, BadSyntax
from proxy.wire.imap.replies import REFUSALS, farewell

MAX_HELD = 8_192
"""Bytes a client may send behind a login before it is answered."""
MAX_BAD_COMMANDS = 3
"""Consecutive ones; Dovecot's CLIENT_MAX_BAD_COMMANDS."""
MAX_COMMANDS = 100
"""Lines, and literals, on one connection before login. As in SMTP, a flood must not cost a worker more than this."""

_OURS = ("IMAP4rev1", "SASL-IR", "ID")
"""What this machine does itself. Listed whatever the backend does."""
_PASSED = ("ENABLE", "IDLE", "NAMESPACE", "CHILDREN", "UIDPLUS", "UNSELECT", "MOVE", "SPECIAL-USE", "CONDSTORE")
"""Of use only after login, and harmless: listed for clients that do not read the list in the login's OK.
COMPRESS is not: RFC 4978 allows it before login."""

_AUTHENTICATE = re.compile(grammar.TAG + rb" AUTHENTICATE ", re.IGNORECASE)


class _State(Enum):
    COMMAND = auto()
    SASL = auto()
    PENDING = auto()
    """An attempt is out: refuse() or accept() comes next."""
    HANDSHAKE = auto()
    OVER = auto()


class _Texts:
    """What a front says, made once for all its connections."""

    def __init__(self, settings: FrontSettings) -> None:
        mechanisms = [f"AUTH={name}" for name in sasl.MECHANISMS]
        # A client that believes in LITERAL- goes on doing so with the backend.
        literal = ["LITERAL-"] if settings.offers & {"LITERAL-", "LITERAL+"} else []
        passed = [name for name in _PASSED if name in settings.offers]
        secure = " ".join([*_OURS, *literal, *passed, *mechanisms]).encode()
        clear = " ".join([*_OURS, *literal, *passed, "STARTTLS", "LOGINDISABLED"]).encode()
        self.capabilities: Mapping[bool, bytes] = {True: secure, False: clear}
        """By whether the connection is behind TLS."""
        self.refusals = {shown: refusal.render(settings.portal_url) for shown, refusal in REFUSALS.items()}


def make(settings: FrontSettings) -> Callable[[], FrontMachine]:
    """A factory of machines for one front."""
    texts = _Texts(settings)
    return lambda: ImapFront(texts)


class ImapFront:
    """One connection; see wire.events.FrontMachine."""

    __slots__ = (
        "_bad_commands",
        "_buffer",
        "_commands",
        "_exchange",
        "_lines",
        "_literals",
        "_mechanism",
        "_state",
        "_tag",
        "_texts",
        "_tls",
        "_wanted",
        "program",
    )

    def __init__(self, texts: _Texts) -> None:
        self.program: str | None = None
        self._texts = texts
        self._tls = False
        self._state = _State.COMMAND
        self._buffer = LineBuffer(MAX_LINE)
        self._bad_commands = 0
        self._commands = 0
        self._lines: list[bytes] = []
        """Of the unfinished command, without literal headers; _literals stand between them."""
        self._literals: list[bytes] = []
        self._wanted: int | None = None
        """Size of the literal that is coming."""
        self._tag = b""
        self._mechanism = ""
        self._exchange: sasl.SaslServer | None = None

    # ---- called by the driver ----------------------------------------------------------------

    def connected(self, *, tls: bool) -> list[FrontEvent]:
        self._tls = tls
        return [Send(b"* OK [CAPABILITY " + self._texts.capabilities[tls] + b"] sidegate ready\r\n")]

    def receive_data(self, data: bytes) -> list[FrontEvent]:
        if self._state is _State.OVER:
            return []
        if self._state is _State.HANDSHAKE:
            return self._close("plain text behind STARTTLS")
        if self._state is _State.COMMAND and self._tls and not self._lines and not len(self._buffer):
            login = grammar.whole_login(data)
            if login is not None:
                tag, name, secret = login
                self._commands += 1
                return self._attempt(tag, "login", sasl.identity(name, secret))
        self._buffer.feed(data)
        return self._run()

    def tls_started(self) -> list[FrontEvent]:
        self._tls = True
        self._state = _State.COMMAND
        self._bad_commands = 0
        self.program = None
        return []

    def refuse(self, shown: Shown, pass_on: bytes | None = None) -> list[FrontEvent]:
        if self._state is not _State.PENDING:
            return []
        untagged, tagged = self._texts.refusals[shown]
        if pass_on is not None:
            untagged, tagged = b"", b" " + pass_on + b"\r\n"
        self._state = _State.COMMAND
        return [Send(untagged + self._tag + tagged), *self._run()]

    def accept(self, ready: BackendReady) -> list[FrontEvent]:
        if self._state is not _State.PENDING:
            return []
        self._state = _State.OVER
        return [Send(self._tag + b" " + ready.reply + b"\r\n")]

    def trailing_data(self) -> bytes:
        return self._buffer.rest()

    def timed_out(self) -> list[FrontEvent]:
        return self._close("no login in time", "Too slow to log in")

    # ---- reading -----------------------------------------------------------------------------

    def _run(self) -> list[FrontEvent]:
        """Handles what the buffer holds, as far as the state allows."""
        events: list[FrontEvent] = []
        try:
            while self._state in (_State.COMMAND, _State.SASL):
                found = self._command() if self._state is _State.COMMAND else self._response()
                if found is None:
                    break
                events += found
                self._commands += 1
                if self._commands >= MAX_COMMANDS and self._state in (_State.COMMAND, _State.SASL):
                    events += self._close("too many commands before login", "Too many commands before login")
        except LineTooLong:
            events += self._close("line too long", "Line too long")
        if self._state is _State.PENDING and len(self._buffer) > MAX_HELD:
            events += self._close("too much behind a login")
        return events

    def _command(self) -> list[FrontEvent] | None:
        """Collects a command up to its end and carries it out; None until more bytes come."""
        if self._wanted is not None:
            literal = self._buffer.take(self._wanted)
            if literal is None:
                return None
            self._wanted = None
            self._literals.append(literal)
        line = self._next_command_line()
        if line is None:
            return None
        if not self._lines and grammar.is_foreign(line):
            return self._close("not an IMAP client")
        header = grammar.split_literal_header(line)
        if header is not None:
            return self._literal_coming(*header)
        lines, literals = [*self._lines, line], self._literals
        self._lines, self._literals = [], []
        return self._carry_out(lines, literals)

    def _next_command_line(self) -> bytes | None:
        try:
            return self._buffer.next_line()
        except LineTooLong:
            if self._lines or not _AUTHENTICATE.match(self._buffer.peek(grammar.MAX_TAG + 14)):
                raise
            return self._buffer.next_line(MAX_SASL_LINE)

    def _literal_coming(self, before: bytes, digits: bytes, unasked: bool) -> list[FrontEvent]:
        """Asks for a literal's bytes, or refuses them while they need not be read."""
        tag, name, _ = grammar.split_command((self._lines or [before])[0])
        # Ten digits: int() of thousands of them would cost more than the line.
        if len(self._literals) == MAX_LITERALS or len(digits) > 10 or int(digits) > MAX_LITERAL:
            self._lines, self._literals = [], []
            refusal = self._bad(tag, "Literal too large, or too many")
            if unasked and self._state is _State.COMMAND:  # its bytes are on their way
                refusal += self._close("literal refused", "Literal refused")
            return refusal
        if name == b"LOGIN" and tag and not unasked and not self._tls:
            self._lines, self._literals = [], []
            return self._tls_first(tag, "login")  # before the password crosses the network in the clear
        self._lines.append(before)
        self._wanted = int(digits)
        return [] if unasked else [Send(b"+ OK\r\n")]

    # ---- commands ----------------------------------------------------------------------------

    def _carry_out(self, lines: list[bytes], literals: list[bytes]) -> list[FrontEvent]:
        tag, name, start = grammar.split_command(lines[0])
        if tag is None:
            return self._bad(None, "Invalid tag")
        arguments = Arguments(lines, literals, start)
        try:
            match name:
                case b"LOGIN":
                    return self._login(tag, arguments)
                case b"AUTHENTICATE":
                    return self._authenticate(tag, arguments)
                case b"ID":
                    return self._id(tag, arguments)
            if name in (b"CAPABILITY", b"NOOP", b"LOGOUT", b"STARTTLS"):
                arguments.end()
        except BadSyntax:
            return self._bad(tag, "Invalid arguments")
        match name:
            case b"CAPABILITY":
                untagged = b"* CAPABILITY " + self._texts.capabilities[self._tls] + b"\r\n"
                return self._done(tag, "Capability completed", untagged)
            case b"NOOP":
                return self._done(tag, "NOOP completed")
            case b"LOGOUT":
                self._state = _State.OVER
                return [*self._done(tag, "Logout completed", farewell("Logging out")), Close("logout")]
            case b"STARTTLS":
                return self._starttls(tag)
        return self._bad(tag, "Unknown command, or not before login")

    def _id(self, tag: bytes, arguments: Arguments) -> list[FrontEvent]:
        """RFC 2971."""
        arguments.space()
        fields = arguments.id_fields()
        arguments.end()
        self.program = grammar.program_of(fields) or self.program
        return self._done(tag, "ID completed", b'* ID ("name" "sidegate")\r\n')

    def _starttls(self, tag: bytes) -> list[FrontEvent]:
        if self._tls:
            return self._bad(tag, "TLS is already active")
        if len(self._buffer):  # it would be read as if it had come through TLS (CVE-2011-0411 and many since)
            return self._close("plain text behind STARTTLS", "Data behind STARTTLS")
        self._state = _State.HANDSHAKE
        return [*self._done(tag, "Begin TLS negotiation now"), StartTls()]

    def _login(self, tag: bytes, arguments: Arguments) -> list[FrontEvent]:
        arguments.space()
        name = arguments.astring()
        arguments.space()
        secret = arguments.astring()
        arguments.end()
        if not self._tls:
            return self._tls_first(tag, "login")
        return self._attempt(tag, "login", sasl.identity(name, secret))

    def _authenticate(self, tag: bytes, arguments: Arguments) -> list[FrontEvent]:
        """With or without an initial response (RFC 4959)."""
        arguments.space()
        mechanism = arguments.atom().decode("latin-1").upper()
        response: bytes | None = None
        if not arguments.at_end():
            arguments.space()
            encoded = arguments.atom()
            arguments.end()
            response = b"" if encoded == b"=" else sasl.decode_base64(encoded)
            if response is None:
                return self._bad(tag, "Invalid base64")
        exchange = sasl.start(mechanism)
        if exchange is None:
            return self._bad(tag, "Unsupported authentication mechanism", "NO")
        if not self._tls:
            return self._tls_first(tag, mechanism)
        self._tag, self._mechanism, self._exchange = tag, mechanism, exchange
        return self._step(response)

    # ---- SASL --------------------------------------------------------------------------------

    def _response(self) -> list[FrontEvent] | None:
        line = self._buffer.next_line(MAX_SASL_LINE)
        if line is None:
            return None
        self._state = _State.COMMAND
        if line == b"*":
            return self._bad(self._tag, "Authentication cancelled")
        response = sasl.decode_base64(line)
        if response is None:
            return self._bad(self._tag, "Invalid base64")
        return self._step(response)

    def _step(self, response: bytes | None) -> list[FrontEvent]:
        assert self._exchange is not None
        match self._exchange.step(response):
            case sasl.Challenge(data):
                self._state = _State.SASL
                return [Send(b"+ " + b64encode(data) + b"\r\n")]
            case sasl.Identity() as identity:
                return self._attempt(self._tag, self._mechanism, identity)

    # ---- answers -----------------------------------------------------------------------------

    def _attempt(self, tag: bytes, mechanism: str, identity: sasl.Identity) -> list[FrontEvent]:
        self._tag = tag
        self._exchange = None
        self._bad_commands = 0
        self._state = _State.PENDING
        return [Attempt(identity.login_name, identity.authzid, identity.credential, mechanism)]

    def _tls_first(self, tag: bytes, mechanism: str) -> list[FrontEvent]:
        untagged, tagged = self._texts.refusals[Shown.TLS_FIRST]
        return [Send(untagged + tag + tagged), AttemptRefused(Shown.TLS_FIRST, mechanism)]

    def _done(self, tag: bytes, text: str, untagged: bytes = b"") -> list[FrontEvent]:
        self._bad_commands = 0
        return [Send(untagged + tag + b" OK " + text.encode() + b"\r\n")]

    def _bad(self, tag: bytes | None, text: str, status: str = "BAD") -> list[FrontEvent]:
        """Nothing of the kind can succeed; too many in a row and the client is not one."""
        self._bad_commands += 1
        reply: list[FrontEvent] = [Send((tag or b"*") + f" {status} {text}\r\n".encode())]
        if self._bad_commands == MAX_BAD_COMMANDS:
            reply += self._close("too many bad commands", "Too many bad commands")
        return reply

    def _close(self, why: str, text: str | None = None) -> list[FrontEvent]:
        self._state = _State.OVER
        self._buffer.rest()
        return [*([Send(farewell(text))] if text else []), Close(why)]
