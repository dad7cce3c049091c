"""A whole sidegate as an operator runs it: `init`, `serve`, and the command line, in a temp folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme

from tests.peers.process import Server, free_ports, wait_until

PORTAL_URL = "https://login.example.org"


class Certificates:
    """A CA and a server certificate for localhost and 127.0.0.1, and `names`."""

    def __init__(self, root: Path, *names: str) -> None:
        root.mkdir(parents=True, exist_ok=True)
        ca = trustme.CA()
        pair = ca.issue_cert(
            *("localhost", "127.0.0.1", "::1", *names),
            common_name="localhost",  # fetchmail wants one
            not_after=datetime.now(UTC) + timedelta(days=365),  # ejabberd sets a timer, and the year 3000 is too far
        )
        self.ca = root / "ca.pem"
        self.certificate = root / "cert.pem"
        self.key = root / "key.pem"
        ca.cert_pem.write_to_path(str(self.ca))
        pair.private_key_pem.write_to_path(str(self.key))
        self.key.chmod(0o600)
        self.certificate.write_bytes(b"".join(blob.bytes() for blob in pair.cert_chain_pems))


def run(config: Path, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """`sidegate -c config …` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "proxy", "-c", str(config), *arguments],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Sidegate:
    """`backends` and `extra` are pieces of the configuration. A backend called `mail` serves imap, `submission` smtp,
    `directory` ldap.

    Fronts with implicit TLS and STARTTLS are made on free ports: `ports["imap", "implicit"]` and so on.
    """

    def __init__(
        self,
        root: Path,
        certificates: Certificates,
        backends: dict[str, Any],
        *,
        extra: dict[str, Any] | None = None,
        workers: int = 1,
    ) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.certificates = certificates
        names = {"imap": "mail", "smtp": "submission", "ldap": "directory"}
        *ports, portal = free_ports(7)
        self.ports: dict[tuple[str, str], int] = {}
        fronts = []
        for protocol, backend in names.items():
            if backend not in backends:
                continue
            for tls in ("implicit", "starttls"):
                port = self.ports[protocol, tls] = ports.pop()
                listen = f"127.0.0.1:{port}"
                fronts.append({"protocol": protocol, "listen": listen, "tls": tls, "backend": backend})
        self.settings: dict[str, Any] = {
            "store": f"sqlite:{root}/sidegate.db",
            "state_dir": str(root / "state"),
            "run_dir": str(root / "run"),
            "workers": workers,
            "tls": {"certificate": str(certificates.certificate), "key": str(certificates.key)},
            "portal": {"url": PORTAL_URL, "listen": f"127.0.0.1:{portal}"},
            "default_domain": "example.org",
            "fronts": fronts,
            "backends": backends,
            **(extra or {}),
        }
        self.config = root / "sidegate.yaml"
        self.write_config()
        done = self.cli("init")
        assert done.returncode == 0, done.stderr
        self.server: Server | None = None

    def write_config(self) -> None:
        self.config.write_text(json.dumps(self.settings, indent=2))  # JSON is YAML
        self.config.chmod(0o600)

    def start(self) -> Sidegate:
        """`sidegate serve`, until it prints ready."""
        self.server = Server(
            [sys.executable, "-m", "proxy", "-c", str(self.config), "serve"],
            self.root / "serve.log",
            [*self.ports.values()],
        )
        self.server.wait(30)
        self.server.wait_for_log("ready", 30)
        return self

    def stop(self) -> None:
        if self.server is None:
            return
        if self.server.process.poll() is None:
            os.kill(self.server.process.pid, signal.SIGTERM)
            try:
                self.server.process.wait(15)
            except subprocess.TimeoutExpired:
                self.server.stop()
        self.server = None

    def log(self) -> str:
        return (self.root / "serve.log").read_text(errors="replace")

    def reload(self) -> None:
        """Have it read `settings` as they are now (SIGHUP)."""
        self.write_config()
        assert self.server is not None
        before = self.log().count("configuration reloaded")
        os.kill(self.server.process.pid, signal.SIGHUP)
        wait_until(lambda: self.log().count("configuration reloaded") > before, "the reload")

    def wait_for_log(self, words: str) -> str:
        """The log once it contains `words`."""
        assert self.server is not None
        return self.server.wait_for_log(words)

    def cli(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return run(self.config, *arguments, stdin=stdin)

    def json(self, *arguments: str) -> Any:
        """The JSON that a command prints with --json; AssertionError with its stderr when it fails."""
        done = self.cli(*arguments, "--json")
        assert done.returncode == 0, (arguments, done.returncode, done.stderr)
        return json.loads(done.stdout)

    def add_account(self, address: str, *options: str) -> None:
        done = self.cli("accounts", "add", address, *options)
        assert done.returncode == 0, done.stderr

    def mint(self, account: str, name: str, *options: str) -> str:
        """A new app password; its secret, grouped."""
        secret = self.json("passwords", "create", account, name, *options)["secret"]
        assert isinstance(secret, str)
        return secret
