"""A real Prosody 0.12 that asks an LDAP server about passwords (docs/backends/prosody.md has the same lines)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.peers.chat import HOST, Directory, as_user, private_copy
from tests.peers.process import Server, free_ports, wait_until
from tests.support.sidegate import Certificates

USER = "prosody"


class Prosody:
    """`root` must be reachable by other uids (0755). Client logins by StartTLS at `port`; `admin_socket` kicks."""

    def __init__(self, root: Path, certificates: Certificates, directory: Directory) -> None:
        (self.port,) = free_ports(1)
        self.admin_socket = root / "run" / "admin.sock"
        root.mkdir(parents=True, exist_ok=True)
        for name in ("data", "run"):
            (root / name).mkdir()
            shutil.chown(root / name, USER, USER)
        key = private_copy(certificates.key, root, USER)
        config = root / "prosody.cfg.lua"
        config.write_text(self._config(root, certificates.certificate, key, directory))
        self.server = Server(
            as_user(USER, ["sh", "-c", 'umask 007; exec "$@"', "-", "prosody", "-F", "--config", str(config)]),
            root / "prosody.log",
            [self.port],
            # libldap reads no CA from Prosody's configuration; on a server it is TLS_CACERT in /etc/ldap/ldap.conf.
            env={"LDAPTLS_CACERT": str(directory.ca), "LDAPTLS_REQCERT": "demand"},
        )
        self.server.wait()
        wait_until(self.admin_socket.exists, "Prosody's admin socket")

    def _config(self, root: Path, certificate: Path, key: Path, directory: Directory) -> str:
        return f"""
daemonize = false
pidfile = "{root}/run/prosody.pid"
data_path = "{root}/data"
log = {{ info = "*stdout" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {self.port} }}
modules_enabled = {{ "roster"; "saslauth"; "tls"; "smacks"; "posix"; "admin_shell" }}
modules_disabled = {{ "s2s" }}
c2s_require_encryption = true
ssl = {{ certificate = "{certificate}"; key = "{key}" }}
admin_socket = "{self.admin_socket}"
umask = "007"

authentication = "ldap"
ldap_server = "127.0.0.1:{directory.port}"
ldap_tls = true
ldap_rootdn = "{directory.bind_dn}"
ldap_password = "{directory.password}"
ldap_base = "{directory.base}"
ldap_filter = "({directory.uid}=$user)"

VirtualHost "{HOST}"
"""

    def log(self) -> str:
        return self.server.text()

    def stop(self) -> None:
        self.server.stop()

    def __repr__(self) -> str:
        return json.dumps({"c2s": self.port})
