"""Dialogues of clients with the LDAP front."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.domain.login_names import canonical
from proxy.domain.verdicts import Shown
from proxy.wire.events import Attempt, AttemptRefused, BackendReady, Close, FrontSettings, Send, StartTls
from proxy.wire.ldap import front
from tests.support.transcript import BYTES, WHOLE, run_front
from tests.wire.ldap import requests as ldap

URL = "https://login.example.org"
BIND_FIRST = "Bind first"
ATTEMPT = "+ attempt login_name='alice@example.org' authzid='' secret='secret' mechanism='simple'"


CHAT = "cn=chat,ou=services,dc=example,dc=org"


def maker(
    *,
    starttls: bool = False,
    bind_names: bool = False,
    dn: str = f"uid={{local}},{ldap.PEOPLE}",
    services: tuple[str, ...] = (),
):
    return front.make(FrontSettings(URL, "", starttls, frozenset(), dn, ("example.org",), bind_names, services))


def started(*, tls: bool = True, **kinds):
    machine = maker(**kinds)()
    assert machine.connected(tls=tls) == []
    return machine


def says(dialogue: str, *, tls: bool = True, only: str | None = None, **kinds) -> None:
    run_front(maker(**kinds), f"> connect {'tls' if tls else 'clear'}\n" + dialogue, only=only)


def bound(message_id: int, code: int, text: str = "") -> bytes:
    return ldap.answer(message_id, 0x61, code, text)


def answers(request: bytes, response: bytes, *, tls: bool = True, **kinds) -> None:
    says(f"C= {request!r}\nS= {response!r}", tls=tls, **kinds)


def test_the_client_speaks_first():
    says("")


def test_bind_by_dn():
    says(f"""
        C= {ldap.BIND_ALICE!r}
        {ATTEMPT}
        > accept
        S= {ldap.BIND_DONE!r}
    """)


@pytest.mark.parametrize("name", [CHAT, CHAT.upper(), "cn=\\63hat, ou=services,dc=example,dc=org"])
def test_a_listed_service_is_known_by_its_dn(name):
    (attempt,) = started(services=("cn=wiki,dc=org", CHAT)).receive_data(ldap.bind(1, name, b"p\xe9\0ss"))
    assert attempt.service == CHAT
    assert attempt.credential.secret.reveal().encode("utf-8", "surrogateescape") == b"p\xe9\0ss"


@pytest.mark.parametrize("name", [ldap.ALICE, f"{CHAT},dc=x", f"ou=x,{CHAT}", "cn=chat", f"cn=chat+sn=x,{CHAT[8:]}"])
def test_no_other_name_is_a_services(name):
    (attempt,) = started(services=(CHAT,)).receive_data(ldap.bind(1, name))
    assert attempt.service == ""
    (attempt,) = started().receive_data(ldap.bind(1, CHAT))
    assert attempt.service == ""


def test_a_services_refusal_is_the_directorys():
    machine = started(services=(CHAT,))
    machine.receive_data(ldap.bind(7, CHAT) + ldap.extended(8, ldap.WHO_AM_I))
    theirs = ldap.tlv(0x61, ldap.number(49, 10), ldap.text(""), ldap.text("data 52e"))
    sent = machine.refuse(Shown.NOT_ACCEPTED, theirs)
    assert sent == [Send(ldap.message(7, theirs)), Send(ldap.answer(8, 0x78, 50, BIND_FIRST))]


@pytest.mark.parametrize("name", [f"UID=Alice , {ldap.PEOPLE.upper()}", f"uid=\\61lice,{ldap.PEOPLE}"])
def test_dns_are_compared_by_component(name):
    says(f"C= {ldap.bind(1, name)!r}\n{ATTEMPT}")


@pytest.mark.parametrize(
    "name", [f"cn=alice,{ldap.PEOPLE}", f"uid=a,uid=b,{ldap.PEOPLE}", f"0.9.2342.19200300.100.1.1=alice,{ldap.PEOPLE}"]
)
def test_a_dn_that_is_no_account_is_judged_by_its_secret(name):
    events = started().receive_data(ldap.bind(1, name))
    assert [event.login_name for event in events] == [name]


@pytest.mark.parametrize("bind_names", [False, True])
@pytest.mark.parametrize("name", ["CN=Alice Liddell", r"cn=Baker\2C Bob", f"cn={chr(0xFDFA) * 200}", r"cn=uid\3dx"])
def test_a_dn_of_which_no_login_name_is_made_may_be_a_stored_one(name, bind_names):
    machine = started(dn=f"cn={{local}},{ldap.PEOPLE}", bind_names=bind_names)
    (attempt,) = machine.receive_data(ldap.bind(1, f"{name},{ldap.PEOPLE}"))
    assert attempt.login_name == f"{name},{ldap.PEOPLE}"


@pytest.mark.parametrize("bind_names", [False, True])
def test_without_account_dn_they_all_may(bind_names):
    (attempt,) = started(dn="", bind_names=bind_names).receive_data(ldap.BIND_ALICE)
    assert attempt.login_name == ldap.ALICE
    answers(ldap.bind(1, "=alice"), bound(1, 34, "Malformed distinguished name"), dn="", bind_names=bind_names)


def test_login_names_instead_of_dns():
    (attempt,) = started(bind_names=True).receive_data(ldap.bind(1, "alice@example.org"))
    assert attempt.login_name == "alice@example.org"
    (attempt,) = started(bind_names=True).receive_data(ldap.BIND_ALICE)
    assert attempt.login_name == "alice@example.org"
    answers(ldap.bind(1, "alice@example.org"), bound(1, 34, "Malformed distinguished name"))


@pytest.mark.parametrize("name", ["alice", "uid=alice,", "uid=a\\zz", b"uid=\xff,dc=org", b"uid=a\0,dc=org", "=x"])
def test_malformed_dn(name):
    answers(ldap.bind(1, name), bound(1, 34, "Malformed distinguished name"))


def test_anonymous_and_without_password():
    answers(ldap.bind(1, "", ""), bound(1, 48, "Anonymous access is not available"))
    answers(ldap.bind(1, ldap.ALICE, ""), bound(1, 53, "A password is required"))
    answers(ldap.bind(1, "alice", ""), bound(1, 53, "A password is required"), bind_names=True)


def test_sasl_and_version_2():
    sasl = ldap.message(1, ldap.tlv(0x60, ldap.number(3), ldap.text(""), ldap.tlv(0xA3, ldap.text("PLAIN"))))
    answers(sasl, bound(1, 7, "Only simple authentication is available"))
    old = ldap.message(1, ldap.tlv(0x60, ldap.number(2), ldap.text(ldap.ALICE), ldap.text("secret", 0x80)))
    answers(old, bound(1, 2, "Only LDAP version 3 is available"))


def test_controls_of_a_bind():
    unknown = bound(1, 12, "A critical control is not available")
    answers(ldap.bind(1, ldap.ALICE, "secret", ldap.control(b"1.2.3", True)), unknown)
    answers(ldap.bind(1, ldap.ALICE, "secret", ldap.control(ldap.PROXIED, True, b"dn:cn=admin")), unknown)
    says(f"C= {ldap.bind(1, ldap.ALICE, 'secret', ldap.control(b'1.2.3', False, b'v'))!r}\n{ATTEMPT}")


REQUESTS = {
    "search": (ldap.search(7), 0x65),
    "root DSE": (ldap.message(7, ldap.SEARCH_ROOT[5:]), 0x65),
    "modify": (ldap.modify(7, ldap.change("cn", "x")), 0x67),
    "add": (ldap.add(7, ldap.attribute("cn", "x")), 0x69),
    "delete": (ldap.delete(7), 0x6B),
    "modify dn": (ldap.modify_dn(7, "cn=x"), 0x6D),
    "compare": (ldap.compare(7, "cn"), 0x6F),
    "whoami": (ldap.extended(7, ldap.WHO_AM_I), 0x78),
    "password modify": (ldap.extended(7, ldap.PASSWORD_MODIFY), 0x78),
}


@pytest.mark.parametrize(("request_", "tag"), REQUESTS.values(), ids=REQUESTS)
def test_nothing_goes_before_a_bind(request_, tag):
    answers(request_, ldap.answer(7, tag, 50, BIND_FIRST))
    answers(request_, ldap.answer(7, tag, 50, BIND_FIRST), tls=False, starttls=True)


def test_abandon_is_silent_and_unbind_closes():
    says(f"""
        C= {ldap.abandon(2, 1) + ldap.search(3)!r}
        S= {ldap.answer(3, 0x65, 50, BIND_FIRST)!r}
        C= {ldap.UNBIND!r}
        + close
    """)


# ---- StartTLS ------------------------------------------------------------------------------------


def test_start_tls():
    says(
        f"""
        C= {ldap.START_TLS_REQUEST!r}
        S= {ldap.START_TLS_DONE!r}
        + starttls
        > tls
        C= {ldap.BIND_ALICE!r}
        {ATTEMPT}
        > accept
        S= {ldap.BIND_DONE!r}
        """,
        tls=False,
        starttls=True,
    )


@pytest.mark.parametrize("behind", [b"\0", b"\x30", ldap.BIND_ALICE, ldap.UNBIND, ldap.START_TLS_REQUEST])
def test_bytes_behind_start_tls_close_without_a_word(behind):
    (event,) = started(tls=False, starttls=True).receive_data(ldap.START_TLS_REQUEST + behind)
    assert isinstance(event, Close)
    machine = started(tls=False, starttls=True)
    assert [type(event) for event in machine.receive_data(ldap.START_TLS_REQUEST)] == [Send, StartTls]
    (event,) = machine.receive_data(behind)
    assert isinstance(event, Close)
    assert machine.receive_data(ldap.BIND_ALICE) == []


def test_start_tls_where_there_is_none():
    request = ldap.extended(4, ldap.START_TLS)
    answers(request, ldap.answer(4, 0x78, 1, "TLS is already active"))
    answers(request, ldap.answer(4, 0x78, 2, "StartTLS is not available"), tls=False)
    machine = started(tls=False, starttls=True)
    machine.receive_data(request)
    machine.tls_started()
    assert machine.receive_data(request) == [Send(ldap.answer(4, 0x78, 1, "TLS is already active"))]


def test_bind_in_the_clear():
    says(
        f"""
        C= {ldap.BIND_ALICE!r}
        S= {bound(1, 13, "Use StartTLS first")!r}
        + refused tls_first simple
        C= {ldap.START_TLS_REQUEST!r}
        S= {ldap.START_TLS_DONE!r}
        + starttls
        """,
        tls=False,
        starttls=True,
    )


# ---- what ends the connection -------------------------------------------------------------------


DEAD = {
    "too long": bytes.fromhex("3082fffd"),
    "two gigabytes": bytes.fromhex("30847fffffff"),
    "indefinite": bytes.fromhex("3080"),
    "length of five octets": bytes.fromhex("3085"),
    "no message": b"GET",
    "truncated inner element": ldap.tlv(0x30, ldap.number(1), b"\x60\x20\x02\x01\x03"),
    "nothing in it": ldap.tlv(0x30),
    "message 0": ldap.search(0),
    "bind 0": ldap.bind(0),
    "negative": ldap.search(-1),
    "2^31": ldap.search(2**31),
    "high tag": ldap.message(1, b"\x7f\x20\x01x"),
    "a response": ldap.answer(1, 0x61, 0),
    "unknown operation": ldap.message(1, ldap.tlv(0x7E)),
    "bind of another class": ldap.message(1, ldap.tlv(0x40, ldap.number(3), ldap.text(""), ldap.text("x", 0x80))),
    "bytes behind the bind": ldap.message(
        1, ldap.tlv(0x60, ldap.number(3), ldap.text(""), ldap.text("x", 0x80), ldap.text("x"))
    ),
    "unknown credentials": ldap.message(1, ldap.tlv(0x60, ldap.number(3), ldap.text(""), ldap.text("x", 0x89))),
    "indefinite name": ldap.message(1, ldap.tlv(0x60, ldap.number(3), b"\x04\x80\0\0", ldap.text("x", 0x80))),
    "extended without a name": ldap.message(1, ldap.tlv(0x77)),
}


@pytest.mark.parametrize("data", DEAD.values(), ids=DEAD)
def test_what_is_no_request_ends_the_connection(data):
    events = started().receive_data(ldap.search(9) + data + ldap.BIND_ALICE)
    assert events[:2] == [Send(ldap.answer(9, 0x65, 50, BIND_FIRST)), Send(ldap.MALFORMED)]
    assert isinstance(events[2], Close)
    assert len(events) == 3
    says(f"C= {data!r}\nS= {ldap.MALFORMED!r}\n+ close", only=WHOLE)
    says(f"C= {data!r}\nS= {ldap.MALFORMED!r}\n+ close", only=BYTES)


def test_the_longest_message():
    name = "cn=" + "x" * (65536 - len(ldap.bind(1, "x" * 60000)) + 60000 - 3)
    assert len(ldap.bind(1, name)) == 65536
    (event,) = started().receive_data(ldap.bind(1, name))
    assert event.login_name == name[: front.MAX_NAME]
    assert canonical(event.login_name, "example.org") is None  # what was cut off is nobody's name
    (event,) = started(bind_names=True).receive_data(ldap.bind(1, "x" * 60000))
    assert event.login_name == "x" * front.MAX_NAME
    long = f"cn=alice{' ' * front.MAX_NAME},{ldap.PEOPLE}"
    (event,) = started().receive_data(ldap.bind(1, long))
    assert canonical(event.login_name, "example.org") is None


def test_time_is_over():
    name = ldap.text(b"1.3.6.1.4.1.1466.20036", 0x8A)
    says(f"""
        C= {ldap.BIND_ALICE[:20]!r}
        > timeout
        S= {ldap.answer(0, 0x78, 52, "Time to log in is over", name)!r}
        + close
        > timeout
    """)


def test_a_hundred_requests_are_enough():
    machine = started()
    events = machine.receive_data(ldap.search(1) * 50 + ldap.bind(1, "", "") * 50)
    assert len(events) == 100
    for one in (ldap.search(1), ldap.abandon(1, 1), ldap.bind(1, "", "")):
        machine = started()
        assert not any(isinstance(event, Close) for event in machine.receive_data(one * 100))
        *_, send, close = machine.receive_data(one)
        assert b"Too many requests" in send.data
        assert isinstance(close, Close)


def test_a_flood_of_binds_in_the_clear_ends():
    events = started(tls=False, starttls=True).receive_data(ldap.BIND_ALICE * 1000)
    assert sum(isinstance(event, Send) for event in events) == 101
    assert any(isinstance(event, Close) for event in events)


def test_refused_binds_are_not_counted_here():
    machine = started()
    for number in range(1, 300):
        (attempt,) = machine.receive_data(ldap.bind(number))
        assert isinstance(attempt, Attempt)
        assert machine.refuse(Shown.NOT_ACCEPTED) == [Send(bound(number, 49, f"App password not accepted: {URL}"))]


# ---- a Bind that is pending --------------------------------------------------------------------


@pytest.mark.parametrize("shown", Shown)
def test_refused_and_once_more(shown):
    code, text = {
        Shown.NOT_APP_PASSWORD: (49, f"Application-specific password required: {URL}"),
        Shown.NOT_ACCEPTED: (49, f"App password not accepted: {URL}"),
        Shown.UNAVAILABLE: (52, "Temporary authentication failure"),
        Shown.LIMITED: (51, "Too many attempts, try again later"),
        Shown.TLS_FIRST: (13, "Use StartTLS first"),
    }[shown]
    says(f"""
        C= {ldap.BIND_ALICE!r}
        {ATTEMPT}
        > refuse {shown}
        S= {bound(1, code, text)!r}
        C= {ldap.bind(2)!r}
        {ATTEMPT}
        > accept
        S= {bound(2, 0)!r}
    """)


def test_what_follows_a_bind_waits():
    machine = started()
    behind = ldap.search(2) + ldap.bind(3, ldap.ALICE, "other") + ldap.search(4) + b"\x30"
    (attempt,) = machine.receive_data(ldap.BIND_ALICE + behind[:9])
    assert isinstance(attempt, Attempt)
    assert machine.receive_data(behind[9:]) == []
    refused, search, attempt = machine.refuse(Shown.UNAVAILABLE)
    assert refused == Send(bound(1, 52, "Temporary authentication failure"))
    assert search == Send(ldap.answer(2, 0x65, 50, BIND_FIRST))
    assert attempt.credential.secret.reveal() == "other"
    assert machine.accept(BackendReady(b"")) == [Send(bound(3, 0))]
    assert machine.trailing_data() == ldap.search(4) + b"\x30"
    assert machine.receive_data(ldap.BIND_ALICE) == []


def test_rubbish_behind_a_bind_waits_too():
    machine = started()
    assert len(machine.receive_data(ldap.BIND_ALICE + b"GET")) == 1
    _, notice, close = machine.refuse(Shown.NOT_ACCEPTED)
    assert (notice, type(close)) == (Send(ldap.MALFORMED), Close)


def test_a_verdict_without_a_bind_says_nothing():
    machine = started()
    assert machine.refuse(Shown.NOT_ACCEPTED) == []
    assert machine.accept(BackendReady(b"")) == []


def test_nothing_a_client_sent_is_repeated():
    marker = "zq-marker-zq"
    machine = started()
    events = machine.receive_data(
        ldap.bind(1, marker)
        + ldap.bind(1, f"cn={marker}", "")
        + ldap.extended(2, marker.encode())
        + ldap.bind(3, f"cn={marker}", marker)
    )
    events += machine.refuse(Shown.NOT_ACCEPTED) + machine.receive_data(b"GET " + marker.encode())
    sent = b"".join(event.data for event in events if isinstance(event, Send))
    closed = "".join(event.why for event in events if isinstance(event, Close))
    assert len(sent) > 100
    assert marker.encode() not in sent
    assert marker not in closed


# ---- any cut, any bytes --------------------------------------------------------------------------


def play(pieces: list[bytes]) -> tuple[bytes, list[type]]:
    """What is sent and asked for; each Bind is refused when it comes."""
    machine = started(tls=True)
    sent, kinds = b"", []
    for piece in pieces:
        events = machine.receive_data(piece)
        while events:
            sent += b"".join(event.data for event in events if isinstance(event, Send))
            kinds += [type(event) for event in events if not isinstance(event, Send)]
            events = machine.refuse(Shown.NOT_ACCEPTED)
    return sent, kinds


SPOKEN = st.sampled_from(
    [
        ldap.BIND_ALICE,
        ldap.SEARCH_ROOT,
        ldap.START_TLS_REQUEST,
        ldap.abandon(2, 1),
        ldap.bind(4, "", ""),
        ldap.bind(5, "nonsense"),
        *(request for request, _ in REQUESTS.values()),
        ldap.UNBIND,
        b"\x30\x80",
    ]
)


@given(st.lists(SPOKEN, max_size=8), st.data())
def test_cuts_make_no_difference(messages, data):
    whole = b"".join(messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=10)))
    edges = [0, *cuts, len(whole)]
    pieces = [whole[start:end] for start, end in pairwise(edges)]
    assert play(pieces) == play([whole])
    assert play([whole[at : at + 1] for at in range(len(whole))]) == play([whole])


@settings(max_examples=300)
@given(
    st.one_of(
        st.binary(max_size=80),
        st.binary(max_size=40).map(lambda inside: ldap.tlv(0x30, inside)),
        st.binary(max_size=40).map(lambda inside: ldap.message(1, ldap.tlv(0x60, inside))),
    )
)
def test_any_bytes_end_in_events(data):
    for tls in (True, False):
        for event in started(tls=tls, starttls=True).receive_data(data):
            assert isinstance(event, Send | Close | Attempt | AttemptRefused | StartTls)
