"""Logging in to a backend: dialogues as Dovecot 2.3 speaks them, and everything a backend may do wrong."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.backend_login import BackendLogin, BearerLogin, PlainLogin, XclientLogin
from proxy.domain.model import ClientInfo
from proxy.domain.secret import Secret
from proxy.wire.events import BackendMachine, BackendReady, BackendRefused, Fault, Offers
from proxy.wire.imap.backend import login_machine, probe_machine
from tests.support.transcript import WHOLE, run_backend

CLIENT = ClientInfo("203.0.113.9", 5555, "192.0.2.1", 993, "TLSv1.3")
AUTHZID = PlainLogin("alice", "master", Secret("mpw"))
SEPARATOR = PlainLogin("", "alice*master", Secret("mpw"))
BEARER = BearerLogin("alice", Secret("ey.ab.cd"))

PLAIN = base64.b64encode(b"alice\0master\0mpw").decode()
OAUTH = base64.b64encode(b"n,a=alice,\x01auth=Bearer ey.ab.cd\x01\x01").decode()

DOVECOT = "* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN] Dovecot ready."
DOVECOT_STARTTLS = (
    "* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS LOGINDISABLED] Dovecot ready."
)
AFTER = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT UIDPLUS QUOTA"
ID = (
    'i ID ("x-originating-ip" "203.0.113.9" "x-originating-port" "5555" "x-connected-ip" "192.0.2.1" '
    '"x-connected-port" "993" "x-session-id" "s1")'
)
ID_ANSWER = '* ID ("name" "Dovecot")\nS: i OK ID completed.'


def login(
    who: BackendLogin = AUTHZID, *, starttls: bool = False, client_address: str = "none"
) -> Callable[[], BackendMachine]:
    return lambda: login_machine(who, CLIENT, "s1", starttls=starttls, client_address=client_address)


def test_dovecot_in_two_turns() -> None:
    """The greeting says SASL-IR: ID and credential go out together, nothing else is asked."""
    run_backend(
        login(client_address="id"),
        f"""
        > connect clear
        S: {DOVECOT}
        C: {ID}
        C: a AUTHENTICATE PLAIN {PLAIN}
        S: {ID_ANSWER}
        S: a OK [CAPABILITY {AFTER}] Logged in
        + ready OK [CAPABILITY {AFTER}] Logged in
        """.replace("\nS: i OK", "\n        S: i OK"),
    )


def test_separator_form() -> None:
    run_backend(
        login(SEPARATOR),
        f"""
        > connect tls
        S: {DOVECOT}
        C: a AUTHENTICATE PLAIN {base64.b64encode(b"/alice*master/mpw".replace(b"/", bytes(1))).decode()}
        S: a OK [CAPABILITY {AFTER}] Logged in
        + ready OK [CAPABILITY {AFTER}] Logged in
        """,
    )


def test_starttls_forgets_the_greeting() -> None:
    run_backend(
        login(starttls=True, client_address="id"),
        f"""
        > connect clear
        S: {DOVECOT_STARTTLS}
        C: s STARTTLS
        S: s OK Begin TLS negotiation now.
        + starttls
        > tls
        C: {ID}
        C: a AUTHENTICATE PLAIN
        S: * ID ("name" "Dovecot")
        S: i OK ID completed.
        S: + 
        C: {PLAIN}
        S: a OK [CAPABILITY {AFTER}] Logged in
        + ready OK [CAPABILITY {AFTER}] Logged in
        """,  # noqa: W291
    )


def test_dovecot_whose_auth_process_is_slow_greets_twice() -> None:
    run_backend(
        login(client_address="id"),
        f"""
        > connect tls
        S: * OK Waiting for authentication process to respond..
        C: {ID}
        C: a AUTHENTICATE PLAIN
        S: {DOVECOT}
        S: * ID ("name" "Dovecot")
        S: i OK ID completed.
        S: + 
        C: {PLAIN}
        S: a OK [CAPABILITY {AFTER}] Logged in
        + ready OK [CAPABILITY {AFTER}] Logged in
        """,  # noqa: W291
    )


def test_starttls_is_not_asked_for_behind_implicit_tls() -> None:
    run_backend(
        login(starttls=True),
        f"> connect tls\nS: {DOVECOT}\nC: a AUTHENTICATE PLAIN {PLAIN}\nS: a BAD no\n+ failed protocol",
    )


def test_no_initial_response_unless_listed() -> None:
    run_backend(
        login(),
        f"""
        > connect tls
        S: * OK IMAP ready
        C: a AUTHENTICATE PLAIN
        S: +
        C: {PLAIN}
        S: a OK [capability IMAP4rev1] in
        + ready OK [capability IMAP4rev1] in
        """,
    )


def test_capability_that_comes_before_the_reply_is_folded_into_it() -> None:
    run_backend(
        login(),
        f"""
        > connect tls
        S: {DOVECOT}
        C: a AUTHENTICATE PLAIN {PLAIN}
        S: * CAPABILITY {AFTER}
        S: a OK Logged in
        + ready OK [CAPABILITY {AFTER}] Logged in
        """,
    )


@pytest.mark.parametrize(("reply", "text"), [("OK Welcome", "Welcome"), ("OK", "Logged in"), ("OK [ALERT] Hi", "Hi")])
def test_capability_is_asked_after_a_login_that_does_not_say(reply: str, text: str) -> None:
    run_backend(
        login(),
        f"""
        > connect tls
        S: {DOVECOT}
        C: a AUTHENTICATE PLAIN {PLAIN}
        S: a {reply}
        C: c CAPABILITY
        S: * CAPABILITY {AFTER}
        S: c OK done
        + ready OK [CAPABILITY {AFTER}] {text}
        """,
    )


def test_what_the_backend_offers_is_told() -> None:
    machine = login()()
    machine.connected(tls=True)
    *_, ready = machine.receive_data(f"{DOVECOT}\r\na OK [CAPABILITY IMAP4rev1 Idle] in\r\n".encode())
    assert ready == BackendReady(b"OK [CAPABILITY IMAP4rev1 Idle] in", frozenset({"IMAP4REV1", "IDLE"}))


@pytest.mark.parametrize("initial", [True, False])
def test_bearer(initial: bool) -> None:
    greeting, command = (DOVECOT, f"a AUTHENTICATE OAUTHBEARER {OAUTH}") if initial else ("* OK hi", "")
    turn = f"C: {command}\n" if initial else f"C: a AUTHENTICATE OAUTHBEARER\nS: + \nC: {OAUTH}\n"
    run_backend(
        login(BEARER),
        f"> connect tls\nS: {greeting}\n{turn}S: a OK [CAPABILITY {AFTER}] in\n+ ready OK [CAPABILITY {AFTER}] in",
    )


def test_bearer_refused() -> None:
    """RFC 7628 section 3.2.3: the reason comes as a challenge that a dummy response answers."""
    reason = base64.b64encode(b'{"status":"invalid_token"}').decode()
    dialogue = f"""
        > connect tls
        S: {DOVECOT}
        C: a AUTHENTICATE OAUTHBEARER {OAUTH}
        S: + {reason}
        C: AQ==
        S: a NO [AUTHENTICATIONFAILED] Authentication failed.
        + failed credential
    """
    run_backend(login(BEARER), dialogue)
    machine = login(BEARER)()
    machine.connected(tls=True)
    machine.receive_data(f"{DOVECOT}\r\n+ {reason}\r\n".encode())
    (refused,) = machine.receive_data(b"a NO [AUTHENTICATIONFAILED] Authentication failed.\r\n")
    assert isinstance(refused, BackendRefused)
    assert refused.detail == 'NO: [AUTHENTICATIONFAILED] Authentication failed. {"status":"invalid_token"}'


def test_bearer_asked_for_ever() -> None:
    run_backend(
        login(BEARER),
        f"""
        > connect tls
        S: {DOVECOT}
        C: a AUTHENTICATE OAUTHBEARER {OAUTH}
        S: + e30=
        C: AQ==
        S: + e30=
        + failed protocol
        """,
    )


def test_bearer_user_is_a_saslname() -> None:
    machine = login(BearerLogin("a=b,c", Secret("t")))()
    machine.connected(tls=True)
    (sent,) = machine.receive_data(DOVECOT.encode() + b"\r\n")
    assert b"n,a=a=3Db=2Cc,\x01" in base64.b64decode(sent.data.split()[-1])  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("reply", "fault", "pass_on"),
    [
        ("NO [AUTHENTICATIONFAILED] Authentication failed.", Fault.CREDENTIAL, None),
        ("NO Authentication failed.", Fault.CREDENTIAL, None),
        ("NO", Fault.CREDENTIAL, None),
        ("NO [AUTHORIZATIONFAILED] Authentication failed.", Fault.UNKNOWN_ACCOUNT, None),
        ("NO [CONTACTADMIN] Account closed", Fault.UNKNOWN_ACCOUNT, None),
        ("NO [EXPIRED] Password expired", Fault.UNKNOWN_ACCOUNT, None),
        ("NO [PRIVACYREQUIRED] Plaintext authentication disallowed", Fault.PROTOCOL, None),
        ("NO [SERVERBUG] Internal error", Fault.TEMPORARY, None),
        (
            "NO [UNAVAILABLE] Temporary authentication failure.",
            Fault.TEMPORARY,
            "NO [UNAVAILABLE] Temporary authentication failure.",
        ),
        (
            "NO [LIMIT] Maximum number of connections from user+IP exceeded",
            Fault.TEMPORARY,
            "NO [LIMIT] Maximum number of connections from user+IP exceeded",
        ),
        ("no [inuse] Busy", Fault.TEMPORARY, "NO [INUSE] Busy"),
        ("NO [LIMIT] a\x1b[31mb" + "x" * 300, Fault.TEMPORARY, "NO [LIMIT] a?[31mb" + "x" * 193),
        ("BAD Unknown command", Fault.PROTOCOL, None),
        ("YES", Fault.PROTOCOL, None),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_refusals(reply: str, fault: Fault, pass_on: str | None) -> None:
    failed = f"+ failed {fault}" + (f" {pass_on}" if pass_on else "")
    run_backend(login(), f"> connect tls\nS: {DOVECOT}\nC: a AUTHENTICATE PLAIN {PLAIN}\nS: a {reply}\n{failed}")


@pytest.mark.parametrize(
    ("greeting", "fault"),
    [
        ("* PREAUTH [CAPABILITY IMAP4rev1] Logged in as admin", Fault.PROTOCOL),
        ("* BYE Too many connections", Fault.TEMPORARY),
        ("* NO", Fault.PROTOCOL),
        ("220 mail.example.org ESMTP", Fault.PROTOCOL),
        ("+OK POP3", Fault.PROTOCOL),
        ("a OK", Fault.PROTOCOL),
        ("", Fault.PROTOCOL),
        ("OK hi", Fault.PROTOCOL),
    ],
)
@pytest.mark.parametrize("starttls", [True, False])
def test_greetings_that_end_it(greeting: str, fault: Fault, starttls: bool) -> None:
    run_backend(login(starttls=starttls), f"> connect clear\nS: {greeting}\n+ failed {fault}")
    run_backend(lambda: probe_machine(starttls=starttls), f"> connect clear\nS: {greeting}\n+ failed {fault}")


@pytest.mark.parametrize("reply", ["s NO", "s BAD Unknown command", "a OK", "+ go", "* BYE bye"])
def test_starttls_refused_sends_no_credential(reply: str) -> None:
    fault = Fault.TEMPORARY if "BYE" in reply else Fault.PROTOCOL
    run_backend(
        login(starttls=True, client_address="id"),
        f"> connect clear\nS: {DOVECOT_STARTTLS}\nC: s STARTTLS\nS: {reply}\n+ failed {fault}",
    )


@pytest.mark.parametrize("behind", [b"x", b"\x16\x03", b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\na2 OK\r\n"])
def test_bytes_behind_starttls(behind: bytes) -> None:
    reply = b"s OK go\r\n" + behind
    run_backend(
        login(starttls=True),
        f"> connect clear\nS: {DOVECOT_STARTTLS}\nC: s STARTTLS\nS= {reply!r}\n+ failed protocol",
        only=WHOLE,
    )


@pytest.mark.parametrize("listed", ["IMAP4rev1 UNAUTHENTICATE", "IMAP4rev1 unauthenticate IDLE"])
def test_unauthenticate_is_refused(listed: str) -> None:
    start = f"> connect tls\nS: {DOVECOT}\nC: a AUTHENTICATE PLAIN {PLAIN}\n"
    run_backend(login(), start + f"S: a OK [CAPABILITY {listed}] in\n+ failed protocol")
    run_backend(login(), start + f"S: * CAPABILITY {listed}\nS: a OK in\n+ failed protocol")
    run_backend(
        login(), start + f"S: a OK in\nC: c CAPABILITY\nS: * CAPABILITY {listed}\nS: c OK done\n+ failed protocol"
    )


@pytest.mark.parametrize(
    "line",
    [
        b"* OK a\0b\r\n",
        b"* OK a\rb\r\n",
        b"b OK\r\n",
        b"c OK\r\n",
        b"i OK\r\n",
        b"rubbish\r\n",
        b"+ again\r\n",
        b"x" * 8_193,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_lines_that_have_no_place(line: bytes) -> None:
    run_backend(
        login(),
        f"> connect tls\nS: {DOVECOT}\nC: a AUTHENTICATE PLAIN {PLAIN}\nS= {line!r}\n+ failed protocol",
        only=WHOLE,
    )


def test_untagged_lines_are_borne() -> None:
    run_backend(
        login(),
        f"""
        > connect tls
        S: {DOVECOT}
        C: a AUTHENTICATE PLAIN {PLAIN}
        S: * OK [ALERT] Maintenance at noon
        S: * NO Something
        S: *
        S: a OK [CAPABILITY {AFTER}] Logged in
        + ready OK [CAPABILITY {AFTER}] Logged in
        """,
    )


@pytest.mark.parametrize("reply", ["i BAD Unknown command", "i NO", "a OK in"])
def test_a_backend_without_id_is_not_logged_in_to_namelessly(reply: str) -> None:
    run_backend(
        login(client_address="id"),
        f"> connect tls\nS: {DOVECOT}\nC: {ID}\nC: a AUTHENTICATE PLAIN {PLAIN}\nS: {reply}\n+ failed protocol",
    )


def test_ipv6_client() -> None:
    client = ClientInfo("2001:db8::7", 1, "::1", 993, None)
    machine = login_machine(AUTHZID, client, "s", starttls=False, client_address="id")
    machine.connected(tls=True)
    (sent,) = machine.receive_data(b"* OK\r\n")
    assert b'"x-originating-ip" "2001:db8::7"' in sent.data  # type: ignore[union-attr]


@pytest.mark.parametrize("address", ['1"\r\na LOGOUT', "1\n", "\x00", "ü"])
def test_nothing_can_break_out_of_the_introduction(address: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        login_machine(AUTHZID, ClientInfo(address, 1, "::1", 1, None), "s", starttls=False, client_address="id")


@pytest.mark.parametrize("text", ["\r\na LOGOUT", '"', "ü", "{5}"])
def test_nothing_can_break_out_of_a_credential(text: str) -> None:
    for who in (PlainLogin(text, text, Secret(text)), BearerLogin(text, Secret(text))):
        machine = login(who)()
        machine.connected(tls=True)
        (sent,) = machine.receive_data(DOVECOT.encode() + b"\r\n")
        assert sent.data.count(b"\r\n") == 1  # type: ignore[union-attr]
        assert sent.data.isascii()  # type: ignore[union-attr]


def test_xclient_is_no_imap_login() -> None:
    with pytest.raises(TypeError):
        login(XclientLogin("alice"))()


def test_bytes_behind_the_reply_belong_to_the_client() -> None:
    machine = login()()
    machine.connected(tls=True)
    machine.receive_data(DOVECOT.encode() + b"\r\n")
    machine.receive_data(b"a OK [CAPABILITY IMAP4rev1] in\r\n* BYE ")
    assert machine.receive_data(b"soon\r\n") == []
    assert machine.trailing_data() == b"* BYE soon\r\n"


def test_states_for_the_log() -> None:
    machine = login(starttls=True, client_address="id")()
    machine.connected(tls=False)
    seen = [machine.state]
    for data in (DOVECOT_STARTTLS.encode() + b"\r\n", b"s OK\r\n", None, b"i OK\r\n", b"+\r\n", b"a OK\r\n"):
        if data is None:
            machine.tls_started()
        else:
            machine.receive_data(data)
        seen.append(machine.state)
    assert seen == ["banner", "starttls", "tls", "id", "auth", "auth", "capability"]


# ---- probe -----------------------------------------------------------------------------------

OFFERED = "AUTH=PLAIN ENABLE ID IDLE IMAP4REV1 LITERAL+ LOGIN-REFERRALS SASL-IR"


def test_probe_reads_the_greeting() -> None:
    run_backend(lambda: probe_machine(starttls=False), f"> connect tls\nS: {DOVECOT}\n+ offers {OFFERED}")


def test_probe_asks_when_the_greeting_does_not_say() -> None:
    run_backend(
        lambda: probe_machine(starttls=False),
        "> connect tls\nS: * OK hi\nC: c CAPABILITY\nS: * CAPABILITY IMAP4rev1 Idle\nS: c OK\n+ offers IDLE IMAP4REV1",
    )


def test_probe_asks_again_behind_starttls() -> None:
    run_backend(
        lambda: probe_machine(starttls=True),
        f"""
        > connect clear
        S: {DOVECOT_STARTTLS}
        C: s STARTTLS
        S: s OK go
        + starttls
        > tls
        C: c CAPABILITY
        S: * CAPABILITY IMAP4rev1 AUTH=PLAIN
        S: c OK done
        + offers AUTH=PLAIN IMAP4REV1
        """,
    )


@pytest.mark.parametrize("reply", ["c NO", "c BAD", "c OK"])
def test_probe_of_a_backend_that_does_not_list(reply: str) -> None:
    run_backend(
        lambda: probe_machine(starttls=False),
        f"> connect tls\nS: * OK hi\nC: c CAPABILITY\nS: {reply}\n+ failed protocol",
    )


# ---- whatever the bytes ----------------------------------------------------------------------

LINES = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from([b"* OK [CAPABILITY SASL-IR] x\r\n", b"* OK\r\n", b"s OK\r\n", b"i OK\r\n", b"+ \r\n"]),
        st.sampled_from(
            [b"a OK\r\n", b"a NO [LIMIT] x\r\n", b"c OK\r\n", b"* CAPABILITY X\r\n", b"a OK [CAPABILITY Y]\r\n"]
        ),
    ),
    max_size=12,
)


@given(LINES, st.booleans(), st.booleans(), st.sampled_from([AUTHZID, BEARER, None]))
def test_arbitrary_bytes_end_at_most_once(
    lines: list[bytes], starttls: bool, by_id: bool, who: BackendLogin | None
) -> None:
    machine = (
        probe_machine(starttls=starttls)
        if who is None
        else login(who, starttls=starttls, client_address="id" if by_id else "none")()
    )
    machine.connected(tls=False)
    ends = 0
    for line in lines:
        for event in machine.receive_data(line):
            assert not ends
            ends += isinstance(event, BackendReady | BackendRefused | Offers)
    assert ends <= 1
