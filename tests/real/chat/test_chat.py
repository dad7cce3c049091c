"""Prosody and ejabberd as Debian has them ask the directory about passwords, and throw out whom they are told to."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.chat.kick import CannotKick
from proxy.chat.kickers import make
from proxy.config.settings import EjabberdKick, OnRevoke, ProsodyKick
from proxy.domain.secret import Secret
from tests.backends.test_strategies import ALICE
from tests.peers.chat import HOST
from tests.peers.ejabberd import KICKER, KICKER_PASSWORD, Ejabberd
from tests.peers.prosody import Prosody
from tests.peers.xmpp import Xmpp
from tests.real.chat.conftest import Passwords
from tests.support.sidegate import Certificates

pytestmark = pytest.mark.real

Chat = Callable[[Prosody | Ejabberd, str, str], Xmpp]

CHAT_USER = f"{{local}}@{HOST}"
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


def test_in_with_a_password_and_with_no_other(server: Prosody | Ejabberd, passwords: Passwords, chat: Chat) -> None:
    alice, stranger = passwords.secret("alice"), passwords.secret("bob")
    assert chat(server, "alice", alice).state() == "in"
    assert chat(server, "alice", stranger).state() == "not-authorized"


def test_out_after_a_revoke(server: Prosody | Ejabberd, passwords: Passwords, chat: Chat) -> None:
    old = passwords.secret("alice")
    assert chat(server, "alice", old).state() == "in"
    passwords.revoke("alice")
    assert chat(server, "alice", old).state() == "not-authorized"
    assert chat(server, "alice", passwords.secret("alice")).state() == "in"


@pytest.fixture
def remembering(public_root: Path, certificates: Certificates, passwords: Passwords) -> Iterator[Ejabberd]:
    """ejabberd as it is without auth_use_cache: false."""
    started = Ejabberd(public_root / "remembering", certificates, passwords.directory, auth_use_cache=True)
    yield started
    started.stop()


def test_a_cache_lets_a_revoked_secret_in(
    remembering: Ejabberd, passwords: Passwords, certificates: Certificates, chat: Chat
) -> None:
    """Why docs/backends/ejabberd.md wants auth_use_cache: false. A kick does not help: the program comes back in."""
    old = passwords.secret("alice")
    first = chat(remembering, "alice", old)
    assert first.state() == "in"
    passwords.revoke("alice")
    assert kick(on_revoke(remembering, certificates.ca)) == 1
    assert first.state() == KICKED[Ejabberd]
    assert chat(remembering, "alice", old).state() == "in"


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
