"""How long the portal takes for a page, and what a page weighs.

A whole sidegate, asked over HTTP by a person who has 40 app passwords, one page after the other.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path

from bench.measure import machine
from tests.peers.process import free_ports
from tests.portal.site import elements
from tests.support.person import Person
from tests.support.sidegate import Certificates, Sidegate

LOADED = (("link", "href"), ("script", "src"), ("img", "src"))
APP_PASSWORDS = 40
PASSWORD = "the account password of alice"
FOR_STRANGERS = ("/", "/sign-in", "/sign-in/passkey")
PATHS = (
    "/challenge",
    "/app-passwords",
    "/app-passwords/new",
    "/sessions",
    "/factors",
    "/factors/add/totp",
    "/devices",
    "/history",
    "/account-password",
)


def results(rounds: int) -> str:
    """The text that goes into docs/performance.md. A page is asked for ten times a round."""
    root = Path(tempfile.mkdtemp(prefix="sidegate-bench-"))
    root.chmod(0o755)
    (port,) = free_ports(1)
    url = f"http://localhost:{port}"
    portal = {"url": url, "listen": f"127.0.0.1:{port}", "trusted_networks": ["127.0.0.1/32"]}
    login = {"strategy": "dovecot_token", "issuer": "sidegate", "client_id": "sidegate"}
    mail = {"protocol": "imap", "address": "127.0.0.1:9", "tls": "none", "username": "{local}", "login": login}
    gate = Sidegate(root, Certificates(root / "tls"), {"mail": mail}, extra={"portal": portal})
    try:
        gate.start()
        gate.add_account("alice@example.org")
        gate.cli("accounts", "set-password", "alice", "--password-file", "-", stdin=PASSWORD)
        gate.cli("mfa", "enable", "alice")
        alice = Person(port, url)
        alice.sign_in("alice", PASSWORD)
        alice.enrol()
        for number in range(APP_PASSWORDS - 1):
            alice.mint(f"Mail on my computer number {number}")
        stranger = Person(port, url)
        asked = [*((stranger, path) for path in FOR_STRANGERS), *((alice, path) for path in PATHS)]
        lines = [_line(who, path, 10 * rounds) for who, path in asked]
        alice.close()
        stranger.close()
    finally:
        gate.stop()
        shutil.rmtree(root, ignore_errors=True)
    head = "| page | median ms | 95 % within ms | KB with all that it loads |\n|---|---|---|---|\n"
    return f"{machine()}.\n{10 * rounds} requests for each page, one after the other.\n\n{head}{''.join(lines)}"


def _line(person: Person, path: str, times: int) -> str:
    page = person.get(path)
    if page.status_code != 200:
        raise SystemExit(f"{path}: {page.status_code} {page.headers.get('location', '')}")
    loaded = {one[name] for tag, name in LOADED for one in elements(page, tag) if one.get(name)}
    size = len(page.content) + sum(len(person.get(str(one)).content) for one in loaded)
    took = []
    for _ in range(times):
        began = time.perf_counter()
        person.get(path)
        took.append(1000 * (time.perf_counter() - began))
    slow = statistics.quantiles(took, n=20)[-1]
    return f"| `{path}` | {statistics.median(took):.1f} | {slow:.1f} | {size / 1000:.0f} |\n"
