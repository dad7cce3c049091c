"""Prosody and ejabberd as Debian has them ask the directory about passwords, and throw out whom they are told to."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.chat.kick import CannotKick
from proxy.chat.kickers import make
from proxy.config.settings import EjabberdKick, OnRevoke, ProsodyKick
from proxy.domain.secret import Secret
from tests.backends.test_strategies import ALICE
from tests.peers.ejabberd import KICKER, KICKER_PASSWORD, Ejabberd
from tests.peers.process import wait_until
from tests.peers.prosody import Prosody
from tests.peers.slapd import CHAT, EJABBERD, USERS
from tests.peers.xmpp import Xmpp
from tests.real.chat.conftest import CHAT_USER, Passwords
from tests.support.sidegate import Certificates, Sidegate

pytestmark = pytest.mark.real

Chat = Callable[[Prosody | Ejabberd, str, str], Xmpp]

KICKED = {Prosody: "kicked reset", Ejabberd: "kicked policy-violation"}
"""How each ends a stream, as the program behind it sees it."""


def on_revoke(server: Prosody | Ejabberd, ca: Path) -> ProsodyKick | EjabberdKick:
    if isinstance(server, Prosody):
        return ProsodyKick(server.admin_socket, CHAT_USER)
    return EjabberdKick(server.api, CHAT_USER, user=KICKER, password=Secret(KICKER_PASSWORD), ca=ca)


def kick(settings: OnRevoke, address: str = "alice@example.org") -> int | None:
    async def main() -> int | None:
        return await make(settings)(replace(ALICE, address=address))

    return asyncio.run(main())


# ---- who gets in -----------------------------------------------------------------------------------


def test_in_with_an_app_password_and_with_nothing_else(
    server: Prosody | Ejabberd, passwords: Passwords, gate: Sidegate, chat: Chat
) -> None:
    assert chat(server, "alice", passwords.secret("alice")).state() == "in"
    assert chat(server, "alice", USERS["alice"]).state() == "not-authorized"
    assert chat(server, "alice", passwords.secret("bob")).state() == "not-authorized"
    mail = gate.mint("alice@example.org", f"mail {uuid.uuid4()}")
    assert chat(server, "alice", mail).state() == "not-authorized"


def test_a_revoke_throws_out_and_keeps_out(server: Prosody | Ejabberd, passwords: Passwords, chat: Chat) -> None:
    old = passwords.secret("alice")
    first, bob = chat(server, "alice", old), chat(server, "bob", passwords.secret("bob"))
    assert [first.state(), bob.state()] == ["in", "in"]
    said = passwords.revoke("alice")
    assert ", 1 chat user kicked." in said, said
    assert f"{CHAT}: chat sessions of this service cannot be cut from here." in said
    assert first.state() == KICKED[type(server)]
    assert chat(server, "alice", old).state() == "not-authorized"
    assert chat(server, "alice", passwords.secret("alice")).state() == "in"
    assert bob.state(0.2) == "still"


def test_whoever_is_disabled_is_thrown_out(
    server: Prosody | Ejabberd, passwords: Passwords, gate: Sidegate, chat: Chat
) -> None:
    secret = passwords.secret("alice")
    program = chat(server, "alice", secret)
    assert program.state() == "in"
    try:
        assert ", 1 chat user kicked." in gate.cli("accounts", "disable", "alice@example.org").stderr
        assert program.state() == KICKED[type(server)]
        assert chat(server, "alice", secret).state() == "not-authorized"
    finally:
        gate.cli("accounts", "enable", "alice@example.org")
        passwords.told()
    assert chat(server, "bob", passwords.secret("bob")).state() == "in"
    assert chat(server, "alice", secret).state() == "in"


def test_a_cache_lets_a_revoked_secret_in(remembering: Ejabberd, passwords: Passwords, chat: Chat) -> None:
    """Why docs/backends/ejabberd.md wants auth_use_cache: false."""
    old = passwords.secret("alice")
    assert chat(remembering, "alice", old).state() == "in"
    passwords.revoke("alice")
    assert chat(remembering, "alice", old).state() == "in"
    assert chat(remembering, "bob", old).state() == "not-authorized"


def test_a_chat_server_that_cannot_be_told(
    ejabberd: Ejabberd, passwords: Passwords, gate: Sidegate, chat: Chat
) -> None:
    """The revoke is done, and says what is left."""
    secret = passwords.secret("alice")
    program = chat(ejabberd, "alice", secret)
    assert program.state() == "in"
    os.kill(ejabberd.server.process.pid, signal.SIGSTOP)
    try:
        said = passwords.revoke("alice")
        assert f"{EJABBERD}: ejabberd at {ejabberd.api[:-4]} did not answer within 5 s; see its log." in said
    finally:
        os.kill(ejabberd.server.process.pid, signal.SIGCONT)
    assert program.state() == KICKED[Ejabberd]  # told again when it can be
    wait_until(lambda: "chat_kick_failed" in gate.cli("audit", "--json").stdout, "the record")


# ---- who is thrown out -----------------------------------------------------------------------------


def test_a_kick_ends_every_session_of_one_person(
    server: Prosody | Ejabberd, passwords: Passwords, certificates: Certificates, chat: Chat
) -> None:
    settings = on_revoke(server, certificates.ca)
    phone, desk = (chat(server, "alice", passwords.secret("alice")) for _ in range(2))
    bob = chat(server, "bob", passwords.secret("bob"))
    assert [one.state() for one in (phone, desk, bob)] == ["in"] * 3
    began = time.monotonic()
    assert kick(settings) == 1
    assert [phone.state(), desk.state()] == [KICKED[type(server)]] * 2
    assert time.monotonic() - began < 5
    assert bob.state(0.2) == "still"
    assert kick(settings) == 0
    assert kick(settings, "nobody@example.org") == 0


def test_ejabberd_by_token_and_by_address(
    ejabberd: Ejabberd, passwords: Passwords, certificates: Certificates, chat: Chat
) -> None:
    by_token = EjabberdKick(ejabberd.api, CHAT_USER, token=Secret(ejabberd.token), ca=certificates.ca)
    by_address = EjabberdKick(ejabberd.open_api, CHAT_USER, ca=certificates.ca)
    for settings in (by_token, by_address):
        program = chat(ejabberd, "alice", passwords.secret("alice"))
        assert program.state() == "in"
        assert kick(settings) == 1
        assert program.state() == KICKED[Ejabberd]


def test_ejabberd_refusing(ejabberd: Ejabberd, certificates: Certificates) -> None:
    settings = on_revoke(ejabberd, certificates.ca)
    assert isinstance(settings, EjabberdKick)
    for wrong, words in (
        (replace(settings, password=Secret("wrong")), "does not accept our password or token (401)"),
        (replace(settings, user="", password=None, token=Secret("wrong")), "does not accept our password or token (4"),
        (replace(settings, user="", password=None), "does not let us kick (403)"),
        (replace(settings, url=ejabberd.api.replace("/api", "/")), "has no kick_user at url (404)"),
        (replace(settings, ca=None), "has no certificate to trust"),
    ):
        with pytest.raises(CannotKick, match=f"^ejabberd at https://127.0.0.1:{ejabberd.api_port} ") as caught:
            kick(wrong)
        assert words in str(caught.value)


def test_prosodys_group_may_use_its_socket(prosody: Prosody) -> None:
    """What `umask` in docs/backends/prosody.md is for: with Prosody's own, 027, only Prosody could."""
    status = prosody.admin_socket.stat()
    assert stat.S_IMODE(status.st_mode) == 0o770
