"""Dialogues of the backend machine with servers; the real Postfix's words where it has some."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.backend_login import BearerLogin, PlainLogin, XclientLogin
from proxy.domain.model import ClientInfo
from proxy.domain.secret import Secret
from proxy.wire.events import BackendReady, BackendRefused, Fault, Offers, Send
from proxy.wire.smtp.backend import login_machine, probe_machine
from tests.support import transcript
from tests.support.transcript import BYTES, WHOLE


def run_backend(make, dialogue):
    """Whole and byte by byte. A server that says anything ahead of its turn is refused: that has a test of its own."""
    for mode in (WHOLE, BYTES):
        transcript.run_backend(make, dialogue, only=mode)


def client(address="203.0.113.9", port=5555, program="lab"):
    return ClientInfo(address, port, "192.0.2.1", 465, "TLSv1.3", program)


def logging_in(login, who=None, *, starttls=False, client_address="none"):
    return lambda: login_machine(login, who or client(), "session", starttls=starttls, client_address=client_address)


ALICE = XclientLogin("alice@example.test")
PLAIN = PlainLogin("alice", "master", Secret("s3cret"))
BEARER = BearerLogin("a=b,c@example.test", Secret("token"))
PLAIN_IR = base64.b64encode(b"alice\0master\0s3cret").decode()
BEARER_IR = base64.b64encode(b"n,a=a=3Db=2Cc@example.test,\x01auth=Bearer token\x01\x01").decode()
READY = "+ ready 235 2.7.0 Authentication successful"

GREETED = """
    > connect clear
    S: 220 mx.example.test ESMTP Postfix
    C: EHLO lab
"""
TO_XCLIENT = (
    GREETED
    + """
    S: 250-mx.example.test
    S: 250-AUTH PLAIN LOGIN
    S: 250-XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT
    S: 250 CHUNKING
