"""Between a bound client and its backend."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.backend_login import ProxiedLogin, ServiceLogin, XclientLogin
from proxy.domain.secret import Secret
from proxy.wire.events import BackendReady, Close, CloseBackend, LogInAgain, ToBackend, ToClient
from proxy.wire.ldap import relay as relay_module
from proxy.wire.ldap import replies
from proxy.wire.ldap.relay import LdapRelay
from tests.wire.ldap import requests as ldap
from tests.wire.ldap.test_inspection import HIDDEN

IDENTITY = f"dn:{ldap.ALICE}".encode()
OURS = ldap.control(ldap.PROXIED, True, IDENTITY)
OURS_LITERAL = bytes.fromhex("3047 0418 322e31362e3834302e312e3131333733302e332e342e3138 0101ff 0428") + IDENTITY
"""RFC 4370: a critical control with the authzId, bare, as its value."""


def relay() -> LdapRelay:
    return LdapRelay(BackendReady(b"", login=ProxiedLogin("cn=s", Secret("pw"), IDENTITY.decode())))


def to_backend(events) -> bytes:
    return b"".join(bytes(event.data) for event in events if isinstance(event, ToBackend))


def to_client(events) -> bytes:
    return b"".join(bytes(event.data) for event in events if isinstance(event, ToClient))


def kinds(events) -> list[type]:
    return [type(event) for event in events]


def test_an_identity_is_never_empty():
    with pytest.raises(ValueError, match="anonymous"):
        LdapRelay(BackendReady(b"", login=ProxiedLogin("cn=s", Secret("pw"), "")))


@pytest.mark.parametrize("login", [None, XclientLogin("alice")])
def test_no_other_login_has_rights(login):
    with pytest.raises(ValueError, match="not a directory's login"):
        LdapRelay(BackendReady(b"", login=login))


def service() -> LdapRelay:
    return LdapRelay(BackendReady(b"", login=ServiceLogin("cn=chat", Secret("pw"))))


READS = ("search", "compare", "whoami")


@pytest.mark.parametrize("name", READS)
def test_a_services_reading_goes_as_it_is(name):
    request = PLAIN[name](ldap.control(ldap.PAGED, True, b"v"))
    assert service().client_data(request) == [ToBackend(request)]
    assert service().client_data(ldap.abandon(8, 7)) == [ToBackend(ldap.abandon(8, 7))]


@pytest.mark.parametrize("name", ["modify", "add", "delete", "modify dn", "cancel"])
def test_a_service_changes_nothing(name):
    events = service().client_data(PLAIN[name]())
    assert kinds(events) == [ToClient]
    assert b"Only searching and comparing is available here" in to_client(events)


def test_a_service_speaks_for_nobody():
    events = service().client_data(ldap.search(7, None, ldap.control(ldap.PROXIED, True, IDENTITY)))
    assert to_backend(events) == b""
    assert ldap.answer(7, 0x65, 12, "Proxied authorization is not available") == to_client(events)
    guarded = service().client_data(ldap.compare(7, "userPassword"))
    assert (to_backend(guarded), kinds(guarded)) == (b"", [ToClient])


def test_a_search_gets_the_control():
    assert OURS == OURS_LITERAL
    assert relay().client_data(ldap.SEARCH_ROOT) == [
        ToBackend(bytes.fromhex("3070") + ldap.SEARCH_ROOT[2:] + bytes.fromhex("a049") + OURS_LITERAL)
    ]


PLAIN = {
    "search": lambda *controls: ldap.search(7, None, *controls),
    "modify": lambda *controls: ldap.message(7, ldap.modify(7, ldap.change("cn", "x"))[5:], *controls),
    "add": lambda *controls: ldap.message(7, ldap.add(7, ldap.attribute("cn", "x"))[5:], *controls),
    "delete": lambda *controls: ldap.message(7, ldap.delete(7)[5:], *controls),
    "modify dn": lambda *controls: ldap.message(7, ldap.modify_dn(7, "cn=x")[5:], *controls),
    "compare": lambda *controls: ldap.message(7, ldap.compare(7, "cn")[5:], *controls),
    "whoami": lambda *controls: ldap.extended(7, ldap.WHO_AM_I, None, *controls),
    "cancel": lambda *controls: ldap.extended(7, ldap.CANCEL, b"\x30\x03\x02\x01\x01", *controls),
}


@pytest.mark.parametrize("make", PLAIN.values(), ids=PLAIN)
def test_every_operation_gets_it(make):
    assert relay().client_data(make()) == [ToBackend(make(OURS))]
    own = (ldap.control(ldap.PAGED, True, b"v"), ldap.control(b"1.2.3"))
    assert relay().client_data(make(*own)) == [ToBackend(make(OURS, *own))]


def test_abandon_goes_without():
    assert relay().client_data(ldap.abandon(8, 7)) == [ToBackend(ldap.abandon(8, 7))]
    named = ldap.abandon(8, 7, ldap.control(ldap.PROXIED, True, b"dn:cn=admin"))
    assert relay().client_data(named) == []


def test_unbind_closes_both():
    machine = relay()
    events = machine.client_data(ldap.search(2) + ldap.UNBIND + ldap.search(3))
    assert kinds(events) == [ToBackend, CloseBackend, Close]
    assert to_backend(events) == ldap.search(2, None, OURS)
    assert machine.client_data(ldap.search(3)) == machine.backend_data(ldap.entry(2)) == []


@pytest.mark.parametrize(
    ("request_", "tag", "code"),
    [
        (ldap.search(7, None, ldap.control(ldap.PROXIED, True, b"dn:cn=admin")), 0x65, 12),
        (ldap.search(7, None, ldap.control(ldap.PROXIED, False, b"dn:cn=admin")), 0x65, 2),
        (ldap.search(7, None, ldap.control(ldap.PROXIED_V1, True, b"")), 0x65, 12),
        (ldap.extended(7, ldap.START_TLS), 0x78, 1),
        (ldap.extended(7, ldap.PASSWORD_MODIFY), 0x78, 53),
        (ldap.extended(7, b"1.2.3"), 0x78, 2),
        (ldap.modify(7, ldap.change("userPassword", "x")), 0x67, 53),
        (ldap.compare(7, "userPassword"), 0x6F, 53),
        (ldap.add(7, ldap.attribute("userPassword", "x")), 0x69, 53),
        (ldap.modify_dn(7, "userPassword=x"), 0x6D, 53),
        (ldap.search(7, ldap.equal("userPassword")), 0x65, 53),
    ],
)
def test_what_is_answered_here(request_, tag, code):
    events = relay().client_data(ldap.search(1) + request_ + ldap.search(2))
    assert to_backend(events) == ldap.search(1, None, OURS) + ldap.search(2, None, OURS)
    (answer,) = [event.data for event in events if isinstance(event, ToClient)]
    text = answer[answer.index(b"\x04\0\x04") + 4 :].decode()
    assert answer == ldap.answer(7, tag, code, text)


# ---- another Bind -------------------------------------------------------------------------------


def test_another_bind_ends_the_session():
    machine = relay()
    again = ldap.BIND_ALICE + ldap.search(9) + b"\x30"
    events = machine.client_data(ldap.search(2) + ldap.compare(3, "userPassword") + again)
    assert kinds(events) == [ToBackend, ToClient, CloseBackend, LogInAgain]
    assert to_backend(events) == ldap.search(2, None, OURS)
    assert events[-1] == LogInAgain(again)
    assert machine.client_data(ldap.search(3)) == machine.backend_data(ldap.entry(2)) == []


@pytest.mark.parametrize("bind", [ldap.bind(1, "", ""), ldap.bind(1, "x", "x"), ldap.message(1, ldap.tlv(0x60))])
def test_whatever_the_bind(bind):
    for cut in range(len(bind)):
        machine = relay()
        events = machine.client_data(bind[:cut]) + machine.client_data(bind[cut:])
        assert kinds(events) == [CloseBackend, LogInAgain]
        assert events[-1] == LogInAgain(bind)


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_another_bind_in_the_middle_of_an_answer(cut):
    machine = relay()
    machine.backend_data(ldap.entry(2)[:cut])
    assert machine.in_message
    assert kinds(machine.client_data(ldap.search(2) + ldap.BIND_ALICE)) == [CloseBackend, Close]


# ---- what is no LDAP ----------------------------------------------------------------------------

DEAD = {
    "too long": bytes.fromhex("3084000ffffb"),
    "two gigabytes": bytes.fromhex("30847fffffff"),
    "indefinite": bytes.fromhex("3080"),
    "no message": b"GET /",
    "a response": ldap.answer(1, 0x61, 0),
    "message 0": ldap.search(0),
    "bind 0, of another class": ldap.message(1, ldap.tlv(0x40)),
    "unbind with contents in another form": ldap.message(1, ldap.tlv(0x62)),
    "high tag": ldap.message(1, b"\x7f\x20\x01x"),
    "deep filter": ldap.search(1, ldap.tlv(0xA0, *[ldap.tlv(0x83)])),
    **HIDDEN,
}


@pytest.mark.parametrize("data", DEAD.values(), ids=DEAD)
def test_what_is_no_request_ends_the_session(data):
    events = relay().client_data(data)
    assert kinds(events) == [CloseBackend, ToClient, Close]
    assert to_client(events) == ldap.MALFORMED
    machine = relay()
    events = [event for at in range(len(data)) for event in machine.client_data(data[at : at + 1])]
    assert (kinds(events), to_client(events)) == ([CloseBackend, ToClient, Close], ldap.MALFORMED)
    assert machine.client_data(ldap.search(1)) == machine.backend_data(ldap.entry(1)) == []
    machine = relay()
    machine.backend_data(ldap.entry(2)[:20])
    assert kinds(machine.client_data(data)) == [CloseBackend, Close]


def test_the_longest_request():
    value = "x" * (1024 * 1024 - len(ldap.compare(1, "cn", "x" * 1000000)) + 1000000)
    assert len(ldap.compare(1, "cn", value)) == relay_module.MAX_PDU
    assert len(to_backend(relay().client_data(ldap.compare(1, "cn", value)))) > relay_module.MAX_PDU
    assert kinds(relay().client_data(ldap.compare(1, "cn", value + "x")[:6])) == [CloseBackend, ToClient, Close]


@pytest.mark.parametrize("rubbish", [b"220 mx\r\n", bytes.fromhex("3080"), bytes.fromhex("3085"), b"\0"])
@pytest.mark.parametrize("before", [b"", ldap.entry(2)])
def test_rubbish_from_the_backend(before, rubbish):
    machine = relay()
    assert kinds(machine.backend_data(before + rubbish)) == [CloseBackend, Close]
    assert machine.client_data(ldap.search(1)) == []
    machine = relay()
    events = [event for byte in before + rubbish for event in machine.backend_data(bytes((byte,)))]
    assert kinds(events)[-2:] == [CloseBackend, Close]


# ---- any cut ------------------------------------------------------------------------------------


def pieces(whole: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(whole) + 1) for cut in cuts), len(whole)]
    return [whole[start:end] for start, end in pairwise(edges)]


REQUESTS = st.sampled_from(
    [
        *(make() for make in PLAIN.values()),
        ldap.search(9, None, ldap.control(ldap.PAGED, True, b"v")),
        ldap.compare(9, "userPassword"),
        ldap.extended(9, b"1.2.3"),
        ldap.abandon(9, 8),
        ldap.compare(9, "cn", "x" * 300),
        ldap.tlv(0x30, ldap.search(9)[2:], octets=4),
        ldap.BIND_ALICE,
        ldap.UNBIND,
        b"\x30\x80",
    ]
)
CUTS = st.lists(st.integers(0, 10000), max_size=12)


@given(st.lists(REQUESTS, max_size=8), CUTS)
def test_cut_requests(requests, cuts):
    whole = b"".join(requests)
    at_once = relay().client_data(whole)
    for parts in (pieces(whole, cuts), [bytes((byte,)) for byte in whole]):
        machine = relay()
        again = b""
        events = []
        for part in parts:
            now = machine.client_data(memoryview(part))
            if events and isinstance(events[-1], LogInAgain):
                assert now == []
                again += part  # which the front gets
            events += now
        if b"\x30\x80" not in requests:  # else what came before it in one piece is not sent
            assert to_backend(events) == to_backend(at_once)
            assert to_client(events) == to_client(at_once)
        assert [event for event in kinds(events) if event not in (ToBackend, ToClient)] == [
            event for event in kinds(at_once) if event not in (ToBackend, ToClient)
        ]
        if at_once and isinstance(at_once[-1], LogInAgain):
            assert events[-1].data + again == at_once[-1].data


ANSWERS = st.sampled_from(
    [
        ldap.entry(2, 5),
        ldap.entry(2, 400),
        ldap.answer(2, 0x65, 0),
        ldap.tlv(0x30, ldap.answer(2, 0x65, 0)[2:], octets=4),
        ldap.tlv(0x30),
    ]
)
REFUSED = ldap.compare(9, "userPassword")
REFUSAL = ldap.answer(9, 0x6F, *replies.NO_PASSWORDS)


@given(st.lists(ANSWERS, min_size=1, max_size=6), CUTS, st.data())
def test_cut_answers_and_a_word_of_ours(answers, cuts, data):
    """A refusal that is due anywhere in the backend's stream stands between two messages of it, as soon as may be."""
    machine = relay()
    whole = b"".join(answers)
    parts = pieces(whole, cuts)
    due = data.draw(st.integers(0, len(parts)))
    heard, passed = b"", 0
    for number, part in enumerate([*parts, b""]):
        if number == due:
            heard += to_client(machine.client_data(REFUSED))
            assert machine.in_message or heard.endswith(REFUSAL)
        heard += to_client(machine.backend_data(memoryview(part)))
        passed += len(part)
    ends = [sum(map(len, answers[:count])) for count in range(len(answers) + 1)]
    before = sum(map(len, parts[:due]))
    assert not machine.in_message
    assert heard.count(REFUSAL) == 1
    at = heard.index(REFUSAL)
    assert heard[:at] + heard[at + len(REFUSAL) :] == whole
    assert at in ends
    assert at >= before


