"""The IMAP client that logs in to a backend, or asks it what it offers.

CAPABILITY is never asked before the login: Dovecot then leaves the list out of the login's own reply, and
the round trip would cost more than the initial response it may save. Whatever the greeting lists is used
for that alone, and forgotten when STARTTLS follows (RFC 3501 section 6.2.1).

Credentials go out as base64 only; nothing that comes from a client can end a line.
"""

from __future__ import annotations

import re

from proxy.domain.backend_login import BackendLogin, BearerLogin, PlainLogin
from proxy.domain.model import ClientInfo
from proxy.wire.buffer import LineBuffer, LineTooLong
from proxy.wire.events import (
    BackendEvent,
    BackendMachine,
    BackendReady,
    BackendRefused,
    Fault,
    Offers,
    Send,
    StartTls,
)
from proxy.wire.imap import grammar
from proxy.wire.imap.grammar import MAX_LINE, quoted
from proxy.wire.sasl import BEARER_REFUSAL, decode_base64, initial_response

MAX_DETAIL = 200
"""Characters of a backend's own words in our log."""

_PASS_ON = frozenset({"LIMIT", "INUSE", "UNAVAILABLE"})
"""Codes of RFC 5530 (LIMIT: RFC 9051) whose NO the client may hear as it is."""
_NOT_THIS_ACCOUNT = frozenset({"AUTHORIZATIONFAILED", "CONTACTADMIN", "EXPIRED", "NOPERM"})
_ID = (
    b'i ID ("x-originating-ip" %b "x-originating-port" "%d" "x-connected-ip" %b "x-connected-port" "%d" '
    b'"x-session-id" %b)\r\n'
)
_UNPRINTABLE = re.compile(rb"[^\x20-\x7e]")


def login_machine(
    login: BackendLogin, client: ClientInfo, session_id: str, *, starttls: bool, client_address: str
) -> BackendMachine:
    """Logs in. With client_address `id`, ID says first whose connection this is (Dovecot's login_trusted_networks)."""
    if not isinstance(login, PlainLogin | BearerLogin):
        raise TypeError("this login does not exist in IMAP")
    mechanism, response = initial_response(login)
    introduction = _introduction(client, session_id) if client_address == "id" else b""
    return ImapBackend(starttls, mechanism, response, introduction)


def probe_machine(*, starttls: bool) -> BackendMachine:
    """Ends with Offers instead of a login."""
    return ImapBackend(starttls, "", b"", b"")


def _introduction(client: ClientInfo, session_id: str) -> bytes:
    return _ID % (
        quoted(client.address),
        client.port,
        quoted(client.local_address),
        client.local_port,
        quoted(session_id),
    )