"""
)
XCLIENT = "C: XCLIENT ADDR=203.0.113.9 PORT=5555 HELO=lab LOGIN=alice@example.test"


def test_xclient():
    run_backend(
        logging_in(ALICE),
        f"""{TO_XCLIENT}
        {XCLIENT}
        S: 220 mx.example.test ESMTP Postfix
        C: EHLO lab
        S: 250-mx.example.test
        S: 250 AUTH PLAIN LOGIN
        {READY}
        """,
    )


def test_xclient_behind_starttls():
    run_backend(
        logging_in(ALICE, starttls=True),
        f"""{GREETED}
        S: 250-mx.example.test
        S: 250 STARTTLS
        C: STARTTLS
        S: 220 2.0.0 Ready to start TLS
        + starttls
        > tls
        C: EHLO lab
        S: 250-mx.example.test
        S: 250-AUTH PLAIN
        S: 250 XCLIENT ADDR HELO LOGIN
        C: XCLIENT ADDR=203.0.113.9 HELO=lab LOGIN=alice@example.test
        S: 220 again
        C: EHLO lab
        S: 250-mx.example.test
        S: 250 AUTH PLAIN
        {READY}
        """,
    )


def test_every_value_in_xclient_is_xtext():
    run_backend(
        logging_in(XclientLogin("a+b=c d\r\nMAIL"), client(program="x y\r\nRSET+")),
        """
        > connect clear
        S: 220 mx
        C: EHLO [203.0.113.9]
        S: 250-mx
        S: 250 XCLIENT ADDR PORT HELO LOGIN
        C: XCLIENT ADDR=203.0.113.9 PORT=5555 HELO=x+20y+0D+0ARSET+2B LOGIN=a+2Bb+3Dc+20d+0D+0AMAIL
        """,
    )


@pytest.mark.parametrize(
    ("who", "greeting", "values"),
    [
        (client(program=None, port=0), "[203.0.113.9]", "ADDR=203.0.113.9 PORT=[UNAVAILABLE] HELO=[UNAVAILABLE]"),
        (client("2001:db8::7"), "lab", "ADDR=IPV6:2001:db8::7 PORT=5555 HELO=lab"),
        (client("2001:db8::7", program="a b"), "[IPV6:2001:db8::7]", "ADDR=IPV6:2001:db8::7 PORT=5555 HELO=a+20b"),
        (client("::ffff:203.0.113.9"), "lab", "ADDR=203.0.113.9 PORT=5555 HELO=lab"),
        (client("fe80::1%eth0", program=""), "localhost", "ADDR=[UNAVAILABLE] PORT=5555 HELO=[UNAVAILABLE]"),
        (client("unix", program="[127.0.0.1]"), "[127.0.0.1]", "ADDR=[UNAVAILABLE] PORT=5555 HELO=[127.0.0.1]"),
    ],
)
def test_what_xclient_says_of_the_client(who, greeting, values):
    run_backend(
        logging_in(XclientLogin("alice"), who),
        f"""
        > connect clear
        S: 220 mx
        C: EHLO {greeting}
        S: 250-mx
        S: 250 XCLIENT ADDR PORT HELO LOGIN
        C: XCLIENT {values} LOGIN=alice
        """,
    )


def test_postfix_without_ipv6_is_told_unavailable_once():
    start = """
        > connect clear
        S: 220 mx
        C: EHLO lab
        S: 250-mx
        S: 250 XCLIENT ADDR PORT HELO LOGIN
        C: XCLIENT ADDR=IPV6:2001:db8::7 PORT=5555 HELO=lab LOGIN=alice
        S: 501 5.5.4 Bad ADDR syntax: IPV6:2001:db8::7
        C: XCLIENT ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE] HELO=lab LOGIN=alice
    """
    make = logging_in(XclientLogin("alice"), client("2001:db8::7"))
    run_backend(make, start + "    S: 501 5.5.4 Bad LOGIN\n        + failed credential\n        + close")
    run_backend(
        make,
        f"""{start}
        S: 220 mx
        C: EHLO lab
        S: 250-mx
        S: 250 AUTH PLAIN
        {READY}
        """,
    )


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        ("550 5.7.0 Error: insufficient authorization", "credential"),
        ("503 5.5.1 Error: MAIL transaction in progress", "credential"),
        ("501 5.5.4 Bad LOGIN syntax", "credential"),
        ("554 5.7.1 Client host rejected", "credential"),
        ("421 4.3.2 Service shutting down", "temporary"),
        ("250 2.0.0 Ok", "credential"),
    ],
)
def test_only_220_is_a_yes_to_xclient(reply, fault):
    run_backend(logging_in(ALICE), f"{TO_XCLIENT}\n    {XCLIENT}\n    S: {reply}\n    + failed {fault}\n    + close")


def failure(make, *replies: bytes) -> BackendRefused:
    """How a login ends when the server says this, one reply after the other."""
    machine = make()
    machine.connected(tls=False)
    for reply in replies[:-1]:
        assert isinstance(machine.receive_data(reply)[0], Send)
    refused = machine.receive_data(replies[-1])[0]
    assert isinstance(refused, BackendRefused)
    assert machine.receive_data(b"250 more\r\n") == []
    assert machine.state == "failed"
    return refused


BANNER = b"220 mx ESMTP\r\n"
CAN_XCLIENT = b"250-mx\r\n250-AUTH PLAIN\r\n250 XCLIENT ADDR PORT HELO LOGIN\r\n"


def test_what_comes_behind_the_login_belongs_to_the_client():
    machine = logging_in(PLAIN)()
    machine.connected(tls=False)
    machine.receive_data(BANNER)
    machine.receive_data(b"250-mx\r\n250 AUTH PLAIN\r\n")
    assert isinstance(machine.receive_data(b"235 ok\r\n421 clo")[0], BackendReady)
    assert machine.receive_data(b"sing\r\n") == []
    assert machine.trailing_data() == b"421 closing\r\n"
    assert machine.trailing_data() == b""


def test_misconfiguration_is_named():
    no_xclient = failure(logging_in(ALICE), BANNER, b"250-mx\r\n250 AUTH PLAIN\r\n")
    assert no_xclient.fault is Fault.CREDENTIAL
    assert "smtpd_authorized_xclient_hosts" in no_xclient.detail
    no_login = failure(logging_in(ALICE), BANNER, b"250-mx\r\n250 XCLIENT ADDR\r\n")
    assert "does not take LOGIN" in no_login.detail
    # Postfix 3.7 without smtpd_sasl_auth_enable: 220, and the login is silently ignored.
    ignored = failure(logging_in(ALICE), BANNER, CAN_XCLIENT, BANNER, b"250-mx\r\n250 PIPELINING\r\n")
    assert ignored.fault is Fault.CREDENTIAL
    assert "smtpd_sasl_auth_enable=yes" in ignored.detail


def test_never_xclient_without_the_address():
    refused = failure(logging_in(ALICE), BANNER, b"250-mx\r\n250 XCLIENT LOGIN\r\n")
    assert "does not take ADDR" in refused.detail


@pytest.mark.parametrize(
    ("replies", "fault", "state"),
    [
        ([b"421 busy\r\n"], Fault.TEMPORARY, "banner"),
        ([b"554 go away\r\n"], Fault.CONNECT, "banner"),
        ([b"* OK IMAP ready\r\n"], Fault.PROTOCOL, "banner"),
        ([BANNER + b"250 early\r\n"], Fault.PROTOCOL, "ehlo"),
        ([BANNER, b"500 what\r\n"], Fault.PROTOCOL, "ehlo"),
        ([BANNER, b"450 later\r\n"], Fault.TEMPORARY, "ehlo"),
        ([BANNER, b"250 " + b"x" * 5000], Fault.PROTOCOL, "ehlo"),
        ([BANNER, b"250-x\r\n" * 300], Fault.PROTOCOL, "ehlo"),
        ([BANNER, CAN_XCLIENT, BANNER, b"550 no\r\n"], Fault.PROTOCOL, "ehlo"),
    ],
)
def test_whose_fault(replies, fault, state):
    refused = failure(logging_in(ALICE), *replies)
    assert refused.fault is fault
    assert refused.detail.startswith(f"at {state}: ")
    assert refused.pass_on is None


def test_starttls_is_demanded():
    make = logging_in(ALICE, starttls=True)
    refused = failure(make, BANNER, CAN_XCLIENT)
    assert (refused.fault, refused.detail) == (Fault.PROTOCOL, "at ehlo: it does not offer STARTTLS")
    offer = b"250-mx\r\n250 STARTTLS\r\n"
    assert failure(make, BANNER, offer, b"454 4.7.0 TLS not available\r\n").fault is Fault.TEMPORARY
    assert failure(make, BANNER, offer, b"502 no\r\n").fault is Fault.PROTOCOL


def test_bytes_behind_the_starttls_reply_are_an_attack():
    make = logging_in(PLAIN, starttls=True)
    refused = failure(make, BANNER, b"250-mx\r\n250 STARTTLS\r\n", b"220 go\r\n250-mx\r\n250 AUTH PLAIN\r\n")
    assert refused.fault is Fault.PROTOCOL
    assert refused.detail == "at starttls: it sent bytes behind its reply to STARTTLS"


def test_plain():
    run_backend(
        logging_in(PLAIN),
        f"""{GREETED}
        S: 250-mx
        S: 250 AUTH LOGIN PLAIN
        C: AUTH PLAIN {PLAIN_IR}
        S: 235 2.7.0 Authentication successful
        {READY}
        """,
    )


def test_bearer():
    run_backend(
        logging_in(BEARER),
        f"""{GREETED}
        S: 250-mx
        S: 250 AUTH PLAIN OAUTHBEARER
        C: AUTH OAUTHBEARER {BEARER_IR}
        S: 235 2.7.0 Authentication successful
        {READY}
        """,
    )


def test_bearer_refused_answers_the_challenge():
    run_backend(
        logging_in(BEARER),
        f"""{GREETED}
        S: 250-mx
        S: 250 AUTH OAUTHBEARER
        C: AUTH OAUTHBEARER {BEARER_IR}
        S: 334 eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=
        C: AQ==
        S: 535 5.7.8 Error: authentication failed
        + failed credential
        + close
        """,
    )


def test_the_client_s_address_goes_before_auth():
    run_backend(
        logging_in(PLAIN, client_address="xclient"),
        f"""{TO_XCLIENT}
        C: XCLIENT ADDR=203.0.113.9 PORT=5555 HELO=lab
        S: 220 mx
        C: EHLO lab
        S: 250-mx
        S: 250 AUTH PLAIN
        C: AUTH PLAIN {PLAIN_IR}
        S: 235 2.7.0 Authentication successful
        {READY}
        """,
    )


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (b"535 5.7.8 Error: authentication failed\r\n", Fault.CREDENTIAL),
        (b"454 4.7.0 Temporary\r\n", Fault.TEMPORARY),
        (b"421 4.7.0 bye\r\n", Fault.TEMPORARY),
        (b"334 \r\n", Fault.PROTOCOL),
        (b"250 ok\r\n", Fault.PROTOCOL),
    ],
)
def test_auth_refused(reply, fault):
    assert failure(logging_in(PLAIN), BANNER, b"250-mx\r\n250 AUTH PLAIN\r\n", reply).fault is fault


def test_a_mechanism_that_is_not_offered_is_not_tried():
    refused = failure(logging_in(PLAIN), BANNER, b"250-mx\r\n250 AUTH LOGIN\r\n")
    assert (refused.fault, refused.detail) == (
        Fault.CREDENTIAL,
        "at ehlo: it does not offer AUTH PLAIN on this connection",
    )


def test_a_server_that_quotes_the_credential_does_not_get_it_into_the_log():
    echo = f"500 5.5.2 unrecognized command AUTH PLAIN {PLAIN_IR}\r\n".encode()
    assert (
        failure(logging_in(PLAIN), BANNER, b"250-mx\r\n250 AUTH PLAIN\r\n", echo).detail == "at auth: it said 500 5.5.2"
    )


def test_probe():
    run_backend(
        lambda: probe_machine(starttls=True),
        """
        > connect clear
        S: 220 mx
        C: EHLO localhost
        S: 250-mx
        S: 250-size 5
        S: 250 STARTTLS
        C: STARTTLS
        S: 220 go
        + starttls
        > tls
        C: EHLO localhost
        S: 250-mx
        S: 250-size 1024
        S: 250 AUTH plain
        C: QUIT
        + offers AUTH PLAIN SIZE 1024
        + close
        """,
    )


def test_probe_behind_implicit_tls_asks_for_no_more():
    machine = probe_machine(starttls=False)
    machine.connected(tls=True)
    machine.receive_data(BANNER)
    assert Offers(frozenset({"DSN"})) in machine.receive_data(b"250-mx\r\n250 DSN\r\n")


WORDS = [BANNER, CAN_XCLIENT, b"250 x\r\n", b"250-x\r\n", b"235 \r\n", b"334 x\r\n", b"501 \r\n", b"\r\n", b"421 x\r\n"]


@given(st.lists(st.sampled_from(WORDS) | st.binary(max_size=12), max_size=10))
def test_rubbish_never_raises(pieces):
    for login in (ALICE, PLAIN, BEARER):
        machine = logging_in(login, starttls=False)()
        machine.connected(tls=False)
        for piece in pieces:
            machine.receive_data(piece)
