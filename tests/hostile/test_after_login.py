"""Clients that are logged in and want to be somebody else, or want two servers to disagree (DESIGN section 8; threats
6, 7, 22, 23). The backend writes down every byte it is sent after a login.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.hostile.stand import ALICE, Stand, rest, together
from tests.peers.process import wait_until
from tests.support.talk import Talk

BARE_LF = b"550 5.5.2 Bare <LF> is not accepted\r\n"
BARE_CR = b"550 5.5.2 Bare <CR> or <NUL> is not accepted\r\n"


@pytest.fixture
def client(stand: Stand) -> Iterator[Talk]:
    """Logged in over SMTP; the backend's notes begin behind the login."""
    talk = stand.smtp_session(ALICE, stand.right)
    for notes in (stand.submission.heard, stand.submission.messages, stand.submission.unfinished):
        notes.clear()
    yield talk
    talk.close()


@pytest.mark.parametrize(
    "command",
    [
        "XCLIENT LOGIN=root",
        "xclient ADDR=127.0.0.1 LOGIN=canary",
        "XFORWARD ADDR=192.0.2.1",
        "AUTH PLAIN AGEAYg==",
        "auth login",
        "STARTTLS",
    ],
)
def test_what_would_make_it_somebody_else_stays_here(stand: Stand, client: Talk, command: str) -> None:
    assert client.smtp(command) == ["550 5.7.0 Not available after login"]
    assert client.smtp("NOOP") == ["250 2.1.0 Ok"]
    assert stand.submission.heard == [b"NOOP\r\n"]


def test_ehlo_lists_nothing_of_the_kind(stand: Stand, client: Talk) -> None:
    assert client.smtp("EHLO again") == ["250-backend", "250 SIZE 9"]


@pytest.mark.parametrize("pipelined", [False, True])
def test_behind_a_command_it_is_not_a_command_of_ours(stand: Stand, client: Talk, pipelined: bool) -> None:
    """In the message's text XCLIENT is text, whichever way it is sent."""
    parts = ["MAIL FROM:<alice@example.org>", "RCPT TO:<b@example.org>", "DATA"]
    message = b"Subject: x\r\n\r\nXCLIENT LOGIN=root\r\n..\r\n.\r\n"
    if pipelined:
        client.send("\r\n".join(parts).encode() + b"\r\n" + message)
        codes = [client.smtp()[0][:3] for _ in range(4)]
    else:
        codes = [client.smtp(part)[0][:3] for part in parts]
        client.send(message)
        codes.append(client.smtp()[0][:3])
    assert codes == ["250", "250", "354", "250"]
    assert stand.submission.messages == [message]


SMUGGLED = b"MAIL FROM:<root@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nsmuggled\r\n.\r\n"


def send_message(client: Talk, end: bytes) -> bytes:
    """Begin a message that `end` may end for some server, and go on as if it had; what was sent as the message."""
    for command in ("MAIL FROM:<alice@example.org>", "RCPT TO:<b@example.org>", "DATA"):
        client.smtp(command)
    message = b"Subject: one\r\n\r\ntext" + end + SMUGGLED
    client.send(message)
    return message


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n"])
def test_no_message_is_smuggled(stand: Stand, client: Talk, end: bytes) -> None:
    """Behind an end of message that servers differ about nothing goes out, nothing is delivered, and all is closed."""
    send_message(client, end)
    assert rest(client.socket) == BARE_LF
    wait_until(lambda: stand.submission.unfinished, "the backend's leg closed")
    assert stand.submission.messages == []
    assert not any(word in stand.submission.unfinished[0] for word in (b"smuggled", b"root"))


