"""The client side of SMTP: log in to a backend on an account's behalf, or probe what it offers.

One step at a time, each answered before the next: what arrives ahead of its question is a fault, which
is also the defence against replies injected behind STARTTLS (the NO STARTTLS paper, RFC 3207 section 6).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from proxy.domain.backend_login import BackendLogin, BearerLogin, PlainLogin, XclientLogin
from proxy.domain.model import ClientInfo
from proxy.wire.events import (
    BackendEvent,
    BackendMachine,
    BackendReady,
    BackendRefused,
    Close,
    Fault,
    Offers,
    Send,
    StartTls,
)
from proxy.wire.sasl import BEARER_REFUSAL, initial_response
from proxy.wire.smtp.grammar import Reply, ReplyError, ReplyReader, ehlo_lines, parameters, xtext

ACCEPTED = b"235 2.7.0 Authentication successful"
"""What the client hears; a backend's own words differ by login strategy, and XCLIENT has none."""

UNAVAILABLE = "[UNAVAILABLE]"
"""XCLIENT's value for "not known"."""

_HELO_NAME = re.compile(r"[A-Za-z0-9._-]+|\[[A-Za-z0-9.:]+\]")
_ENHANCED = re.compile(rb"[245]\.[0-9]{1,3}\.[0-9]{1,3}(?= |$)")


def login_machine(
    login: BackendLogin, client: ClientInfo, session_id: str, *, starttls: bool, client_address: str
) -> BackendMachine:
    """Logs `login` in. `starttls`: the backend must offer it and is asked for it; `client_address` as configured.

    SMTP has no place for the session id.
    """
    return _Backend(login, client, starttls=starttls, introduce=client_address == "xclient")


def probe_machine(*, starttls: bool) -> BackendMachine:
    """Asks what the backend offers before login and quits."""
    return _Backend(None, None, starttls=starttls, introduce=False)


