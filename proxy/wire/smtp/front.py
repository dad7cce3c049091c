"""The server side of SMTP until a login succeeded (RFC 5321, 3207, 4954)."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxy.domain.verdicts import Shown
from proxy.wire import sasl
from proxy.wire.buffer import LineBuffer, LineTooLong
from proxy.wire.events import (
    Attempt,
    AttemptRefused,
    BackendReady,
    Close,
    FrontEvent,
    FrontSettings,
    Send,
    StartTls,
    clean_program,
)
from proxy.wire.smtp import replies
from proxy.wire.smtp.grammar import FOREIGN_VERBS, visible

MAX_COMMAND = 8192
"""Bytes of a command line without its end (DESIGN section 8)."""
MAX_AUTH = 12288
"""Bytes of an AUTH command or a SASL response without its end (RFC 4954 section 4.3)."""
MAX_COMMANDS = 100
"""Lines on one connection before login. A client needs ten; a flood must not cost a worker more than this."""

_NEEDS_EHLO = frozenset((b"AUTH", b"MAIL", b"RCPT", b"DATA", b"BDAT"))


@dataclass(frozen=True, slots=True)
class _Texts:
    """What every connection of a front says, made once."""

    greeting: bytes
    ehlo_clear: bytes
    ehlo_tls: bytes
    helo: bytes
    help: bytes
    refusals: Mapping[Shown, bytes]
    starttls: bool


def make(settings: FrontSettings) -> Callable[[], SmtpFront]:
    """A maker of machines for one front; call again when the backend's offers changed."""
    offers = sorted(line for line in settings.offers if visible(line))
    starttls = ["STARTTLS"] if settings.starttls else []
    texts = _Texts(
        greeting=f"220 {settings.hostname} ESMTP\r\n".encode(),
        ehlo_clear=_ehlo(settings.hostname, [*offers, *starttls]),
        ehlo_tls=_ehlo(settings.hostname, [*offers, "AUTH " + " ".join(sasl.MECHANISMS)]),
        helo=f"250 {settings.hostname}\r\n".encode(),
        help=f"214 2.0.0 See {settings.portal_url}\r\n".encode(),
        refusals={shown: replies.refusal(shown, settings.portal_url) for shown in Shown},
        starttls=settings.starttls,
    )
    return lambda: SmtpFront(texts)


def _ehlo(hostname: str, lines: list[str]) -> bytes:
    *first, last = [hostname, *lines]
    return "".join([f"250-{line}\r\n" for line in first] + [f"250 {last}\r\n"]).encode()


