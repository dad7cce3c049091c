"""ldap3, the client library that most Python programs and many services use, at the LDAP front before a real slapd."""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ldap3
import pytest
from ldap3.core.exceptions import (
    LDAPBindError,
    LDAPCommunicationError,
    LDAPInvalidCredentialsResult,
    LDAPUnwillingToPerformResult,
)

from tests.peers.slapd import PEOPLE, USERS, Slapd, person
from tests.real.ldap.client import tool
from tests.real.ldap.conftest import direct, front, mint
from tests.support.sidegate import PORTAL_URL, Sidegate

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore:ssl.match_hostname:DeprecationWarning")]

ALICE, BOB = person("alice"), person("bob")


def server(gate: Sidegate, tls: str = "implicit") -> ldap3.Server:
    where = front(gate, tls)
    checked = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=str(where.ca), version=ssl.PROTOCOL_TLS_CLIENT)
    return ldap3.Server("127.0.0.1", where.port, use_ssl=tls == "implicit", tls=checked, get_info=ldap3.NONE)


@contextmanager
def connected(gate: Sidegate, dn: str, password: str, *, tls: str = "implicit", **options: Any) -> Iterator[Any]:
    """A connection that is bound; over StartTLS first where the front wants that."""
    before = ldap3.AUTO_BIND_NO_TLS if tls == "implicit" else ldap3.AUTO_BIND_TLS_BEFORE_BIND
    connection = ldap3.Connection(server(gate, tls), dn, password, auto_bind=before, receive_timeout=20, **options)
    try:
        yield connection
    finally:
        connection.unbind()


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_in_with_an_app_password(gate: Sidegate, tls: str) -> None:
    with connected(gate, ALICE, mint(gate), tls=tls) as connection:
        assert connection.extend.standard.who_am_i() == f"dn:{ALICE}"
        assert connection.search(PEOPLE, "(uid=bob)", attributes=["mail", "cn"])
        (bob,) = connection.entries
        assert (bob.entry_dn, bob.mail.value, bob.cn.value) == (BOB, "bob@example.org", "Bob Example")
        assert connection.compare(BOB, "mail", "bob@example.org")
        assert not connection.compare(BOB, "mail", "alice@example.org")


def test_out_with_the_account_password(gate: Sidegate) -> None:
    """The sentence reaches the program, and whoever reads its log."""
    with pytest.raises(LDAPBindError, match="invalidCredentials"), connected(gate, ALICE, USERS["alice"]):
        pass
    connection = ldap3.Connection(server(gate), ALICE, USERS["alice"])
    assert not connection.bind()
    assert connection.result["result"] == 49
    assert connection.result["message"] == f"Application-specific password required: {PORTAL_URL}"
    connection.unbind()


def test_out_when_revoked(gate: Sidegate) -> None:
    """A program that keeps its connection finds it closed, and is not let in again."""
    app = f"test {uuid.uuid4()}"
    secret = gate.mint("alice@example.org", app, "--scope", "ldap")
    with connected(gate, ALICE, secret) as connection:
        assert connection.search(ALICE, "(objectClass=*)")
        assert gate.json("passwords", "revoke", "alice@example.org", app)["sessions_cut"] == 1
        with pytest.raises(LDAPCommunicationError):
            connection.search(ALICE, "(objectClass=*)")
    again = ldap3.Connection(server(gate), ALICE, secret)
    assert not again.bind()
    assert again.result["message"] == f"App password not accepted: {PORTAL_URL}"
    again.unbind()


def test_page_by_page(gate: Sidegate) -> None:
    with connected(gate, ALICE, mint(gate)) as connection:
        pages = connection.extend.standard.paged_search(PEOPLE, "(uid=*)", attributes=["uid"], paged_size=1)
        assert sorted(page["attributes"]["uid"][0] for page in pages) == sorted(USERS)


