"""LDAP through a front worker: one connection, one login after the other, and never the former one's identity."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from proxy.domain.verdicts import Reason
from proxy.link.messages import Accept, Ask, Cut, CutDone, Ended, FromCore, LimitSetting, LoginSetting, Refusals, Refuse
from proxy.wire.ldap import grammar as ldap
from proxy.wire.ldap.front import MAX_NAME
from tests.fronts.conftest import CHAT, ELSEWHERE, Rig
from tests.support.fake_backend import Peer, ldap_directory, ldap_read
from tests.support.fake_core import RIGHT

PEOPLE = "ou=people,dc=example,dc=org"
WHO_AM_I = ldap.encode(ldap.EXTENDED_REQUEST, ldap.encode(ldap.REQUEST_NAME, ldap.WHO_AM_I))
SEARCH = ldap.encode(
    ldap.SEARCH,
    ldap.encode(ldap.OCTETS, b"dc=example,dc=org"),
    ldap.encode_integer(2, ldap.ENUMERATED),
    ldap.encode_integer(0, ldap.ENUMERATED),
    ldap.encode_integer(0),
    ldap.encode_integer(0),
    ldap.encode(ldap.BOOLEAN, b"\0"),
    ldap.encode(0x87, b"objectClass"),
    ldap.encode(ldap.SEQUENCE),
)


def decide(ask: Ask) -> FromCore:
    """Everybody gets in but mallory."""
    user = ask.login_name.partition("@")[0]
    if user == "mallory":
        return Refuse(ask.question, Reason.UNKNOWN_APP_PASSWORD)
    login = LoginSetting("proxied", f"dn:uid={user},{PEOPLE}", "cn=sidegate,dc=example,dc=org", "pw")
    return Accept(ask.question, ask.session_id, 3, 7, 1, login)


@pytest.fixture
def directory(rig: Rig) -> Rig:
    rig.core.decide = decide
    return rig


def bind(user: str, secret: str = RIGHT, number: int = 1) -> bytes:
    return bind_dn(f"uid={user},{PEOPLE}", secret, number)


def bind_dn(dn: str, secret: str, number: int = 1) -> bytes:
    name = dn.encode()
    contents = (ldap.encode_integer(3), ldap.encode(ldap.OCTETS, name), ldap.encode(ldap.SIMPLE, secret.encode()))
    return ldap.message(number, ldap.encode(ldap.BIND_REQUEST, *contents))


def answer(client: Peer) -> tuple[int, int, bytes]:
    """Message id, result code and the whole of the next message."""
    raw = ldap_read(client)
    assert raw, "closed"
    pdu = ldap.parse(raw)
    return pdu.message_id, ldap.result(pdu)[0], raw


def who(client: Peer, number: int = 9) -> bytes:
    client.send(ldap.message(number, WHO_AM_I))
    message_id, code, raw = answer(client)
    assert (message_id, code) == (number, 0)
    return raw[raw.index(b"dn:") :].partition(b",")[0]


def test_a_login_speaks_for_the_account_from_then_on(directory: Rig) -> None:
    client = directory.tls("ldaps")
    client.send(bind("alice"))
    assert answer(client)[:2] == (1, 0)
    assert who(client) == b"dn:uid=alice"
    (ask,) = directory.core.of(Ask)
    assert isinstance(ask, Ask)
    assert (ask.login_name, ask.protocol, ask.mechanism) == ("alice@example.org", "ldap", "simple")


def test_a_second_bind_is_another_session_on_another_backend_leg(directory: Rig) -> None:
    legs = len(directory.ldap.connections)
    client = directory.tls("ldaps")
    for number, user in enumerate(("alice", "bob", "alice"), 1):
        client.send(bind(user, number=number))
        assert answer(client)[:2] == (number, 0)
        assert who(client) == b"dn:uid=" + user.encode()
    assert len(directory.ldap.connections) == legs + 3
    ids = [ask.session_id for ask in directory.core.of(Ask) if isinstance(ask, Ask)]
    assert len(set(ids)) == 3
    ended = directory.core.wait(Ended, 2)
    assert [(end.session_id, end.why) for end in ended if isinstance(end, Ended)] == [
        (ids[0], "bound again"),
        (ids[1], "bound again"),
    ]


@pytest.mark.parametrize(("user", "secret"), [("mallory", RIGHT), ("alice", "the account password")])
def test_a_refused_second_bind_leaves_nobody_bound(directory: Rig, user: str, secret: str) -> None:
    client = directory.tls("ldaps")
    client.send(bind("alice"))
    assert answer(client)[1] == 0
    heard: list[bytes] = []

    def script(peer: Peer) -> None:
        heard.append(b"connected")
        ldap_directory(peer)

    directory.ldap.script = script
    client.send(bind(user, secret, 2) + ldap.message(3, SEARCH))
    assert answer(client)[:2] == (2, 49)
    assert answer(client)[:2] == (3, 50)
    assert heard == []
    client.send(bind("bob", number=4))
    assert answer(client)[:2] == (4, 0)
    assert who(client) == b"dn:uid=bob"


def test_requests_behind_a_pending_bind_wait_for_it(directory: Rig) -> None:
    client = directory.tls("ldaps")
    client.send(bind("alice") + ldap.message(2, SEARCH) + bind("bob", number=3) + ldap.message(4, WHO_AM_I))
    assert answer(client)[:2] == (1, 0)
    # the search is abandoned by the Bind behind it (RFC 4511 section 4.2.1)
    seen = [answer(client)]
    while seen[-1][0] != 4:
        seen.append(answer(client))
    assert (3, 0) in [one[:2] for one in seen]
    assert b"dn:uid=bob" in seen[-1][2]


def test_many_refusals_do_not_end_a_connection_that_serves_many_people(directory: Rig) -> None:
    client = directory.tls("ldaps")
    for number in range(1, 13):
        client.send(bind("mallory", number=number))
        assert answer(client)[:2] == (number, 49)
    client.send(bind("alice", number=20))
    assert answer(client)[:2] == (20, 0)


def test_a_cut_says_so_and_ends_it(directory: Rig) -> None:
    client = directory.tls("ldaps")
    client.send(bind("alice"))
    assert answer(client)[1] == 0
    directory.core.send(Cut(1, [7], [], []))
    message_id, code, raw = answer(client)
    assert (message_id, code) == (0, 52)
    assert ldap.NOTICE_OF_DISCONNECTION in raw
    assert client.rest() == b""
    assert directory.core.wait(CutDone) == [CutDone(1, 1)]


def test_a_lost_backend_leg_ends_the_client_and_is_not_opened_again(directory: Rig) -> None:
    client = directory.tls("ldaps")
    client.send(bind("alice"))
    assert answer(client)[1] == 0
    legs = len(directory.ldap.connections)
    directory.ldap.connections[-1].sock.shutdown(2)
    assert client.rest() == b""
    assert len(directory.ldap.connections) == legs


def test_starttls_then_a_bind(directory: Rig) -> None:
    client = directory.raw("ldap")
    client.send(bind("alice"))
    assert answer(client)[:2] == (1, 13)
    start = ldap.encode(ldap.EXTENDED_REQUEST, ldap.encode(ldap.REQUEST_NAME, ldap.START_TLS))
    client.send(ldap.message(2, start))
    assert answer(client)[:2] == (2, 0)
    client.start_tls(directory.client_context(), server_side=False, server_hostname="mail.example.test")
    client.send(bind("alice", number=3))
    assert answer(client)[:2] == (3, 0)
    assert who(client) == b"dn:uid=alice"


def test_the_account_password_costs_no_question(directory: Rig) -> None:
    client = directory.tls("ldaps")
    client.send(bind("alice", "the account password"))
    _, code, raw = answer(client)
    assert code == 49
    assert b"Application-specific password required: https://login.example.test" in raw
    reports = directory.core.wait(Refusals, where=lambda message: "alice@example.org" in str(message))
    rows = [row for report in reports if isinstance(report, Refusals) for row in report.rows if row.login_name]
    assert [(row.protocol, row.login_name, row.reason) for row in rows] == [
        ("ldap", "alice@example.org", Reason.NOT_APP_PASSWORD)
    ]
    assert directory.core.of(Ask) == []


def test_a_directory_that_does_not_know_the_account_is_a_temporary_failure(directory: Rig) -> None:
    def script(peer: Peer) -> None:
        pdu = ldap.parse(ldap_read(peer))
        peer.send(ldap.answer(pdu.message_id, ldap.BIND_RESPONSE, 0))
        pdu = ldap.parse(ldap_read(peer))
        peer.send(ldap.answer(pdu.message_id, ldap.EXTENDED_RESPONSE, 123))

    directory.ldap.script = script
    client = directory.tls("ldaps")
    client.send(bind("alice"))
    assert answer(client)[:2] == (1, 52)
    (ended,) = directory.core.wait(Ended)
    assert isinstance(ended, Ended)
    assert ended.fault == "unknown_account"


def test_a_name_longer_than_the_link_takes_costs_nobody_else_their_session(directory: Rig) -> None:
    bystander = directory.tls("ldaps")
    bystander.send(bind("alice"))
    assert answer(bystander)[1] == 0
    client = directory.tls("ldaps")
    client.send(bind("m" * 60_000))
    assert answer(client)[1] in (0, 49)  # the fake core lets everybody in
    asked = [ask.login_name for ask in directory.core.of(Ask) if isinstance(ask, Ask)]
    assert max(map(len, asked)) == MAX_NAME
    assert who(bystander) == b"dn:uid=alice"


def pass_services(ask: Ask) -> FromCore:
    """A core that lets services through."""
    if not ask.service:
        return decide(ask)
    return Accept(ask.question, ask.session_id, 0, 0, 0, LoginSetting("service", "", ask.login_name, ""))


def test_a_service_binds_at_the_directory_with_what_it_sent(directory: Rig) -> None:
    directory.core.decide = pass_services
    heard: list[bytes] = []

    def script(peer: Peer) -> None:
        while raw := ldap_read(peer):
            heard.append(raw)
            peer.send(ldap.answer(ldap.parse(raw).message_id, ldap.ANSWERS[ldap.parse(raw).operation], 0))

    directory.ldap.script = script
    client = directory.tls("ldaps")
    client.send(bind_dn(CHAT.upper(), "its own password", 5))
    assert answer(client)[:2] == (5, 0)
    client.send(ldap.message(6, SEARCH))
    assert answer(client)[:2] == (6, 0)
    assert heard == [bind_dn(CHAT, "its own password"), ldap.message(6, SEARCH)]
    (ask,) = directory.core.of(Ask)
    assert isinstance(ask, Ask)
    assert (ask.service, ask.login_name, ask.secret) == (True, CHAT, "")
    assert "its own password" not in directory.log.read_text()


def test_what_the_directory_says_to_a_service_is_the_answer(directory: Rig) -> None:
    directory.core.decide = pass_services

    def script(peer: Peer) -> None:
        peer.send(ldap.answer(ldap.parse(ldap_read(peer)).message_id, ldap.BIND_RESPONSE, 49, "data 52e"))

    directory.ldap.script = script
    client = directory.tls("ldaps")
    client.send(bind_dn(CHAT, "wrong", 5))
    message_id, code, raw = answer(client)
    assert (message_id, code, b"data 52e" in raw) == (5, 49, True)
    (ended,) = directory.core.wait(Ended)
    assert isinstance(ended, Ended)
    assert ended.fault == "service"


@pytest.mark.parametrize("dn", [ELSEWHERE, "cn=unlisted,dc=example,dc=org"])
def test_from_another_network_nothing_passes_and_nobody_is_asked(directory: Rig, dn: str) -> None:
    directory.core.decide = pass_services
    legs = len(directory.ldap.connections)
    client = directory.tls("ldaps")
    client.send(bind_dn(dn, "its own password"))
    _, code, raw = answer(client)
    assert (code, b"Application-specific password required" in raw) == (49, True)
    assert directory.core.of(Ask) == []
    assert len(directory.ldap.connections) == legs


@pytest.mark.parametrize("kind", ["service", "plain"])
def test_a_core_that_answers_an_app_password_with_a_service_lets_nobody_in(directory: Rig, kind: str) -> None:
    def wrong(ask: Ask) -> FromCore:
        return Accept(ask.question, ask.session_id, 3, 7, 1, LoginSetting("service", "", CHAT, ""))

    directory.core.decide = wrong
    client = directory.tls("ldaps")
    client.send(bind("alice") if kind == "plain" else bind_dn(ELSEWHERE, RIGHT))
    assert answer(client)[1] == 52


def test_who_asks_for_everybody_is_not_held_up(make_rig: Callable[..., Rig]) -> None:
    """Prosody asks one after the other: a refusal that takes a second would stop it for all."""
    rig = make_rig(limits=LimitSetting(refusal_delay=30.0))
    client = rig.tls("ldaps")
    began = time.monotonic()
    client.send(bind("alice", "the account password"))
    assert answer(client)[1] == 49
    assert time.monotonic() - began < 15
