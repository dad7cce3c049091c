"""A real ejabberd 23.01 that asks an LDAP server about passwords (docs/backends/ejabberd.md has the same lines)."""

from __future__ import annotations

import json
import shutil
import ssl
from pathlib import Path
from typing import Any

import httpx

from tests.peers.chat import HOST, Directory, as_user, private_copy
from tests.peers.process import Server, free_ports
from tests.support.sidegate import Certificates

USER = "ejabberd"
KICKER_HOST = "kicker.example.org"
KICKER, KICKER_PASSWORD = f"kicker@{KICKER_HOST}", "kicker-secret-1"
"""Who may kick: an account that ejabberd keeps itself and no directory knows."""


class Ejabberd:
    """Client logins by StartTLS at `port`; the HTTP API at `api`, where KICKER may kick by password or `token`, and at
    `open_api`, where everybody on this machine may."""

    def __init__(
        self, root: Path, certificates: Certificates, directory: Directory, *, auth_use_cache: bool = False
    ) -> None:
        self.port, self.api_port, self.open_api_port = free_ports(3)
        self.api = f"https://127.0.0.1:{self.api_port}/api"
        self.open_api = f"https://127.0.0.1:{self.open_api_port}/api"
        self._ca = certificates.ca
        root.mkdir(parents=True, exist_ok=True)
        for name in ("data", "log"):
            (root / name).mkdir()
            shutil.chown(root / name, USER, USER)
        private_copy(certificates.key, root, USER)
        config = root / "ejabberd.yml"
        settings = self._settings(root, certificates, directory, auth_use_cache=auth_use_cache)
        config.write_text(json.dumps(settings, indent=2))  # JSON is YAML
        self.server = Server(
            # As ejabberdctl starts it, but without a name: no Erlang distribution, so no epmd.
            as_user(USER, ["erl", "-noinput", "-mnesia", "dir", f'"{root}/data"', "-s", "ejabberd"]),
            root / "ejabberd.out",
            [self.port, self.api_port, self.open_api_port],
            env={
                "ERL_LIBS": str(next(Path("/usr/lib").glob("*/ejabberd-*")).parent),
                "EJABBERD_CONFIG_PATH": str(config),
                "EJABBERD_LOG_PATH": str(root / "log" / "ejabberd.log"),
                "HOME": str(root / "data"),
            },
        )
        self.server.log = root / "log" / "ejabberd.log"
        self.server.wait()
        user, _, host = KICKER.partition("@")
        self.command("register", user=user, host=host, password=KICKER_PASSWORD)
        self.token: str = self.command("oauth_issue_token", jid=KICKER, ttl=3600, scopes="kick_user")["token"]

    def command(self, name: str, **arguments: object) -> Any:
        """What an operator does with ejabberdctl."""
        context = ssl.create_default_context(cafile=str(self._ca))
        answer = httpx.post(f"{self.open_api}/{name}", json=arguments, verify=context, timeout=20)
        assert answer.status_code == 200, (name, answer.status_code, answer.text)
        return answer.json()

    def _settings(
        self, root: Path, certificates: Certificates, directory: Directory, *, auth_use_cache: bool
    ) -> dict[str, Any]:
        api = {
            "ip": "127.0.0.1",
            "module": "ejabberd_http",
            "tls": True,
            "request_handlers": {"/api": "mod_http_api"},
        }
        return {
            "hosts": [HOST, KICKER_HOST],
            "host_config": {KICKER_HOST: {"auth_method": "mnesia"}},
            "loglevel": "info",
            "certfiles": [str(certificates.certificate), str(root / certificates.key.name)],
            "acme": {"auto": False},
            "listen": [
                {"port": self.port, "ip": "127.0.0.1", "module": "ejabberd_c2s", "starttls_required": True},
                {"port": self.api_port, **api},
                {"port": self.open_api_port, "tag": "open", **api},
            ],
            "auth_method": "ldap",
            "auth_use_cache": auth_use_cache,
            "ldap_servers": ["localhost"],  # Erlang compares an address with no certificate
            "ldap_port": directory.ldaps_port,
            "ldap_encrypt": "tls",
            "ldap_tls_verify": "hard",
            "ldap_tls_cacertfile": str(directory.ca),
            "ldap_rootdn": directory.bind_dn,
            "ldap_password": directory.password,
            "ldap_base": directory.base,
            "ldap_uids": {directory.uid: "%u"},
            "acl": {"sidegate": {"user": [KICKER]}},
            "access_rules": {"sidegate": {"allow": "sidegate"}},
            "oauth_access": "sidegate",
            "api_permissions": {
                "sidegate": {
                    "from": ["mod_http_api"],
                    "who": {
                        "access": {"allow": {"acl": "sidegate"}},
                        "oauth": {"scope": "kick_user", "access": {"allow": {"acl": "sidegate"}}},
                    },
                    "what": ["kick_user"],
                },
                "tests": {
                    "from": [{"tag": "open"}],
                    "who": {"ip": "127.0.0.1/32"},
                    "what": ["kick_user", "register", "oauth_issue_token"],
                },
            },
            "modules": {"mod_roster": {}, "mod_stream_mgmt": {}},
        }

    def log(self) -> str:
        return self.server.text()

    def stop(self) -> None:
        self.server.stop()

    def __repr__(self) -> str:
        return json.dumps({"c2s": self.port, "api": self.api_port})
