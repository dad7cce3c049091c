"""The dialogue before login: every command, whole, byte by byte and with trailing bytes."""

from __future__ import annotations

import pytest

from proxy.wire.events import MAX_PROGRAM_LENGTH
from tests.support.transcript import WHOLE, run_front
from tests.wire.imap.fronts import GREETED, GREETED_CLEAR, IMPLICIT, STARTTLS, front


def test_commands_without_login() -> None:
    run_front(
        IMPLICIT,
        GREETED
        + """
        C: a1 CAPABILITY
        S: * CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN AUTH=LOGIN
        S: a1 OK Capability completed
        C: 1.1 noop
        S: 1.1 OK NOOP completed
        C: A3 Logout
        S: * BYE Logging out
        S: A3 OK Logout completed
        + close
        """,
    )


def test_pipelined_commands() -> None:
    run_front(
        IMPLICIT,
        GREETED
        + """
        C: a NOOP
        C: b NOOP
        C: c LOGOUT
        C: d NOOP
        S: a OK NOOP completed
        S: b OK NOOP completed
        S: * BYE Logging out
        S: c OK Logout completed
        + close
        """,
    )


def test_bare_lf_ends_a_command() -> None:
    """As in Dovecot: people type it with nc, and before login there is nothing it could smuggle."""
    run_front(IMPLICIT, GREETED + 'C= b"a NOOP\\n"\nS: a OK NOOP completed')


def test_starttls() -> None:
    run_front(
        STARTTLS,
        GREETED_CLEAR
        + """
        C: a CAPABILITY
        S: * CAPABILITY IMAP4rev1 SASL-IR ID STARTTLS LOGINDISABLED
        S: a OK Capability completed
        C: b starttls
        S: b OK Begin TLS negotiation now
        + starttls
        > tls
        C: c CAPABILITY
        S: * CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN AUTH=LOGIN
        S: c OK Capability completed
        C: d STARTTLS
        S: d BAD TLS is already active
        C: e NOOP
        S: e OK NOOP completed
        """,
    )


def test_starttls_where_tls_is_implicit() -> None:
    run_front(IMPLICIT, GREETED + "C: a STARTTLS\nS: a BAD TLS is already active")


STARTTLS_COMMAND = b"a STARTTLS\r\n"


@pytest.mark.parametrize("behind", [b"x", b"\r", b"b NOOP\r\n", b"\x16\x03\x01"])
def test_bytes_behind_starttls_close_without_ok(behind: bytes) -> None:
    run_front(
        STARTTLS,
        GREETED_CLEAR
        + f"""
        C= {STARTTLS_COMMAND + behind!r}
        S: * BYE Data behind STARTTLS
        + close
        """,
        only=WHOLE,
    )


def test_plain_text_before_the_handshake_closes() -> None:
    machine = STARTTLS()
    machine.connected(tls=False)
    machine.receive_data(b"a STARTTLS\r\n")
    (event,) = machine.receive_data(b"b")
    assert type(event).__name__ == "Close"


def test_tls_forgets_what_was_said_in_the_clear() -> None:
    machine = STARTTLS()
    machine.connected(tls=False)
    machine.receive_data(b'a ID ("name" "forged")\r\nb XX\r\nc XX\r\nd STARTTLS\r\n')
    assert machine.program == "forged"
    machine.tls_started()
    assert machine.program is None
    assert len(machine.receive_data(b"e XX\r\nf XX\r\n")) == 2  # the two bad commands before TLS are not counted


ID_REPLY = '* ID ("name" "sidegate")'


@pytest.mark.parametrize(
    ("arguments", "program"),
    [
        (b"NIL", None),
        (b"nil", None),
        (b"()", None),
        (b'("name" "Thunderbird" "version" "153.0")', "Thunderbird 153.0"),
        (b'("version" "153.0" "NAME" "Thunderbird" "os" NIL)', "Thunderbird 153.0"),
        (b'("name" "imapfilter")', "imapfilter"),
        (b'("name" NIL "version" "1")', None),
        (b'("os" "Linux")', None),
        (b'("name" {4}\r\nMutt)', "Mutt"),
        (b'("name" {4+}\r\nMutt "version" {1+}\r\n2)', "Mutt 2"),
        (b'("name" "a\\"b\\\\c")', "abc"),
        (b'("name" "\x1b[31mred\xff\xc3\xa9")', "[31mred"),
        (b'("name" "' + b"x" * 500 + b'")', "x" * MAX_PROGRAM_LENGTH),
    ],
)
def test_id(arguments: bytes, program: str | None) -> None:
    before, waits, after = (arguments + b"\r\n").partition(b"{4}\r\n")
    dialogue = GREETED + f"C= {b'a ID ' + before + waits!r}\n"
    if waits:
        dialogue += f"S: + OK\nC= {after!r}\n"
    run_front(IMPLICIT, dialogue + f"S: {ID_REPLY}\nS: a OK ID completed")
    machine = IMPLICIT()
    machine.connected(tls=True)
    machine.receive_data(b"a ID " + arguments + b"\r\n")
    assert machine.program == program


def test_an_id_that_says_nothing_does_not_erase_the_program() -> None:
    machine = IMPLICIT()
    machine.connected(tls=True)
    machine.receive_data(b'a ID ("name" "mbsync")\r\nb ID NIL\r\n')
    assert machine.program == "mbsync"


@pytest.mark.parametrize(
    ("offers", "listed"),
    [
        ((), "IMAP4rev1 SASL-IR ID AUTH=PLAIN AUTH=LOGIN"),
        (("IMAP4REV1",), "IMAP4rev1 SASL-IR ID AUTH=PLAIN AUTH=LOGIN"),
        (
            # Dovecot before login
            ("IMAP4REV1", "SASL-IR", "LOGIN-REFERRALS", "ID", "ENABLE", "IDLE", "LITERAL+", "STARTTLS", "AUTH=PLAIN"),
            "IMAP4rev1 SASL-IR ID LITERAL- ENABLE IDLE AUTH=PLAIN AUTH=LOGIN",
        ),
        (("LITERAL-",), "IMAP4rev1 SASL-IR ID LITERAL- AUTH=PLAIN AUTH=LOGIN"),
        (
            ("UNAUTHENTICATE", "COMPRESS=DEFLATE", "AUTH=GSSAPI", "AUTH=XOAUTH2", "LOGINDISABLED", "IMAP4REV2"),
            "IMAP4rev1 SASL-IR ID AUTH=PLAIN AUTH=LOGIN",
        ),
    ],
)
def test_what_is_advertised(offers: tuple[str, ...], listed: str) -> None:
    run_front(
        front(*offers),
        f"""
        > connect tls
        S: * OK [CAPABILITY {listed}] sidegate ready
        C: a CAPABILITY
        S: * CAPABILITY {listed}
        S: a OK Capability completed
        """,
    )


def test_no_mechanism_is_advertised_in_the_clear() -> None:
    run_front(
        front("AUTH=PLAIN", "IDLE", starttls=True),
        """
        > connect clear
        S: * OK [CAPABILITY IMAP4rev1 SASL-IR ID IDLE STARTTLS LOGINDISABLED] sidegate ready
        """,
    )


def test_timed_out() -> None:
    run_front(
        IMPLICIT,
        GREETED
        + """
        > timeout
        S: * BYE Too slow to log in
        + close
        """,
    )
