"""The server side of LDAP until a Bind succeeded (RFC 4511, 4513). A failed one leaves the connection anonymous."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxy.domain import dn
from proxy.domain.login_names import canonical
from proxy.domain.model import AppPassword
from proxy.domain.secret import Secret
from proxy.domain.verdicts import Shown
from proxy.wire.events import (
    Attempt,
    AttemptRefused,
    BackendReady,
    Close,
    FrontEvent,
    FrontSettings,
    Send,
    StartTls,
)
from proxy.wire.ldap import grammar, replies
from proxy.wire.ldap.grammar import BerError, Pdu

MAX_PDU = 64 * 1024
"""Bytes of a message before login (DESIGN section 8)."""
MAX_REQUESTS = 100
"""Requests other than Bind before one succeeded. A flood must not cost a worker more than this."""
MAX_NAME = dn.MAX_STORED + 1
"""Characters of a name that is passed on: more than any login name has, so that one that was cut off is none."""
MECHANISM = "simple"


@dataclass(frozen=True, slots=True)
class _Setting:
    """What all connections of a front share."""

    refusals: Mapping[Shown, tuple[int, str]]
    starttls: bool
    account_dn: dn.Template | None
    domains: tuple[str, ...]
    bind_names: bool
    services: Mapping[dn.Dn, str]


def make(settings: FrontSettings) -> Callable[[], LdapFront]:
    """A maker of machines for one front."""
    setting = _Setting(
        refusals={shown: replies.refusal(shown, settings.portal_url) for shown in Shown},
        starttls=settings.starttls,
        account_dn=dn.Template(settings.account_dn) if settings.account_dn else None,
        domains=settings.domains,
        bind_names=settings.bind_names,
        services={parsed: text for text in settings.services if (parsed := dn.comparable(text)) is not None},
    )
    return lambda: LdapFront(setting)


class LdapFront:
    """A FrontMachine. `_bind` is the message id of the Bind that a verdict is awaited for; what follows it is held."""

    __slots__ = ("_bind", "_buffer", "_closed", "_requests", "_securing", "_setting", "_tls", "program")

    def __init__(self, setting: _Setting) -> None:
        self.program: str | None = None
        self._setting = setting
        self._buffer = bytearray()
        self._requests = 0
        self._tls = False
        self._securing = False
        self._bind: int | None = None
        self._closed = False

    def connected(self, *, tls: bool) -> list[FrontEvent]:
        """The client speaks first."""
        self._tls = tls
        return []

    def receive_data(self, data: bytes) -> list[FrontEvent]:
        if self._closed or not data:
            return []
        if self._securing:
            return self._close("bytes behind StartTLS")
        self._buffer += data
        return self._go_on()

    def tls_started(self) -> list[FrontEvent]:
        self._tls = True
        self._securing = False
        return []

    def refuse(self, shown: Shown, pass_on: bytes | None = None) -> list[FrontEvent]:
        if self._closed or self._bind is None:
            return []
        message_id, self._bind = self._bind, None
        if pass_on is not None:
            reply = grammar.message(message_id, pass_on)
        else:
            reply = replies.to_request(message_id, grammar.BIND_REQUEST, self._setting.refusals[shown])
        return [Send(reply), *self._go_on()]

    def accept(self, ready: BackendReady) -> list[FrontEvent]:
        if self._closed or self._bind is None:
            return []
        self._closed = True
        return [Send(grammar.answer(self._bind, grammar.BIND_RESPONSE, 0))]

    def trailing_data(self) -> bytes:
        """Requests behind the accepted Bind."""
        return bytes(self._buffer)

    def timed_out(self) -> list[FrontEvent]:
        return [] if self._closed else self._close("not logged in in time", replies.TIMED_OUT)

    def _close(self, why: str, notice: bytes = b"") -> list[FrontEvent]:
        self._closed = True
        self._buffer.clear()
        return [Send(notice), Close(why)] if notice else [Close(why)]

    def _go_on(self) -> list[FrontEvent]:
        """Act on what is here, up to the next Bind."""
        happened: list[FrontEvent] = []
        try:
            while not self._closed and not self._securing and self._bind is None:
                pdu = grammar.take(self._buffer, MAX_PDU)
                if pdu is None:
                    break
                happened += self._request(pdu)
        except BerError as error:
            happened += self._close(str(error), replies.MALFORMED)
        return happened

    def _request(self, pdu: Pdu) -> list[FrontEvent]:
        if pdu.message_id == 0 or pdu.operation not in grammar.REQUESTS:
            raise BerError("not a request")
        if pdu.operation == grammar.BIND_REQUEST:
            return self._bound(pdu)
        if pdu.operation == grammar.UNBIND:
            return self._close("client unbound")
        if self._is_one_too_many():
            return self._close("too many requests before login", replies.TOO_MANY_REQUESTS)
        if pdu.operation == grammar.ABANDON:
            return []
        if pdu.operation == grammar.EXTENDED_REQUEST and grammar.request_name(pdu) == grammar.START_TLS:
            return self._start_tls(pdu)
        return [Send(replies.to_request(pdu.message_id, pdu.operation, replies.BIND_FIRST))]

    def _is_one_too_many(self) -> bool:
        """Count a request."""
        self._requests += 1
        return self._requests > MAX_REQUESTS

    def _start_tls(self, pdu: Pdu) -> list[FrontEvent]:
        if self._tls or not self._setting.starttls:
            refusal = replies.TLS_ACTIVE if self._tls else replies.NO_START_TLS
            return [Send(replies.to_request(pdu.message_id, pdu.operation, refusal))]
        if self._buffer:
            return self._close("bytes behind StartTLS")  # who sends them wants them run behind TLS (CVE-2011-0411)
        self._securing = True
        done = grammar.answer(pdu.message_id, grammar.EXTENDED_RESPONSE, 0, name=grammar.START_TLS)
        return [Send(done), StartTls()]

    # ---- Bind (RFC 4511 section 4.2) -------------------------------------------------------------

    def _bound(self, pdu: Pdu) -> list[FrontEvent]:
        raw, end = pdu.raw, pdu.end
        version, at = grammar.integer(raw, pdu.start, end, 127)
        name_start, at = grammar.expect(raw, at, end, grammar.OCTETS)
        name_end = at
        method, start, stop = grammar.element(raw, at, end)
        if stop != end:
            raise BerError("bytes behind the credentials")
        name, secret = raw[name_start:name_end], raw[start:stop]
        if version != 3:
            return self._unbound(pdu, replies.NO_VERSION)
        if any(critical for _, critical, _ in grammar.controls(pdu)):
            return self._unbound(pdu, replies.NO_CONTROL)
        if method == grammar.SASL:
            return self._unbound(pdu, replies.NO_SASL)
        if method != grammar.SIMPLE:
            raise BerError("unknown authentication choice")
        if not secret:
            return self._unbound(pdu, replies.NO_PASSWORD if name else replies.NO_ANONYMOUS)
        if not self._tls:
            refused = self._unbound(pdu, self._setting.refusals[Shown.TLS_FIRST])
            return [*refused, AttemptRefused(Shown.TLS_FIRST, MECHANISM)]
        login_name = self._login_name(name)
        if login_name is None:
            return self._unbound(pdu, replies.NO_DN)
        self._bind = pdu.message_id
        typed = secret.decode("utf-8", "surrogateescape")
        return [Attempt(login_name, "", AppPassword(Secret(typed)), MECHANISM, self._service(login_name))]

    def _service(self, name: str) -> str:
        services = self._setting.services
        parsed = dn.comparable(name) if services else None
        return services.get(parsed, "") if parsed is not None else ""

    def _unbound(self, pdu: Pdu, reply: tuple[int, str]) -> list[FrontEvent]:
        """Refused here, whoever asks. Counted with the other requests: it costs nobody a second."""
        if self._is_one_too_many():
            return self._close("too many requests before login", replies.TOO_MANY_REQUESTS)
        return [Send(replies.to_request(pdu.message_id, pdu.operation, reply))]

    def _login_name(self, name: bytes) -> str | None:
        """What the account is looked up by; None where the name is no DN at all.

        A DN of which `account_dn` makes no login name goes on as it is: it may be a stored one.
        """
        try:
            typed = name.decode()
        except UnicodeDecodeError:
            return None
        setting = self._setting
        if setting.bind_names and "=" not in typed:
            return typed[:MAX_NAME]
        made = dn.login_name(setting.account_dn, typed, setting.domains) if setting.account_dn is not None else None
        if made is not None and canonical(made, "invalid") is not None:
            return made
        return typed[:MAX_NAME] if dn.is_well_formed(typed) else None
