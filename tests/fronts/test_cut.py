"""A cut ends exactly the sessions it names, whatever they are doing."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from proxy.link.messages import Ask, Cut, CutDone, Ended, Started
from tests.fronts.conftest import Rig
from tests.fronts.test_login import plain
from tests.support.fake_backend import Peer, imap_log_in, smtp_greet
from tests.support.fake_core import RIGHT, plain_login

BYE = b"* BYE Session ended by an administrator or the owner\r\n"


@pytest.fixture
def by_name(rig: Rig) -> Rig:
    """The app password's number is the number in the login name: user7 -> 7; the account's is that plus 100."""

    def decide(ask: Ask) -> object:
        number = int(ask.login_name.removeprefix("user"))
        return plain_login(ask.question, ask.session_id, app_password_id=number, account_id=number + 100)

    rig.core.decide = decide  # type: ignore[assignment]
    return rig


def log_in(rig: Rig, number: int) -> Peer:
    client = rig.tls("imaps")
    client.line()
    client.send(b"a1 LOGIN user%d %s\r\n" % (number, RIGHT.encode()))
    assert client.line().startswith(b"a1 OK")
    return client


def alive(client: Peer) -> bool:
    client.send(b"z NOOP\r\n")
    return client.until(b"z")[-1] == b"z OK done\r\n"


def done(rig: Rig, cut: int) -> CutDone:
    (found,) = rig.core.wait(CutDone, where=lambda message: getattr(message, "cut", 0) == cut)
    assert isinstance(found, CutDone)
    return found


def test_only_the_named_sessions_end_and_are_counted(by_name: Rig) -> None:
    rig = by_name
    sevens = [log_in(rig, 7), log_in(rig, 7)]
    eight, nine, ten = log_in(rig, 8), log_in(rig, 9), log_in(rig, 10)
    by_id = next(ask.session_id for ask in rig.core.of(Ask) if isinstance(ask, Ask) and ask.login_name == "user9")
    rig.core.send(Cut(1, [7], [108], [by_id]))
    for client in (*sevens, eight, nine):
        assert client.rest() == BYE
    assert done(rig, 1) == CutDone(1, 4)
    assert alive(ten)
    rig.core.send(Cut(2, [7], [108], [by_id]))
    assert done(rig, 2) == CutDone(2, 0)
    assert len(rig.core.of(Ended)) == 4


def test_many_sessions_are_cut_together(by_name: Rig) -> None:
    clients = [log_in(by_name, 7) for _ in range(50)]
    start = time.monotonic()
    by_name.core.send(Cut(1, [7], [], []))
    assert done(by_name, 1) == CutDone(1, 50)
    assert time.monotonic() - start < 1
    assert all(client.rest() == BYE for client in clients)


def test_in_the_middle_of_a_line_there_is_no_bye(rig: Rig) -> None:
    def script(peer: Peer) -> None:
        imap_log_in(peer)
        peer.send(b"* 1 FETCH (BODY[] {1000}\r\nhalf a mess")
        peer.rest()

    rig.imap.script = script
    client = rig.log_in()
    assert client.read(36) == b"* 1 FETCH (BODY[] {1000}\r\nhalf a mess"[:36]
    rig.core.send(Cut(1, [7], [], []))
    assert b"BYE" not in client.rest()


def test_a_blocked_client_is_cut_without_a_word(rig: Rig) -> None:
    def script(peer: Peer) -> None:
        imap_log_in(peer)
        peer.send((b"x" * 78 + b"\r\n") * 100_000)

    rig.imap.script = script
    client = rig.log_in(size=4096)
    time.sleep(0.3)
    rig.core.send(Cut(1, [7], [], []))
    assert done(rig, 1) == CutDone(1, 1)
    assert b"BYE" not in client.rest()


def test_after_compress_there_is_no_bye(rig: Rig) -> None:
    client = rig.log_in()
    client.send(b"b1 COMPRESS DEFLATE\r\n")
    client.until(b"b1")
    rig.core.send(Cut(1, [7], [], []))
    assert client.rest() == b""
    assert done(rig, 1) == CutDone(1, 1)


def test_nothing_of_the_client_passes_after_a_cut(rig: Rig) -> None:
    heard = threading.Event()

    def script(peer: Peer) -> None:
        imap_log_in(peer)
        rig.imap.heard.append(peer.rest())
        heard.set()

    rig.imap.script = script
    client = rig.log_in()
    rig.core.send(Cut(1, [7], [], []))
    done(rig, 1)
    with contextlib.suppress(OSError):
        client.send(b"b1 DELETE everything\r\n")
    assert heard.wait(5)
    assert rig.imap.heard == [b""]


@pytest.mark.parametrize("revoked", [True, False])
def test_a_login_in_flight_does_not_survive(rig: Rig, revoked: bool) -> None:
    asked, answer = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.send(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\r\n")
        peer.line()
        asked.set()
        answer.wait(10)
        peer.send(b"* ID NIL\r\n")
        rig.imap.heard.append(peer.rest())

    rig.imap.script = script
    client = rig.tls("imaps")
    client.line()
    client.send(b"a1 LOGIN alice %s\r\n" % RIGHT.encode())
    assert asked.wait(5)
    rig.core.send(Cut(1, [7], [], [], revoked))
    assert done(rig, 1) == CutDone(1, 0)  # it was never live
    answer.set()
    # Clients forget an app password that they are told is wrong.
    code = b"AUTHENTICATIONFAILED" if revoked else b"UNAVAILABLE"
    assert client.until(b"a1 ")[-1].startswith(b"a1 NO [" + code + b"]")
    (ended,) = rig.core.wait(Ended)
    assert isinstance(ended, Ended)
    assert ended.why == ("revoked" if revoked else "cut")
    assert rig.core.of(Started) == []


def test_a_cut_right_behind_the_verdict(rig: Rig) -> None:
    """Accept and Cut in one segment: the session is indexed before the backend is contacted, so the cut finds it."""
    from proxy.link.messages import encode

    def decide(ask: Ask) -> object:
        class Both:
            """What the fake core writes is what encode() gives."""

        both = Both()
        both.data = encode(plain_login(ask.question, ask.session_id)) + encode(Cut(1, [7], [], []))  # type: ignore[attr-defined]
        return both

    import tests.support.fake_core as fake_core

    original = fake_core.encode
    fake_core.encode = lambda message: getattr(message, "data", None) or original(message)  # type: ignore[assignment]
    try:
        rig.core.decide = decide  # type: ignore[assignment]
        client = rig.tls("imaps")
        client.line()
        client.send(b"a1 LOGIN alice %s\r\n" % RIGHT.encode())
        assert client.until(b"a1 ")[-1].startswith(b"a1 NO ")
        assert done(rig, 1) == CutDone(1, 0)
    finally:
        fake_core.encode = original
    assert rig.core.of(Started) == []


# ---- SMTP ------------------------------------------------------------------------------------


class Submission:
    """A backend that takes messages; `stop` decides how far it goes."""

    def __init__(self, rig: Rig) -> None:
        self.received = b""
        self.dot = threading.Event()
        self.gone = threading.Event()
        self.answer_after = 0.0
        rig.smtp.script = self.script

    def script(self, peer: Peer) -> None:
        smtp_greet(peer)
        while line := peer.line():
            verb = line[:4].upper()
            if verb == b"DATA":
                peer.send(b"354 go on\r\n")
                while (line := peer.line()) not in (b".\r\n", b""):
                    self.received += line
                if not line:
                    break
                self.dot.set()
                time.sleep(self.answer_after)
                peer.send(b"250 2.0.0 Ok: queued as 1\r\n")
            elif verb == b"QUIT":
                peer.send(b"221 2.0.0 Bye\r\n")
                break
            else:
                peer.send(b"250 2.1.0 Ok\r\n")
        self.gone.set()


def submit(rig: Rig) -> Peer:
    client = rig.tls("smtps")
    client.line()
    client.send(b"EHLO me\r\n")
    client.until(b"250 ")
    client.send(b"AUTH PLAIN " + plain("alice", RIGHT) + b"\r\n")
    assert client.line().startswith(b"235 ")
    return client


def in_data(client: Peer) -> None:
    for command in (b"MAIL FROM:<a@example.test>\r\n", b"RCPT TO:<b@example.test>\r\n", b"DATA\r\n"):
        client.send(command)
        client.line()


def test_smtp_between_commands_says_421(rig: Rig) -> None:
    Submission(rig)
    client = submit(rig)
    rig.core.send(Cut(1, [7], [], []))
    assert client.rest() == b"421 4.7.0 Session ended by an administrator or the owner\r\n"
    assert done(rig, 1) == CutDone(1, 1)


def test_smtp_in_data_delivers_nothing(rig: Rig) -> None:
    backend = Submission(rig)
    client = submit(rig)
    in_data(client)
    client.send(b"Subject: half\r\n\r\nbody\r\n")
    rig.wait_for(lambda: b"body" in backend.received)
    rig.core.send(Cut(1, [7], [], []))
    assert done(rig, 1) == CutDone(1, 1)
    client.rest()
    assert backend.gone.wait(5)
    assert not backend.dot.is_set()


def test_smtp_after_the_dot_waits_for_the_answer(rig: Rig) -> None:
    backend = Submission(rig)
    backend.answer_after = 0.2
    client = submit(rig)
    in_data(client)
    client.send(b"Subject: whole\r\n\r\nbody\r\n.\r\n")
    assert backend.dot.wait(5)
    rig.core.send(Cut(1, [7], [], []))
    assert client.rest() == (
        b"250 2.0.0 Ok: queued as 1\r\n421 4.7.0 Session ended by an administrator or the owner\r\n"
    )
    assert done(rig, 1) == CutDone(1, 1)
    (ended,) = rig.core.wait(Ended)
    assert isinstance(ended, Ended)
    assert (ended.messages, ended.recipients) == (1, 1)


def test_smtp_after_the_dot_waits_no_longer_than_half_a_second(rig: Rig) -> None:
    backend = Submission(rig)
    backend.answer_after = 3.0
    client = submit(rig)
    in_data(client)
    client.send(b"Subject: whole\r\n\r\nbody\r\n.\r\n")
    assert backend.dot.wait(5)
    start = time.monotonic()
    rig.core.send(Cut(1, [7], [], []))
    assert done(rig, 1) == CutDone(1, 1)
    assert 0.4 < time.monotonic() - start < 0.95
    assert client.rest() == b"421 4.7.0 Session ended by an administrator or the owner\r\n"


def test_smtp_nothing_the_client_ran_ahead_with_passes_after_a_cut(rig: Rig) -> None:
    """The first message's reply is waited for; the replies behind it must not let a second message out."""
    heard = threading.Event()
    answer = threading.Event()

    def script(peer: Peer) -> None:
        smtp_greet(peer)
        for _ in range(2):
            peer.send(b"250 2.1.0 Ok\r\n" * bool(peer.line()))
        peer.send(b"354 go on\r\n" * bool(peer.line()))
        peer.until(b"DATA")  # the first message, and what of the second goes out unasked
        answer.wait(5)
        peer.send(b"250 2.0.0 Ok: queued as 1\r\n250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 go on\r\n")
        rig.smtp.heard.append(peer.rest())
        heard.set()

    rig.smtp.script = script
    client = submit(rig)
    in_data(client)
    client.send(b"first\r\n.\r\nMAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.test>\r\nDATA\r\nSECOND\r\n.\r\n")
    rig.wait_for(lambda: rig.core.of(Started))
    time.sleep(0.2)  # the backend has it all
    rig.core.send(Cut(1, [7], [], []))
    answer.set()
    assert done(rig, 1) == CutDone(1, 1)
    assert heard.wait(5)
    assert rig.smtp.heard == [b""]
    assert client.rest().startswith(b"250 2.0.0 Ok: queued as 1\r\n")
    (ended,) = rig.core.wait(Ended)
    assert isinstance(ended, Ended)
    assert (ended.messages, ended.recipients) == (1, 1)


def test_smtp_a_backend_that_closed_without_an_answer_is_not_waited_for(rig: Rig) -> None:
    """The second that the client then gets to take its last bytes is no wait for a reply."""
    closed = threading.Event()

    def script(peer: Peer) -> None:
        smtp_greet(peer)
        for _ in range(2):
            peer.send(b"250 2.1.0 Ok\r\n" * bool(peer.line()))
        peer.send(b"354 go on\r\n" * bool(peer.line()))
        peer.until(b".\r\n")
        peer.close()
        closed.set()

    rig.smtp.script = script
    client = submit(rig)
    in_data(client)
    client.send(b"first\r\n.\r\n")
    assert closed.wait(5)
    time.sleep(0.05)
    start = time.monotonic()
    rig.core.send(Cut(1, [7], [], []))
    assert done(rig, 1) == CutDone(1, 1)
    assert time.monotonic() - start < 0.5
