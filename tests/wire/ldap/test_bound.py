"""What a client says first that is bound while nothing was asked of the backend."""

import pytest

from proxy.wire.events import Close, LogInAgain, ToBackend, ToClient
from proxy.wire.ldap.bound import LdapBound
from tests.wire.ldap import requests as ldap


def said(*pieces: bytes):
    machine = LdapBound()
    return [event for piece in pieces for event in machine.client_data(piece)]


def byte_by_byte(data: bytes):
    return said(*(data[at : at + 1] for at in range(len(data))))


SEARCH = ldap.search(2)
CASES = {
    "a request": (SEARCH, [ToBackend(SEARCH)]),
    "unbind": (ldap.UNBIND, [Close("client unbound")]),
    "the next person": (ldap.BIND_ALICE, [LogInAgain(ldap.BIND_ALICE)]),
    "abandon of nothing": (ldap.abandon(3, 2), []),
    "abandon first": (ldap.abandon(3, 2) + SEARCH, [ToBackend(SEARCH)]),
    "rubbish": (b"GET / HTTP/1.1\r\n\r\n", [ToClient(ldap.MALFORMED), Close("malformed LDAP message")]),
    "an answer": (ldap.BIND_DONE, [ToClient(ldap.MALFORMED), Close("malformed LDAP message")]),
    "no number": (ldap.search(0), [ToClient(ldap.MALFORMED), Close("malformed LDAP message")]),
}


@pytest.mark.parametrize(("data", "events"), CASES.values(), ids=CASES)
def test_first_words(data, events):
    assert said(data) == events
    assert byte_by_byte(data) == events


def test_what_follows_goes_along():
    assert said(SEARCH + SEARCH + b"\x30") == [ToBackend(SEARCH + SEARCH + b"\x30")]
    assert said(ldap.BIND_ALICE + SEARCH) == [LogInAgain(ldap.BIND_ALICE + SEARCH)]
    assert said(ldap.UNBIND, SEARCH) == [Close("client unbound")]
