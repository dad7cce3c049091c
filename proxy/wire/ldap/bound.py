"""A client that is bound while its backend has not been asked anything (`bind_only`): what its first request is."""

from __future__ import annotations

from proxy.wire.events import Close, LogInAgain, RelayEvent, ToBackend, ToClient
from proxy.wire.ldap import grammar, replies
from proxy.wire.ldap.grammar import BerError
from proxy.wire.ldap.relay import MAX_PDU


class LdapBound:
    """A BoundMachine. Most programs that only check a password unbind, or bind as the next person."""

    __slots__ = ("_buffer", "_over")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._over = False

    def client_data(self, data: bytes | memoryview) -> list[RelayEvent]:
        if self._over:
            return []
        self._buffer += data
        try:
            while (pdu := grammar.peek(self._buffer, MAX_PDU)) is not None:
                if pdu.message_id == 0 or pdu.operation not in grammar.REQUESTS:
                    raise BerError("not a request")
                if pdu.operation == grammar.UNBIND:
                    return self._end(Close("client unbound"))
                if pdu.operation == grammar.BIND_REQUEST:
                    return self._end(LogInAgain(bytes(self._buffer)))
                if pdu.operation != grammar.ABANDON:  # of nothing
                    return self._end(ToBackend(bytes(self._buffer)))
                del self._buffer[: len(pdu.raw)]
        except BerError:
            return self._end(ToClient(replies.MALFORMED), Close("malformed LDAP message"))
        return []

    def _end(self, *events: RelayEvent) -> list[RelayEvent]:
        self._over = True
        self._buffer.clear()
        return list(events)
