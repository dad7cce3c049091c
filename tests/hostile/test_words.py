"""What is written down about hostile clients: no secret, no byte of theirs raw (DESIGN section 8; threats 46, 47)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.stand import ACCOUNT_PASSWORD, ALICE, MASTER_PASSWORD, Stand, b64, shaped, together
from tests.peers.process import wait_until
from tests.support.sidegate import Certificates
from tests.support.talk import plain

BOB = "bob@example.org"
EVIL = [
    "\x1b]0;evil\x07",
    "\x1b[2J\x1b[31mevil",
    'evil" level=error event="login accepted" user=<root@example.org>',
    "evil\u202egpj.exe",
    "evil\u2066\u2028\u2029\u200b\ufeff",
    "evil\x9b31m\x85",
    "evil=x\\",
    "evil " + "é" * 600,
    "<evil>",
]
"""For names, EHLO and ID. Line ends cannot be sent in a name; in a literal and in SASL they can."""
LINES = ["evil\r\nlevel=critical event=forged", "evil\nlevel=critical event=forged", "evil\0nul"]
CANARY_NAME = "canary-typed-into-the-name-field"
TYPED_SECRET = "canary secret with spaces"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Stand]:
    """A stand after everything below was tried on it."""
    stand = Stand(tmp_path_factory.mktemp("words"), certificates, limits={"shaped_per_network": 900})
    stand.secrets += [TYPED_SECRET, CANARY_NAME]
    done = stand.gate.cli("accounts", "add", BOB, "--password-file", "-", stdin=ACCOUNT_PASSWORD)
    assert done.returncode == 0, done.stderr
    jobs = [lambda name=name: stand.refusal("imap", name, shaped(1)) for name in EVIL + LINES]
    jobs += [lambda name=name: stand.refusal("smtp", name, TYPED_SECRET) for name in EVIL + LINES]
    jobs += [lambda p=p: stand.refusal(p, BOB, ACCOUNT_PASSWORD) for p in ("imap", "smtp")]
    jobs += [lambda p=p: stand.refusal(p, CANARY_NAME, ACCOUNT_PASSWORD) for p in ("imap", "smtp")]
    jobs += [lambda p=p: stand.refusal(p, stand.right, "alice") for p in ("imap", "smtp")]
    jobs += [lambda p=p: stand.refusal(p, stand.right, stand.right) for p in ("imap", "smtp")]
    jobs += [lambda word=word: introduce(stand, word) for word in EVIL]
    jobs += [lambda: clear(stand), lambda: mistakes(stand)]
    together(jobs)
    stand.imap(ALICE, stand.right).close()
    gone = stand.mint(ALICE, "gone")
    session = stand.imap(ALICE, gone)
    assert stand.gate.cli("passwords", "revoke", ALICE, "gone").returncode == 0
    session.close()
    stand.refusal("imap", ALICE, gone)
    wait_until(lambda: "reason=not_app_password_name" in stand.gate.log(), "the counted refusals in the log")
    wait_until(lambda: "reason=tls_required" in stand.gate.log(), "the refusals in the clear in the log")
    yield stand
    stand.stop()


def introduce(stand: Stand, word: str) -> None:
    """Name oneself so, log in, and do the same in the clear."""
    smtp = stand.smtp_session(ALICE, stand.right, hello=word)
    smtp.smtp(f"MAIL FROM:<{word}>")
    smtp.close()
    for after in (False, True):
        imap = stand.talk("imap")
        raw = word.encode()
        if after:
            stand.earn()
            imap.imap(f'LOGIN "{ALICE}" {stand.right}')
        imap.send(b't ID ("name" {%d+}\r\n%b "version" {%d+}\r\n%b)\r\n' % (len(raw), raw, len(raw), raw))
        imap.until("t ")
        if not after:
            imap.imap(f'LOGIN "{ALICE}" {shaped(2)}')
        imap.close()


def clear(stand: Stand) -> None:
    imap = stand.talk("imap", "starttls")
    imap.imap(f"LOGIN {ALICE} {stand.right}")
    imap.close()
    smtp = stand.talk("smtp", "starttls")
    smtp.smtp("EHLO x")
    smtp.smtp(f"AUTH PLAIN {plain(ALICE, stand.right)}")
    smtp.smtp(f"AUTH {stand.right}")
    smtp.close()


def mistakes(stand: Stand) -> None:
    """Secrets where no secret belongs."""
    imap = stand.talk("imap")
    for line in (f"{stand.right} LOGIN alice", f"t {stand.right}", f"t AUTHENTICATE {stand.right}"):
        imap.send(line)
        imap.line()
    imap.close()
    smtp = stand.talk("smtp")
    smtp.smtp(f"EHLO {stand.right[:9]}")
    for line in (
        f"AUTH {stand.right}",
        stand.right,
        f"AUTH LOGIN {b64(stand.right.encode())}",
        b64(TYPED_SECRET.encode()),
    ):
        smtp.smtp(line)
    smtp.close()


# ---- the log ---------------------------------------------------------------------------------

VALUE = r'(?:"(?:[^"\\]|\\.)*"|<(?:"(?:[^"\\]|\\.)*"|[^\s"]*)>|[^\s"=]*)'
LOGFMT = re.compile(rf"time=\S+Z level=(?:debug|info|warning|error) logger=\w+ event={VALUE}(?: \w+={VALUE})*")


def log_lines(stand: Stand) -> list[str]:
    return [line for line in stand.gate.log().split("\n") if line]


def test_every_line_is_logfmt_of_ours(written: Stand) -> None:
    lines = log_lines(written)
    assert [line for line in lines if not LOGFMT.fullmatch(line)] == ["ready"]
    assert max(len(line.encode()) for line in lines) < 4096


def test_no_byte_of_a_client_is_raw(written: Stand) -> None:
    log = (written.gate.root / "serve.log").read_bytes()
    assert re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", log) is None
    text = log.decode()  # strict: it is UTF-8
    assert re.search("[\x80-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]", text) is None
    assert "forged" not in text
    assert "user=<root" not in text


def fields(line: str) -> dict[str, str]:
    return {key: value.strip('"') for key, value in re.findall(rf"(\w+)=({VALUE})", line)}


def test_login_lines_name_the_session_and_accounts_that_exist(written: Stand) -> None:
    kinds = ("login accepted", "login refused", "session ended")
    lines = [fields(line) for line in log_lines(written) if any(f'event="{kind}"' in line for kind in kinds)]
    assert {line["event"] for line in lines} == set(kinds)
    for line in lines:
        assert re.fullmatch(r"<[A-Za-z0-9]{16}>", line["session"]), line
        assert line["protocol"] in ("imap", "smtp")
        assert line["rip"].startswith("127.0.")
        if line["user"] == "<?>":
            assert line["event"] == "login refused"
            assert re.fullmatch(r"[0-9a-f]{12}", line.get("fingerprint", "0" * 12))
        else:
            assert line["user"].strip("<>") in (ALICE, BOB, "canary@example.org")
        if line["event"] != "session ended":
            assert line["method"] in ("PLAIN", "LOGIN", "login", "?"), line
    accepted = [line for line in lines if line["event"] == "login accepted"]
    assert {line["app_password"] for line in accepted} == {"laptop", "canary", "gone"}
    assert all(line["TLS"].startswith("TLSv1.") and line["lport"] and line["backend"] for line in accepted)


def test_programs_are_printable(written: Stand) -> None:
    """In log, sessions, `passwords list` and audit: what a program calls itself, without its tricks."""
    programs = {fields(line).get("program", "") for line in log_lines(written)}

    def last_uses() -> list[dict[str, str | None]]:
        rows = written.gate.json("passwords", "list", ALICE)
        return [row["last_used"] for row in rows if row["name"] == "laptop" and row["last_used"] is not None]

    wait_until(last_uses, "the last use, which is written in batches")
    programs.add(last_uses()[0]["program"] or "")
    assert any("evil" in program for program in programs)
    for program in programs:
        assert re.fullmatch(r"[\x20-\x7e]{0,128}", program), program
        assert not re.search(r'["\\<>]', program), program


# ---- secrets ---------------------------------------------------------------------------------


def traces(stand: Stand) -> list[bytes]:
    """Every spelling in which a secret could have been written down."""
    found = []
    for secret in stand.secrets:
        found += [secret, b64(secret.encode()), secret.replace("-", ""), plain(ALICE, secret), secret.upper()]
    return [spelling.encode() for spelling in found]


def assert_no_secret(stand: Stand, where: str, content: bytes) -> None:
    leaked = [trace for trace in traces(stand) if trace in content]
    assert not leaked, f"{where}: {leaked}"


def test_the_canary_would_be_seen(written: Stand) -> None:
    """The search itself finds what it looks for."""
    with pytest.raises(AssertionError):
        assert_no_secret(written, "here", b"x" + written.right.replace("-", "").encode() + b"y")


TOLD = [("audit", "--json"), ("audit",), ("why", ALICE), ("why", BOB), ("sessions", "list"), ("passwords", "list")]
TOLD += [("accounts", "list"), ("config", "show"), ("doctor",)]


def test_no_secret_in_the_log_or_on_a_terminal(written: Stand) -> None:
    assert_no_secret(written, "log", (written.gate.root / "serve.log").read_bytes())
    for command in TOLD:
        done = written.gate.cli(*command)
        assert done.returncode == 0 or command == ("doctor",), (command, done.stderr)
        assert done.stdout
        assert_no_secret(written, " ".join(command), (done.stdout + done.stderr).encode())
        assert re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]", done.stdout) is None, command
    written.earn(written.contacts() - written.earned())  # doctor examines the backends


def test_no_secret_in_any_file(written: Stand) -> None:
    """Hashes aside, which nobody can search for. The master password stands in its own file only."""
    names = set()
    for path in written.gate.root.rglob("*"):
        if path.is_file() and path.name != "master-password":
            names.add(path.name)
            assert_no_secret(written, str(path), path.read_bytes())
            if path.suffix != ".log" and path.parent != written.gate.root:
                assert path.stat().st_mode & 0o077 == 0, path
    assert {"sidegate.db", "serve.log", "sidegate.yaml", "pepper-1"} <= names
    assert all((written.gate.root / name).stat().st_mode & 0o077 == 0 for name in ("sidegate.db", "sidegate.db-wal"))


@pytest.mark.root
def test_no_secret_in_environment_arguments_or_readable_memory(written: Stand) -> None:
    children = written.children()
    pids = [written.supervisor, *(pid for group in children.values() for pid in group)]
    assert len(pids) == 4
    for pid in pids:
        for name in ("cmdline", "environ"):
            try:
                content = Path(f"/proc/{pid}/{name}").read_bytes()
            except PermissionError:
                continue  # closed to us, as it should be where we are not root
            assert content or name == "environ"
            assert_no_secret(written, f"/proc/{pid}/{name}", content)
    for pid in children["front"]:
        assert MASTER_PASSWORD.encode() not in files_open_by(pid)


def files_open_by(pid: int) -> bytes:
    """The regular files a process has open: their names and what stands in them."""
    found = b""
    try:
        links = list(Path(f"/proc/{pid}/fd").iterdir())
    except PermissionError:
        return found
    for link in links:
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if os.path.isfile(target):
            found += target.encode() + Path(target).read_bytes()
    return found


def test_nobody_noticed(written: Stand) -> None:
    written.unharmed()
    assert written.gate.cli("audit", "--verify").returncode == 0
