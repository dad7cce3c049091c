"""Apache httpd, unmodified, in front of its pages: searches as a service, binds as the person (mod_authnz_ldap)."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.peers.apache import Apache
from tests.peers.slapd import CHAT, CHAT_PASSWORD, PEOPLE, USERS
from tests.real.ldap.conftest import mint
from tests.support.sidegate import Sidegate

pytestmark = pytest.mark.real


@pytest.fixture
def apache(public_root: Path, gate: Sidegate) -> Iterator[Callable[..., Apache]]:
    with ExitStack() as stack:

        def start(*, cache: bool) -> Apache:
            server = Apache(
                Path(tempfile.mkdtemp(prefix="apache-", dir=public_root)),
                ldap=f"ldaps://127.0.0.1:{gate.ports['ldap', 'implicit']}",
                ca=gate.certificates.ca,
                base=PEOPLE,
                bind_dn=CHAT,
                password=CHAT_PASSWORD,
                cache=cache,
            )
            stack.callback(server.stop)
            return server

        yield start


def status(server: Apache, password: str, user: str = "alice") -> str:
    done = subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-u", f"{user}:{password}", server.url],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout


def test_in_with_an_app_password_only_and_only_until_the_revoke(apache: Callable[..., Apache], gate: Sidegate) -> None:
    server = apache(cache=False)
    secret = mint(gate)
    assert status(server, secret) == "200", server.server.text()
    assert status(server, USERS["alice"]) == "401"
    assert status(server, secret, "bob") == "401"
    gate.json("passwords", "revoke", "alice@example.org", "--all", "--yes")
    assert status(server, secret) == "401"


def test_its_cache_lets_a_revoked_one_in(apache: Callable[..., Apache], gate: Sidegate) -> None:
    """Why docs/backends/any-program.md says to turn it off."""
    server = apache(cache=True)
    secret = mint(gate)
    assert status(server, secret) == "200", server.server.text()
    gate.json("passwords", "revoke", "alice@example.org", "--all", "--yes")
    assert status(server, secret) == "200"
