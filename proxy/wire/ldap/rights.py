"""What becomes of each request behind a Bind: passed on, as whom, or answered here. It depends on the backend login.

ProxiedLogin            everything that inspection lets be, with the control that makes it the account's (RFC 4370)
ServiceLogin            reading, as it is: the program's own rights hold
ServiceIdentityLogin    reading, of listed parts and attributes: the rights are sidegate's, whoever asks
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from proxy.domain import dn
from proxy.domain.backend_login import BackendLogin, ProxiedLogin, ServiceIdentityLogin, ServiceLogin
from proxy.wire.events import ToBackend, ToClient
from proxy.wire.ldap import grammar, inspection, replies
from proxy.wire.ldap.grammar import Pdu

Judge = Callable[[Pdu], ToBackend | ToClient]
"""What goes out for one request, or is answered; empty: nothing is (Abandon). Raises BerError for a malformed one."""


def judge(login: BackendLogin | None) -> Judge:
    """The rights that come with a backend login. ValueError for one that is no directory's."""
    match login:
        case ProxiedLogin(_, _, authzid):
            return _as_account(authzid.encode())
        case ServiceLogin():
            return _as_service
        case ServiceIdentityLogin():
            return _Reading(login).judge
    raise ValueError("not a directory's login")


def _as_account(identity: bytes) -> Judge:
    if not identity:
        raise ValueError("an empty authzId would be anonymous (RFC 4370 section 3)")
    control = grammar.control(grammar.PROXIED_AUTHORIZATION, identity)

    def judge(pdu: Pdu) -> ToBackend | ToClient:
        refusal = inspection.refusal(pdu)
        if refusal is not None:
            return _refused(pdu, refusal)
        if pdu.operation == grammar.ABANDON:  # it has no answer and takes no identity
            return ToBackend(pdu.raw)
        return ToBackend(grammar.with_control(pdu, control))

    return judge


def _as_service(pdu: Pdu) -> ToBackend | ToClient:
    refusal = inspection.refusal(pdu) or _beyond_reading(pdu)
    return ToBackend(pdu.raw) if refusal is None else _refused(pdu, refusal)


def _refused(pdu: Pdu, refusal: tuple[int, str]) -> ToClient:
    if pdu.operation == grammar.ABANDON:
        return ToClient(b"")
    return ToClient(replies.to_request(pdu.message_id, pdu.operation, refusal))


_READING = frozenset((grammar.SEARCH, grammar.COMPARE, grammar.ABANDON))


def _beyond_reading(pdu: Pdu) -> tuple[int, str] | None:
    """DESIGN section 5: search, compare, Who am I?, Abandon."""
    if pdu.operation in _READING:
        return None
    if pdu.operation == grammar.EXTENDED_REQUEST and grammar.request_name(pdu) == grammar.WHO_AM_I:
        return None
    return replies.READ_ONLY


# ---- reading under sidegate's own Bind -----------------------------------------------------------

_NEVER = grammar.encode_integer(0, grammar.ENUMERATED)
"""derefAliases: an alias could lead out of the listed parts."""
_COMBINED = frozenset((0xA0, 0xA1, 0xA2))
_PRESENT, _EXTENSIBLE, _TYPE = 0x87, 0xA9, 0x82
_OBJECT_CLASS = b"objectclass"
"""May always stand in a filter: what every program begins with."""
_DOMAIN_SCOPE = b"1.2.840.113556.1.4.1339"
"""Active Directory: no references to other partitions. They would lead around sidegate, to where an app password is a
wrong password."""
_NO_REFERENCES = grammar.control(_DOMAIN_SCOPE, None, critical=False)
_PASSED_CONTROLS = frozenset(
    (
        b"1.2.840.113556.1.4.319",  # paged results (RFC 2696)
        _DOMAIN_SCOPE,
        b"2.16.840.1.113730.3.4.2",  # ManageDsaIT (RFC 3296)
    )
)
"""Others could name attributes, or show what is not listed: refused where critical, left out where not."""


