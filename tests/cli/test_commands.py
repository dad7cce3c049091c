"""Commands that ask the core, end to end over a real admin.sock."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from typing import Any

import pytest

from proxy.admin import app_passwords
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Protocol
from proxy.domain.verdicts import Reason
from proxy.store import factors, history, people
from proxy.store.factors import NewFactor
from tests.admin.office import NOW, Office
from tests.cli.conftest import Shell

ACCOUNT_KEYS = ["id", "account", "kind", "login_names", "mfa", "enabled", "app_passwords", "factors", "last_sign_in"]
PASSWORD_KEYS = [
    "id",
    "account",
    "owner",
    "name",
    "scopes",
    "networks",
    "created",
    "expires",
    "last_used",
    "sessions",
    "revoked",
]
SESSION_KEYS = [
    "id",
    "account",
    "app_password",
    "protocol",
    "client",
    "backend",
    "started",
    "bytes_in",
    "bytes_out",
    "node",
]
AUDIT_KEYS = ["time", "event", "actor", "account", "app_password", "protocol", "network", "reason", "detail"]


def out(shell: Shell, *arguments: str, stdin: str | None = None) -> Any:
    """The JSON a command prints, which must succeed."""
    result = shell(*arguments, "--json", stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def alice(shell: Shell, office: Office) -> Office:
    assert shell("accounts", "add", "alice", "--alias", "al", "--name", "Alice").exit_code == 0
    return office


def test_json_shapes_are_the_contract(shell: Shell, alice: Office) -> None:
    (account,) = out(shell, "accounts", "list")
    assert list(account) == ACCOUNT_KEYS
    created = out(shell, "passwords", "create", "alice", "phone")
    assert list(created)[:4] == ["id", "account", "name", "secret"]
    assert re.fullmatch("([a-z]{4}-){4}[a-z]{4}", created["secret"])
    alice.connect("s1", created["id"])
    (listed,) = out(shell, "passwords", "list", "alice")
    assert list(listed) == PASSWORD_KEYS
    assert (listed["name"], listed["sessions"], listed["revoked"]) == ("phone", 1, None)
    (session,) = out(shell, "sessions", "list")
    assert list(session) == SESSION_KEYS
    assert session["client"] == "192.0.2.7:40000"
    assert out(shell, "passwords", "revoke", "alice", "phone") == {"revoked": [created["id"]], "sessions_cut": 1}
    assert out(shell, "passwords", "list")[0]["revoked"] is not None
    result = shell("audit", "--json")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["event"] for event in events] == ["account_added", "app_password_created", "app_password_revoked"]
    assert all(list(event) == AUDIT_KEYS for event in events)
    assert {event["actor"] for event in events} == {f"operator:{os.getuid()}"}


def test_create_puts_the_secret_alone_on_stdout(shell: Shell, alice: Office) -> None:
    result = shell("passwords", "create", "alice", "phone", "--scope", "imap", "--network", "192.0.2.0/24")
    assert result.exit_code == 0
    assert re.fullmatch("([a-z]{4}-){4}[a-z]{4}\n", result.stdout)
    assert "'phone' for alice@example.org: imap, from 192.0.2.0/24." in result.stderr
    assert result.stdout.strip() not in result.stderr


def test_rename_and_change_say_what_it_is_now(shell: Shell, alice: Office) -> None:
    phone = out(shell, "passwords", "create", "alice", "phone", "--scope", "imap,smtp,ldap")["id"]
    alice.connect("s1", phone)
    result = shell("passwords", "rename", "alice", "phone", "Alice's tablet")
    assert (result.exit_code, result.stderr) == (0, 'It is called "Alice\'s tablet" now.\n')
    (session,) = out(shell, "sessions", "list")
    assert session["app_password"] == "Alice's tablet"
    result = shell("passwords", "change", "alice", str(phone), "--scope", "imap,smtp", "--network", "192.0.2.0/24")
    said = '"Alice\'s tablet" for alice@example.org: imap, smtp, from 192.0.2.0/24; 1 session cut.\n'
    assert (result.exit_code, result.stderr) == (0, said)
    done = out(shell, "passwords", "change", "alice", str(phone), "--expires", "2100-01-01")
    assert list(done) == ["app_password", "sessions_cut"]
    assert list(done["app_password"]) == PASSWORD_KEYS
    assert (done["app_password"]["expires"], done["sessions_cut"]) == ("2100-01-01T00:00:00.000Z", 0)
    assert list(out(shell, "passwords", "rename", "alice", str(phone), "phone")) == PASSWORD_KEYS


def test_a_person_is_let_in_and_back_in(shell: Shell, alice: Office) -> None:
    link = shell("accounts", "set-password-link", "alice", "--expires", "12h")
    assert re.fullmatch(r"https://login\.example\.org/set-password/[A-Za-z0-9_-]{43}\n", link.stdout)
    assert "It works once and is shown only this once" in link.stderr
    code = shell("accounts", "enrolment-code", "alice")
    assert re.fullmatch("([a-z]{5}-){3}[a-z]{5}\n", code.stdout)
    assert "The person signs in at https://login.example.org and is asked for it." in code.stderr
    assert list(out(shell, "accounts", "enrolment-code", "alice")) == ["account", "code", "expires"]
    assert list(out(shell, "accounts", "set-password-link", "alice")) == ["account", "link", "expires"]

    assert shell("mfa", "enforce", "alice").exit_code == 0
    with alice.store.writing() as c:
        factors.add(c, 1, NewFactor(FactorKind.TOTP, "phone"), NOW)
    assert out(shell, "accounts", "list")[0]["factors"] == ["totp"]
    bypassed = shell("mfa", "bypass", "alice", "--minutes", "30")
    assert bypassed.stderr == "alice@example.org signs in without a second factor for 30 minutes.\n"
    assert "needs a second factor again" in shell("mfa", "bypass", "alice", "--minutes", "0").stderr
    assert list(out(shell, "mfa", "bypass", "alice", "--minutes", "1")) == ["account", "until"]

    with alice.store.writing() as c:
        people.change(c, 1, push_blocked=True, must_change=True)
    assert shell("mfa", "unblock", "alice").stderr == "alice@example.org is asked on their phone again.\n"
    assert shell("mfa", "unblock", "alice").stderr == "alice@example.org was not blocked.\n"
    assert out(shell, "mfa", "unblock", "alice") == {"account": "alice@example.org", "unblocked": False}

    reset = shell("mfa", "reset", "alice")
    assert (reset.exit_code, reset.stdout) == (0, "")
    assert "has no second factor any more (phone)" in reset.stderr
    assert "Next: sidegate accounts enrolment-code alice@example.org" in reset.stderr
    again = out(shell, "mfa", "reset", "alice")
    assert list(again) == ["account", "mfa", "factors", "devices", "sessions", "mint_after"]
    assert (again["mfa"], again["factors"]) == ("enabled", [])
    secrets = (link.stdout.strip().rpartition("/")[2], code.stdout.strip(), code.stdout.strip().replace("-", ""))
    audit = shell("audit", "--json").stdout
    assert not [secret for secret in secrets if secret in audit]


def test_scopes_may_be_given_both_ways(shell: Shell, alice: Office) -> None:
    created = out(shell, "passwords", "create", "alice", "a", "--scope", "smtp,imap", "--scope", "ldap")
    assert created["scopes"] == ["imap", "ldap", "smtp"]


def test_letters_for_everybody_who_has_a_second_factor_to_set_up(shell: Shell, alice: Office) -> None:
    for name in ("bob", "carol", "dave"):
        assert shell("accounts", "add", f"{name}@example.org").exit_code == 0
    assert shell("accounts", "add", "printer@example.org", "--kind", "service", "--owner", "alice").exit_code == 0
    assert shell("mfa", "enable", "bob", "carol").exit_code == 0
    dry = shell("accounts", "enrolment-code", "--pending", "--dry-run")
    assert dry.stderr == "2 codes would be made, for bob@example.org, carol@example.org.\n"
    letters = shell("accounts", "enrolment-code", "--pending", "--yes")
    head, *rows = (line.split(",") for line in letters.stdout.splitlines())
    assert head == ["account", "code", "expires", "portal"]
    assert [row[0] for row in rows] == ["bob@example.org", "carol@example.org"]
    assert all(re.fullmatch("([a-z]{5}-){3}[a-z]{5}", row[1]) for row in rows)
    assert rows[0][1] != rows[1][1]
    assert rows[0][3] == "https://login.example.org"
    (one,) = out(shell, "accounts", "enrolment-code", "--from-file", "-", stdin="# who is new\ndave\n")
    assert one["account"] == "dave@example.org"


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["passwords", "create", "alice", "x", "--network", "home"], 2, "not a network"),
        (["passwords", "create", "alice", "x", "--scope", "imap,ftp"], 2, "'ftp' is no scope"),
        (["passwords", "create", "alice", "x", "--expires", "soon"], 2, "neither a length of time"),
        (["passwords", "create", "alice"], 2, "Missing argument 'NAME'"),
        (["passwords", "create", "nobody", "x"], 1, "there is no account 'nobody'; `sidegate accounts list`"),
        (["passwords", "rename", "alice", "x", "y"], 1, "no live app password 'x'"),
        (["passwords", "change", "alice", "x"], 2, "Give --scope, --network or --expires"),
        (["passwords", "change", "alice", "x", "--scope", "imap"], 1, "no live app password 'x'"),
        (["passwords", "revoke", "alice"], 2, "Give ACCOUNT and names"),
        (["passwords", "revoke", "alice", "x", "--all"], 2, "Give ACCOUNT and names"),
        (["passwords", "revoke", "alice", "--unused-for", "9d"], 2, "Give ACCOUNT and names"),
        (["passwords", "revoke", "alice", "x"], 1, "no live app password 'x'"),
        (["passwords", "revoke", "alice", "--all", "--yes"], 1, "no live app password matches"),
        (["passwords", "revoke", "--unused-for", "9"], 2, "such as 90d"),
        (["accounts", "add", "alice"], 1, "'alice@example.org' is taken"),
        (["accounts", "add", "bob@elsewhere.org"], 1, "not in a domain served here"),
        (["accounts", "add", "bob", "--kind", "robot"], 2, "is not one of"),
        (["accounts", "show", "nobody"], 1, "no account"),
        (["accounts", "list", "--mfa", "maybe"], 2, "is not one of"),
        (["mfa", "enable"], 2, "Name accounts, or give --all, --group or --from-file"),
        (["mfa", "enable", "alice", "--all"], 2, "Name accounts, or give --all, --group or --from-file"),
        (["mfa", "enable", "--group", "staff", "--yes"], 1, "sidegate's own directory has no groups: name accounts"),
        (["mfa", "enable", "nobody"], 1, "nothing was changed: there is no account 'nobody'"),
        (["mfa", "bypass", "alice"], 2, "Missing option '--minutes'"),
        (["mfa", "bypass", "alice", "--minutes", "2000"], 2, "is not in the range 0<=x<=1440"),
        (["mfa", "bypass", "alice", "--minutes", "5"], 1, "signs in without a factor anyway"),
        (["mfa", "reset", "nobody"], 1, "there is no account 'nobody'"),
        (["accounts", "enrolment-code", "alice", "--expires", "soon"], 2, "neither a length of time"),
        (["accounts", "enrolment-code"], 2, "Name accounts, or give --pending or --from-file"),
        (["accounts", "enrolment-code", "alice", "--pending"], 2, "Name accounts, or give --pending or --from-file"),
        (["accounts", "enrolment-code", "--pending"], 1, "nobody has a second factor to set up"),
        (["accounts", "enrolment-code", "alice", "a.smith"], 1, "add --yes to go on"),
        (["accounts", "enrolment-code", "alice", "--expires", "1000d"], 1, "write at most 90d"),
        (["accounts", "set-password-link", "nobody"], 1, "there is no account 'nobody'"),
        (["sessions", "cut"], 2, "Give ACCOUNT, --app or --id"),
        (["sessions", "cut", "alice"], 1, "no live session matches"),
        (["why", "nobody"], 1, "no account"),
        (["audit", "--since", "yesterday"], 1, "neither a length of time"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_errors_say_what_is_wrong_on_stderr(
    shell: Shell, alice: Office, arguments: list[str], status: int, says: str
) -> None:
    result = shell(*arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_an_argument_that_is_no_text(shell: Shell, alice: Office) -> None:
    for arguments in (["accounts", "show", "al\udcffice"], ["passwords", "create", "alice", "\udcff"]):
        result = shell(*arguments)
        assert (result.exit_code, result.stderr) == (1, "sidegate: an argument is not valid UTF-8\n")


def test_a_socket_that_one_may_not_open(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    (shell.root / "admin.sock").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    result = shell("accounts", "list")
    assert (result.exit_code, "run this as root or as a member of its group" in result.stderr) == (1, True)


def test_audit_follows(shell: Shell, alice: Office) -> None:
    command = [sys.executable, "-m", "proxy", "-c", str(shell.config), "audit", "--follow", "--json", "--since", "1h"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline())["event"] == "account_added"
        shell("accounts", "disable", "alice")
        assert json.loads(follower.stdout.readline())["event"] == "account_disabled"
        follower.send_signal(signal.SIGINT)
        assert follower.wait(20) == 0


def test_audit_follows_until_the_core_stops(shell: Shell, alice: Office) -> None:
    alice.desk.stopping.set()
    result = shell("audit", "--follow", "--since", "1h")
    assert result.exit_code == 75
    assert result.stderr == "sidegate: the core stops; go on with --since once it runs again\n"


def test_audit_of_somebody_of_whom_there_is_nothing(shell: Shell, alice: Office) -> None:
    result = shell("audit", "--account", "nobody")
    assert (result.exit_code, result.output) == (0, "")


def test_account_commands(shell: Shell, alice: Office) -> None:
    out(shell, "accounts", "add", "bob", "--password-file", "-", stdin="correct horse\n")
    out(shell, "accounts", "add", "info", "--kind", "shared", "--member", "alice")
    assert out(shell, "accounts", "members", "info", "--add", "bob") == ["alice@example.org", "bob@example.org"]
    assert shell("accounts", "set-password", "alice", stdin="battery staple\n").exit_code == 0
    assert out(shell, "accounts", "disable", "bob") == {
        "account": "bob@example.org",
        "revoked": [],
        "sessions_cut": 0,
    }
    table = shell("accounts", "list").stdout
    assert "bob@example.org (disabled)" in table
    assert "al@example.org" in table
    assert out(shell, "accounts", "enable", "bob")["enabled"] is True
    assert "Alice" in shell("accounts", "show", "alice").stdout
    result = shell("accounts", "members", "info", "--remove", "bob")
    assert "bob is no member of info@example.org any more; 0 app passwords revoked, 0 sessions cut." in result.stderr
    assert "is removed" in shell("accounts", "remove", "bob").stderr
    assert [row["account"] for row in out(shell, "accounts", "list")] == ["alice@example.org", "info@example.org"]


def test_aliases(shell: Shell, alice: Office) -> None:
    new = "CN=Alice Hargreaves,DC=example"
    assert "al@example.org" in shell("accounts", "aliases", "alice").stdout
    assert out(shell, "accounts", "aliases", "al", "--add", new, "--add", "EX\\alice", "--remove", "al") == [
        "cn=alice hargreaves,dc=example",
        "ex\\alice",
    ]
    assert out(shell, "accounts", "aliases", new) == ["cn=alice hargreaves,dc=example", "ex\\alice"]
    result = shell("accounts", "aliases", "alice", "--remove", "al")
    assert (result.exit_code, "'al' is no login name of alice@example.org" in result.stderr) == (1, True)
    result = shell("accounts", "aliases", "alice", "--remove", new, "--remove", "EX\\alice")
    assert (result.stdout, result.stderr) == ("", "alice@example.org has no aliases.\n")


@pytest.mark.parametrize("password", ["", "two\nlines\n"])
def test_a_secret_is_one_line(shell: Shell, alice: Office, password: str) -> None:
    result = shell("accounts", "set-password", "alice", "--password-file", "-", stdin=password)
    assert (result.exit_code, result.stderr) == (1, "sidegate: a secret is one line, and not empty\n")


def test_import_asks_unless_told(shell: Shell, office: Office) -> None:
    file = shell.root / "people.csv"
    file.write_text("address\nalice\nbob\n")
    result = shell("accounts", "import", str(file), "--dry-run")
    assert result.stderr == "2 accounts would be added, 0 there already.\n"
    result = shell("accounts", "import", str(file))
    assert result.exit_code == 1
    assert "Add 2 accounts? Nobody can be asked here: add --yes" in result.stderr
    assert out(shell, "accounts", "list") == []
    assert out(shell, "accounts", "import", str(file), "--yes")["added"] == 2
    file.write_text("address\nc d\n")
    result = shell("accounts", "import", str(file), "--yes")
    assert result.exit_code == 1
    assert f"{file}:2: address: 'c d' cannot be an address" in result.stderr
    file.write_bytes(b"address\n\xe9\n")
    assert f"{file}:2: is not UTF-8" in shell("accounts", "import", str(file)).stderr


def test_mfa_in_bulk(shell: Shell, alice: Office) -> None:
    shell("accounts", "add", "bob")
    assert shell("mfa", "enable", "--all").exit_code == 1
    assert "2 accounts would be enabled, 0 were so already" in shell("mfa", "enable", "--all", "--dry-run").stderr
    assert shell("mfa", "enable", "--all", "--yes").exit_code == 0
    assert [row["mfa"] for row in out(shell, "accounts", "list")] == ["enabled", "enabled"]
    names = "# leavers\nbob\n\n"
    assert out(shell, "mfa", "disable", "--from-file", "-", "--yes", stdin=names)["changed"] == ["bob@example.org"]
    assert out(shell, "mfa", "enforce", "alice")["state"] == "enforced"


def test_revoking_in_bulk_asks_unless_told(shell: Shell, alice: Office) -> None:
    ids = [out(shell, "passwords", "create", "alice", name)["id"] for name in ("a", "b")]
    result = shell("passwords", "revoke", "alice", "--all")
    assert result.exit_code == 1
    assert "Revoke 2 app passwords?" in result.stderr
    result = shell("passwords", "revoke", "alice", "--all", "--dry-run")
    assert (result.exit_code, "2 app passwords would be revoked" in result.stderr) == (0, True)
    assert [row["id"] for row in out(shell, "passwords", "revoke", "alice", "a", "--dry-run")] == ids[:1]
    assert out(shell, "passwords", "revoke", "alice", "--all", "--yes") == {"revoked": ids, "sessions_cut": 0}


def test_revoking_the_unused(shell: Shell, alice: Office) -> None:
    idle = out(shell, "passwords", "create", "alice", "idle")["id"]
    alice.now += 200 * 86400
    out(shell, "passwords", "create", "alice", "young")
    assert out(shell, "passwords", "revoke", "--unused-for", "180d", "--yes")["revoked"] == [idle]


def test_why_tells_people(shell: Shell, alice: Office) -> None:
    assert "Nothing was refused for alice" in shell("why", "alice").stderr
    with alice.store.writing() as c:
        history.record(
            c, [history.RefusalRecord(1, NOW, Reason.NOT_APP_PASSWORD, Protocol.IMAP, "192.0.2.7/32", "Mutt")]
        )
    text = shell("why", "al").stdout
    assert "imap from 192.0.2.7/32 by Mutt" in text
    assert "most likely it was the account password (not_app_password)" in text
    assert "sidegate passwords create alice@example.org NAME" in text
    assert out(shell, "why", "alice")[0]["reason"] == "not_app_password"


def test_auth_test_reads_the_secret_from_stdin(shell: Shell, alice: Office) -> None:
    secret = shell("passwords", "create", "alice", "phone", "--network", "192.0.2.0/24").stdout
    result = shell("auth", "test", "alice", "--from", "192.0.2.7", stdin=secret)
    assert (result.exit_code, "accepted" in result.stdout) == (0, True)
    result = shell("auth", "test", "alice", stdin=secret)
    assert (result.exit_code, "refused (wrong_network)" in result.stdout) == (1, True)
    result = shell("auth", "test", "alice", "--protocol", "ldap", "--from", "192.0.2.7", stdin=secret)
    assert (result.exit_code, "refused (wrong_scope)" in result.stdout) == (1, True)
    result = shell("auth", "test", "alice", "--json", stdin="canary-password")
    assert (result.exit_code, json.loads(result.stdout)["reason"]) == (1, "not_app_password")
    assert "canary" not in result.output


def test_sessions_are_listed_and_cut(shell: Shell, alice: Office) -> None:
    assert shell("sessions", "list").stderr == "Nobody is logged in.\n"
    phone = out(shell, "passwords", "create", "alice", "phone")["id"]
    for name in ("s1", "s2", "s3"):
        alice.connect(name, phone)
    assert "Thunderbird" in shell("sessions", "list", "alice").stdout
    assert out(shell, "sessions", "cut", "--id", "s1") == {"sessions_cut": 1}
    assert shell("sessions", "cut", "--app", "phone").stderr == "2 sessions cut.\n"


def test_audit_verifies_and_shows_lines(shell: Shell, alice: Office) -> None:
    assert "The audit is whole" in shell("audit", "--verify").stderr
    (line,) = shell("audit", "--account", "alice").stdout.splitlines()
    assert line.endswith(f"account_added  alice@example.org  kind=person  by operator:{os.getuid()}")
    with alice.store.writing() as c:
        c.exec_driver_sql("UPDATE audit SET actor = 'nobody'")
    result = shell("audit", "--verify")
    assert (result.exit_code, "record 1: was changed" in result.stderr) == (1, True)


def test_control_characters_never_reach_a_terminal(shell: Shell, alice: Office) -> None:
    with alice.store.writing() as c:
        c.exec_driver_sql("UPDATE accounts SET display_name = 'x' || char(27) || '[2J' || char(8238)")
    text = shell("accounts", "show", "alice").stdout
    assert "x\\x1b[2J\\x202e" in text
    assert "\x1b" not in text


def test_a_store_that_is_away_is_75(shell: Shell, alice: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    from proxy.store.errors import StoreUnavailable

    async def away(*args: object, **more: object) -> None:
        raise StoreUnavailable("sidegate.db: the disk is full")

    monkeypatch.setattr(alice.threads, "write", away)
    result = shell("passwords", "create", "alice", "phone")
    assert (result.exit_code, result.stderr) == (75, "sidegate: sidegate.db: the disk is full\n")


def test_no_secret_is_printed_but_where_it_must(shell: Shell, alice: Office) -> None:
    secret = shell("passwords", "create", "alice", "phone").stdout.strip()
    letters = secret.replace("-", "")
    everything = "".join(
        shell(*command).output
        for command in (
            ["passwords", "list"],
            ["passwords", "list", "--json"],
            ["audit"],
            ["accounts", "show", "alice"],
        )
    )
    assert secret not in everything
    assert letters not in everything
    assert asyncio.run(app_passwords.listing(alice.desk))[0]["name"] == "phone"