def test_changes_of_ones_own(gate: Sidegate, slapd: Slapd) -> None:
    number = f"+1 555 {uuid.uuid4().int % 10**6}"
    replace = {"telephoneNumber": [(ldap3.MODIFY_REPLACE, [number])]}
    with connected(gate, ALICE, mint(gate)) as connection:
        assert connection.modify(ALICE, replace)
        assert not connection.modify(BOB, replace)
        assert connection.result["description"] == "insufficientAccessRights"
        assert not connection.delete(BOB)
        assert connection.result["description"] == "insufficientAccessRights"
    there = tool(direct(slapd), "ldapsearch", "-LLL", "-b", ALICE, "telephoneNumber", dn=ALICE, password=USERS["alice"])
    assert f"telephoneNumber: {number}\n" in there.seen


def test_no_new_password(gate: Sidegate, slapd: Slapd) -> None:
    with connected(gate, ALICE, mint(gate)) as connection:
        assert not connection.extend.standard.modify_password(ALICE, USERS["alice"], "new-password")
        assert connection.result["result"] == 53
        new = {"userPassword": [(ldap3.MODIFY_REPLACE, ["new-password"])]}
        assert not connection.modify(ALICE, new)
        assert connection.result["result"] == 53
    assert tool(direct(slapd), "ldapwhoami", dn=ALICE, password=USERS["alice"]).code == 0


def test_rebind(gate: Sidegate) -> None:
    """As a program does that checks one person's password after another on one connection."""
    with connected(gate, ALICE, mint(gate)) as connection:
        assert connection.rebind(user=BOB, password=mint(gate, "bob"))
        assert connection.extend.standard.who_am_i() == f"dn:{BOB}"
        assert not connection.rebind(user=ALICE, password=USERS["alice"])
        assert not connection.search(ALICE, "(objectClass=*)")
        assert connection.result["description"] == "insufficientAccessRights"
        assert connection.rebind(user=ALICE, password=mint(gate))
        assert connection.extend.standard.who_am_i() == f"dn:{ALICE}"


def test_results_as_exceptions(gate: Sidegate) -> None:
    with connected(gate, ALICE, mint(gate), raise_exceptions=True) as connection:
        with pytest.raises(LDAPUnwillingToPerformResult, match="Passwords cannot be compared or changed here"):
            connection.compare(ALICE, "userPassword", USERS["alice"])
        with pytest.raises(LDAPInvalidCredentialsResult, match="App password not accepted"):
            connection.rebind(user=BOB, password=mint(gate))


@pytest.mark.parametrize("strategy", [ldap3.SAFE_SYNC, ldap3.ASYNC, ldap3.RESTARTABLE])
def test_other_strategies(gate: Sidegate, strategy: str) -> None:
    with connected(gate, ALICE, mint(gate), client_strategy=strategy) as connection:
        asked = connection.search(PEOPLE, "(uid=bob)", attributes=["mail"])
        if strategy == ldap3.SAFE_SYNC:
            found = asked[2]
        elif strategy == ldap3.ASYNC:
            found, _ = connection.get_response(asked)
        else:
            found = connection.response
        assert [one["attributes"]["mail"] for one in found] == [["bob@example.org"]]


def test_a_pool_of_connections(gate: Sidegate) -> None:
    """REUSABLE holds several, binds each, and keeps them when it is asked to unbind: a revoke ends all of them."""
    app = f"test {uuid.uuid4()}"
    secret = gate.mint("alice@example.org", app, "--scope", "ldap")
    options = {"client_strategy": ldap3.REUSABLE, "pool_name": app, "pool_size": 3, "pool_lifetime": 300}
    with connected(gate, ALICE, secret, **options) as connection:
        asked = [connection.search(PEOPLE, "(uid=bob)", attributes=["mail"]) for _ in range(20)]
        for number in asked:
            found, result = connection.get_response(number)
            assert (result["result"], [one["dn"] for one in found]) == (0, [BOB])
        sessions = [row for row in gate.json("sessions", "list", "alice@example.org") if row["app_password"] == app]
        assert 1 <= len(sessions) <= 3
    assert gate.json("passwords", "revoke", "alice@example.org", app)["sessions_cut"] == len(sessions)
    connection.strategy.terminate()
