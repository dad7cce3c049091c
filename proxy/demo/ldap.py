"""The demo's LDAP backend: a small directory that one service may Bind to, and speak for the people in it (RFC 4370).

Nobody else can Bind here, as in a directory that has left that to sidegate. On loopback and for the demo only.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from proxy.demo.directory import (
    INSUFFICIENT_ACCESS,
    PROTOCOL_ERROR,
    SERVICE,
    SIZE_LIMIT_EXCEEDED,
    UNWILLING,
    Directory,
    Entry,
    Refused,
    shown,
)
from proxy.domain.secret import Secret
from proxy.wire.ldap import grammar
from proxy.wire.ldap.grammar import BerError, Pdu, encode, expect

MAX_MESSAGE = 256 * 1024
AUTH_METHOD_NOT_SUPPORTED = 7
UNAVAILABLE_CRITICAL_EXTENSION = 12
INVALID_CREDENTIALS = 49
AUTHORIZATION_DENIED = 123


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who a request counts as; `person` if that is one of the people."""

    name: str
    person: Entry | None = None


class LdapBackend(asyncio.Protocol):
    """One connection."""

    def __init__(self, directory: Directory, password: Secret) -> None:
        self._directory = directory
        self._password = password
        self._buffer = bytearray()
        self._bound = False
        self._transport: asyncio.Transport
        self._operations: dict[int, Callable[[Pdu, _Asker], None]] = {
            grammar.SEARCH: self._search,
            grammar.COMPARE: self._compare,
            grammar.MODIFY: self._modify,
            grammar.EXTENDED_REQUEST: self._extended,
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            while not self._transport.is_closing():
                pdu = grammar.take(self._buffer, MAX_MESSAGE)
                if pdu is None:
                    break
                self._receive(pdu)
        except BerError as error:
            notice = grammar.NOTICE_OF_DISCONNECTION
            text = str(error)
            self._transport.write(grammar.answer(0, grammar.EXTENDED_RESPONSE, PROTOCOL_ERROR, text, name=notice))
            self._transport.close()

    def _receive(self, pdu: Pdu) -> None:
        if pdu.operation == grammar.UNBIND:
            self._transport.close()
        elif pdu.operation == grammar.ABANDON:
            pass  # everything was answered at once
        elif pdu.operation not in grammar.ANSWERS:
            raise BerError("not a request")
        else:
            try:
                self._perform(pdu)
            except Refused as refused:
                self._answer(pdu, refused.code, refused.text)

    def _perform(self, pdu: Pdu) -> None:
        if pdu.operation == grammar.BIND_REQUEST:
            self._bind(pdu)
            return
        operation = self._operations.get(pdu.operation)
        if operation is None:
            raise Refused(UNWILLING, "the demo's directory does not do that")
        operation(pdu, self._asker(pdu))

    def _answer(self, pdu: Pdu, code: int, text: str = "") -> None:
        self._transport.write(grammar.answer(pdu.message_id, grammar.ANSWERS[pdu.operation], code, text))

    def _asker(self, pdu: Pdu) -> _Asker:
        """Whom the controls name, else who is bound."""
        asker = _Asker(f"dn:{SERVICE}" if self._bound else "")
        for kind, critical, value in grammar.controls(pdu):
            if kind != grammar.PROXIED_AUTHORIZATION:
                if critical:
                    raise Refused(UNAVAILABLE_CRITICAL_EXTENSION)
                continue
            if not critical or asker.person is not None:
                raise Refused(PROTOCOL_ERROR, "proxied authorization is critical, and given once")
            authzid = value.decode("utf-8", "replace")
            person = self._directory.account(authzid[3:]) if self._bound and authzid[:3] == "dn:" else None
            if person is None:
                raise Refused(AUTHORIZATION_DENIED)
            asker = _Asker(f"dn:{person.name}", person)
        return asker

    def _bind(self, pdu: Pdu) -> None:
        self._bound = False
        raw = pdu.raw
        if any(critical for _, critical, _ in grammar.controls(pdu)):
            raise Refused(UNAVAILABLE_CRITICAL_EXTENSION)
        version, at = grammar.integer(raw, pdu.start, pdu.end, 127)
        name, at = expect(raw, at, pdu.end, grammar.OCTETS)
        who = raw[name:at]
        method, start, end = grammar.element(raw, at, pdu.end)
        if version != 3:
            raise Refused(PROTOCOL_ERROR, "LDAP version 3 only")
        if method != grammar.SIMPLE:
            raise Refused(AUTH_METHOD_NOT_SUPPORTED)
        known = hmac.compare_digest(who, SERVICE.encode())
        if not (hmac.compare_digest(raw[start:end], self._password.reveal().encode()) and known):
            raise Refused(INVALID_CREDENTIALS)
        self._bound = True
        self._answer(pdu, 0)

    def _extended(self, pdu: Pdu, asker: _Asker) -> None:
        if grammar.request_name(pdu) != grammar.WHO_AM_I:
            raise Refused(UNWILLING, "the demo's directory does not do that")
        fields = (grammar.encode_integer(0, grammar.ENUMERATED), encode(grammar.OCTETS), encode(grammar.OCTETS))
        who = encode(grammar.RESPONSE_VALUE, asker.name.encode())
        self._transport.write(grammar.message(pdu.message_id, encode(grammar.EXTENDED_RESPONSE, *fields, who)))

    def _search(self, pdu: Pdu, asker: _Asker) -> None:
        raw = pdu.raw
        start, at = expect(raw, pdu.start, pdu.end, grammar.OCTETS)
        base = raw[start:at]
        start, at = expect(raw, at, pdu.end, grammar.ENUMERATED)
        scope = int.from_bytes(raw[start:at], "big")
        _, at = expect(raw, at, pdu.end, grammar.ENUMERATED)  # there are no aliases
        limit, at = grammar.integer(raw, at, pdu.end, grammar.MAX_MESSAGE_ID)
        _, at = grammar.integer(raw, at, pdu.end, grammar.MAX_MESSAGE_ID)  # it takes no time
        start, at = expect(raw, at, pdu.end, grammar.BOOLEAN)
        types_only = any(raw[start:at])
        matches = self._directory.filter(raw, grammar.element(raw, at, pdu.end))
        at = grammar.element(raw, at, pdu.end)[2]
        start, end = expect(raw, at, pdu.end, grammar.SEQUENCE)
        wanted = [raw[one:stop] for _, one, stop in grammar.elements(raw, start, end)]
        if not asker.name and (base or scope):
            raise Refused(INSUFFICIENT_ACCESS, "Bind first")
        found = self._directory.search(base, scope, matches)
        for entry in found[: limit or None]:
            self._transport.write(grammar.message(pdu.message_id, _encoded(entry, wanted, types_only=types_only)))
        self._answer(pdu, SIZE_LIMIT_EXCEEDED if limit and len(found) > limit else 0)

    def _compare(self, pdu: Pdu, asker: _Asker) -> None:
        if not asker.name:
            raise Refused(INSUFFICIENT_ACCESS, "Bind first")
        self._answer(pdu, self._directory.compare(pdu.raw, pdu.start, pdu.end))

    def _modify(self, pdu: Pdu, asker: _Asker) -> None:
        if not asker.name:
            raise Refused(INSUFFICIENT_ACCESS, "Bind first")
        self._directory.modify(pdu.raw, pdu.start, pdu.end, asker.person)
        self._answer(pdu, 0)


def _encoded(entry: Entry, wanted: list[bytes], *, types_only: bool) -> bytes:
    """A SearchResultEntry."""
    attributes = [
        encode(
            grammar.SEQUENCE,
            encode(grammar.OCTETS, kind),
            encode(grammar.SET, *(encode(grammar.OCTETS, value) for value in ([] if types_only else values))),
        )
        for kind, values in shown(entry, wanted)
    ]
    name = encode(grammar.OCTETS, entry.name.encode())
    return encode(grammar.SEARCH_ENTRY, name, encode(grammar.SEQUENCE, *attributes))
