"""Each login strategy against the real server, with the client's address in the backend's log."""

from __future__ import annotations

import uuid

import pytest

from tests.peers.process import wait_until
from tests.real.conftest import Peers
from tests.support.sidegate import Sidegate
from tests.support.talk import Talk, plain

pytestmark = pytest.mark.real

CLIENT = "127.0.0.9"
"""Where the client of these tests comes from; the proxy itself is 127.0.0.1 to the backend."""


def imap(gate: Sidegate, source: str = CLIENT) -> Talk:
    talk = Talk(gate.ports["imap", "implicit"], gate.certificates.ca, source=source)
    assert talk.line().startswith("* OK [CAPABILITY ")
    return talk


def smtp(gate: Sidegate, source: str = CLIENT) -> Talk:
    talk = Talk(gate.ports["smtp", "implicit"], gate.certificates.ca, source=source)
    assert talk.smtp()[0].startswith("220 ")
    assert talk.smtp("EHLO laptop.example")[-1].startswith("250 ")
    return talk


@pytest.mark.parametrize(
    "strategy",
    [
        "imap master_user authzid",
        "imap master_user separator",
        "imap master_user implicit",
        "imap master_user starttls",
        "imap dovecot_token",
        "imap static",
    ],
)
def test_imap(peers: Peers, strategy: str) -> None:
    gate = peers.sidegate(imap=strategy)
    secret = gate.mint("alice@example.org", f"test {uuid.uuid4()}")
    talk = imap(gate)
    answer = talk.imap(f'LOGIN alice "{secret}"')
    assert answer[-1].startswith("t OK [CAPABILITY IMAP4rev1 ")
    assert talk.imap("SELECT INBOX")[-1].startswith("t OK ")
    session = gate.json("sessions", "list", "alice@example.org")[-1]
    log = peers.dovecot.server.wait_for_log(f"session=<{session['id']}>")
    line = next(line for line in log.splitlines() if f"session=<{session['id']}>" in line)
    assert "Login: user=<alice>" in line
    assert f"rip={CLIENT}," in line
    talk.imap("LOGOUT")
    wait_until(lambda: session["id"] not in [row["id"] for row in gate.json("sessions", "list")], "the session is over")


@pytest.mark.parametrize(
    ("strategy", "address_known", "method"),
    [
        ("smtp xclient", True, "XCLIENT"),
        ("smtp xclient starttls", True, "XCLIENT"),
        ("smtp master_user", True, "PLAIN"),
        ("smtp master_user starttls", False, "PLAIN"),
        ("smtp dovecot_token", True, "OAUTHBEARER"),
        ("smtp static", False, "PLAIN"),
    ],
)
def test_smtp(peers: Peers, strategy: str, address_known: bool, method: str) -> None:
    gate = peers.sidegate(smtp=strategy)
    secret = gate.mint("alice@example.org", f"test {uuid.uuid4()}")
    talk = smtp(gate)
    assert talk.smtp(f"AUTH PLAIN {plain('alice', secret)}")[0].startswith("235 ")
    assert talk.smtp("MAIL FROM:<alice@example.org>") == ["250 2.1.0 Ok"]
    assert talk.smtp("RCPT TO:<bob@example.org>") == ["250 2.1.5 Ok"]
    assert talk.smtp("DATA")[0].startswith("354 ")
    mark = uuid.uuid4().hex
    talk.send(f"Subject: {mark}\r\n\r\nhello\r\n.\r\n".encode())
    queued = talk.smtp()[0]
    assert queued.startswith("250 2.0.0 Ok: queued as ")
    log = peers.postfix.server.wait_for_log(f"{queued.rpartition(' ')[2]}: client=")
    line = next(line for line in log.splitlines() if f"{queued.rpartition(' ')[2]}: client=" in line)
    assert f"sasl_method={method}, sasl_username=alice" in line
    assert (f"[{CLIENT}]" in line) == address_known
    assert talk.smtp("QUIT")[0].startswith("221 ")


@pytest.mark.parametrize("strategy", ["smtp xclient", "smtp master_user", "smtp dovecot_token"])
def test_the_backend_holds_the_sender_to_the_account(peers: Peers, strategy: str) -> None:
    gate = peers.sidegate(smtp=strategy)
    secret = gate.mint("alice@example.org", f"test {uuid.uuid4()}")
    talk = smtp(gate)
    assert talk.smtp(f"AUTH PLAIN {plain('alice', secret)}")[0].startswith("235 ")
    assert talk.smtp("MAIL FROM:<bob@example.org>")[0].startswith("250 ")
    assert talk.smtp("RCPT TO:<alice@example.org>")[0].startswith("553 5.7.1 ")


def test_a_client_cannot_speak_xclient_through_us(peers: Peers) -> None:
    """The client sits in the network that the backend trusts for XCLIENT, which is the dangerous place (threat 22)."""
    gate = peers.sidegate(smtp="smtp xclient")
    secret = gate.mint("alice@example.org", f"test {uuid.uuid4()}")
    talk = smtp(gate, source="127.0.0.1")
    assert talk.smtp(f"AUTH PLAIN {plain('alice', secret)}")[0].startswith("235 ")
    assert talk.smtp("XCLIENT LOGIN=bob")[0].startswith("550 5.7.0 ")
    assert "XCLIENT" not in " ".join(talk.smtp("EHLO laptop.example"))
    assert talk.smtp("MAIL FROM:<bob@example.org>")[0].startswith("250 ")
    assert talk.smtp("RCPT TO:<alice@example.org>")[0].startswith("553 5.7.1 ")


@pytest.mark.parametrize("strategy", ["imap dovecot_token", "imap master_user authzid"])
def test_an_account_that_the_backend_does_not_know_is_our_error_not_the_persons(peers: Peers, strategy: str) -> None:
    gate = peers.sidegate(imap=strategy)
    address = f"ghost{uuid.uuid4().hex[:8]}@example.org"
    gate.add_account(address)
    secret = gate.mint(address, "Phone")
    talk = imap(gate)
    if strategy == "imap dovecot_token":
        # userdb static knows everybody, and the token is the only passdb asked: docs/backends/dovecot.md says so
        assert talk.imap(f'LOGIN {address} "{secret}"')[-1].startswith("t OK ")
        return
    assert talk.imap(f'LOGIN {address} "{secret}"')[-1] == "t NO [UNAVAILABLE] Temporary authentication failure"
    wait_until(lambda: address in gate.log() and "backend_unknown_account" in gate.log(), "our error names it")


def test_a_wrong_credential_of_ours_is_the_temporary_reply_and_an_error_that_names_it(peers: Peers) -> None:
    bad = dict(peers.strategies["imap master_user authzid"])
    password = peers.root / "wrong-password"
    password.write_text("not it")
    password.chmod(0o600)
    bad["login"] = {**bad["login"], "password_file": str(password)}
    peers.strategies["imap wrong"] = bad
    gate = peers.sidegate(imap="imap wrong")
    secret = gate.mint("alice@example.org", "Phone")
    talk = imap(gate)
    assert talk.imap(f'LOGIN alice "{secret}"')[-1] == "t NO [UNAVAILABLE] Temporary authentication failure"
    wait_until(lambda: "backend_refused_us" in gate.log(), "the error in our log")
    assert "not it" not in gate.log()