class SmtpFront:
    """A FrontMachine. `_sasl` is set while a response is awaited; `_pending`, while a verdict or TLS is, is what a
    client hears that speaks in between."""

    __slots__ = (
        "_closed",
        "_commands",
        "_greeted",
        "_lines",
        "_mechanism",
        "_pending",
        "_sasl",
        "_texts",
        "_tls",
        "program",
    )

    def __init__(self, texts: _Texts) -> None:
        self.program: str | None = None
        self._texts = texts
        self._lines = LineBuffer(MAX_COMMAND)
        self._commands = 0
        self._tls = False
        self._greeted = False
        self._sasl: sasl.SaslServer | None = None
        self._mechanism = ""
        self._pending: bytes | None = None
        self._closed = False

    def connected(self, *, tls: bool) -> list[FrontEvent]:
        self._tls = tls
        return [Send(self._texts.greeting)]

    def receive_data(self, data: bytes) -> list[FrontEvent]:
        if self._closed or not data:
            return []
        if self._pending is not None:
            return self._close(self._pending, "bytes ahead of our reply")
        self._lines.feed(data)
        happened: list[FrontEvent] = []
        while not self._closed and self._pending is None:
            line = self._next_line(happened)
            if line is None:
                break
            self._commands += 1
            if self._commands > MAX_COMMANDS:
                happened += self._close(replies.TOO_MANY_COMMANDS, "too many commands before login")
            elif self._lines.ended_bare:
                happened += self._close(replies.BARE_LF, "bare LF in a command line")
            elif b"\r" in line or b"\0" in line:
                happened += self._close(replies.BARE_CR_OR_NUL, "bare CR or NUL in a command line")
            elif self._sasl is not None:
                happened += self._response(self._sasl, line)
            else:
                happened += self._command(line)
        return happened

    def tls_started(self) -> list[FrontEvent]:
        self._tls = True
        self._pending = None
        self._greeted = False
        self.program = None
        return []

    def refuse(self, shown: Shown, pass_on: bytes | None = None) -> list[FrontEvent]:
        if self._closed:
            return []
        self._pending = None
        return [Send(self._texts.refusals[shown] if pass_on is None else pass_on + b"\r\n")]

    def accept(self, ready: BackendReady) -> list[FrontEvent]:
        if self._closed:
            return []
        self._closed = True
        return [Send(ready.reply + b"\r\n")]

    def trailing_data(self) -> bytes:
        """Nothing: a client that sends behind AUTH is closed (RFC 4954 section 4: AUTH ends a pipelined group)."""
        return b""

    def timed_out(self) -> list[FrontEvent]:
        return [] if self._closed else self._close(replies.TIMED_OUT, "not logged in in time")

    def _close(self, reply: bytes, why: str) -> list[FrontEvent]:
        self._closed = True
        self._lines.rest()
        return [Send(reply), Close(why)]

    def _next_line(self, happened: list[FrontEvent]) -> bytes | None:
        auth = self._sasl is not None or self._lines.peek(5).upper() == b"AUTH "
        try:
            return self._lines.next_line(MAX_AUTH if auth else MAX_COMMAND)
        except LineTooLong:
            reply = replies.RESPONSE_TOO_LONG if auth else replies.LINE_TOO_LONG
            happened += self._close(reply, "line too long")
            return None

    def _command(self, line: bytes) -> list[FrontEvent]:
        name, _, argument = line.partition(b" ")
        verb = name.upper()
        match verb:
            case b"EHLO" | b"HELO":
                return self._hello(argument.strip(), extended=verb == b"EHLO")
            case b"NOOP" | b"RSET":
                return [Send(replies.OK)]
            case b"HELP":
                return [Send(self._texts.help)]
            case b"VRFY":
                return [Send(replies.VRFY)]
            case b"QUIT":
                return self._close(replies.BYE, "client quit")
            case b"STARTTLS":
                return self._starttls(argument)
        if verb in FOREIGN_VERBS or verb == b"PROXY":
            return self._close(replies.NOT_SMTP, "not an SMTP client")
        if not self._tls:
            tls_first: list[FrontEvent] = [Send(self._texts.refusals[Shown.TLS_FIRST])]
            return [*tls_first, AttemptRefused(Shown.TLS_FIRST, _mechanism(argument))] if verb == b"AUTH" else tls_first
        if verb in _NEEDS_EHLO and not self._greeted:
            return [Send(replies.EHLO_FIRST)]
        if verb == b"AUTH":
            return self._auth(argument)
        return [Send(replies.AUTH_REQUIRED)]

    def _hello(self, name: bytes, *, extended: bool) -> list[FrontEvent]:
        if not name:
            return [Send(replies.EHLO_SYNTAX)]
        self._greeted = True
        self.program = clean_program(name.decode("latin-1"))
        if not extended:
            return [Send(self._texts.helo)]
        return [Send(self._texts.ehlo_tls if self._tls else self._texts.ehlo_clear)]

    def _starttls(self, argument: bytes) -> list[FrontEvent]:
        if argument:
            return [Send(replies.STARTTLS_SYNTAX)]
        if self._tls or not self._texts.starttls:
            return [Send(replies.NO_STARTTLS)]
        if len(self._lines):
            # RFC 3207 section 4 forgets these bytes; who sends them wants them run behind TLS (CVE-2011-0411).
            return self._close(replies.BEHIND_STARTTLS, "bytes behind STARTTLS")
        self._pending = replies.BEHIND_STARTTLS
        return [Send(replies.START_TLS), StartTls()]

    def _auth(self, argument: bytes) -> list[FrontEvent]:
        name, *initial = argument.split(b" ")
        if not name or len(initial) > 1:
            return [Send(replies.AUTH_SYNTAX)]
        self._mechanism = _mechanism(argument)
        machine = sasl.start(self._mechanism)
        if machine is None:
            return [Send(replies.UNKNOWN_MECHANISM)]
        self._sasl = machine
        if not initial:
            return self._step(machine, None)
        # RFC 4954 section 4: "=" is an initial response of no bytes.
        return self._response(machine, b"" if initial[0] == b"=" else initial[0])

    def _response(self, machine: sasl.SaslServer, line: bytes) -> list[FrontEvent]:
        if line == b"*":
            self._sasl = None
            return [Send(replies.CANCELLED)]
        response = sasl.decode_base64(line)
        if response is None:
            self._sasl = None
            return [Send(replies.NOT_BASE64), AttemptRefused(Shown.NOT_APP_PASSWORD, self._mechanism)]
        return self._step(machine, response)

    def _step(self, machine: sasl.SaslServer, response: bytes | None) -> list[FrontEvent]:
        outcome = machine.step(response)
        if isinstance(outcome, sasl.Challenge):
            return [Send(b"334 " + binascii.b2a_base64(outcome.data, newline=False) + b"\r\n")]
        self._sasl = None
        if len(self._lines):
            return self._close(replies.BEHIND_AUTH, "bytes behind AUTH")
        self._pending = replies.BEHIND_AUTH
        return [Attempt(outcome.login_name, outcome.authzid, outcome.credential, self._mechanism)]


def _mechanism(argument: bytes) -> str:
    """The mechanism asked for if we know it, else "?": a client's own text goes into no log."""
    name = argument.partition(b" ")[0].decode("latin-1").upper()
    return name if name in sasl.MECHANISMS else "?"
