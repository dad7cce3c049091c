"""`sidegate mfa … --group`: the persons in a group of a real OpenLDAP."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.admin.office import Office
from tests.cli.conftest import Shell
from tests.peers.slapd import BASE, SERVICE, SERVICE_PASSWORD, Slapd, person
from tests.support.sidegate import Certificates

pytestmark = pytest.mark.real

GROUP = f"cn=staff,{BASE}"
ENTRIES = f"dn: {GROUP}\nobjectClass: groupOfNames\ncn: staff\nmember: {person('alice')}\n\n"


@pytest.fixture(scope="module")
def slapd() -> Iterator[Slapd]:
    root = Path(tempfile.mkdtemp(prefix="sidegate-ldap-"))
    root.chmod(0o755)
    tls = Certificates(root / "tls")
    started = Slapd(root / "slapd", tls.certificate, tls.key, tls.ca, more=f"\n{ENTRIES}")
    yield started
    started.stop()
    shutil.rmtree(root)


def configure(shell: Shell, slapd: Slapd, password: str = SERVICE_PASSWORD) -> None:
    secret = shell.root / "ldap-password"
    secret.write_text(password)
    secret.chmod(0o600)
    section = {
        "type": "ldap",
        "url": f"ldaps://localhost:{slapd.ldaps_port}",
        "ca": str(slapd.ca),
        "base": BASE,
        "filter": "(mail={account})",
        "bind_dn": SERVICE,
        "password_file": str(secret),
        "group_filter": "(member={dn})",
    }
    text = shell.config.read_text().partition("directory:")[0]
    shell.config.write_text(f"{text}directory: {json.dumps(section)}\n")


def test_those_in_the_group_and_nobody_else(shell: Shell, office: Office, slapd: Slapd) -> None:
    for name in ("alice", "bob", "stranger"):
        assert shell("accounts", "add", f"{name}@example.org").exit_code == 0
    configure(shell, slapd)
    asked = shell("mfa", "enable", "--group", "Staff")
    assert (asked.exit_code, asked.stdout) == (1, "")
    assert "Set 1 account to enabled? Nobody can be asked here" in asked.stderr
    done = shell("mfa", "enable", "--group", GROUP, "--yes", "--json")
    assert json.loads(done.stdout)["changed"] == ["alice@example.org"]
    nobody = shell("mfa", "enable", "--group", "nowhere", "--yes")
    assert nobody.exit_code == 1
    assert "none of the 3 persons is in a group nowhere" in nobody.stderr


def test_a_directory_that_does_not_say(shell: Shell, office: Office, slapd: Slapd) -> None:
    assert shell("accounts", "add", "alice@example.org").exit_code == 0
    configure(shell, slapd, "wrong")
    refused = shell("mfa", "enable", "--group", "staff", "--yes")
    assert (refused.exit_code, refused.stdout) == (75, "")
    assert "does not say who is in staff: Unusable: Bind as bind_dn: 49" in refused.stderr
    assert '"mfa": "disabled"' in shell("accounts", "list", "--json").stdout
