"""The LDAP proxies under test, in front of the same slapd with PEOPLE entries, of which LOGINS log in."""

from __future__ import annotations

from pathlib import Path

from bench.measure import Contestant
from proxy.cli.client import Client
from tests.peers.process import Server, free_ports
from tests.peers.slapd import BASE, SERVICE, SERVICE_PASSWORD, Slapd, person
from tests.support.sidegate import Certificates, Sidegate

PEOPLE = 1000
LOGINS = 100
PASSWORDS = {f"user{number}": f"account-password-{number}" for number in range(PEOPLE)}


def _arguments(root: Path, port: int, tls: bool, secrets: list[str]) -> list[str]:
    """Secrets, one a line for each of the first LOGINS people, do not go on a command line."""
    file = root / "secrets"
    file.write_text("\n".join(secrets))
    return [str(port), "tls" if tls else "clear", str(file)]


class BackLdap(Contestant):
    """slapd with `database ldap`, as its manual has it, its log off: its best case.

    A Bind goes through to the backend on a connection of its own, as at sidegate. Without `assert_identity` that
    connection is the person's from then on. With it (`flags=override`) back-ldap does what sidegate does: operations go
    out under a service's Bind with the proxied authorization control, over connections that people share, and the
    person's Bind has only checked the password. Four threads took the least on one CPU (2: a tenth more for a search;
    16, the default: 3 %). TLS is GnuTLS: Debian's slapd has no other.
    """

    def __init__(
        self, name: str, root: Path, certificates: Certificates, backend: int, *, tls: bool, assert_identity: bool
    ) -> None:
        self.name = name
        root.mkdir()
        (port,) = free_ports(1)
        identity = f"""\
idassert-bind bindmethod=simple binddn="{SERVICE}" credentials={SERVICE_PASSWORD} mode=self \
flags=override,proxy-authz-critical
idassert-authzFrom "*"
"""
        (root / "slapd.conf").write_text(f"""
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_ldap
threads 4
pidfile {root}/slapd.pid
TLSCACertificateFile {certificates.ca}
TLSCertificateFile {certificates.certificate}
TLSCertificateKeyFile {certificates.key}
database ldap
suffix {BASE}
uri ldap://127.0.0.1:{backend}
{identity if assert_identity else ""}""")
        url = f"ldap{'s' if tls else ''}://127.0.0.1:{port}"
        argv = ["slapd", "-d", "0", "-f", str(root / "slapd.conf"), "-h", url]
        self._server = Server(argv, root / "slapd.log", [port])
        self.pid = self._server.process.pid
        self._server.wait()
        self.arguments = _arguments(root, port, tls, list(PASSWORDS.values())[:LOGINS])

    def stop(self) -> None:
        self._server.stop()


class Gate(Contestant):
    """sidegate as installed: supervisor, core, portal, one front worker; the app password is really verified, and the
    person's rights hold: proxied_authorization."""

    name = "sidegate"

    def __init__(self, root: Path, certificates: Certificates, backend: int) -> None:
        password = root.parent / "service-password"
        password.write_text(SERVICE_PASSWORD)
        password.chmod(0o600)
        directory = {
            "protocol": "ldap",
            "address": f"127.0.0.1:{backend}",
            "tls": "none",
            "account_dn": person("{local}"),
            "login": {"strategy": "proxied_authorization", "bind_dn": SERVICE, "password_file": str(password)},
        }
        self._gate = Sidegate(
            root, certificates, {"directory": directory}, extra={"limits": {"connections_per_network": 10000}}
        ).start()
        assert self._gate.server is not None
        self.pid = self._gate.server.process.pid
        addresses = [f"user{number}@example.org" for number in range(LOGINS)]
        accounts = root / "accounts.csv"
        accounts.write_text("\n".join(["address", *addresses]))
        done = self._gate.cli("accounts", "import", str(accounts), "--yes")
        assert done.returncode == 0, done.stderr
        with Client(root / "run" / "admin.sock") as api:
            created = [
                api.post(f"accounts/{address}/app-passwords", {"name": "bench", "scopes": ["ldap"]})
                for address in addresses
            ]
        secrets = [str(each["secret"]) for each in created]
        self.arguments = _arguments(root, self._gate.ports["ldap", "implicit"], True, secrets)

    def stop(self) -> None:
        self._gate.stop()


class Directory(Slapd):
    """The backend; on the load generator's CPU."""

    def __init__(self, root: Path, certificates: Certificates) -> None:
        super().__init__(
            root,
            certificates.certificate,
            certificates.key,
            certificates.ca,
            users=PASSWORDS,
            extra="index objectClass,uid eq",
            log="0",
        )
