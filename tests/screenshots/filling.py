"""A demo with a past: app passwords that programs use, used, and still try, and people who signed in from elsewhere.

Everything is done through the commands, the fronts and the pages; only then are some rows dated back.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.peers.process import wait_until
from tests.support.demo import Demo

PERSON = "alice@example.org"
PASSWORD = "alice-account-password"
SHARED = "press-and-public-affairs@example.org"
HOME, OFFICE, TRAIN, AWAY = "203.0.113.24", "198.51.100.7", "203.0.113.180", "192.0.2.201"
DAY = 86400.0
PUBLIC = {"imap": "imap.example.org:993", "smtp": "smtp.example.org:465", "ldap": "ldap.example.org:636"}


def serve_the_world(demo: Demo) -> None:
    """Believe a proxy in front about where clients come from, and name servers as a real site would: by a reload."""
    config = Path(demo.facts["config"])
    text = re.sub(
        r"(- \{protocol: )(\w+)(, tls: implicit.*?public: )\"[^\"]*\"\}",
        lambda found: f'{found[1]}{found[2]}{found[3]}"{PUBLIC[found[2]]}", proxy_protocol_from: [127.0.0.1]}}',
        config.read_text(),
        flags=re.DOTALL,
    )
    text = text.replace("portal:\n", "portal:\n  name: Example Mail\n  forwarded_from: [127.0.0.1]\n", 1)
    config.write_text(text)
    log = config.parent / "sidegate.log"
    for pid in demo.members():
        if b"proxy.demo.serve" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGHUP)
    wait_until(lambda: "configuration reloaded" in log.read_text(), "the reload", 60)


def sidegate(demo: Demo, *arguments: str, stdin: str = "") -> str:
    """Output of a command."""
    command = [sys.executable, "-m", "proxy", *arguments, "-c", demo.facts["config"]]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def mint(demo: Demo, name: str, *options: str, account: str = PERSON) -> str:
    """The secret of a new app password."""
    made: dict[str, Any] = json.loads(sidegate(demo, "passwords", "create", account, name, *options, "--json"))
    return str(made["secret"])


class Program:
    """A mail program somewhere; it stays connected until the stack closes."""

    def __init__(self, demo: Demo, address: str, name: str, version: str) -> None:
        sock = socket.create_connection(("127.0.0.1", demo.facts["imap"]["tls"]), 30)
        sock.sendall(f"PROXY TCP4 {address} 192.0.2.10 50123 993\r\n".encode())
        self._socket = demo.context.wrap_socket(sock, server_hostname="localhost")
        self._lines = self._socket.makefile("rb")
        self._lines.readline()
        self._ask(f'1 ID ("name" "{name}" "version" "{version}")')

    def log_in(self, secret: str) -> bool:
        return b" OK" in self._ask(f'2 LOGIN "{PERSON}" "{secret}"')

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def _ask(self, line: str) -> bytes:
        tag = line.split(" ", 1)[0].encode()
        self._socket.sendall(line.encode() + b"\r\n")
        while answer := self._lines.readline():
            if answer.startswith(tag + b" "):
                return answer
        return b""


def fill(demo: Demo, stay: ExitStack) -> None:
    """App passwords of PERSON, and programs that are connected until `stay` closes."""
    with store(demo) as c:  # the app passwords that a demo begins with
        c.execute("DELETE FROM app_passwords")
    sidegate(demo, "accounts", "add", SHARED, "--kind", "shared")
    sidegate(demo, "accounts", "members", SHARED, "--add", PERSON)

    def connect(secret: str, address: str, name: str, version: str) -> Program:
        program = Program(demo, address, name, version)
        assert program.log_in(secret), name
        return program

    phone = mint(demo, "iPhone, Mail")
    for address in (HOME, HOME):
        stay.callback(connect(phone, address, "iPhone Mail", "21E236").close)
    desk = mint(demo, "Thunderbird on the desktop", "--network", f"{OFFICE}/32")
    stay.callback(connect(desk, OFFICE, "Thunderbird", "128.5.0").close)
    tablet = mint(demo, "Tablet in the kitchen", "--scope", "imap", "--expires", "90d")
    connect(tablet, TRAIN, "K-9 Mail", "6.804").close()
    mint(demo, "Scanner next to the reception desk on the second floor", "--scope", "smtp", "--expires", "5d")
    mint(demo, "Outlook, work laptop", "--owner", PERSON, account=SHARED)
    old = mint(demo, "Old Nexus 5")
    connect(old, HOME, "K-9 Mail", "5.207").close()
    sidegate(demo, "passwords", "revoke", PERSON, "Old Nexus 5")
    lost = mint(demo, "Laptop that was stolen in Lisbon")
    sidegate(demo, "passwords", "revoke", PERSON, "Laptop that was stolen in Lisbon")
    assert lost
    for secret, address, name, version, tries in (
        (old, HOME, "K-9 Mail", "5.207", 4),
        (PASSWORD, OFFICE, "Thunderbird", "128.5.0", 2),
        (desk, TRAIN, "Thunderbird", "128.5.0", 1),
    ):
        for _ in range(tries):
            program = Program(demo, address, name, version)
            assert not program.log_in(secret)
            program.close()


@contextlib.contextmanager
def store(demo: Demo) -> Iterator[sqlite3.Connection]:
    c = sqlite3.connect(demo.directory / "sidegate.db", timeout=30)
    try:
        with c:
            yield c
    finally:
        c.close()


def date_back(demo: Demo) -> None:
    """What happened a minute ago becomes a year of somebody's mail."""
    ages = {  # days since: created, last used
        "iPhone, Mail": (212.0, 0.0),
        "Thunderbird on the desktop": (341.0, 0.02),
        "Tablet in the kitchen": (31.0, 3.0),
        "Scanner next to the reception desk on the second floor": (85.0, 0.0),
        "Outlook, work laptop": (120.0, 0.4),
        "Old Nexus 5": (702.0, 40.0),
        "Laptop that was stolen in Lisbon": (400.0, 160.0),
    }
    with store(demo) as c:
        for name, (created, used) in ages.items():
            c.execute(
                "UPDATE app_passwords SET created = created - ?, used_time = used_time - ?, "
                "ended = ended - ? WHERE name = ?",
                (created * DAY, used * DAY, 39 * DAY if name == "Old Nexus 5" else 158 * DAY, name),
            )
        c.execute(
            "UPDATE refusals SET first = first - ?, time = time - ?, count = count + 1413 WHERE reason = 'revoked'",
            (38 * DAY, 420.0),
        )
        told = [row[0] for row in c.execute("SELECT id FROM notices ORDER BY id DESC")]
        for age, one in enumerate(told):
            c.execute("UPDATE notices SET created = created - ? WHERE id = ?", ((0.2 + age**1.5) * DAY, one))
        c.execute("UPDATE refusals SET first = first - 600, time = time - 300 WHERE reason = 'not_app_password'")
        c.execute("UPDATE refusals SET time = time - ? WHERE reason = 'wrong_network'", (2 * DAY,))


def date_sign_ins_back(demo: Demo) -> None:
    """Each sign-in some days before the next; devices with them."""
    now = time.time()
    with store(demo) as c:
        ids = [row[0] for row in c.execute("SELECT id FROM sign_ins ORDER BY id DESC")]
        for age, one in enumerate(ids):
            if age:
                c.execute("UPDATE sign_ins SET time = ? WHERE id = ?", (now - age**1.7 * DAY, one))
        devices = [row[0] for row in c.execute("SELECT id FROM devices ORDER BY id DESC")]
        for age, one in enumerate(devices):
            c.execute(
                "UPDATE devices SET created = ?, seen = ? WHERE id = ?",
                (now - (age + 1) * 41 * DAY, now - (age * 6.0 * DAY), one),
            )
        c.execute("UPDATE factors SET created = created - ?", (64 * DAY,))
