"""The units: valid, as closed as they claim, and enough for sidegate to work in."""

from __future__ import annotations

import imaplib
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.peers.process import free_ports, wait_until
from tests.support.person import Person
from tests.support.sidegate import Certificates, run
from tests.systemd.confine import settings

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
ALICE = "alice@example.org"
PASSWORD = "correct horse battery"


def analyze(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, check=False, cwd=cwd
    )


@pytest.mark.parametrize(
    ("unit", "tenths"), [("sidegate-core", 4), ("sidegate-front", 11), ("sidegate-portal", 10), ("sidegate", 14)]
)
def test_exposure(unit: str, tenths: int) -> None:
    done = analyze("security", "--offline=true", f"--threshold={tenths}", str(UNITS / f"{unit}.service"))
    assert done.returncode == 0, done.stdout[-200:]


def test_systemd_understands_every_unit(tmp_path: Path) -> None:
    command = tmp_path / "sidegate"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    for unit in UNITS.glob("*.*"):
        if unit.suffix in (".service", ".socket", ".target"):
            (tmp_path / unit.name).write_text(unit.read_text().replace("/usr/bin/sidegate", str(command)))
    names = sorted(path.name for path in tmp_path.glob("sidegate*.*"))
    assert len(names) == 6
    done = analyze("verify", "--man=no", *names, cwd=tmp_path)
    ours = [line for line in done.stderr.splitlines() if "sidegate" in line]
    assert (done.returncode, ours) == (0, [])


