"""Who gets in at the LDAP front, as whom, and until when: a real slapd behind, OpenLDAP's own tools in front."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers.process import wait_until
from tests.peers.slapd import SERVICE, SERVICE_PASSWORD, USERS, Slapd, person
from tests.real.ldap.client import Done, Ldap, bind, modify, tool
from tests.real.ldap.conftest import direct, front, logged_in, mint
from tests.support.sidegate import PORTAL_URL, Sidegate
from tests.wire.ldap.requests import text, tlv

pytestmark = pytest.mark.real

ALICE, BOB = person("alice"), person("bob")
NOT_ONE = f"Application-specific password required: {PORTAL_URL}"
NOT_ACCEPTED = f"App password not accepted: {PORTAL_URL}"
UNAVAILABLE = "Temporary authentication failure"


# ---- who gets in -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_in_with_an_app_password(gate: Sidegate, tls: str) -> None:
    secret = mint(gate)
    assert tool(front(gate, tls), "ldapwhoami", dn=ALICE, password=secret) == Done(0, f"dn:{ALICE}\n")
    found = tool(front(gate, tls), "ldapsearch", "-LLL", "-b", ALICE, "mail", dn=ALICE, password=secret)
    assert found == Done(0, f"dn: {ALICE}\nmail: alice@example.org\n\n")
    compared = tool(front(gate, tls), "ldapcompare", ALICE, "mail:alice@example.org", dn=ALICE, password=secret)
    assert compared == Done(6, "TRUE\n")


def test_a_name_is_compared_by_its_parts(gate: Sidegate) -> None:
    for dn in (ALICE.upper(), ALICE.replace(",", ", "), "uid=al\\69ce,ou=people,dc=example,dc=org"):
        assert tool(front(gate), "ldapwhoami", dn=dn, password=mint(gate)) == Done(0, f"dn:{ALICE}\n"), dn


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_out_with_the_account_password(gate: Sidegate, tls: str) -> None:
    refused = tool(front(gate, tls), "ldapwhoami", dn=ALICE, password=USERS["alice"])
    assert refused.code == 49
    assert f"additional info: {NOT_ONE}\n" in refused.seen


def test_out_with_an_app_password_of_somebody_else(gate: Sidegate) -> None:
    refused = tool(front(gate), "ldapwhoami", dn=ALICE, password=mint(gate, "bob"))
    assert refused.code == 49
    assert f"additional info: {NOT_ACCEPTED}\n" in refused.seen


@pytest.mark.parametrize("scope", [None, "imap"])
def test_out_without_the_scope(gate: Sidegate, scope: str | None) -> None:
    refused = tool(front(gate), "ldapwhoami", dn=ALICE, password=mint(gate, scope=scope))
    assert refused.code == 49
    assert f"additional info: {NOT_ACCEPTED}\n" in refused.seen


def test_out_with_the_services_own_password(gate: Sidegate) -> None:
    refused = tool(front(gate), "ldapwhoami", dn=SERVICE, password=SERVICE_PASSWORD)
    assert refused.code == 49
    assert NOT_ONE in refused.seen


@pytest.mark.parametrize(
    ("dn", "password", "code"),
    [
        pytest.param(ALICE, "", 53, id="empty password"),
        pytest.param("", "", 48, id="anonymous"),
        pytest.param("uid=alice,,dc=example", "whatever", 34, id="malformed"),
        pytest.param("uid=*,ou=people,dc=example,dc=org", "whatever", 49, id="pattern"),
    ],
)
def test_binds_that_nobody_may(gate: Sidegate, dn: str, password: str, code: int) -> None:
    client = Ldap(front(gate))
    assert client.bind(dn, password).code == code
    assert client.search().code == 50
    assert client.bind(ALICE, mint(gate)).code == 0
    assert client.whoami().value == f"dn:{ALICE}"


def test_anonymous_tool(gate: Sidegate) -> None:
    assert tool(front(gate), "ldapwhoami").code == 48


def test_sasl(gate: Sidegate) -> None:
    assert Ldap(front(gate)).sasl("PLAIN").code == 7


def test_nothing_before_a_bind(gate: Sidegate) -> None:
    client = Ldap(front(gate))
    assert client.search().code == 50
    assert client.whoami().code == 50
    assert client.ask(modify(ALICE, "description", "x")).code == 50


def test_nothing_in_the_clear(gate: Sidegate) -> None:
    secret = mint(gate)
    assert tool(front(gate, "none"), "ldapwhoami", dn=ALICE, password=secret).code == 13
    client = Ldap(front(gate, "none"))
    assert client.bind(ALICE, secret).code == 13
    assert client.search().code == 50


def test_nothing_behind_starttls(gate: Sidegate) -> None:
    """What was sent in the clear together with StartTLS is not run behind it."""
    client = Ldap(front(gate, "none"))
    starttls = tlv(0x30, tlv(0x02, b"\1"), tlv(0x77, text("1.3.6.1.4.1.1466.20037", 0x80)))
    client.socket.sendall(starttls + tlv(0x30, tlv(0x02, b"\2"), bind(ALICE, "x")))
    assert client.closed()


# ---- one connection, several people ----------------------------------------------------------------


def test_binding_again(gate: Sidegate, slapd: Slapd) -> None:
    client = logged_in(gate)
    assert client.whoami().value == f"dn:{ALICE}"
    assert client.bind(BOB, mint(gate, "bob")).code == 0
    assert client.whoami().value == f"dn:{BOB}"
    assert client.ask(modify(ALICE, "telephoneNumber", "+1 555 0111")).code == 50

    wrong = client.bind(ALICE, USERS["alice"])
    assert (wrong.code, wrong.text) == (49, NOT_ONE)
    mark, after = uuid.uuid4().hex, uuid.uuid4().hex
    assert client.search(equals=("description", mark)).code == 50
    assert client.whoami().code == 50
    tool(direct(slapd), "ldapsearch", "-b", ALICE, f"(description={after})", dn=ALICE, password=USERS["alice"])
    assert mark not in slapd.server.wait_for_log(after)

    assert client.bind(ALICE, mint(gate)).code == 0
    assert client.whoami().value == f"dn:{ALICE}"


@pytest.mark.parametrize(("dn", "password", "code"), [(ALICE, "", 53), ("", "", 48), ("uid=,,", "x", 34)])
def test_any_failed_bind_leaves_nobody(gate: Sidegate, dn: str, password: str, code: int) -> None:
    client = logged_in(gate)
    assert client.bind(dn, password).code == code
    assert client.search().code == 50
    wait_until(lambda: not sessions(gate, client), "the session is over", 5)


def test_a_session_per_person(gate: Sidegate) -> None:
    before = {row["id"] for row in gate.json("sessions", "list")}

    def accounts() -> list[str]:
        return [row["account"] for row in gate.json("sessions", "list") if row["id"] not in before]

    client = logged_in(gate)
    assert accounts() == ["alice@example.org"]
    assert client.bind(BOB, mint(gate, "bob")).code == 0
    wait_until(lambda: accounts() == ["bob@example.org"], "alice's session is over", 10)
    assert client.bind(BOB, "wrong").code == 49
    wait_until(lambda: not accounts(), "bob's session is over", 10)


def test_requests_behind_a_bind_wait_for_it(gate: Sidegate) -> None:
    client = logged_in(gate)
    client.send(bind(BOB, mint(gate, "bob")))
    client.send(tlv(0x77, text("1.3.6.1.4.1.4203.1.11.3", 0x80)))
    assert client.message()[1] == 0x61
    assert client.answer().value == f"dn:{BOB}"


# ---- the life of a session -------------------------------------------------------------------------


def sessions(gate: Sidegate, client: Ldap) -> list[dict[str, object]]:
    """The rows of this connection."""
    host, port = client.socket.getsockname()
    return [row for row in gate.json("sessions", "list") if row["client"] in {host, f"{host}:{port}"}]


def test_sessions_list(gate: Sidegate) -> None:
    known = {row["id"] for row in gate.json("sessions", "list")}
    app = f"Address book {uuid.uuid4()}"
    client = Ldap(front(gate))
    assert client.bind(ALICE, gate.mint("alice@example.org", app, "--scope", "ldap")).code == 0
    (row,) = [row for row in gate.json("sessions", "list", "alice@example.org") if row["id"] not in known]
    assert (row["protocol"], row["account"], row["app_password"]) == ("ldap", "alice@example.org", app)
    client.send(tlv(0x42))  # Unbind has no answer
    assert client.closed()
    wait_until(lambda: row["id"] not in [one["id"] for one in gate.json("sessions", "list")], "the session is over", 10)


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_revoking_ends_the_connection(gate: Sidegate, tls: str) -> None:
    app = f"test {uuid.uuid4()}"
    secret = gate.mint("alice@example.org", app, "--scope", "ldap")
    client = Ldap(front(gate, tls))
    assert client.bind(ALICE, secret).code == 0
    assert client.whoami().code == 0
    done = gate.json("passwords", "revoke", "alice@example.org", app)
    told = time.monotonic()
    assert (len(done["revoked"]), done["sessions_cut"]) == (1, 1)
    assert client.closed(1)
    assert time.monotonic() - told < 1
    refused = tool(front(gate), "ldapwhoami", dn=ALICE, password=secret)
    assert refused.code == 49
    assert NOT_ACCEPTED in refused.seen


def test_slapd_stops_and_comes_back(own: Callable[..., tuple[Slapd, Sidegate]]) -> None:
    slapd, gate = own()
    secret = mint(gate)
    client = Ldap(front(gate))
    assert client.bind(ALICE, secret).code == 0
    slapd.stop()
    assert client.closed(1)
    late = Ldap(front(gate)).bind(ALICE, secret)
    assert (late.code, late.text) == (52, UNAVAILABLE)
    slapd.start()
    assert Ldap(front(gate)).bind(ALICE, secret).code == 0


# ---- the backend's side ----------------------------------------------------------------------------


def test_an_account_that_slapd_does_not_know_is_our_error(gate: Sidegate) -> None:
    name = f"ghost{uuid.uuid4().hex[:8]}"
    gate.add_account(f"{name}@example.org")
    refused = Ldap(front(gate)).bind(person(name), mint(gate, name))
    assert (refused.code, refused.text) == (52, UNAVAILABLE)
    wait_until(lambda: name in gate.log() and "backend_unknown_account" in gate.log(), "our error names it")


def test_a_wrong_password_of_ours_is_our_error(own: Callable[..., tuple[Slapd, Sidegate]], tmp_path: Path) -> None:
    password = tmp_path / "wrong-password"
    password.write_text("not it")
    password.chmod(0o600)
    login = {"strategy": "proxied_authorization", "bind_dn": SERVICE, "password_file": str(password)}
    _, gate = own(login=login)
    refused = Ldap(front(gate)).bind(ALICE, mint(gate))
    assert (refused.code, refused.text) == (52, UNAVAILABLE)
    wait_until(lambda: "backend_refused_us" in gate.log(), "the error in our log")
    assert "not it" not in gate.log()


def test_a_backend_in_the_clear(own: Callable[..., tuple[Slapd, Sidegate]]) -> None:
    """On loopback it may be."""
    slapd, gate = own(tls="none")
    assert tool(front(gate), "ldapwhoami", dn=ALICE, password=mint(gate)) == Done(0, f"dn:{ALICE}\n")
    assert " STARTTLS" not in slapd.log()


def test_a_backend_behind_starttls(gate: Sidegate, slapd: Slapd) -> None:
    logged_in(gate).close()
    assert " STARTTLS" in slapd.log()
