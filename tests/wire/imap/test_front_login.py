"""LOGIN and AUTHENTICATE: every way to say a name and a secret, and every answer."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.model import AppPassword
from proxy.domain.verdicts import Shown
from proxy.wire.events import Attempt, AttemptRefused, BackendReady, Close, Send
from proxy.wire.imap import grammar
from tests.support.transcript import run_front
from tests.wire.imap.fronts import GREETED, GREETED_CLEAR, IMPLICIT, NOT_APP_PASSWORD, STARTTLS

ACCEPTED = """
> accept OK [CAPABILITY IMAP4rev1 IDLE] Logged in
S: a OK [CAPABILITY IMAP4rev1 IDLE] Logged in
"""


def attempt(name: str = "alice", secret: str = "secret", mechanism: str = "login", authzid: str = "") -> str:
    return f"+ attempt login_name={name!r} {authzid=} {secret=} {mechanism=}\n"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("command", "name", "secret"),
    [
        (b"a LOGIN alice secret", "alice", "secret"),
        (b"a login alice secret", "alice", "secret"),
        (b'a LoGiN alice "secret"', "alice", "secret"),
        (b'a LOGIN "alice" "se cret"', "alice", "se cret"),
        (b'a LOGIN "al\\"ice" "se\\\\cr\\"et"', 'al"ice', 'se\\cr"et'),
        (b'a LOGIN "" ""', "", ""),
        ("a LOGIN älice sécret".encode(), "älice", "sécret"),
        ('a LOGIN "älice" "sécret"'.encode(), "älice", "sécret"),
        (b"a LOGIN alice*master p%a\\ss", "alice*master", "p%a\\ss"),
        (b"a LOGIN alice@example.org abcd-efgh-jkmn-pqrs-tuvw", "alice@example.org", "abcd-efgh-jkmn-pqrs-tuvw"),
        (b'a LOGIN alice "{3}"', "alice", "{3}"),
        (b"a LOGIN {5+}\r\nalice {6+}\r\nsecret", "alice", "secret"),
        (b'a LOGIN {5+}\r\nalice "secret"', "alice", "secret"),
        (b"a LOGIN alice {6+}\r\nsecret", "alice", "secret"),
        (b'a LOGIN {3+}\r\na"b {4+}\r\n\\{1}', 'a"b', "\\{1}"),
        (b"a LOGIN alice {0+}\r\n", "alice", ""),
        (b"a LOGIN alice {4096+}\r\n" + b"x" * 4096, "alice", ""),  # read whole, and too long for a secret
        # What cannot be right is empty: the refusal's sentence comes, nothing is looked up (wire/sasl.py).
        (b"a LOGIN ali\xffce secret", "", "secret"),
        (b'a LOGIN alice "se\tcret"', "alice", ""),
        (b"a LOGIN {5+}\r\nal\r\ne secret", "", "secret"),
        (b"a LOGIN alice {3+}\r\ns\0t", "alice", ""),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_login(command: bytes, name: str, secret: str) -> None:
    run_front(IMPLICIT, GREETED + f"C= {command!r}\nC= b'\\r\\n'\n" + attempt(name, secret) + NOT_APP_PASSWORD)
    run_front(IMPLICIT, GREETED + f"C= {command!r}\nC= b'\\r\\n'\n" + attempt(name, secret) + ACCEPTED)


def test_login_with_literals_that_wait() -> None:
    run_front(
        IMPLICIT,
        GREETED
        + r"""
        C: a LOGIN {5}
        S: + OK
        C= b"alice {6}\r\n"
        S: + OK
        C= b"secret\r\n"
        """.replace("        ", "")
        + attempt()
        + ACCEPTED,
    )


@pytest.mark.parametrize("command", ["a AUTHENTICATE PLAIN", "a authenticate plain", "a Authenticate Plain"])
def test_authenticate_plain(command: str) -> None:
    response = b64(b"\0alice\0secret")
    run_front(
        IMPLICIT,
        GREETED + f"C: {command}\nS: + \nC: {response}\n" + attempt(mechanism="PLAIN") + ACCEPTED,
    )
    run_front(
        IMPLICIT,
        GREETED + f"C: {command} {response}\n" + attempt(mechanism="PLAIN") + NOT_APP_PASSWORD,
    )


def test_plain_with_an_authzid() -> None:
    run_front(
        IMPLICIT,
        GREETED
        + f"C: a AUTHENTICATE PLAIN {b64(bytes(1).join([b'alice', b'alice', b'secret']))}\n"
        + attempt(mechanism="PLAIN", authzid="alice")
        + ACCEPTED,
    )


def test_empty_initial_response() -> None:
    """`=` is a PLAIN message of no bytes, not an absent one."""
    run_front(IMPLICIT, GREETED + "C: a AUTHENTICATE PLAIN =\n" + attempt("", "", "PLAIN") + NOT_APP_PASSWORD)


def test_authenticate_login() -> None:
    run_front(
        IMPLICIT,
        GREETED
        + f"""
        C: a AUTHENTICATE LOGIN
        S: + {b64(b"Username:")}
        C: {b64(b"alice")}
        S: + {b64(b"Password:")}
        C: {b64(b"secret")}
        {attempt(mechanism="LOGIN")}
        """.replace("        ", "")
        + ACCEPTED,
    )


def test_authenticate_login_with_initial_response() -> None:
    run_front(
        IMPLICIT,
        GREETED
        + f"C: a AUTHENTICATE login {b64(b'alice')}\nS: + {b64(b'Password:')}\nC: {b64(b'secret')}\n"
        + attempt(mechanism="LOGIN")
        + ACCEPTED,
    )


def test_cancel() -> None:
    run_front(
        IMPLICIT,
        GREETED
        + """
        C: a AUTHENTICATE PLAIN
        S: + 
        C: *
        S: a BAD Authentication cancelled
        C: b NOOP
        S: b OK NOOP completed
        """,  # noqa: W291
    )


@pytest.mark.parametrize("response", ["%%%", "AGEA=", "AG EA", "= ", "A" * 12_285], ids=lambda value: value[:10])
def test_bad_base64(response: str) -> None:
    run_front(
        IMPLICIT,
        GREETED
        + f"C: a AUTHENTICATE PLAIN\nS: + \nC: {response}\n"
        + "S: a BAD Invalid base64\nC: b NOOP\nS: b OK NOOP completed",
    )


def test_an_empty_response_is_a_message_of_no_bytes() -> None:
    run_front(
        IMPLICIT,
        GREETED + "C: a AUTHENTICATE PLAIN\nS: + \nC: \n" + attempt("", "", "PLAIN") + NOT_APP_PASSWORD,
    )


@pytest.mark.parametrize("mechanism", ["CRAM-MD5", "XOAUTH2", "GSSAPI AAAA", "plai"])
def test_unsupported_mechanism(mechanism: str) -> None:
    run_front(IMPLICIT, GREETED + f"C: a AUTHENTICATE {mechanism}\nS: a NO Unsupported authentication mechanism")


@pytest.mark.parametrize("shown", Shown)
def test_each_refusal_then_the_right_secret(shown: Shown) -> None:
    machine = IMPLICIT()
    machine.connected(tls=True)
    assert len(machine.receive_data(b"t1 LOGIN alice wrong\r\n")) == 1
    (answer,) = machine.refuse(shown)
    assert isinstance(answer, Send)
    lines = answer.data.split(b"\r\n")
    assert lines.pop() == b""
    assert lines[-1].startswith(b"t1 NO [")
    assert all(line.startswith(b"* OK [ALERT] ") for line in lines[:-1])
    (again,) = machine.receive_data(b"t2 LOGIN alice right\r\n")
    assert isinstance(again, Attempt)
    assert machine.accept(BackendReady(b"OK in")) == [Send(b"t2 OK in\r\n")]


def test_a_backend_answer_passes_as_it_is() -> None:
    run_front(
        IMPLICIT,
        GREETED
        + "C: a LOGIN alice secret\n"
        + attempt()
        + "> refuse unavailable NO [INUSE] Mailbox is being rebuilt\nS: a NO [INUSE] Mailbox is being rebuilt",
    )


def test_commands_behind_a_refused_login_are_carried_out() -> None:
    run_front(
        IMPLICIT,
        GREETED
        + "C: a LOGIN alice secret\nC: b NOOP\nC: c LOGIN bob other\n"
        + attempt()
        + NOT_APP_PASSWORD
        + "S: b OK NOOP completed\n"
        + attempt("bob", "other")
        + "> refuse limited\nS: c NO [LIMIT] Too many attempts, try again later",
    )


def test_commands_behind_an_accepted_login_belong_to_the_backend() -> None:
    machine = IMPLICIT()
    machine.connected(tls=True)
    machine.receive_data(b"a LOGIN alice secret\r\nb SELECT INBOX\r\n")
    assert machine.receive_data(b"c LOGIN bob other\r\nd NO") == []
    assert machine.accept(BackendReady(b"OK in")) == [Send(b"a OK in\r\n")]
    assert machine.trailing_data() == b"b SELECT INBOX\r\nc LOGIN bob other\r\nd NO"


@pytest.mark.parametrize("size", [8_192, 8_193])
def test_what_is_held_behind_a_login_is_bounded(size: int) -> None:
    machine = IMPLICIT()
    machine.connected(tls=True)
    machine.receive_data(b"a LOGIN alice secret\r\n")
    events = machine.receive_data(b"x" * size)
    if size == 8_192:
        assert events == []
        machine.accept(BackendReady(b"OK"))
        assert len(machine.trailing_data()) == size
    else:
        assert events == [Close("too much behind a login")]
        assert machine.accept(BackendReady(b"OK")) == []
        assert machine.refuse(Shown.LIMITED) == []


# ---- before TLS ------------------------------------------------------------------------------

TLS_FIRST = "S: a NO [PRIVACYREQUIRED] TLS is required before login\n"


@pytest.mark.parametrize(
    ("command", "mechanism"),
    [
        ("a LOGIN alice secret", "login"),
        ("a AUTHENTICATE PLAIN", "PLAIN"),
        ("a AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==", "PLAIN"),
        ("a AUTHENTICATE login", "LOGIN"),
    ],
)
def test_tls_first(command: str, mechanism: str) -> None:
    run_front(STARTTLS, GREETED_CLEAR + f"C: {command}\n{TLS_FIRST}+ refused tls_first {mechanism}\n")


def test_a_literal_is_not_asked_for_in_the_clear() -> None:
    run_front(STARTTLS, GREETED_CLEAR + f"C: a LOGIN {{5}}\n{TLS_FIRST}+ refused tls_first login\n")


def test_an_unasked_literal_in_the_clear_is_swallowed() -> None:
    run_front(
        STARTTLS,
        GREETED_CLEAR
        + f"C: a LOGIN {{5+}}\nC: alice secret\n{TLS_FIRST}+ refused tls_first login\n"
        + "C: b NOOP\nS: b OK NOOP completed",
    )


def test_login_behind_tls_on_a_starttls_front() -> None:
    run_front(
        STARTTLS,
        GREETED_CLEAR
        + "C: s STARTTLS\nS: s OK Begin TLS negotiation now\n+ starttls\n> tls\nC: a LOGIN alice secret\n"
        + attempt()
        + ACCEPTED,
    )


# ---- any text in any clothes -----------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=40)


def clothes(text: str, kind: str) -> bytes:
    raw = text.encode()
    match kind:
        case "quoted":
            return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
        case "literal":
            return b"{%d}\r\n%s" % (len(raw), raw)
        case _:
            return b"{%d+}\r\n%s" % (len(raw), raw)


KIND = st.sampled_from(["quoted", "literal", "literal-"])


@given(TEXT, TEXT, KIND, KIND, st.integers(1, 30))
def test_login_round_trip(name: str, secret: str, name_kind: str, secret_kind: str, size: int) -> None:
    machine = IMPLICIT()
    machine.connected(tls=True)
    data = b"a LOGIN " + clothes(name, name_kind) + b" " + clothes(secret, secret_kind) + b"\r\n"
    events = [event for i in range(0, len(data), size) for event in machine.receive_data(data[i : i + size])]
    assert events[:-1] == [Send(b"+ OK\r\n")] * (name_kind, secret_kind).count("literal")
    assert_attempt(events[-1], name, secret)


@given(TEXT, TEXT, st.booleans())
def test_plain_round_trip(name: str, secret: str, initial: bool) -> None:
    machine = IMPLICIT()
    machine.connected(tls=True)
    response = b64(b"\0" + name.encode() + b"\0" + secret.encode()).encode() + b"\r\n"
    if initial:
        (event,) = machine.receive_data(b"a AUTHENTICATE PLAIN " + response)
    else:
        _, event = machine.receive_data(b"a AUTHENTICATE PLAIN\r\n" + response)
    assert_attempt(event, name, secret)


def assert_attempt(event: object, name: str, secret: str) -> None:
    assert isinstance(event, Attempt)
    assert not isinstance(event, AttemptRefused)
    assert isinstance(event.credential, AppPassword)
    assert (event.login_name, event.authzid, event.credential.secret.reveal()) == (name, "", secret)


_PIECES = [*'a1"\\{}() *%+\r\n\0', "é", "GET", "login", '"a b"', '""', "{1+}", "x" * 300, "y" * 4000]
_STRING = st.lists(st.sampled_from(_PIECES), min_size=1, max_size=4).map("".join)
_TAG = st.sampled_from(["a", "GET", "a1.", "+", "", "x" * 65]) | _STRING


@given(_TAG, _STRING, _STRING, st.sampled_from(["\r\n", "\n", ""]))
def test_the_short_way_finds_what_the_long_one_does(tag: str, name: str, secret: str, end: str) -> None:
    """A whole LOGIN in one segment is read by one expression; cut in two it never is."""
    data = f"{tag} LOGIN {name} {secret}{end}".encode()
    short, long = IMPLICIT(), IMPLICIT()
    for machine in (short, long):
        machine.connected(tls=True)
    assert short.receive_data(data) == [*long.receive_data(data[:1]), *long.receive_data(data[1:])]
    assert short.trailing_data() == long.trailing_data()


@pytest.mark.parametrize("arguments", ["alice secret", '"alice" "se cret"', 'al*ce% ""', "älice s"])
def test_most_logins_take_the_short_way(arguments: str) -> None:
    assert grammar.whole_login(f"a1 Login {arguments}\r\n".encode()) is not None


@pytest.mark.parametrize("command", ["a LOGIN a {3+}", 'a LOGIN "a\\"b" c', "GET LOGIN a b", "a LOGIN a b\r\nb NOOP"])
def test_others_take_the_long_one(command: str) -> None:
    assert grammar.whole_login(f"{command}\r\n".encode()) is None