class _Backend:
    """A BackendMachine. `_next` takes the reply to what was said last; None when the machine is done."""

    __slots__ = (
        "_client",
        "_introduce",
        "_login",
        "_next",
        "_offers",
        "_reader",
        "_starttls",
        "_tls",
        "_unnamed",
        "state",
    )

    def __init__(
        self, login: BackendLogin | None, client: ClientInfo | None, *, starttls: bool, introduce: bool
    ) -> None:
        self.state = "connect"
        self._login = login
        self._client = client
        self._starttls = starttls
        self._introduce = introduce or isinstance(login, XclientLogin)
        self._unnamed = False
        self._tls = False
        self._reader = ReplyReader()
        self._offers: frozenset[str] = frozenset()
        self._next: Callable[[Reply], list[BackendEvent]] | None = None

    def connected(self, *, tls: bool) -> list[BackendEvent]:
        self._tls = tls
        self._await("banner", self._greeted)
        return []

    def receive_data(self, data: bytes) -> list[BackendEvent]:
        if self._next is None:
            if self.state == "done":
                self._reader.feed(data)
            return []
        self._reader.feed(data)
        try:
            reply = self._reader.next_reply()
        except ReplyError as error:
            return self._fail(Fault.PROTOCOL, str(error))
        if reply is None:
            return []
        handle, self._next = self._next, None
        happened = handle(reply)
        if len(self._reader) and self._next is not None:
            return self._fail(Fault.PROTOCOL, "it sent more than the reply")
        return happened

    def tls_started(self) -> list[BackendEvent]:
        self._tls = True
        return self._say_hello(self._secured)

    def trailing_data(self) -> bytes:
        return self._reader.rest()

    def _await(self, state: str, handle: Callable[[Reply], list[BackendEvent]]) -> None:
        self.state = state
        self._next = handle

    def _say(self, line: str, state: str, handle: Callable[[Reply], list[BackendEvent]]) -> list[BackendEvent]:
        self._await(state, handle)
        return [Send(line.encode("ascii") + b"\r\n")]

    def _say_hello(self, handle: Callable[[Reply], list[BackendEvent]]) -> list[BackendEvent]:
        return self._say(f"EHLO {_helo_name(self._client)}", "ehlo", handle)

    def _fail(self, fault: Fault, detail: str) -> list[BackendEvent]:
        self._next = None
        detail = f"at {self.state}: {detail}"
        self.state = "failed"
        return [BackendRefused(fault, detail), Close("backend login failed")]

    def _unexpected(self, reply: Reply, fault: Fault) -> list[BackendEvent]:
        """A negative reply: `fault` unless the backend itself says it will pass."""
        return self._fail(Fault.TEMPORARY if reply.temporary else fault, f"it said {reply}")

    def _greeted(self, reply: Reply) -> list[BackendEvent]:
        if reply.code != 220:
            return self._unexpected(reply, Fault.CONNECT)
        return self._say_hello(self._secured if self._tls or not self._starttls else self._in_the_clear)

    def _take_offers(self, reply: Reply) -> bool:
        self._offers = ehlo_lines(reply)
        return reply.code == 250

    def _in_the_clear(self, reply: Reply) -> list[BackendEvent]:
        if not self._take_offers(reply):
            return self._unexpected(reply, Fault.PROTOCOL)
        if "STARTTLS" not in self._offers:
            return self._fail(Fault.PROTOCOL, "it does not offer STARTTLS")
        return self._say("STARTTLS", "starttls", self._start_tls)

    def _start_tls(self, reply: Reply) -> list[BackendEvent]:
        if reply.code != 220:
            return self._unexpected(reply, Fault.PROTOCOL)
        if len(self._reader):
            return self._fail(Fault.PROTOCOL, "it sent bytes behind its reply to STARTTLS")
        self.state = "tls"
        return [StartTls()]

    def _secured(self, reply: Reply) -> list[BackendEvent]:
        if not self._take_offers(reply):
            return self._unexpected(reply, Fault.PROTOCOL)
        if self._login is None:
            self.state = "done"
            return [Send(b"QUIT\r\n"), Offers(self._offers), Close("probed")]
        return self._xclient() if self._introduce else self._log_in()

    # ---- XCLIENT (Postfix XCLIENT_README) -------------------------------------------------------

    def _xclient(self) -> list[BackendEvent]:
        assert self._client is not None
        known = parameters(self._offers, "XCLIENT")
        if known is None:
            return self._fail(
                Fault.CREDENTIAL,
                "it does not offer XCLIENT to this host: set smtpd_authorized_xclient_hosts on that Postfix listener",
            )
        wanted = {
            # Always: without it Postfix would take another XCLIENT on this connection from whoever speaks next.
            "ADDR": UNAVAILABLE if self._unnamed else _xclient_address(self._client.address),
            "PORT": UNAVAILABLE if self._unnamed else str(self._client.port or UNAVAILABLE),
            "HELO": xtext(self._client.program or UNAVAILABLE),
        }
        if isinstance(self._login, XclientLogin):
            wanted["LOGIN"] = xtext(self._login.user)
        for attribute in wanted.keys() & {"ADDR", "LOGIN"} - set(known):
            return self._fail(Fault.CREDENTIAL, f"its XCLIENT does not take {attribute}")
        command = " ".join(f"{name}={value}" for name, value in wanted.items() if name in known)
        return self._say(f"XCLIENT {command}", "xclient", self._introduced)

    def _introduced(self, reply: Reply) -> list[BackendEvent]:
        assert self._client is not None
        if reply.code == 220:
            return self._say_hello(self._logged_in_by_xclient)
        if reply.code == 501 and not self._unnamed and ":" in _xclient_address(self._client.address):
            # Postfix without IPv6 in inet_protocols knows no IPv6 address; the whole command had no effect.
            self._unnamed = True
            return self._xclient()
        if reply.code in (550, 503):
            return self._fail(
                Fault.CREDENTIAL,
                f"it refused XCLIENT ({reply}): is smtpd_authorized_xclient_hosts set on that listener?",
            )
        return self._unexpected(reply, Fault.CREDENTIAL)

    def _logged_in_by_xclient(self, reply: Reply) -> list[BackendEvent]:
        if not self._take_offers(reply):
            return self._unexpected(reply, Fault.PROTOCOL)
        if not isinstance(self._login, XclientLogin):
            return self._log_in()
        if parameters(self._offers, "AUTH") is None:
            # Seen on Postfix 3.7: without SASL it answers 220 and ignores LOGIN=, and the account would be a stranger.
            return self._fail(
                Fault.CREDENTIAL,
                "it offers no AUTH behind XCLIENT, so it ignores LOGIN=: set smtpd_sasl_auth_enable=yes on that Postfix"
                " listener (and not smtpd_tls_auth_only, where it is reached without TLS)",
            )
        return self._done()

    # ---- AUTH (RFC 4954) ------------------------------------------------------------------------

    def _log_in(self) -> list[BackendEvent]:
        assert isinstance(self._login, PlainLogin | BearerLogin)  # XCLIENT needs no AUTH
        mechanism, response = initial_response(self._login)
        if mechanism not in (parameters(self._offers, "AUTH") or ()):
            return self._fail(Fault.CREDENTIAL, f"it does not offer AUTH {mechanism} on this connection")
        return self._say(f"AUTH {mechanism} {response.decode()}", "auth", self._authenticated)

    def _authenticated(self, reply: Reply) -> list[BackendEvent]:
        if reply.code == 235:
            return self._done()
        if reply.code == 334 and isinstance(self._login, BearerLogin):
            return self._say(BEARER_REFUSAL.decode(), "auth refused", self._authenticated_not)
        return self._authenticated_not(reply)

    def _authenticated_not(self, reply: Reply) -> list[BackendEvent]:
        # Only the codes: a server that quotes our command would put the credential into the log.
        enhanced = _ENHANCED.match(reply.lines[-1])
        said = f"it said {reply.code} {enhanced[0].decode() if enhanced else ''}".rstrip()
        if reply.temporary:
            return self._fail(Fault.TEMPORARY, said)
        return self._fail(Fault.CREDENTIAL if reply.code >= 500 else Fault.PROTOCOL, said)

    def _done(self) -> list[BackendEvent]:
        self.state = "done"
        return [BackendReady(ACCEPTED, self._offers)]


def _helo_name(client: ClientInfo | None) -> str:
    """How we greet: as the client did, since the backend writes it into Received; else its address (RFC 5321 4.1.3)."""
    if client is None:
        return "localhost"
    if client.program and _HELO_NAME.fullmatch(client.program):
        return client.program
    address = _xclient_address(client.address)
    return "localhost" if address == UNAVAILABLE else f"[{address}]"


def _xclient_address(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return UNAVAILABLE
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return UNAVAILABLE if ip.scope_id else f"IPV6:{ip}"
