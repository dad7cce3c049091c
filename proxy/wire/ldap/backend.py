"""The client side of LDAP until a backend connection is bound as the service and speaks for the account.

    connect, StartTLS where configured, Bind as the service, Who am I? as the account (RFC 4532 under RFC 4370)

The last step proves that the backend knows the account and lets the service speak for it, before the client hears OK.
It is left out where the account only reads under the service's rights. A service that is passed through has a Bind of
its own, whose answer the client hears.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.domain.backend_login import BackendLogin, ProxiedLogin, ServiceIdentityLogin, ServiceLogin
from proxy.domain.model import ClientInfo
from proxy.domain.secret import Secret
from proxy.wire.events import BackendEvent, BackendReady, BackendRefused, Close, Fault, Offers, Send, StartTls
from proxy.wire.ldap import grammar, replies
from proxy.wire.ldap.grammar import BerError, Pdu

MAX_PDU = 64 * 1024
"""Bytes of an answer before the login is done."""
DirectoryLogin = ProxiedLogin | ServiceIdentityLogin | ServiceLogin
_TEMPORARY = frozenset((replies.BUSY, replies.UNAVAILABLE))


def login_machine(
    login: BackendLogin, client: ClientInfo, session_id: str, *, starttls: bool, client_address: str
) -> LdapBackend:
    """A machine that logs in. Client and session are for protocols that can pass them on; LDAP has no way to."""
    if not isinstance(login, DirectoryLogin):
        raise TypeError("LDAP backends take a simple Bind only")
    return LdapBackend(login, starttls=starttls)


def probe_machine(*, starttls: bool) -> LdapBackend:
    """A machine that asks for the root DSE and leaves."""
    return LdapBackend(None, starttls=starttls)


class LdapBackend:
    """A BackendMachine: one request at a time, numbered from 1."""

    __slots__ = ("_buffer", "_done", "_expected", "_login", "_next", "_number", "_starttls", "state")

    def __init__(self, login: DirectoryLogin | None, *, starttls: bool) -> None:
        self.state = "connect"
        self._login = login
        self._starttls = starttls
        self._buffer = bytearray()
        self._number = 0
        self._expected = 0
        self._next: Callable[[Pdu], list[BackendEvent]] = self._bound
        self._done = False

    def connected(self, *, tls: bool) -> list[BackendEvent]:
        if self._starttls and not tls:
            request = grammar.extended_request(grammar.START_TLS)
            return self._ask("starttls", request, grammar.EXTENDED_RESPONSE, self._may_start_tls)
        return self._log_in()

    def receive_data(self, data: bytes) -> list[BackendEvent]:
        happened: list[BackendEvent] = []
        self._buffer += data
        try:
            while not self._done:
                pdu = grammar.take(self._buffer, MAX_PDU)
                if pdu is None:
                    break
                happened += self._answer(pdu)
        except BerError as error:
            happened += self._fail(Fault.PROTOCOL, str(error))
        return happened

    def tls_started(self) -> list[BackendEvent]:
        return self._log_in()

    def trailing_data(self) -> bytes:
        return bytes(self._buffer)

    def _answer(self, pdu: Pdu) -> list[BackendEvent]:
        if pdu.message_id == 0:
            return self._fail(Fault.TEMPORARY, "it said it disconnects")
        if pdu.message_id != self._number:
            return self._fail(Fault.PROTOCOL, "it answered what was not asked")
        if pdu.operation != self._expected:
            if self._login is None and pdu.operation in (grammar.SEARCH_ENTRY, grammar.SEARCH_REFERENCE):
                return []
            return self._fail(Fault.PROTOCOL, "it answered something else than was asked")
        return self._next(pdu)

    def _ask(
        self, state: str, request: bytes, expected: int, then: Callable[[Pdu], list[BackendEvent]], *controls: bytes
    ) -> list[BackendEvent]:
        self.state = state
        self._number += 1
        self._expected = expected
        self._next = then
        return [Send(grammar.message(self._number, request, *controls))]

    def _fail(self, fault: Fault, detail: str) -> list[BackendEvent]:
        self._done = True
        return [BackendRefused(fault, f"{detail} (at {self.state})")]

    def _may_start_tls(self, pdu: Pdu) -> list[BackendEvent]:
        code, _ = grammar.result(pdu)
        if code:
            return self._fail(Fault.TEMPORARY if code in _TEMPORARY else Fault.PROTOCOL, f"it refused StartTLS: {code}")
        if self._buffer:
            return self._fail(Fault.PROTOCOL, "bytes behind its answer to StartTLS")
        return [StartTls()]

    def _log_in(self) -> list[BackendEvent]:
        login = self._login
        if login is None:
            return self._ask("root DSE", _ROOT_DSE, grammar.SEARCH_DONE, self._probed)
        if isinstance(login, ServiceLogin):
            bind = _bind_request(login.dn, login.password)
            return self._ask("service bind", bind, grammar.BIND_RESPONSE, self._service_bound)
        return self._ask("bind", _bind_request(login.bind_dn, login.password), grammar.BIND_RESPONSE, self._bound)

    def _probed(self, pdu: Pdu) -> list[BackendEvent]:
        """Any answer will do: what an LDAP server offers is not advertised before a Bind."""
        self._done = True
        return [Offers(frozenset()), Close("probed")]

    def _service_bound(self, pdu: Pdu) -> list[BackendEvent]:
        """Its answer is the client's to hear, unless it would send the service's password elsewhere."""
        code, _ = grammar.result(pdu)
        if code in _TEMPORARY:
            return self._fail(Fault.TEMPORARY, f"it said {code}")
        if code in (replies.REFERRAL, replies.SASL_IN_PROGRESS):
            return self._fail(Fault.PROTOCOL, f"it answered a simple Bind with {code}")
        if code:
            self._done = True
            answer = grammar.encode(grammar.BIND_RESPONSE, pdu.raw[pdu.start : pdu.end])
            return [BackendRefused(Fault.SERVICE, f"it refused the service's Bind: {code}", answer)]
        return self._ready()

    def _ready(self) -> list[BackendEvent]:
        self._done = True
        self.state = "done"
        return [BackendReady(b"", login=self._login)]

    def _bound(self, pdu: Pdu) -> list[BackendEvent]:
        login = self._login
        assert isinstance(login, ProxiedLogin | ServiceIdentityLogin)
        code, _ = grammar.result(pdu)
        if code in _TEMPORARY:
            return self._fail(Fault.TEMPORARY, f"it said {code}")
        if code:
            return self._fail(Fault.CREDENTIAL, f"it refused the Bind as {login.bind_dn}: {code}")
        if isinstance(login, ServiceIdentityLogin):
            return self._ready()
        request = grammar.extended_request(grammar.WHO_AM_I)
        identity = grammar.control(grammar.PROXIED_AUTHORIZATION, login.authzid.encode())
        return self._ask("who am i", request, grammar.EXTENDED_RESPONSE, self._identified, identity)

    def _identified(self, pdu: Pdu) -> list[BackendEvent]:
        login = self._login
        assert isinstance(login, ProxiedLogin)
        code, at = grammar.result(pdu)
        if code == replies.AUTHORIZATION_DENIED:
            detail = f"it does not know {login.authzid}, or does not let {login.bind_dn} speak for it (123)"
            return self._fail(Fault.UNKNOWN_ACCOUNT, detail)
        if code in _TEMPORARY:
            return self._fail(Fault.TEMPORARY, f"it said {code}")
        if code:
            detail = f"it does not answer Who am I? under proxied authorization: {code}"
            return self._fail(Fault.CREDENTIAL, detail)
        if not self._is_somebody(pdu, at):
            return self._fail(Fault.CREDENTIAL, "under proxied authorization it takes the account for anonymous")
        return self._ready()

    def _is_somebody(self, pdu: Pdu, at: int) -> bool:
        for tag, start, end in grammar.elements(pdu.raw, at, pdu.end):
            if tag == grammar.RESPONSE_VALUE:
                return end > start
        return False


def _bind_request(name: str, password: Secret) -> bytes:
    """A simple Bind. A password that is no text goes out as the bytes that came in."""
    return grammar.encode(
        grammar.BIND_REQUEST,
        grammar.encode_integer(3),
        grammar.encode(grammar.OCTETS, name.encode()),
        grammar.encode(grammar.SIMPLE, password.reveal().encode("utf-8", "surrogateescape")),
    )


_ROOT_DSE = grammar.encode(
    grammar.SEARCH,
    grammar.encode(grammar.OCTETS),
    grammar.encode_integer(0, grammar.ENUMERATED),
    grammar.encode_integer(0, grammar.ENUMERATED),
    grammar.encode_integer(1),
    grammar.encode_integer(5),
    grammar.encode(grammar.BOOLEAN, b"\0"),
    grammar.encode(0x87, b"objectClass"),
    grammar.encode(grammar.SEQUENCE, grammar.encode(grammar.OCTETS, b"supportedLDAPVersion")),
)
"""Base search of the root DSE, five seconds, one entry."""
