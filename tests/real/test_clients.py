"""Real mail programs: in with an app password, out with the account password (and what its owner reads), revoked."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.peers.dovecot import USERS
from tests.peers.process import wait_until
from tests.real.clients import READERS, SENDERS, Login, Outcome
from tests.real.conftest import Peers
from tests.real.test_strategies import imap
from tests.support.sidegate import PORTAL_URL, Sidegate

pytestmark = pytest.mark.real

NOT_ONE = f"Application-specific password required: {PORTAL_URL}"
NOT_ACCEPTED = f"App password not accepted: {PORTAL_URL}"
SHOWS_NOTHING = {"neomutt smtp"}
"""Programs that hide the server's words from their owner: only the failure is asserted."""


class Run:
    """Runs one program again and again, each time in an empty home."""

    def __init__(self, gate: Sidegate, tmp_path: Path, kind: str, name: str) -> None:
        self.gate, self.tmp_path, self.kind, self.name = gate, tmp_path, kind, name

    def __call__(self, secret: str, mark: str = "mark") -> Outcome:
        home = self.tmp_path / uuid.uuid4().hex
        home.mkdir()
        port = self.gate.ports["imap" if self.kind == "read" else "smtp", "implicit"]
        login = Login(port, self.gate.certificates.ca, "alice", secret, home)
        return READERS[self.name](login) if self.kind == "read" else SENDERS[self.name](login, mark)


@pytest.mark.parametrize(
    ("kind", "name"), [*(("read", name) for name in READERS), *(("send", name) for name in SENDERS)]
)
def test_client(gate: Sidegate, tmp_path: Path, kind: str, name: str) -> None:
    run = Run(gate, tmp_path, kind, name)
    app = f"{name} {uuid.uuid4().hex[:8]}"
    secret = gate.mint("alice@example.org", app)
    mark = uuid.uuid4().hex

    accepted = run(secret, mark)
    assert accepted.worked, accepted.seen
    if kind == "send":
        reader = imap(gate)
        bobs = gate.mint("bob@example.org", f"reader {mark}")
        assert reader.imap(f'LOGIN bob "{bobs}"')[-1].startswith("t OK ")
        reader.imap("SELECT INBOX")
        wait_until(lambda: reader.imap(f"SEARCH SUBJECT {mark}")[0].startswith("* SEARCH "), "the mail is delivered")
        reader.close()

    refused = run(USERS["alice"])
    assert not refused.worked, refused.seen
    if f"{name} {'smtp' if kind == 'send' else 'imap'}" not in SHOWS_NOTHING:
        assert NOT_ONE in refused.seen

    done = gate.json("passwords", "revoke", "alice@example.org", app)
    assert len(done["revoked"]) == 1
    revoked = run(secret)
    assert not revoked.worked, revoked.seen
    if f"{name} {'smtp' if kind == 'send' else 'imap'}" not in SHOWS_NOTHING:
        assert NOT_ACCEPTED in revoked.seen

    def row() -> dict[str, Any]:
        (found,) = [row for row in gate.json("passwords", "list", "alice@example.org") if row["name"] == app]
        return found

    wait_until(lambda: row()["last_used"], "the last use is written", 10)
    assert row()["last_used"]["protocol"] == ("imap" if kind == "read" else "smtp")
    assert row()["last_used"]["address"] == "127.0.0.1"
    assert row()["revoked"]


def test_a_revoke_ends_the_live_session_and_no_other(peers: Peers, gate: Sidegate) -> None:
    names = {
        app: gate.mint("alice@example.org", app) for app in (f"cut {uuid.uuid4().hex}", f"kept {uuid.uuid4().hex}")
    }
    (cut, kept), talks = names, {}
    for app, secret in names.items():
        talk = talks[app] = imap(gate)
        assert talk.imap(f'LOGIN alice "{secret}"')[-1].startswith("t OK ")
        talk.imap("SELECT INBOX")
        talk.send("i IDLE")
        assert talk.line() == "+ idling"
    answer = gate.json("passwords", "revoke", "alice@example.org", cut)
    assert answer["sessions_cut"] == 1
    assert talks[cut].line().startswith("* BYE ")
    assert talks[cut].closed()
    talks[kept].send("DONE")
    assert talks[kept].until("i ")[-1].startswith("i OK ")
    assert [row["app_password"] for row in gate.json("sessions", "list", "alice@example.org")] == [kept]
    assert peers.dovecot.log().count("Login: user=<alice>") >= 2
    talks[kept].close()