def test_the_users_of_the_units_are_made() -> None:
    made = {
        line.split()[1] for line in (UNITS / "sysusers.d/sidegate.conf").read_text().splitlines() if line[:1] == "u"
    }
    users = {settings(unit)["User"][0] for unit in UNITS.glob("*.service")}
    assert users == {"sidegate", "sidegate-front", "sidegate-portal"} == made
    done = subprocess.run(
        ["systemd-sysusers", "--dry-run", str(UNITS / "sysusers.d/sidegate.conf")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


class Split:
    """Core, front and portal as three services under three users (all under ours if we are not root)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.users = [pwd.getpwnam(name) for name in ("daemon", "games", "news")]
        if os.geteuid() != 0:
            self.users = [pwd.getpwuid(os.geteuid())] * 3
        core, front, portal = self.users
        self.tls = Certificates(root / "tls")
        self.imap, self.backend, self.portal = free_ports(3)
        password = root / "backend-password"
        password.write_text("master-secret\n")
        password.chmod(0o600)
        for name, mode in (("state", 0o700), ("run", 0o711), ("credentials", 0o700)):
            (root / name).mkdir()
            (root / name).chmod(mode)
            owner = portal if name == "credentials" else core
            os.chown(root / name, owner.pw_uid, owner.pw_gid)
        os.chown(password, core.pw_uid, core.pw_gid)
        os.chown(self.tls.key, front.pw_uid, front.pw_gid)
        self.config = root / "sidegate.yaml"
        self.config.write_text(
            yaml.safe_dump(
                {
                    "store": f"sqlite:{root}/state/sidegate.db",
                    "state_dir": str(root / "state"),
                    "run_dir": str(root / "run"),
                    "workers": 1,
                    "link_users": [front.pw_name],
                    "tls": {"certificate": str(self.tls.certificate), "key": str(self.tls.key)},
                    "portal": {
                        "url": "https://login.example.org",
                        "listen": f"127.0.0.1:{self.portal}",
                        "user": portal.pw_name,
                        "trusted_networks": ["127.0.0.0/8"],
                    },
                    "default_domain": "example.org",
                    "fronts": [
                        {"protocol": "imap", "listen": f"[::]:{self.imap}", "tls": "implicit", "backend": "mail"}
                    ],
                    "backends": {
                        "mail": {
                            "protocol": "imap",
                            "address": f"127.0.0.1:{self.backend}",
                            "tls": "none",
                            "login": {"strategy": "master_user", "user": "master", "password_file": str(password)},
                        }
                    },
                }
            )
        )
        self.processes: list[subprocess.Popen[bytes]] = []

    def log(self, name: str) -> str:
        path = self.root / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def spawn(self, name: str, command: list[str], fds: tuple[int, ...] = ()) -> None:
        with (self.root / f"{name}.log").open("wb") as log:
            self.processes.append(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, pass_fds=fds))

    def load_credential(self) -> None:
        """As LoadCredential= of the portal's unit does."""
        portal, key = self.users[2], self.root / "credentials" / "portal-1"
        key.write_bytes((self.root / "state" / "keys" / "portal-1").read_bytes())
        key.chmod(0o400)
        os.chown(key, portal.pw_uid, portal.pw_gid)

    def serve(self, role: str, user: pwd.struct_passwd, sockets: tuple[socket.socket, ...] = ()) -> None:
        fds = tuple(sock.fileno() for sock in sockets)
        listen = ",".join(map(str, fds)) or "-"
        confined = ["tests.systemd.confine", str(UNITS / f"sidegate-{role}.service"), listen]
        serve = [sys.executable, "-m", "proxy", "-c", str(self.config), "serve", "--role", role]
        groups = [str(self.users[0].pw_gid)] if role == "portal" else []
        environment = ["env", f"CREDENTIALS_DIRECTORY={self.root}/credentials"] if role == "portal" else []
        self.spawn(role, [*environment, *as_user(user, *groups), sys.executable, "-m", *confined, *serve], fds)
        process = self.processes[-1]
        wait_until(lambda: "\nready\n" in self.log(role) or process.poll() is not None, f"{role} ready", 60)
        assert process.poll() is None, self.log(role)

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
            process.wait(20)


def as_user(user: pwd.struct_passwd, *groups: str, reading: bool = True) -> list[str]:
    """setpriv for it; where our interpreter is in a folder that is root's alone, it may still read."""
    if os.geteuid() != 0:
        return []
    parents = [*Path(sys.executable).resolve().parents, *ROOT.parents, *Path(sys.prefix).parents]
    closed = any(not parent.stat().st_mode & 0o001 for parent in parents)
    capability = "-all,+dac_read_search" if closed and reading else "-all"
    kept = ["--inh-caps", capability, "--ambient-caps", capability, "--bounding-set", capability]
    membership = f"--groups={','.join(groups)}" if groups else "--clear-groups"
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", membership, *kept]


@pytest.fixture
def split() -> Iterator[Split]:
    root = Path(tempfile.mkdtemp(prefix="sidegate-units-"))
    root.chmod(0o755)
    it = Split(root)
    yield it
    it.stop()
    shutil.rmtree(root, ignore_errors=True)


def signs_in_and_mints(split: Split) -> None:
    """At the portal under its own user: the store is shared, and the core mints in the person's name only."""
    assert run(split.config, "accounts", "set-password", ALICE, "--password-file", "-", stdin=PASSWORD).returncode == 0
    person = Person(split.portal, "https://login.example.org")
    assert person.sign_in(ALICE, PASSWORD).headers["location"] == "/app-passwords"
    person.enrol()
    secret = person.mint("tablet")
    person.close()
    context = ssl.create_default_context(cafile=str(split.tls.ca))
    with imaplib.IMAP4_SSL("localhost", split.imap, ssl_context=context, timeout=30) as mail:
        mail.login(ALICE, secret)
    if os.geteuid() != 0:
        return
    core, _, portal = split.users
    ask = [sys.executable, "-c", ASK, str(split.root / "run" / "admin.sock")]
    answers = [
        subprocess.run([*as_user(user, str(core.pw_gid)), *ask, *header], capture_output=True, text=True, check=True)
        for user, header in ((core, []), (portal, []), (portal, ["sidegate-person: 1"]))
    ]
    assert [answer.stdout.strip() for answer in answers] == ["200", "403", "403"]
    for path in (split.root / "state").iterdir():
        assert path.stat().st_gid == core.pw_gid, path
        assert path.stat().st_mode & 0o007 == 0, path
        closed = subprocess.run(
            [*as_user(portal, str(core.pw_gid), reading=False), "ls", str(path)], capture_output=True, check=False
        )
        assert (closed.returncode != 0) == (path.name == "keys"), path
        moved = subprocess.run(
            [*as_user(portal, str(core.pw_gid), reading=False), "mv", str(path), f"{path}-gone"],
            capture_output=True,
            check=False,
        )
        assert moved.returncode != 0 or path.stat().st_uid == portal.pw_uid, path


ASK = """
import socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
lines = ["GET /api/v1/accounts HTTP/1.1", "Host: x", "Connection: close", *sys.argv[2:], "", ""]
sock.sendall("\\r\\n".join(lines).encode())
print(sock.recv(100).split()[1].decode())
"""
"""Its arguments: the socket, and a header."""


def test_three_confined_services_under_three_users_do_the_main_job(split: Split) -> None:
    core, front, portal = split.users
    init = [sys.executable, "-m", "proxy", "-c", str(split.config), "init"]
    subprocess.run([*as_user(core), *init], cwd=ROOT, check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", split.backend)) as imap, socket.create_server(("127.0.0.1", 0)) as smtp:
        fds = (imap.fileno(), smtp.fileno())
        arguments = ["--imap-fd", str(fds[0]), "--smtp-fd", str(fds[1]), "--status-fd", "1", "--master", "master"]
        secret = ["--password-file", str(split.root / "backend-password")]
        split.spawn("backends", [sys.executable, "-m", "proxy.demo.backends", *arguments, *secret, ALICE], fds)
    split.load_credential()
    split.serve("core", core)
    with socket.create_server(("::", split.imap), family=socket.AF_INET6, dualstack_ipv6=True) as sock:
        split.serve("front", front, (sock,))
    split.serve("portal", portal)

    assert run(split.config, "accounts", "add", ALICE).returncode == 0
    minted = run(split.config, "passwords", "create", ALICE, "phone")
    assert minted.returncode == 0, minted.stderr
    context = ssl.create_default_context(cafile=str(split.tls.ca))
    with imaplib.IMAP4_SSL("localhost", split.imap, ssl_context=context, timeout=30) as mail:
        mail.login(ALICE, minted.stdout.strip())
        assert mail.select("INBOX")[0] == "OK"
        revoked = run(split.config, "passwords", "revoke", ALICE, "phone")
        assert revoked.returncode == 0, revoked.stderr
        with pytest.raises((imaplib.IMAP4.abort, OSError)):
            mail.noop()
    signs_in_and_mints(split)
    assert httpx.get(f"http://127.0.0.1:{split.portal}/").status_code == 200
    if os.geteuid() == 0:
        owner = os.stat(split.root / "run" / "link.sock")
        assert owner.st_uid == core.pw_uid
        assert os.stat(split.root / "run" / "admin.sock").st_mode & 0o007 == 0
    for role in ("core", "front", "portal"):
        assert "Operation not permitted" not in split.log(role), split.log(role)
