"""From the client's first byte to the relay: what client, core and backend each see."""

from __future__ import annotations

import base64
import re
import socket
import time
from collections.abc import Callable

import pytest

from proxy.link.messages import Ask, BackendNews, Ended, LimitSetting, Refuse, Started
from tests.fronts.conftest import Rig
from tests.support.fake_backend import (
    IMAP_GREETING,
    Peer,
    imap_echo,
    imap_log_in,
    smtp_greet,
)
from tests.support.fake_core import RIGHT, plain_login

UNAVAILABLE = b"a1 NO [UNAVAILABLE] Temporary authentication failure\r\n"


def plain(name: str, secret: str) -> bytes:
    return base64.b64encode(f"\0{name}\0{secret}".encode())


def test_imap_login_is_asked_accepted_relayed_and_ended(rig: Rig) -> None:
    client = rig.log_in()
    client.send(b"b2 NOOP\r\n")
    assert client.line() == b"* ECHO NOOP\r\n"
    assert client.line() == b"b2 OK done\r\n"
    client.send(b"c3 LOGOUT\r\n")
    assert client.rest() == b"* BYE Logging out\r\nc3 OK Logout completed.\r\n"

    (ask,) = rig.core.wait(Ask)
    assert isinstance(ask, Ask)
    assert (ask.front, ask.protocol, ask.login_name, ask.authzid, ask.secret) == ("imaps", "imap", "alice", "", RIGHT)
    assert ask.address == "127.0.0.1"
    assert ask.local_port == rig.ports["imaps"]
    assert ask.tls == "TLSv1.3"
    assert re.fullmatch("[A-Za-z0-9]{16}", ask.session_id)
    (started,) = rig.core.wait(Started)
    assert started == Started(ask.session_id, rig.imap.address, None)
    (ended,) = rig.core.wait(Ended)
    assert isinstance(ended, Ended)
    assert (ended.session_id, ended.fault) == (ask.session_id, None)
    assert (ended.bytes_in, ended.bytes_out) == (len("b2 NOOP\r\nc3 LOGOUT\r\n"), 69)


def test_client_hears_ok_only_after_the_backend_said_it(rig: Rig) -> None:
    def slow(peer: Peer) -> None:
        peer.send(IMAP_GREETING)
        peer.line()
        peer.line()
        time.sleep(0.5)
        peer.send(b"x BAD what\r\n")

    rig.imap.script = slow
    client = rig.tls("imaps")
    client.line()
    client.send(b"a1 LOGIN alice " + RIGHT.encode() + b"\r\n")
    assert client.line() == UNAVAILABLE
    assert rig.core.of(Started) == []


def test_commands_behind_the_login_reach_the_backend_in_order(rig: Rig) -> None:
    client = rig.tls("imaps")
    client.line()
    client.send(b"a1 LOGIN alice " + RIGHT.encode() + b"\r\nb2 SELECT INBOX\r\nb3 NOOP\r\n")
    assert client.line().startswith(b"a1 OK")
    assert [client.line() for _ in range(4)] == [
        b"* ECHO SELECT INBOX\r\n",
        b"b2 OK done\r\n",
        b"* ECHO NOOP\r\n",
        b"b3 OK done\r\n",
    ]


def test_what_the_backend_says_behind_its_ok_reaches_the_client(rig: Rig) -> None:
    def eager(peer: Peer) -> None:
        peer.send(IMAP_GREETING)
        while line := peer.line():
            tag, verb = line.split()[:2]
            if verb.upper() in (b"AUTHENTICATE", b"LOGIN"):
                peer.send(tag + b" OK [CAPABILITY IMAP4rev1] in\r\n* 3 EXISTS\r\n")
                break
            peer.send(b"* ID NIL\r\n" + tag + b" OK done\r\n")
        peer.line()

    rig.imap.script = eager
    client = rig.tls("imaps")
    client.line()
    client.send(b"a1 LOGIN alice " + RIGHT.encode() + b"\r\n")
    assert client.line().startswith(b"a1 OK")
    assert client.line() == b"* 3 EXISTS\r\n"