@pytest.mark.parametrize("end", [b"\r.\r", b"\n.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n..\r\n"])
def test_what_ends_a_message_nowhere_is_text(stand: Stand, client: Talk, end: bytes) -> None:
    message = send_message(client, end)
    assert client.smtp() == ["250 2.0.0 Ok: queued"]
    assert stand.submission.messages == [message]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"NOOP\nXCLIENT LOGIN=root\r\n", BARE_LF),
        (b"NOOP\rXCLIENT LOGIN=root\r\n", BARE_CR),
        (b"NOOP \0\r\n", BARE_CR),
        (b"NOOP " + b"x" * 3000, b"500 5.5.2 Line too long\r\n"),
        (b"BDAT 1e3\r\n", b"501 5.5.4 Syntax: BDAT size [LAST]\r\n"),
        (b"BDAT -5 LAST\r\n", b"501 5.5.4 Syntax: BDAT size [LAST]\r\n"),
        (b"BDAT 4294967301 LAST\r\nXCLIENT LOGIN=root\r\n", b"501 5.5.4 Syntax: BDAT size [LAST]\r\n"),
        (b"BDAT 5 LAST x\r\nXCLIENT LOGIN=root\r\n", b"501 5.5.4 Syntax: BDAT size [LAST]\r\n"),
        (b"GET / HTTP/1.1\r\n", b"421 4.7.0 This is an SMTP server\r\n"),
    ],
)
def test_lines_that_close(stand: Stand, client: Talk, sent: bytes, said: bytes) -> None:
    client.send(sent)
    assert rest(client.socket) == said
    assert stand.submission.heard == []


@pytest.mark.parametrize(
    "hello", ["a+0D+0AMAIL", "a\tb", "x LOGIN=root", "\x1b[31m", "a" * 8000, "=", '"', "[IPv6:::1] ADDR=127.0.0.1"]
)
def test_what_a_client_calls_itself_is_one_token_for_the_backend(stand: Stand, hello: str) -> None:
    """Threat 23: xtext, and one LOGIN which is the account's."""
    stand.smtp_session(ALICE, stand.right, hello=hello, source="127.0.8.1").close()
    line = stand.submission.xclient[-1]
    assert line.endswith(b"\r\n")
    assert line.count(b"\r") == line.count(b"\n") == 1
    attributes = dict(part.split(b"=", 1) for part in line.split()[1:])
    assert attributes[b"LOGIN"] == b"alice@example.org"
    assert attributes[b"ADDR"] == b"127.0.8.1"
    assert line.count(b"LOGIN=") == line.count(b"ADDR=") == 1
    assert len(line) < 2048


def test_commands_behind_an_imap_login_run_after_it(stand: Stand) -> None:
    talk = stand.talk("imap")
    stand.earn()
    talk.send(f'a LOGIN "{ALICE}" {stand.right}\r\nb SELECT INBOX\r\nc LOGIN root x\r\n')
    assert talk.until("a ")[-1].endswith("Logged in")
    assert talk.until("c ") == ["* ECHO SELECT INBOX", "b OK done", "* ECHO LOGIN root x", "c OK done"]
    talk.close()


def test_a_revoke_between_the_right_secret_and_the_ok_wins(stand: Stand) -> None:
    """A backend that takes its time: the session is known from the verdict on, so the cut finds it."""
    secret = stand.mint(ALICE, "in flight")
    over = threading.Event()
    script, stand.mail.script = stand.mail.script, lambda peer: over.wait(9)
    try:
        talk = stand.talk("imap")
        stand.earn()
        talk.send(f'a LOGIN "{ALICE}" {secret}')
        wait_until(lambda: stand.contacts() == stand.earned(), "the backend asked")
        done = stand.gate.cli("passwords", "revoke", ALICE, "in flight")
        assert done.returncode == 0, done.stderr
        assert talk.until("a ")[-1].startswith("a NO [")
        assert not over.is_set()
        assert talk.imap(f'LOGIN "{ALICE}" {secret}')[-1].startswith("t NO [AUTHENTICATIONFAILED]")
        talk.close()
    finally:
        over.set()
        stand.mail.script = script


def test_sessions_that_vanish_in_the_middle_are_gone(stand: Stand) -> None:
    before = len(stand.gate.json("sessions", "list"))

    def vanish(number: int) -> None:
        talk = stand.talk("imap", source="127.0.8.2")
        talk.send(f'a LOGIN "{ALICE}" {stand.right}')
        if number % 2:
            talk.until("a ")
        talk.socket.close()

    together([lambda number=number: vanish(number) for number in range(40)])
    wait_until(lambda: len(stand.gate.json("sessions", "list")) == before, "no session left behind")
    stand.earn(stand.contacts() - stand.earned())  # whoever left early may have been accepted, or not
