"""`sidegate demo`: certificates, configuration, backends and the real supervisor, started in that order."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from proxy.config import load
from proxy.demo.greeting import DemoAccount, Minted, facts, greeting
from proxy.demo.layout import MASTER_USER, Layout, lay_out
from proxy.demo.phone_network import phone_network
from proxy.demo.ports import hold, listening
from proxy.domain.secret import Secret
from proxy.store import notices
from proxy.store.engine import Store

ACCOUNTS = (
    DemoAccount("alice@example.org", "Alice", "alice-account-password"),
    DemoAccount("bob@example.org", "Bob", "bob-account-password", admin=True),
)
START_WITHIN = 90.0
"""Seconds; a busy machine takes its time over imports."""
TOLD_WITHIN = 10
"""Seconds; without those mails the demo is a demo as well."""
STOP_WITHIN = 15.0
NOTIFY_SOCKET = "notify.sock"
SOCKET_PATH_BYTES = 107
"""Of a unix socket's address, without its NUL (unix(7))."""


class DemoFailed(Exception):
    """One sentence, or what the failing part printed."""


def run(directory: Path | None, ready_file: Path | None) -> int:
    """Run the demo until Ctrl-C or SIGTERM; returns the exit status.

    `directory` None: a temp folder that is gone afterwards. `ready_file` appears, whole, once everything accepts.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        with contextlib.ExitStack() as cleanup:
            try:
                print("sidegate demo: starting, a few seconds", file=sys.stderr, flush=True)
                root = cleanup.enter_context(_folder(directory))
                _demo(root, ready_file, cleanup, kept=directory is not None)
            except KeyboardInterrupt:
                print("\nsidegate demo: stopping", file=sys.stderr, flush=True)
            finally:
                # From here on it only takes down what it started; every step has its bound.
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)
    except DemoFailed as error:
        print(f"sidegate demo: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _folder(directory: Path | None) -> Iterator[Path]:
    if directory is not None:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DemoFailed(f"cannot make {directory}: {error.strerror}; choose another --dir") from None
        yield directory.resolve()
        return
    made = Path(tempfile.mkdtemp(prefix="sidegate-demo-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _run_dir(root: Path, cleanup: contextlib.ExitStack) -> Path:
    """Where the sockets go: into the folder, unless their addresses would be too long."""
    run = root / "run"
    if len(os.fsencode(run / NOTIFY_SOCKET)) <= SOCKET_PATH_BYTES:
        return run
    short = tempfile.TemporaryDirectory(prefix="sidegate-run-", dir="/tmp", ignore_cleanup_errors=True)
    return Path(cleanup.enter_context(short))


def _demo(root: Path, ready_file: Path | None, cleanup: contextlib.ExitStack, *, kept: bool) -> None:
    with contextlib.ExitStack() as held:
        ports, sockets = hold(held)
        behind = {name: held.enter_context(listening()) for name in ("imap", "smtp", "ldap")}
        numbers = {name: sock.getsockname()[1] for name, sock in behind.items()}
        phones = cleanup.enter_context(phone_network(lambda: Secret(layout.gateway_secret.read_text().strip())))
        layout = lay_out(root, _run_dir(root, cleanup), ports, **numbers, phones=phones)
        backends, ready = _start_backends(layout, behind, cleanup)
        _sidegate(layout, "init")
        _wait_for(ready, layout)
        supervisor = _start_supervisor(layout, sockets, cleanup)
    curl, phone = _prepare(layout)
    _wait_until_told(layout)
    print(greeting(layout, ports, ACCOUNTS, curl, phone, kept=kept), flush=True)
    if ready_file is not None:
        _write_whole(ready_file, json.dumps(facts(layout, ports, ACCOUNTS, curl), indent=2) + "\n")
        cleanup.callback(ready_file.unlink, missing_ok=True)
    while True:
        for process, name in ((supervisor, "sidegate"), (backends, "the embedded servers")):
            if process.poll() is not None:
                raise DemoFailed(f"{name} ended with status {process.returncode}; the log's end:\n{_tail(layout)}")
        time.sleep(0.5)


def _start_backends(
    layout: Layout, listening_on: Mapping[str, socket.socket], cleanup: contextlib.ExitStack
) -> tuple[subprocess.Popen[bytes], int]:
    """The process, which gets the sockets and ends with us, and the descriptor on which it will say ready."""
    status, theirs = os.pipe()
    cleanup.callback(os.close, status)
    fds = {**{f"--{name}-fd": sock.fileno() for name, sock in listening_on.items()}, "--status-fd": theirs}
    arguments = [part for option, fd in fds.items() for part in (option, str(fd))]
    secret = ["--master", MASTER_USER, "--password-file", str(layout.master_password)]
    secret += ["--service-password-file", str(layout.service_password)]
    addresses = [account.address for account in ACCOUNTS]
    with layout.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "proxy.demo.backends", *arguments, *secret, *addresses],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=list(fds.values()),
        )
    os.close(theirs)
    cleanup.callback(_end, process)
    return process, status


def _wait_for(status: int, layout: Layout) -> None:
    if not select.select([status], [], [], START_WITHIN)[0] or os.read(status, 1) != b"R":
        raise DemoFailed(f"the embedded servers do not start:\n{_tail(layout)}")


def _start_supervisor(
    layout: Layout, sockets: list[socket.socket], cleanup: contextlib.ExitStack
) -> subprocess.Popen[bytes]:
    """The process, once every front accepts; it says so as it would to systemd."""
    fds = [sock.fileno() for sock in sockets]
    heard = layout.run / NOTIFY_SOCKET
    heard.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified, layout.log.open("ab") as log:
        notified.bind(str(heard))
        process = subprocess.Popen(
            [sys.executable, "-m", "proxy.demo.serve", str(layout.config), str(os.getpid()), *map(str, fds)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=fds,
            env={**os.environ, "NOTIFY_SOCKET": str(heard)},
        )
        cleanup.callback(_end, process)
        deadline = time.monotonic() + START_WITHIN
        notified.settimeout(0.2)
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in notified.recv(4096).splitlines():
                    return process
    raise DemoFailed(f"sidegate does not start:\n{_tail(layout)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _sidegate(layout: Layout, *arguments: str, stdin: str = "") -> str:
    """Output of a sidegate command, as a person would give it."""
    done = subprocess.run(
        [sys.executable, "-m", "proxy", *arguments, "-c", str(layout.config)],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DemoFailed(f"`sidegate {' '.join(arguments)}` says: {done.stderr.strip()}")
    return done.stdout


def _prepare(layout: Layout) -> tuple[Minted, Minted]:
    """Accounts and app passwords. A folder of an earlier demo has the accounts; its secrets were shown once, then."""
    known = {row["account"] for row in json.loads(_sidegate(layout, "accounts", "list", "--json"))}
    for account in ACCOUNTS:
        if account.address not in known:
            options = ["--name", account.name, *(["--admin"] if account.admin else []), "--password-file", "-"]
            _sidegate(layout, "accounts", "add", account.address, *options, stdin=account.password + "\n")
    alice = ACCOUNTS[0].address
    live = json.loads(_sidegate(layout, "passwords", "list", alice, "--json")) if alice in known else []

    def mint(name: str, *scopes: str) -> Minted:
        if any(row["name"] == name and not row["revoked"] for row in live):
            _sidegate(layout, "passwords", "revoke", alice, name)
        options = [part for scope in scopes for part in ("--scope", scope)]
        made: dict[str, Any] = json.loads(_sidegate(layout, "passwords", "create", alice, name, *options, "--json"))
        return Minted(alice, name, made["secret"])

    return mint("curl", "imap", "smtp", "ldap"), mint("phone")


def _wait_until_told(layout: Layout) -> None:
    """Until the mails about these app passwords are in their inboxes: who counts mails counts from there."""
    store = Store(load(layout.config, certificates=False, secrets=False, directory=False).store)
    with contextlib.closing(store):
        for _ in range(TOLD_WITHIN * 10):
            with store.reading() as c:
                if not notices.due(c, time.time() + 86400, 1):
                    return
            time.sleep(0.1)


def _write_whole(path: Path, text: str) -> None:
    """Whoever waits for the file never reads half of it; it holds secrets, so it is ours alone."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    part.replace(path)


def _tail(layout: Layout) -> str:
    lines = layout.log.read_text(errors="replace").splitlines() if layout.log.exists() else []
    return "\n".join(lines[-12:])