@pytest.mark.parametrize("front", ["imap", "smtp"])
def test_byte_by_byte_over_starttls(rig: Rig, front: str) -> None:
    def script(peer: Peer) -> None:
        smtp_greet(peer)
        peer.rest()

    rig.smtp.script = script
    client = rig.raw(front)
    client.line()
    commands = {
        "imap": [(b"a0 STARTTLS\r\n", b"a0 OK")],
        "smtp": [(b"EHLO me\r\n", b"250 "), (b"STARTTLS\r\n", b"220 ")],
    }[front]
    for command, answer in commands:
        for byte in command:
            client.send(bytes([byte]))
        client.until(answer)
    client.start_tls(rig.client_context(), server_side=False, server_hostname="mail.example.test")
    login = {
        "imap": [(b"a1 AUTHENTICATE PLAIN " + plain("alice", RIGHT) + b"\r\n", b"a1 OK")],
        "smtp": [(b"EHLO me\r\n", b"250 "), (b"AUTH PLAIN " + plain("alice", RIGHT) + b"\r\n", b"235 ")],
    }[front]
    for command, answer in login:
        for byte in command:
            client.send(bytes([byte]))
        client.until(answer)
    rig.core.wait(Started)


@pytest.mark.parametrize("front", ["imap", "smtp"])
def test_no_byte_behind_starttls_is_ever_executed(rig: Rig, front: str) -> None:
    first = b"a0 STARTTLS\r\n" if front == "imap" else b"STARTTLS\r\n"
    injected = first + (b"a1 NOOP\r\n" if front == "imap" else b"NOOP\r\n")
    for split in range(len(first) + 1, len(injected) + 1):
        client = rig.raw(front)
        client.line()
        if front == "smtp":
            client.send(b"EHLO me\r\n")
            client.until(b"250 ")
        # The last segment that holds STARTTLS also holds something behind it.
        client.send(injected[:split])
        client.send(injected[split:])
        said = client.rest()
        assert b"a0 OK" not in said
        assert b"220 " not in said
        assert b"a1 OK" not in said
        client.close()
    for split in range(1, len(first)):
        client = rig.raw(front)
        client.line()
        if front == "smtp":
            client.send(b"EHLO me\r\n")
            client.until(b"250 ")
        client.send(first[:split])
        time.sleep(0.01)
        client.send(injected[split:])
        said = client.rest()
        assert b"a0 OK" not in said
        assert b"220 " not in said
        client.close()
    assert rig.core.of(Ask) == []


def test_plaintext_sent_after_starttls_was_answered_breaks_the_handshake(rig: Rig) -> None:
    client = rig.raw("imap")
    client.line()
    client.send(b"a0 STARTTLS\r\n")
    client.until(b"a0 OK")
    client.send(b"a1 NOOP\r\n")
    assert client.rest() == b""


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (lambda peer: None, "connect"),
        (lambda peer: peer.send(b"* PREAUTH hello\r\n"), "protocol"),
        (lambda peer: (peer.send(b"* BYE go away\r\n"), peer.line()), None),
        (lambda peer: peer.line(), "connect"),
        (lambda peer: (peer.send(b"\0\xff rubbish\r\n"), peer.line()), "protocol"),
    ],
    ids=["closes", "preauth", "bye", "silent", "rubbish"],
)
def test_a_useless_backend_is_the_temporary_reply_and_a_fault_for_the_core(
    rig: Rig, script: Callable[[Peer], None], fault: str | None
) -> None:
    rig.imap.script = script
    client = rig.tls("imaps")
    client.line()
    client.send(b"a1 LOGIN alice " + RIGHT.encode() + b"\r\n")
    assert client.line() == UNAVAILABLE
    (ended,) = rig.core.wait(Ended)
    assert isinstance(ended, Ended)
    assert ended.fault is not None
    assert fault is None or ended.fault == fault
    assert ended.detail
    assert not rig.logged("level=error")  # the core writes the one line of this attempt
    client.send(b"a2 NOOP\r\n")
    assert client.until(b"a2")[-1].startswith(b"a2 OK")  # the connection may try again
    rig.imap.script = imap_echo
    client.send(b"a3 LOGIN alice " + RIGHT.encode() + b"\r\n")
    assert client.until(b"a3")[-1].startswith(b"a3 OK")
    asks = rig.core.of(Ask)
    assert len({ask.session_id for ask in asks if isinstance(ask, Ask)}) == 2


