"""Dialogues of clients with the SMTP front."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.verdicts import Shown
from proxy.wire.events import Attempt, BackendReady, Close, FrontSettings, Send
from proxy.wire.smtp import front
from tests.support.transcript import BYTES, WHOLE, run_front

OFFERS = frozenset(
    {
        "SIZE 10240000",
        "PIPELINING",
        "8BITMIME",
        "AUTH LOGIN",
        "STARTTLS",
        "XCLIENT ADDR LOGIN",
        "XFORWARD ADDR",
        "BURL IMAP",
    }
)
URL = "https://login.example.org"


def maker(*, starttls: bool = False, offers: frozenset[str] = frozenset()):
    return front.make(FrontSettings(URL, "mx.example.org", starttls, offers))


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


ALICE = b64("\0alice\0secret")
ATTEMPT = "+ attempt login_name='alice' authzid='' secret='secret' mechanism='PLAIN'"
HELLO = """
    > connect tls
    S: 220 mx.example.org ESMTP
    C: EHLO [127.0.0.1]
    S: 250-mx.example.org
    S: 250 AUTH PLAIN LOGIN
"""


def says(dialogue: str, *, tls: bool = True, only: str | None = None) -> None:
    """A dialogue behind TLS and EHLO."""
    run_front(maker(starttls=not tls), HELLO + dialogue if tls else dialogue, held=False, only=only)


def feed(data: bytes, *, tls: bool = True, starttls: bool = False):
    machine = maker(starttls=starttls)()
    return machine.connected(tls=tls) + machine.receive_data(data)


def test_offers_are_what_the_backend_has_and_we_let_pass():
    run_front(
        maker(starttls=True, offers=OFFERS),
        """
        > connect clear
        S: 220 mx.example.org ESMTP
        C: ehlo client.example
        S: 250-mx.example.org
        S: 250-8BITMIME
        S: 250-PIPELINING
        S: 250-SIZE 10240000
        S: 250 STARTTLS
        C: STARTTLS
        S: 220 2.0.0 Ready to start TLS
        + starttls
        > tls
        C: EHLO client.example
        S: 250-mx.example.org
        S: 250-8BITMIME
        S: 250-PIPELINING
        S: 250-SIZE 10240000
        S: 250 AUTH PLAIN LOGIN
        C: HELO client.example
        S: 250 mx.example.org
        """,
    )


@pytest.mark.parametrize("auth", ["AUTH PLAIN", "auth plain", "Auth Plain"])
def test_plain_with_initial_response(auth):
    says(f"""
        C: {auth} {ALICE}
        {ATTEMPT}
        > accept 235 2.7.0 Authentication successful
        S: 235 2.7.0 Authentication successful
    """)


def test_plain_without_initial_response():
    says(f"""
        C: AUTH PLAIN
        S= b"334 \\r\\n"
        C: {ALICE}
        {ATTEMPT}
        > accept 235 2.7.0 Authentication successful
        S: 235 2.7.0 Authentication successful
    """)


@pytest.mark.parametrize(
    "start", ["C: AUTH LOGIN\n        S: 334 VXNlcm5hbWU6\n        C: YWxpY2U=", "C: AUTH login YWxpY2U="]
)
def test_login_with_and_without_initial_response(start):
    says(f"""
        {start}
        S: 334 UGFzc3dvcmQ6
        C: c2VjcmV0
        {ATTEMPT.replace("PLAIN", "LOGIN")}
        > refuse not_app_password
        S: 534 5.7.9 Application-specific password required: https://login.example.org
        C: NOOP
        S: 250 2.0.0 OK
    """)


def test_authzid_is_passed_to_who_decides():
    says(f"""
        C: AUTH PLAIN {b64(chr(0).join(["admin", "alice", "secret"]))}
        + attempt login_name='alice' authzid='admin' secret='secret' mechanism='PLAIN'
    """)


@pytest.mark.parametrize(
    ("shown", "reply"),
    [
        ("not_app_password", "534 5.7.9 Application-specific password required: https://login.example.org"),
        ("not_accepted", "535 5.7.8 App password not accepted: https://login.example.org"),
        ("unavailable", "454 4.7.0 Temporary authentication failure"),
        ("limited", "454 4.7.0 Too many attempts, try again later"),
    ],
)
def test_refused_clients_may_try_again(shown, reply):
    says(f"""
        C: AUTH PLAIN {ALICE}
        {ATTEMPT}
        > refuse {shown}
        S: {reply}
        C: AUTH LOGIN YWxpY2U=
        S: 334 UGFzc3dvcmQ6
        C: c2VjcmV0
        {ATTEMPT.replace("PLAIN", "LOGIN")}
    """)


def test_cancel_and_rubbish_in_auth():
    says("""
        C: AUTH PLAIN
        S= b"334 \\r\\n"
        C: *
        S: 501 5.7.0 Authentication cancelled
        C: AUTH LOGIN
        S: 334 VXNlcm5hbWU6
        C: not base64!
        S: 501 5.5.2 Cannot decode response
        + refused not_app_password LOGIN
        C: AUTH PLAIN YWxpY2U
        S: 501 5.5.2 Cannot decode response
        + refused not_app_password PLAIN
        C: AUTH GSSAPI
        S: 504 5.5.4 Unrecognized authentication type
        C: AUTH
        S: 501 5.5.4 Syntax: AUTH mechanism [initial-response]
        C: AUTH PLAIN a b
        S: 501 5.5.4 Syntax: AUTH mechanism [initial-response]
        C: NOOP
        S: 250 2.0.0 OK
    """)


@pytest.mark.parametrize("response", ["=", b64("alice"), b64("\0alice"), b64("\0a\0b\0c"), b64("\0alice\0p\nq")])
def test_unreadable_plain_is_an_attempt_without_name_or_secret(response):
    machine = maker()()
    machine.connected(tls=True)
    [_, attempt] = machine.receive_data(b"EHLO x\r\nAUTH PLAIN " + response.encode() + b"\r\n")
    assert isinstance(attempt, Attempt)
    assert attempt.credential.secret.reveal() == ""


def test_before_tls_there_is_nothing_but_starttls():
    says(
        f"""
        > connect clear
        S: 220 mx.example.org ESMTP
        C: EHLO x
        S: 250-mx.example.org
        S: 250 STARTTLS
        C: AUTH PLAIN {ALICE}
        S: 530 5.7.0 Must issue a STARTTLS command first
        + refused tls_first PLAIN
        C: AUTH \x7fWHATEVER
        S: 530 5.7.0 Must issue a STARTTLS command first
        + refused tls_first ?
        C: MAIL FROM:<a@example.org>
        S: 530 5.7.0 Must issue a STARTTLS command first
        C: STARTTLS now
        S: 501 5.5.4 Syntax: STARTTLS
        """,
        tls=False,
    )


def test_state_is_forgotten_at_starttls():
    says(
        f"""
        > connect clear
        S: 220 mx.example.org ESMTP
        C: EHLO x
        S: 250-mx.example.org
        S: 250 STARTTLS
        C: STARTTLS
        S: 220 2.0.0 Ready to start TLS
        + starttls
        > tls
        C: MAIL FROM:<a@example.org>
        S: 503 5.5.1 Send EHLO first
        C: AUTH PLAIN {ALICE}
        S: 503 5.5.1 Send EHLO first
        C: STARTTLS
        S: 503 5.5.1 TLS is already active
        """,
        tls=False,
    )


@pytest.mark.parametrize("behind", [b"N", b"NOOP\r\n", b"\r\n", b"\0", b"\x16\x03\x01", b"EHLO x\r\nAUTH PLAIN x\r\n"])
def test_anything_behind_starttls_closes(behind):
    assert feed(b"EHLO x\r\nSTARTTLS\r\n" + behind, tls=False, starttls=True)[2:] == [
        Send(b"554 5.5.0 Nothing may follow STARTTLS before TLS\r\n"),
        Close("bytes behind STARTTLS"),
    ]


def test_speaking_between_starttls_and_tls_closes():
    machine = maker(starttls=True)()
    machine.connected(tls=False)
    machine.receive_data(b"STARTTLS\r\n")
    assert machine.receive_data(b"N")[-1] == Close("bytes ahead of our reply")
    assert machine.receive_data(b"NOOP\r\n") == []


@pytest.mark.parametrize("behind", [b"M", b"MAIL FROM:<a@example.org>\r\n", b"\r\n"])
def test_anything_behind_auth_closes(behind):
    expected = [Send(b"503 5.5.0 Nothing may follow AUTH before its reply\r\n")]
    together = feed(b"EHLO x\r\nAUTH PLAIN " + ALICE.encode() + b"\r\n" + behind)
    assert together[2:] == [*expected, Close("bytes behind AUTH")]
    machine = maker()()
    machine.connected(tls=True)
    machine.receive_data(b"EHLO x\r\nAUTH PLAIN " + ALICE.encode() + b"\r\n")
    assert machine.receive_data(behind) == [*expected, Close("bytes ahead of our reply")]
    assert machine.refuse(Shown.NOT_ACCEPTED) == []
    assert machine.accept(BackendReady(b"235 ok")) == []


def test_what_may_be_said_before_login():
    says("""
        C: NOOP
        S: 250 2.0.0 OK
        C: rset
        S: 250 2.0.0 OK
        C: HELP
        S: 214 2.0.0 See https://login.example.org
        C: VRFY root
        S: 252 2.0.0 Cannot verify before delivery
        C: MAIL FROM:<a@example.org>
        S: 530 5.7.0 Authentication required
        C: XCLIENT ADDR=127.0.0.1 LOGIN=admin
        S: 530 5.7.0 Authentication required
        C: BDAT 5 LAST
        S: 530 5.7.0 Authentication required
        C: wat
        S: 530 5.7.0 Authentication required
        C: EHLO
        S: 501 5.5.4 Syntax: EHLO hostname
        C: QUIT
        S: 221 2.0.0 Bye
        + close
    """)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"NOOP\n", b"550 5.5.2 Bare <LF> is not accepted\r\n"),
        (b"\n", b"550 5.5.2 Bare <LF> is not accepted\r\n"),
        (b"NOOP\rQUIT\r\n", b"550 5.5.2 Bare <CR> or <NUL> is not accepted\r\n"),
        (b"NOOP\r\r\n", b"550 5.5.2 Bare <CR> or <NUL> is not accepted\r\n"),
        (b"NO\0OP\r\n", b"550 5.5.2 Bare <CR> or <NUL> is not accepted\r\n"),
        (b"GET / HTTP/1.1\r\n", b"421 4.7.0 This is an SMTP server\r\n"),
        (b"post / HTTP/1.1\r\n", b"421 4.7.0 This is an SMTP server\r\n"),
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 1 2\r\n", b"421 4.7.0 This is an SMTP server\r\n"),
        (b"\r\n\r\n\0\r\nQUIT\n", b"550 5.5.2 Bare <CR> or <NUL> is not accepted\r\n"),
        (b"x" * 8193, b"500 5.5.2 Line too long\r\n"),
        (b"AUTH PLAIN " + b"A" * 12288, b"500 5.5.6 Authentication exchange line is too long\r\n"),
    ],
)
def test_lines_that_close(line, reply):
    happened = feed(line)
    assert happened[-2] == Send(reply)
    assert isinstance(happened[-1], Close)


def test_longest_lines():
    assert feed(b"NOOP " + b"x" * 8187 + b"\r\n")[-1] == Send(b"250 2.0.0 OK\r\n")
    longest = b"AUTH PLAIN " + b"A" * 12276 + b"\r\n"
    assert isinstance(feed(b"EHLO x\r\n" + longest)[-1], Attempt)
    machine = maker()()
    machine.connected(tls=True)
    machine.receive_data(b"EHLO x\r\nAUTH PLAIN\r\n")
    assert machine.receive_data(b"A" * 12288) == []
    assert isinstance(machine.receive_data(b"A")[-1], Close)


def test_a_flood_of_commands_is_cut_short():
    happened = feed(b"\r\n" * 100_000)
    assert len(happened) == 103
    assert happened[-2:] == [
        Send(b"421 4.7.0 Too many commands before login\r\n"),
        Close("too many commands before login"),
    ]


def test_time_is_over():
    machine = maker()()
    machine.connected(tls=True)
    assert machine.timed_out() == [Send(b"421 4.7.0 Time to log in is over\r\n"), Close("not logged in in time")]
    assert machine.timed_out() == []


def test_program_is_the_ehlo_argument_made_safe():
    machine = maker()()
    machine.connected(tls=True)
    machine.receive_data(b'EHLO thunder<"\x1b\xff>bird\r\n')
    assert machine.program == "thunderbird"
    machine.receive_data(b"HELO [192.0.2.7]\r\n")
    assert machine.program == "[192.0.2.7]"


def test_pass_on_is_said_as_it_is():
    machine = maker()()
    machine.connected(tls=True)
    machine.receive_data(b"EHLO x\r\nAUTH PLAIN " + ALICE.encode() + b"\r\n")
    assert machine.refuse(Shown.UNAVAILABLE, b"454 4.3.0 Busy") == [Send(b"454 4.3.0 Busy\r\n")]


@pytest.mark.parametrize("mode", [WHOLE, BYTES])
def test_response_may_follow_auth_at_once(mode):
    """Behind TLS a client that does not wait for the 334 gains nothing."""
    says(
        f"""
        C: AUTH PLAIN
        C: {ALICE}
        S= b"334 \\r\\n"
        {ATTEMPT}
        """,
        only=mode,
    )


WORDS = [
    b"EHLO x\r\n",
    b"AUTH PLAIN\r\n",
    b"AUTH LOGIN ",
    b"STARTTLS\r\n",
    b"*\r\n",
    b"=\r\n",
    ALICE.encode(),
    b"\r\n",
    b"\n",
    b"QUIT\r\n",
]


@given(st.lists(st.sampled_from(WORDS) | st.binary(max_size=20), max_size=12), st.booleans())
def test_never_raises_never_echoes_always_ends_in_close(pieces, tls):
    machine = maker(starttls=not tls)()
    machine.connected(tls=tls)
    closed = False
    for piece in pieces:
        for event in machine.receive_data(piece):
            assert not closed
            closed = isinstance(event, Close)
            if isinstance(event, Send):
                assert event.data[:3].isdigit()
                assert event.data.endswith(b"\r\n")
                assert ALICE.encode() not in event.data
            if isinstance(event, Attempt):
                machine.refuse(Shown.NOT_ACCEPTED)
