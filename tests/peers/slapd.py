"""A real OpenLDAP 2.5 slapd: the directory behind an LDAP front, with proxied authorization as docs/backends says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.peers.process import Server, free_ports

BASE = "dc=example,dc=org"
PEOPLE = f"ou=people,{BASE}"
SERVICES = f"ou=services,{BASE}"
SERVICE = f"cn=sidegate,{SERVICES}"
SERVICE_PASSWORD = "service-secret-1"
CHAT, PROSODY, EJABBERD, UNLISTED = (f"cn={name},{SERVICES}" for name in ("chat", "prosody", "ejabberd", "unlisted"))
"""Programs' own accounts, all with CHAT_PASSWORD."""
CHAT_PASSWORD = "chat-secret-1"
USERS = {"alice": "alice-account-password", "bob": "bob-account-password"}
AUTHZ_TO = f"ldap:///{PEOPLE}??sub?(objectClass=inetOrgPerson)"

SETTINGS = """\
authz-policy to

access to attrs=authzTo,authzFrom
  by * auth
"""
"""What sidegate needs of slapd.conf: docs/backends/openldap.md has the same lines."""


def person(uid: str) -> str:
    """The DN of somebody under ou=people; they need not exist."""
    return f"uid={uid},{PEOPLE}"


class Slapd:
    """People are alice and bob (userPassword: their account passwords, in the clear). Each may write her own
    telephoneNumber, jpegPhoto and userPassword; reading takes a Bind. The service entry may be anybody whom `authz_to`
    names.
    With `changes` it runs on cn=config: these, as LDIF, take the place of SETTINGS. `users` are other people than
    USERS, `extra` more lines for the database, `log` the log level. With `policy`, a DN, it has
    password policies, that one for everybody; `more` are further entries, as LDIF."""

    def __init__(
        self,
        root: Path,
        certificate: Path,
        key: Path,
        ca: Path,
        *,
        authz_to: str = AUTHZ_TO,
        changes: str = "",
        users: Mapping[str, str] = USERS,
        extra: str = "",
        log: str = "stats",
        policy: str = "",
        more: str = "",
    ) -> None:
        self.root = root
        self.ca = ca
        self._users = users
        self._extra = extra
        self._log = log
        self.port, self.ldaps_port = free_ports(2)
        (root / "data").mkdir(parents=True)
        self.config = root / "slapd.conf"
        self.config.write_text(self._config(certificate, key, "" if changes else SETTINGS, policy))
        self._configured = ["-f", str(self.config)]
        entries = root / "entries.ldif"
        entries.write_text(self._entries(authz_to) + more)
        self.command("slapadd", "-l", str(entries))
        if changes:
            self._convert(changes)
        self.server: Server
        self.start()

    def start(self) -> None:
        """Start it (again), on the same ports and data."""
        self.server = Server(
            [
                "slapd",
                *("-d", self._log),  # in the foreground, log on stderr
                *self._configured,
                *("-h", f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.ldaps_port}"),
            ],
            self.root / "slapd.log",
            [self.port, self.ldaps_port],
        )
        self.server.wait()

    def command(self, program: str, *arguments: str) -> str:
        """A slap* program on this configuration; what it printed."""
        done = subprocess.run(
            [program, *self._configured, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, (program, done.returncode, done.stderr)
        return done.stdout + done.stderr

    def _convert(self, changes: str) -> None:
        """slapd.conf becomes cn=config, then is changed as an operator would."""
        tree, ldif = self.root / "slapd.d", self.root / "changes.ldif"
        tree.mkdir()
        ldif.write_text(changes)
        self.command("slaptest", "-F", str(tree))
        self._configured = ["-F", str(tree)]
        self.command("slapmodify", "-n", "0", "-l", str(ldif))

    def _config(self, certificate: Path, key: Path, settings: str, policy: str) -> str:
        overlay = f"overlay ppolicy\nppolicy_default {policy}\nppolicy_use_lockout" if policy else ""
        return f"""
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
pidfile {self.root}/slapd.pid
TLSCACertificateFile {self.ca}
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}

{settings}
access to attrs=userPassword
  by self write
  by anonymous auth
  by * none

access to attrs=telephoneNumber,jpegPhoto
  by self write
  by users read
  by * none

access to *
  by users read
  by anonymous auth

database mdb
suffix {BASE}
directory {self.root}/data
maxsize 16777216
{self._extra}
{overlay}
"""

    def _entries(self, authz_to: str) -> str:
        people = "".join(
            f"""
dn: {person(uid)}
objectClass: inetOrgPerson
uid: {uid}
cn: {uid.title()} Example
sn: Example
mail: {uid}@example.org
telephoneNumber: +1 555 0100
userPassword: {password}
"""
            for uid, password in self._users.items()
        )
        programs = "".join(
            f"""
dn: {dn}
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: {dn[3:].partition(",")[0]}
userPassword: {CHAT_PASSWORD}
"""
            for dn in (CHAT, PROSODY, EJABBERD, UNLISTED)
        )
        return f"""\
dn: {BASE}
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: {PEOPLE}
objectClass: organizationalUnit
ou: people

dn: {SERVICES}
objectClass: organizationalUnit
ou: services

dn: {SERVICE}
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: sidegate
userPassword: {SERVICE_PASSWORD}
authzTo: {authz_to}
{programs}{people}"""

    def log(self) -> str:
        return self.server.text()

    def stop(self) -> None:
        self.server.stop()

    def __repr__(self) -> str:
        return json.dumps({"ldap": self.port, "ldaps": self.ldaps_port})