def test_a_backend_that_refuses_the_connection(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.imap.close()
    client = rig.tls("imaps")
    client.line()
    client.send(b"a1 LOGIN alice " + RIGHT.encode() + b"\r\n")
    assert client.line() == UNAVAILABLE
    (ended,) = rig.core.wait(Ended)
    assert isinstance(ended, Ended)
    assert ended.fault == "connect"
    assert "refused" in ended.detail


def test_the_second_address_is_tried_when_the_first_is_dead(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    dead = socket.socket()
    dead.bind(("127.0.0.1", 0))  # not listening: refuses
    settings = rig.core.welcome
    settings.backends[0].addresses = [f"127.0.0.1:{dead.getsockname()[1]}", f"localhost:{rig.imap.port}"]
    rig.core.stop()
    rig.core.start()
    rig.core.wait(BackendNews, where=lambda news: "localhost" in getattr(news, "address", ""))
    client = rig.log_in()
    client.close()
    (started,) = rig.core.wait(Started)
    assert isinstance(started, Started)
    assert started.backend == f"localhost:{rig.imap.port}"
    dead.close()


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_backend_tls_is_spoken_and_verified(make_rig: Callable[..., Rig], tls: str) -> None:
    rig = make_rig(backend_tls=tls)

    def script(peer: Peer) -> None:
        if tls == "starttls":
            peer.send(b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] hi\r\n")
            while True:
                line = peer.line()
                tag, verb = line.split()[:2]
                if verb.upper() == b"STARTTLS":
                    peer.send(tag + b" OK begin\r\n")
                    break
                peer.send(b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\n" + tag + b" OK\r\n")
        peer.start_tls(rig.certificates.backend, server_side=True)
        if tls == "starttls":
            peer.send = _without_greeting(peer)  # type: ignore[method-assign]
        imap_echo(peer)

    rig.imap.script = script
    client = rig.log_in()
    client.send(b"b2 NOOP\r\n")
    assert client.line() == b"* ECHO NOOP\r\n"
    assert client.line() == b"b2 OK done\r\n"
    client.send(b"c3 LOGOUT\r\n")
    assert client.rest() == b"* BYE Logging out\r\nc3 OK Logout completed.\r\n"


def _without_greeting(peer: Peer) -> Callable[[bytes], None]:
    def send(data: bytes) -> None:
        if data != IMAP_GREETING:
            peer.sock.sendall(data)

    return send


def test_a_backend_with_another_name_in_its_certificate_gets_no_credential(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(backend_tls="implicit", server_name="wrong.example.test")
    heard = []

    def script(peer: Peer) -> None:
        peer.start_tls(rig.certificates.backend, server_side=True)
        heard.append(peer.line())

    rig.imap.script = script
    client = rig.tls("imaps")
    client.line()
    client.send(b"a1 LOGIN alice " + RIGHT.encode() + b"\r\n")
    assert client.line() == UNAVAILABLE
    (ended,) = rig.core.wait(Ended)
    assert isinstance(ended, Ended)
    assert "certificate verify failed" in ended.detail
    assert heard == []


def test_proxy_v2_goes_to_the_backend_first(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(client_address="proxy_v2")
    headers = []

    def script(peer: Peer) -> None:
        headers.append(peer.read(28))
        imap_echo(peer)

    rig.imap.script = script
    client = rig.log_in()
    port = client.sock.getsockname()[1]
    client.close()
    assert headers[-1] == (
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
        + socket.inet_aton("127.0.0.1") * 2
        + port.to_bytes(2, "big")
        + rig.ports["imaps"].to_bytes(2, "big")
    )


def test_a_probe_of_a_proxy_v2_backend_speaks_for_itself(make_rig: Callable[..., Rig]) -> None:
    """LOCAL: without any header such a backend answers no probe at all."""
    headers = []

    def script(peer: Peer) -> None:
        headers.append(peer.read(16))
        smtp_greet(peer)

    rig = make_rig(smtp_client_address="proxy_v2", smtp_script=script)
    (news,) = rig.core.wait(BackendNews, where=lambda m: getattr(m, "backend", "") == "submission")
    assert isinstance(news, BackendNews)
    assert news.ok
    assert headers == [b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0"]


def test_a_client_that_leaves_during_the_backend_login_leaves_nothing_behind(rig: Rig) -> None:
    rig.imap.script = lambda peer: (peer.line(), peer.rest())
    client = rig.tls("imaps")
    client.line()
    client.send(b"a1 LOGIN alice " + RIGHT.encode() + b"\r\n")
    rig.core.wait(Ask)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    (ended,) = rig.core.wait(Ended)
    assert isinstance(ended, Ended)
    assert rig.core.of(Started) == []


def test_two_logins_at_once_do_not_mix(rig: Rig) -> None:
    def decide(ask: Ask) -> object:
        answer = plain_login(ask.question, ask.session_id)
        answer.login.authcid = ask.login_name
        return answer

    rig.core.decide = decide  # type: ignore[assignment]

    def script(peer: Peer) -> None:
        line = imap_log_in(peer)
        name = base64.b64decode(line.split()[-1]).split(b"\0")[1] if b"LOGIN" not in line else line.split()[2]
        peer.send(b"* YOU " + name.strip(b'"') + b"\r\n")
        peer.rest()

    rig.imap.script = script
    clients = []
    for number in range(20):
        client = rig.tls("imaps")
        client.line()
        client.send(b"a1 LOGIN user%d %s\r\n" % (number, RIGHT.encode()))
        clients.append(client)
    for number, client in enumerate(clients):
        assert client.line().startswith(b"a1 OK")
        assert client.line() == b"* YOU user%d\r\n" % number


def test_a_probe_changes_what_the_greeting_lists(make_rig: Callable[..., Rig], limits: LimitSetting) -> None:
    limits.probe_interval = 0.1
    rig = make_rig(limits=limits)

    def greets(word: bytes) -> bool:
        client = rig.tls("imaps")
        greeting = client.line()
        client.close()
        return word in greeting

    rig.wait_for(lambda: greets(b" IDLE"))
    assert not greets(b" MOVE")

    def script(peer: Peer) -> None:
        peer.send(IMAP_GREETING.replace(b" IDLE", b" MOVE"))
        while line := peer.line():
            tag = line.split()[0]
            peer.send(b"* CAPABILITY IMAP4rev1 SASL-IR ID ENABLE MOVE LITERAL+ AUTH=PLAIN\r\n" + tag + b" OK\r\n")

    rig.imap.script = script
    rig.wait_for(lambda: greets(b" MOVE"))


def test_an_unreachable_backend_does_not_delay_ready(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(smtp_script=lambda peer: None)  # closes at once; make_rig returns after `ready`
    (news,) = rig.core.wait(BackendNews, where=lambda news: getattr(news, "backend", "") == "submission")
    assert isinstance(news, BackendNews)
    assert not news.ok
    client = rig.tls("smtps")
    assert client.line().startswith(b"220 ")


def test_refused_by_the_core(rig: Rig) -> None:
    rig.core.decide = lambda ask: Refuse(ask.question, "revoked")
    client = rig.tls("imaps")
    client.line()
    client.send(b"a1 LOGIN alice " + RIGHT.encode() + b"\r\n")
    text = b"App password not accepted: https://login.example.test"
    assert client.line() == b"* OK [ALERT] " + text + b"\r\n"
    assert client.line() == b"a1 NO [AUTHENTICATIONFAILED] " + text + b"\r\n"
    client.send(b"a2 LOGOUT\r\n")
    assert b"a2 OK" in client.rest()
    assert all(isinstance(peer, Peer) for peer in rig.imap.connections)
    assert rig.core.of(Ended) == []


def test_smtp_with_xclient(rig: Rig) -> None:
    from proxy.link.messages import Accept, LoginSetting

    rig.core.decide = lambda ask: Accept(
        ask.question, ask.session_id, 3, 7, 1, LoginSetting("xclient", "", "alice@example.test", "")
    )
    seen = []

    def script(peer: Peer) -> None:
        smtp_greet(peer)
        seen.append(peer.xclient)  # type: ignore[attr-defined]
        while line := peer.line():
            peer.send(b"250 2.0.0 Ok\r\n" if line[:4] != b"QUIT" else b"221 2.0.0 Bye\r\n")

    rig.smtp.script = script
    client = rig.tls("smtps")
    client.line()
    client.send(b"EHLO laptop\r\n")
    client.until(b"250 ")
    client.send(b"AUTH PLAIN " + plain("alice", RIGHT) + b"\r\n")
    assert client.line() == b"235 2.7.0 Authentication successful\r\n"
    client.send(b"XCLIENT LOGIN=bob\r\n")
    assert client.line().startswith(b"550 5.7.0 ")
    client.send(b"QUIT\r\n")
    assert client.rest() == b"221 2.0.0 Bye\r\n"
    assert b"LOGIN=alice+40example.test" in seen[0] or b"LOGIN=alice@example.test" in seen[0]
    assert b"ADDR=127.0.0.1" in seen[0]
