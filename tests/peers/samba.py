"""A real Active Directory domain controller: Debian's Samba 4.17, its LDAP service alone.

Samba's ports are fixed, so each one gets a loopback address of its own. It is provisioned in its folder in about five
seconds and needs root, but no init system, no name server, no other program of Samba's and no extended attributes.
"""

from __future__ import annotations

import base64
import errno
import os
import random
import socket
import subprocess
from pathlib import Path

from tests.peers.process import Server, wait_until
from tests.support.sidegate import Certificates

PORTS = (389, 636, 3268, 3269)
"""LDAP and the Global Catalog, each in the clear (and StartTLS) and over TLS."""
BASE = "DC=example,DC=test"
NETBIOS = "EXAMPLE"
PEOPLE = f"OU=People,{BASE}"
ALICE = f"CN=Alice Liddell,{PEOPLE}"
BOB = f"CN=Baker\\, Bob,{PEOPLE}"
USERS = {"alice": "Alice-account-password-1", "bob": "Bob-account-password-1"}
MAIL_USERS = f"CN=Mail Users,OU=Groups,{BASE}"
STAFF = f"CN=Staff,OU=Groups,{BASE}"
SERVICE = f"CN=sidegate,OU=Services,{BASE}"
SERVICE_PASSWORD = "Service-secret-1"
CHAT = f"CN=chat,OU=Services,{BASE}"
"""A program's own account."""
CHAT_PASSWORD = "Chat-secret-1"
ADMINISTRATOR = f"CN=Administrator,CN=Users,{BASE}"
ADMINISTRATOR_PASSWORD = "Administrator-secret-1"


def unicode_password(password: str) -> str:
    """The value of unicodePwd in LDIF that sets `password`."""
    return base64.b64encode(f'"{password}"'.encode("utf-16-le")).decode()


def user(dn: str, name: str, password: str, *more: str) -> str:
    """An enabled user as LDIF; `more` are further lines."""
    return "\n".join([
        f"dn: {dn}",
        "objectClass: user",
        f"sAMAccountName: {name}",
        f"userPrincipalName: {name}@example.test",
        "userAccountControl: 512",
        f"unicodePwd:: {unicode_password(password)}",
        *more,
        "",
        "",
    ])  # fmt: skip


def free_address() -> str:
    """A loopback address where nothing listens on PORTS."""
    for _ in range(20):
        address = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}.{random.randint(1, 254)}"
        try:
            for port in PORTS:
                with socket.socket() as sock:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    sock.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return address
    raise AssertionError(f"one of {PORTS} is taken, on every loopback address")


class Samba:
    """The domain example.test with alice (in the group Mail Users, which is in Staff), bob (in none, and with a comma
    in his DN), and the services sidegate and chat, users without any right of their own. A Bind takes TLS."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = free_address()
        self.certificates = Certificates(root / "tls", self.address)
        self.ca = self.certificates.ca
        self.base = BASE
        self.config = root / "smb.conf"
        self.config.write_text(self._config())
        self._provision()
        self.start()
        self.ldif("ldapadd", self._entries())

    def start(self) -> None:
        """Start it (again), at the same address, with the same data; it takes a Bind."""
        self.server = Server(
            ["samba", "--foreground", "--no-process-group", "--debug-stdout", "--model=single", f"-s{self.config}"],
            self.root / "samba.log",
        )
        try:
            wait_until(self._takes_a_bind, "a Bind at Samba")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-2000:]}") from error

    def _takes_a_bind(self) -> bool:
        assert self.server.process.poll() is None, "Samba ended"
        return self._tool("ldapsearch", "-b", "", "-s", "base", "1.1").returncode == 0

    def ldif(self, program: str, text: str) -> None:
        """ldapadd or ldapmodify `text` as the domain's administrator."""
        done = self._tool(program, stdin=text)
        assert done.returncode == 0, (text, done.stdout, done.stderr)

    def _tool(self, program: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(program, "-x", "-H", f"ldaps://{self.address}"),
                *("-D", ADMINISTRATOR, "-w", ADMINISTRATOR_PASSWORD),
                *arguments,
            ],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "LDAPTLS_CACERT": str(self.ca), "LDAPTLS_REQCERT": "demand", "HOME": "/nonexistent"},
        )

    def _provision(self) -> None:
        for folder in ("private", "state", "cache", "lock", "run", "sysvol"):
            (self.root / folder).mkdir()
        done = subprocess.run(
            [
                *("samba-tool", "domain", "provision", "--quiet", f"-s{self.config}"),
                *("--realm=EXAMPLE.TEST", f"--domain={NETBIOS}", "--server-role=dc", "--dns-backend=NONE"),
                *("--host-name=dc", f"--host-ip={self.address}", f"--adminpass={ADMINISTRATOR_PASSWORD}"),
                "--option=ldb:nosync=true",
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _config(self) -> str:
        """Every folder is ours. sysvol and netlogon have to be named, and `eadb` keeps their attributes in a file."""
        return f"""\
[global]
  workgroup = {NETBIOS}
  realm = EXAMPLE.TEST
  netbios name = DC
  server role = active directory domain controller
  server services = ldap
  interfaces = {self.address}/8
  bind interfaces only = yes
  private dir = {self.root}/private
  state directory = {self.root}/state
  cache directory = {self.root}/cache
  lock directory = {self.root}/lock
  pid directory = {self.root}/run
  posix:eadb = {self.root}/state/eadb.tdb
  log level = 1 auth_audit:3
  tls certfile = {self.certificates.certificate}
  tls keyfile = {self.certificates.key}
  tls cafile = {self.ca}

[sysvol]
  path = {self.root}/sysvol

[netlogon]
  path = {self.root}/sysvol/example.test/scripts
"""

    def _entries(self) -> str:
        units = "".join(
            f"dn: OU={name},{BASE}\nobjectClass: organizationalUnit\n\n" for name in ("People", "Groups", "Services")
        )
        groups = f"""\
dn: {MAIL_USERS}
objectClass: group
sAMAccountName: mail-users
member: {ALICE}

dn: {STAFF}
objectClass: group
sAMAccountName: staff
member: {MAIL_USERS}

"""
        alice = user(ALICE, "alice", USERS["alice"], "displayName: Alice Liddell", "mail: alice@example.test")
        bob = user(BOB, "bob", USERS["bob"], "displayName: Bob Baker", "mail: bob@example.test")
        services = user(SERVICE, "sidegate", SERVICE_PASSWORD) + user(CHAT, "chat", CHAT_PASSWORD)
        return units + alice + bob + services + groups

    def log(self) -> str:
        """It has a line with `Auth:` for every Bind."""
        return self.server.text()

    def stop(self) -> None:
        self.server.stop()
