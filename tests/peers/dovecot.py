"""A real Dovecot 2.3: IMAP backend, SASL server for Postfix, LMTP for what Postfix delivers."""

from __future__ import annotations

import json
import urllib.parse
from pathlib import Path

from tests.peers.process import Server, free_ports

MASTER = "master"
MASTER_PASSWORD = "master-secret-1"
USERS = {"alice": "alice-account-password", "bob": "bob-account-password"}


class Dovecot:
    """`root` must be reachable by other uids (0755). Users are alice and bob, named without domain."""

    def __init__(
        self,
        root: Path,
        certificate: Path,
        key: Path,
        *,
        public_key_pem: str | None = None,
        issuer: str = "sidegate",
        client_id: str = "sidegate",
        key_id: str = "signing-1",
        max_connections_per_user: int = 100,
    ) -> None:
        self.root = root
        self.imap_port, self.imaps_port, self.auth_port, self.lmtp_port = free_ports(4)
        self._extra = {"max": max_connections_per_user}
        for name in ("run", "state", "mail"):
            (root / name).mkdir(parents=True)
        (root / "mail").chmod(0o777)
        root.chmod(0o755)
        (root / "users").write_text("".join(f"{u}:{{PLAIN}}{p}::::::\n" for u, p in USERS.items()))
        (root / "masters").write_text(f"{MASTER}:{{PLAIN}}{MASTER_PASSWORD}\n")
        oauth = ""
        if public_key_pem is not None:
            oauth = self._oauth2(public_key_pem, issuer, client_id, key_id)
        (root / "dovecot.conf").write_text(self._config(certificate, key, oauth))
        self.server = Server(
            ["dovecot", "-F", "-c", str(root / "dovecot.conf")],
            root / "dovecot.out",
            [self.imap_port, self.imaps_port, self.auth_port, self.lmtp_port],
        )
        self.server.log = root / "dovecot.log"
        self.server.wait()

    def _oauth2(self, pem: str, issuer: str, client_id: str, key_id: str) -> str:
        """Key dictionary on disk: <azp>/<alg>/<kid> (docs/backends/dovecot.md)."""
        azp = urllib.parse.quote(client_id, safe="")
        path = self.root / "keys" / azp / "ES256" / key_id
        path.parent.mkdir(parents=True)
        path.write_text(pem)
        (self.root / "oauth2.conf").write_text(
            "introspection_mode = local\n"
            f"local_validation_key_dict = fs:posix:prefix={self.root}/keys/\n"
            f"issuers = {issuer}\n"
            f"client_id = {client_id}\n"
            "username_attribute = sub\n"
        )
        return (
            f"passdb {{\n  driver = oauth2\n  mechanisms = oauthbearer xoauth2\n  args = {self.root}/oauth2.conf\n}}\n"
        )

    def _config(self, certificate: Path, key: Path, oauth: str) -> str:
        root = self.root
        mechanisms = "plain login oauthbearer xoauth2" if oauth else "plain login"
        return f"""
protocols = imap lmtp
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/dovecot.log
auth_verbose = yes
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
disable_plaintext_auth = no
auth_mechanisms = {mechanisms}
auth_master_user_separator = *
auth_username_format = %Ln
login_trusted_networks = 127.0.0.0/8
mail_location = maildir:{root}/mail/%n
mail_max_userip_connections = {self._extra["max"]}
default_process_limit = 200
service imap-login {{
  inet_listener imap {{
    address = 127.0.0.1
    port = {self.imap_port}
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {self.imaps_port}
    ssl = yes
  }}
  service_count = 0
  process_min_avail = 1
}}
service auth {{
  inet_listener {{
    address = 127.0.0.1
    port = {self.auth_port}
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {self.lmtp_port}
  }}
}}
protocol lmtp {{
  auth_username_format = %Ln
}}
{oauth}
passdb {{
  driver = passwd-file
  master = yes
  args = {root}/masters
  result_success = continue
}}
passdb {{
  driver = passwd-file
  args = {root}/users
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={root}/mail/%n
}}
"""

    def log(self) -> str:
        return self.server.text()

    def stop(self) -> None:
        self.server.stop()

    def __repr__(self) -> str:
        return json.dumps({"imap": self.imap_port, "imaps": self.imaps_port})
