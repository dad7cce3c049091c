"""One Dovecot, one Postfix and the sidegates of this folder; every test mints app passwords of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.dovecot import MASTER, MASTER_PASSWORD, Dovecot
from tests.peers.postfix import Postfix
from tests.support.sidegate import Certificates, Sidegate

CLIENT_ID = "sidegate"


@pytest.fixture(scope="session")
def public_root() -> Iterator[Path]:
    """A temp folder that servers running as other uids can reach (pytest's own is 0700)."""
    root = Path(tempfile.mkdtemp(prefix="sidegate-real-"))
    root.chmod(0o755)
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def certificates(public_root: Path) -> Certificates:
    return Certificates(public_root / "tls")


def strategies(dovecot: Dovecot, postfix: Postfix, root: Path, ca: Path) -> dict[str, dict[str, Any]]:
    """Every login strategy as a backend's configuration."""
    password = root / "master-password"
    password.write_text(MASTER_PASSWORD)
    password.chmod(0o600)
    account_password = root / "alice-password"
    account_password.write_text("alice-account-password")
    account_password.chmod(0o600)
    imap = {"protocol": "imap", "address": f"127.0.0.1:{dovecot.imap_port}", "tls": "none", "username": "{local}"}
    imaps = {**imap, "address": f"localhost:{dovecot.imaps_port}", "tls": "implicit", "ca": str(ca)}
    imap_starttls = {**imap, "address": f"localhost:{dovecot.imap_port}", "tls": "starttls", "ca": str(ca)}
    smtp = {"protocol": "smtp", "address": f"127.0.0.1:{postfix.sasl_port}", "tls": "none", "username": "{local}"}
    smtp_starttls = {**smtp, "address": f"localhost:{postfix.sasl_port}", "tls": "starttls", "ca": str(ca)}
    xclient = {**smtp, "address": f"127.0.0.1:{postfix.xclient_port}"}
    master = {"strategy": "master_user", "user": MASTER, "password_file": str(password)}
    token = {"strategy": "dovecot_token", "issuer": "sidegate", "client_id": CLIENT_ID}
    static = {"strategy": "static", "user": "alice", "password_file": str(account_password)}
    return {
        "imap master_user authzid": {**imap, "login": master},
        "imap master_user separator": {**imap, "login": {**master, "separator": "*"}},
        "imap master_user implicit": {**imaps, "login": master},
        "imap master_user starttls": {**imap_starttls, "login": master},
        "imap dovecot_token": {**imap, "login": token},
        "imap static": {**imap, "login": static},
        "smtp xclient": {**xclient, "login": {"strategy": "xclient"}},
        "smtp xclient starttls": {
            **xclient,
            "address": f"localhost:{postfix.xclient_port}",
            "tls": "starttls",
            "ca": str(ca),
            "login": {"strategy": "xclient"},
        },
        "smtp master_user": {**smtp, "login": master, "client_address": "xclient"},
        "smtp master_user starttls": {**smtp_starttls, "login": {**master, "separator": "*"}},
        "smtp dovecot_token": {**smtp, "login": token, "client_address": "xclient"},
        "smtp static": {**smtp, "login": static},
    }


class Peers:
    """Sidegate instances by pair of strategies, made when first asked for, sharing one Dovecot and one Postfix."""

    def __init__(self, root: Path, certificates: Certificates) -> None:
        self.root = root
        self.certificates = certificates
        self._made: dict[tuple[str, str], Sidegate] = {}
        unused = {"protocol": "imap", "address": "127.0.0.1:9", "tls": "none", "username": "{local}"}
        login = {"strategy": "dovecot_token", "issuer": "sidegate", "client_id": CLIENT_ID}
        self._keys = Sidegate(root / "keys", certificates, {"mail": {**unused, "login": login}})
        pem = self._keys.cli("keys", "show", "--pem")
        assert pem.returncode == 0, pem.stderr
        self.dovecot = Dovecot(
            root / "dovecot", certificates.certificate, certificates.key, public_key_pem=pem.stdout, client_id=CLIENT_ID
        )
        self.postfix = Postfix(root / "postfix", certificates.certificate, certificates.key, self.dovecot)
        self.strategies = strategies(self.dovecot, self.postfix, root, certificates.ca)

    def sidegate(self, imap: str = "imap dovecot_token", smtp: str = "smtp xclient", **extra: Any) -> Sidegate:
        """A running sidegate with accounts alice and bob. Instances without `extra` are shared."""
        key = (imap, smtp)
        if not extra and key in self._made:
            return self._made[key]
        gate = Sidegate(
            Path(tempfile.mkdtemp(prefix="gate-", dir=self.root)),
            self.certificates,
            {"mail": self.strategies[imap], "submission": self.strategies[smtp]},
            **extra,
        )
        shutil.copytree(self._keys.root / "state", gate.root / "state", dirs_exist_ok=True)
        gate.start()
        for name in ("alice", "bob"):
            gate.add_account(f"{name}@example.org")
        self._made[key if not extra else (str(gate.root), "")] = gate
        return gate

    def stop(self) -> None:
        for gate in self._made.values():
            gate.stop()
        self.postfix.stop()
        self.dovecot.stop()


@pytest.fixture(scope="session")
def peers(public_root: Path, certificates: Certificates) -> Iterator[Peers]:
    started = Peers(public_root, certificates)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def gate(peers: Peers) -> Sidegate:
    """The usual one: dovecot_token in front of Dovecot, xclient in front of Postfix."""
    return peers.sidegate()