class _Reading:
    """Searches and compares within `bases` and `attributes` of a login.

    The backend sees a search as this makes it: listed attributes only, no aliases, no references, no control but those
    above.
    """

    __slots__ = ("_account", "_attributes", "_bases", "_names")

    def __init__(self, login: ServiceIdentityLogin) -> None:
        bases = [dn.comparable(base) for base in login.bases]
        self._bases = [base for base in bases if base is not None]
        self._attributes = [grammar.encode(grammar.OCTETS, name.encode()) for name in login.attributes]
        self._names = frozenset(name.lower().encode() for name in login.attributes)
        self._account = login.account.encode()

    def judge(self, pdu: Pdu) -> ToBackend | ToClient:
        refusal = inspection.refusal(pdu) or _beyond_reading(pdu)
        if refusal is not None:
            return _refused(pdu, refusal)
        if pdu.operation == grammar.ABANDON:
            return ToBackend(pdu.raw)
        controls: list[bytes] = []
        scoped = False
        for kind, critical, value in grammar.controls(pdu):
            if kind in _PASSED_CONTROLS:
                controls.append(grammar.control(kind, value or None, critical=critical))  # ManageDsaIT must have none
                scoped |= kind == _DOMAIN_SCOPE
            elif critical:
                return _refused(pdu, replies.NO_CONTROL)
        if pdu.operation == grammar.SEARCH:
            made = self._search(pdu)
            if not scoped:
                controls.append(_NO_REFERENCES)
        elif pdu.operation == grammar.COMPARE:
            made = self._compare(pdu)
        else:
            return ToClient(self._who_am_i(pdu))
        if isinstance(made, tuple):
            return _refused(pdu, made)
        return ToBackend(grammar.message(pdu.message_id, made, *controls))

    def _who_am_i(self, pdu: Pdu) -> bytes:
        """The person, not the service that the backend would name (RFC 4532)."""
        done = (grammar.encode_integer(0, grammar.ENUMERATED), grammar.encode(grammar.OCTETS) * 2)
        value = grammar.encode(grammar.RESPONSE_VALUE, self._account)
        return grammar.message(pdu.message_id, grammar.encode(grammar.EXTENDED_RESPONSE, *done, value))

    def _compare(self, pdu: Pdu) -> bytes | tuple[int, str]:
        raw = pdu.raw
        name, at = grammar.expect(raw, pdu.start, pdu.end, grammar.OCTETS)
        start, end = grammar.expect(raw, at, pdu.end, grammar.SEQUENCE)
        kind, stop = grammar.expect(raw, start, end, grammar.OCTETS)
        refusal = self._outside(raw[name:at])
        if refusal is not None:
            return refusal
        if not self._is_listed(raw[kind:stop]):
            return replies.NOT_LISTED
        return grammar.encode(grammar.COMPARE, raw[pdu.start : pdu.end])

    def _search(self, pdu: Pdu) -> bytes | tuple[int, str]:
        raw, end = pdu.raw, pdu.end
        name, scope_at = grammar.expect(raw, pdu.start, end, grammar.OCTETS)
        scope, deref_at = grammar.expect(raw, scope_at, end, grammar.ENUMERATED)
        _, limits_at = grammar.expect(raw, deref_at, end, grammar.ENUMERATED)
        at = limits_at
        for tag in (grammar.INTEGER, grammar.INTEGER, grammar.BOOLEAN):
            _, at = grammar.expect(raw, at, end, tag)
        filter_at = at
        _, _, attributes_at = grammar.element(raw, filter_at, end)
        if name == scope_at and raw[scope:deref_at] == b"\0":  # the root DSE: what the server itself can do
            return grammar.encode(grammar.SEARCH, raw[pdu.start : end])
        refusal = self._outside(raw[name:scope_at])
        if refusal is not None:
            return refusal
        for attribute in _named(raw, filter_at, attributes_at):
            if attribute.lower() != _OBJECT_CLASS and not self._is_listed(attribute):
                return replies.NOT_LISTED
        wanted = grammar.encode(grammar.SEQUENCE, *self._wanted(raw, attributes_at, end))
        return grammar.encode(grammar.SEARCH, raw[pdu.start : deref_at], _NEVER, raw[limits_at:attributes_at], wanted)

    def _wanted(self, raw: bytes, at: int, end: int) -> list[bytes]:
        """What is asked for and listed, as spelled (`member;range=0-1499`); for `*` or nothing, all that is listed."""
        asked = [
            raw[start:stop] for _, start, stop in grammar.elements(raw, *grammar.expect(raw, at, end, grammar.SEQUENCE))
        ]
        if not asked or b"*" in asked:
            return self._attributes
        listed = [name for name in asked if self._is_listed(name)]
        return [grammar.encode(grammar.OCTETS, name) for name in listed or [b"1.1"]]

    def _is_listed(self, description: bytes) -> bool:
        return description.partition(b";")[0].lower() in self._names

    def _outside(self, base: bytes) -> tuple[int, str] | None:
        try:
            parsed = dn.parse(base.decode())
        except UnicodeDecodeError:
            parsed = None
        if parsed is None:
            return replies.NO_DN
        if isinstance(parsed, tuple) and any(parsed[-len(part) :] == part for part in self._bases):
            return None
        return replies.NOT_LISTED


def _named(raw: bytes, start: int, end: int) -> Iterator[bytes]:
    """The attributes that well-formed filters from `start` to `end` look at."""
    waiting = [(start, end)]
    while waiting:
        for tag, one, stop in grammar.elements(raw, *waiting.pop()):
            if tag in _COMBINED:
                waiting.append((one, stop))
            elif tag == _PRESENT:
                yield raw[one:stop]
            elif tag == _EXTENSIBLE:
                yield from (raw[a:b] for kind, a, b in grammar.elements(raw, one, stop) if kind == _TYPE)
            else:
                name, at = grammar.expect(raw, one, stop, grammar.OCTETS)
                yield raw[name:at]
