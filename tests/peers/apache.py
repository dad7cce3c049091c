"""A real Apache httpd whose pages ask for a password that it checks by LDAP: stands for any program that binds."""

from __future__ import annotations

from pathlib import Path

from tests.peers.process import Server, free_ports

MODULES = "mpm_event authn_core authz_core authz_user auth_basic ldap authnz_ldap"

PAGE = """\
AuthType Basic
AuthName "Wiki"
AuthBasicProvider ldap
AuthLDAPURL "{url}/{base}?uid?sub?(objectClass=inetOrgPerson)"
AuthLDAPBindDN "{bind_dn}"
AuthLDAPBindPassword "{password}"
Require valid-user
"""
"""What a site has for its directory: docs/backends/any-program.md shows the same."""

NO_CACHE = """\
LDAPCacheEntries 0
LDAPOpCacheEntries 0
"""


class Apache:
    """A page at `url` for whom the directory at `ldap` lets in (ldaps://…); `cache` as Apache has it, or none."""

    def __init__(self, root: Path, *, ldap: str, ca: Path, base: str, bind_dn: str, password: str, cache: bool) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}/page"
        documents = root / "documents"
        documents.mkdir()
        root.chmod(0o755)  # its workers run as www-data
        (documents / "page").write_text("in")
        modules = "".join(
            f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in MODULES.split()
        )
        config = root / "apache.conf"
        config.write_text(
            f"""\
{modules}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {root}/apache.pid
DefaultRuntimeDir {root}
ErrorLog /dev/stderr
User www-data
Group www-data
DocumentRoot {documents}
LDAPTrustedGlobalCert CA_BASE64 {ca}
LDAPVerifyServerCert On
{"" if cache else NO_CACHE}
<Directory {documents}>
{PAGE.format(url=ldap, base=base, bind_dn=bind_dn, password=password)}
</Directory>
"""
        )
        self.server = Server(
            ["apache2", "-d", str(root), "-f", str(config), "-DFOREGROUND"], root / "apache.log", [port]
        )
        self.server.wait()

    def stop(self) -> None:
        self.server.stop()