def test_answers_of_any_size_stream():
    machine = relay()
    header = bytes.fromhex("30847ffffff0")
    assert machine.backend_data(header + b"x" * 1000) == [ToClient(header + b"x" * 1000)]
    assert machine.backend_data(b"y") == [ToClient(b"y")]
    assert machine.in_message


# ---- bounds -------------------------------------------------------------------------------------


def test_a_client_that_is_only_refused_is_held():
    machine = relay()
    machine.backend_data(ldap.entry(2)[:-1])
    count = 0
    while not machine.hold_client:
        assert machine.client_data(REFUSED) == []
        count += 1
    assert (count - 1) * len(REFUSAL) <= relay_module.MAX_QUEUED < count * len(REFUSAL)
    assert machine.backend_data(b"") in ([], [ToClient(b"")])
    assert machine.hold_client
    events = machine.backend_data(ldap.entry(2)[-1:] + ldap.entry(3)[:1])
    assert to_client(events) == ldap.entry(2)[-1:] + REFUSAL * count + ldap.entry(3)[:1]
    assert not machine.hold_client
    assert machine.in_message


def test_without_an_answer_under_way_nobody_is_held():
    machine = relay()
    assert to_client(machine.client_data(REFUSED * 5000)) == REFUSAL * 5000
    assert not machine.hold_client