class ImapBackend:
    """One connection; see wire.events.BackendMachine. `mechanism` empty: a probe."""

    __slots__ = (
        "_buffer",
        "_capabilities",
        "_failure",
        "_introduction",
        "_mechanism",
        "_over",
        "_reply",
        "_response",
        "_sent",
        "_starttls",
        "_tls",
        "state",
    )

    def __init__(self, starttls: bool, mechanism: str, response: bytes, introduction: bytes) -> None:
        self.state = "banner"
        self._starttls = starttls
        self._mechanism = mechanism
        self._response = response
        self._introduction = introduction
        self._buffer = LineBuffer(MAX_LINE)
        self._capabilities: bytes | None = None
        """As last listed on this side of STARTTLS and of the login."""
        self._tls = False
        self._sent = False
        """The credential is out."""
        self._failure: bytes | None = None
        """RFC 7628's JSON, which stands before the NO."""
        self._reply = b""
        """To the login, while CAPABILITY is asked after it."""
        self._over = False

    def connected(self, *, tls: bool) -> list[BackendEvent]:
        self._tls = tls
        return []

    def receive_data(self, data: bytes) -> list[BackendEvent]:
        self._buffer.feed(data)
        events: list[BackendEvent] = []
        try:
            while not self._over and (line := self._buffer.next_line()) is not None:
                if b"\0" in line or b"\r" in line:
                    return [*events, self._refused(Fault.PROTOCOL, "NUL or bare CR in a line")]
                events += self._line(line)
        except LineTooLong:
            events.append(self._refused(Fault.PROTOCOL, "line too long"))
        return events

    def tls_started(self) -> list[BackendEvent]:
        self._tls = True
        self._capabilities = None
        return self._secured()

    def trailing_data(self) -> bytes:
        return self._buffer.rest()

    # ---- the dialogue ------------------------------------------------------------------------

    def _line(self, line: bytes) -> list[BackendEvent]:
        if self.state == "banner":
            return self._greeting(line)
        kind, _, rest = line.partition(b" ")
        match kind:
            case b"*":
                return self._untagged(rest)
            case b"+" if self.state == "auth":
                return self._continuation(rest)
            case b"s" if self.state == "starttls":
                return self._starttls_reply(rest)
            case b"i" if self.state == "id":
                return self._id_reply(rest)
            case b"a" if self.state == "auth":
                return self._login_reply(rest)
            case b"c" if self.state == "capability":
                return self._capability_reply(rest)
        return [self._refused(Fault.PROTOCOL, "unexpected line", line)]

    def _greeting(self, line: bytes) -> list[BackendEvent]:
        status, _, text = line.removeprefix(b"* ").partition(b" ")
        match status.upper() if line.startswith(b"* ") else b"":
            case b"OK":
                self._capabilities = grammar.capabilities_in(text)
            case b"BYE":
                return [self._refused(Fault.TEMPORARY, "BYE", text)]
            case b"PREAUTH":  # somebody else's session, or a man in the middle who would have us skip STARTTLS
                return [self._refused(Fault.PROTOCOL, "PREAUTH greeting")]
            case _:
                return [self._refused(Fault.PROTOCOL, "no IMAP greeting", line)]
        if self._starttls and not self._tls:
            self.state = "starttls"
            return [Send(b"s STARTTLS\r\n")]
        return self._secured()

    def _starttls_reply(self, rest: bytes) -> list[BackendEvent]:
        if not _is(rest, b"OK"):
            return [self._refused(Fault.PROTOCOL, "STARTTLS refused", rest)]
        if len(self._buffer):  # it would be read as if it had come through TLS (CVE-2020-15953 and many more)
            return [self._refused(Fault.PROTOCOL, "plain text behind STARTTLS")]
        self.state = "tls"
        return [StartTls()]

    def _secured(self) -> list[BackendEvent]:
        if not self._mechanism:
            return self._probe()
        initial = self._capabilities is not None and "SASL-IR" in grammar.capability_names(self._capabilities)
        command = b"a AUTHENTICATE " + self._mechanism.encode()
        if initial:
            command += b" " + self._response
        self._sent = initial
        self._capabilities = None
        self.state = "id" if self._introduction else "auth"
        return [Send(self._introduction + command + b"\r\n")]

    def _probe(self) -> list[BackendEvent]:
        if self._capabilities is None:
            self.state = "capability"
            return [Send(b"c CAPABILITY\r\n")]
        self._over = True
        return [Offers(grammar.capability_names(self._capabilities))]

    def _id_reply(self, rest: bytes) -> list[BackendEvent]:
        if not _is(rest, b"OK"):
            return [self._refused(Fault.PROTOCOL, "ID refused; client_address: id needs it", rest)]
        self.state = "auth"
        return []

    def _untagged(self, rest: bytes) -> list[BackendEvent]:
        kind, _, text = rest.partition(b" ")
        match kind.upper():
            case b"CAPABILITY":
                self._capabilities = text
            case b"BYE":
                return [self._refused(Fault.TEMPORARY, "BYE", text)]
        return []

    def _continuation(self, challenge: bytes) -> list[BackendEvent]:
        if not self._sent:
            self._sent = True
            return [Send(self._response + b"\r\n")]
        if self._mechanism == "OAUTHBEARER" and self._failure is None:
            self._failure = decode_base64(challenge) or b""
            return [Send(BEARER_REFUSAL + b"\r\n")]
        return [self._refused(Fault.PROTOCOL, "asked for a second response")]

    def _login_reply(self, rest: bytes) -> list[BackendEvent]:
        if not _is(rest, b"OK"):
            return [self._login_refused(rest)]
        listed = grammar.capabilities_in(rest[3:])
        if listed is not None:
            return self._ready(rest, listed)
        self._reply = rest
        if self._capabilities is not None:
            return self._ready_with(self._capabilities)
        self.state = "capability"
        return [Send(b"c CAPABILITY\r\n")]

    def _capability_reply(self, rest: bytes) -> list[BackendEvent]:
        if not _is(rest, b"OK") or self._capabilities is None:
            return [self._refused(Fault.PROTOCOL, "CAPABILITY refused", rest)]
        return self._ready_with(self._capabilities) if self._mechanism else self._probe()

    def _ready_with(self, listed: bytes) -> list[BackendEvent]:
        """Folds a list that came apart from the login's reply into it, where clients look for it."""
        _, text = grammar.response_code(self._reply[3:])
        return self._ready(b"OK [CAPABILITY " + listed + b"] " + (text or b"Logged in"), listed)

    def _ready(self, reply: bytes, listed: bytes) -> list[BackendEvent]:
        names = grammar.capability_names(listed)
        if "UNAUTHENTICATE" in names:
            # RFC 8437: the client could become somebody else behind our back.
            return [self._refused(Fault.PROTOCOL, "lists UNAUTHENTICATE; switch it off there")]
        self._over = True
        return [BackendReady(reply, names)]

    # ---- refusals ----------------------------------------------------------------------------

    def _login_refused(self, rest: bytes) -> BackendRefused:
        status, _, text = rest.partition(b" ")
        if status.upper() != b"NO":
            return self._refused(Fault.PROTOCOL, "AUTHENTICATE refused", rest)
        code, words = grammar.response_code(text)
        if code in _PASS_ON:
            return self._refused(Fault.TEMPORARY, "NO", text, f"NO [{code}] {_printable(words)}".encode())
        if code in _NOT_THIS_ACCOUNT:
            return self._refused(Fault.UNKNOWN_ACCOUNT, "NO", text)
        if code == "SERVERBUG":
            return self._refused(Fault.TEMPORARY, "NO", text)
        if code == "PRIVACYREQUIRED":
            return self._refused(Fault.PROTOCOL, "NO", text)
        return self._refused(Fault.CREDENTIAL, "NO", text + b" " + self._failure if self._failure else text)

    def _refused(self, fault: Fault, what: str, words: bytes = b"", pass_on: bytes | None = None) -> BackendRefused:
        self._over = True
        return BackendRefused(fault, f"{what}: {_printable(words)}" if words else what, pass_on)


def _is(rest: bytes, status: bytes) -> bool:
    return rest.partition(b" ")[0].upper() == status


def _printable(words: bytes) -> str:
    return _UNPRINTABLE.sub(b"?", words[:MAX_DETAIL]).decode("ascii")
