"""The `directory` section."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from proxy.config import load, show
from proxy.config.settings import LdapDirectory
from proxy.domain.secret import Secret
from tests.config.mistakes import VALID, loaded, mistakes

SEVERAL = "domains: [example.org, example.net]\n"
ACCOUNT_DN = "uid={local},ou=people,dc=example,dc=org"


def directory(text: str) -> str:
    return VALID + f"directory: {{type: ldap, {text}}}\n"


SEARCH = 'url: "ldaps://x", base: "dc=x", '
FILTER = SEARCH + 'filter: "(mail={account})"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (VALID + "directory: {type: ad}\n", ["type: is none of embedded, ldap"]),
        (VALID + "directory: {}\n", ["type: is missing; write {type: embedded}, or {type: ldap, url: …}"]),
        (VALID + 'directory: {type: embedded, url: "ldaps://x"}\n', ["url: means nothing to type embedded; remove it"]),
        (
            VALID + "directory: {type: ldap}\n",
            [
                "url: is missing; write \"ldaps://ldap.example.org\"",
                'filter: is missing; write filter: "(mail={account})", or account_dn where the address says it',
            ],
        ),
        (directory(FILTER + ", recheck: 5m"), ["recheck: is not in this version of sidegate; remove it"]),
        (
            directory('url: "https://x", filter: "(mail={account})", bind_dn: 7, insecure: maybe, starttls: true'),
            [
                'url: is not the URL of an LDAP server; write "ldaps://ldap.example.org", or "ldap://…:389"',
                "base: is missing; write where to search: ou=people,dc=example,dc=org",
                "bind_dn: is no distinguished name; write cn=sidegate,ou=services,dc=example,dc=org",
                "insecure: must be true or false, without quotes",
            ],
        ),
        (
            directory('url: "ldap://x/dc=x", account_dn: "uid={local},dc=x"'),
            ['url: is not the URL of an LDAP server; write "ldaps://ldap.example.org", or "ldap://…:389"'],
        ),
        (
            directory('url: "ldap://x", account_dn: "uid={local},dc=x"'),
            [
                "url: ldap leaves account passwords readable on the way to an address that is not loopback; write "
                "ldaps, or say starttls: true, or insecure: true"
            ],
        ),
        (
            directory(FILTER + ", starttls: true, insecure: true"),
            [
                "starttls: means nothing with ldaps://, which is TLS from the first byte; remove it",
                "insecure: means nothing with TLS, which is always verified; remove it",
            ],
        ),
        (
            directory('url: "ldap://localhost", account_dn: "uid={local},dc=x", ca: /etc/ca.pem'),
            ["ca: means nothing without TLS; write starttls: true, or remove it", "ca: /etc/ca.pem cannot be read"],
        ),
        (directory(FILTER + ', account_dn: "uid={local},dc=x"'), ["account_dn: stands beside filter; keep one of"]),
        (directory(FILTER + ', bind_dn: "cn=x"'), ["password: is missing; write password_file: /path of a file"]),
        (
            directory(FILTER + ", password: x"),
            ["bind_dn: is missing; write whose password it is: cn=sidegate,ou=services,dc=example,dc=org"],
        ),
        (directory(SEARCH + 'filter: "(mail=alice)"'), ["filter: finds the same entry for everybody; write "]),
        (directory(SEARCH + 'filter: "(mail={uid})"'), ["filter: holds something else in braces than {account} or "]),
        (directory(FILTER + ', group_filter: "(member={account})"'), ["group_filter: holds something else in "]),
        (
            SEVERAL + directory(SEARCH + 'filter: "(|(mail={account})(uid={local}))"'),
            ["filter: finds one entry for alice of every domain; with several domains write {account}, or "],
        ),
        (
            SEVERAL + directory(f'url: "ldaps://x", account_dn: "{ACCOUNT_DN}"'),
            ["account_dn: finds one entry for alice of every domain; with several domains write "],
        ),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, text: str, expected: list[str]) -> None:
    found = sorted(line.partition(" directory.")[2] for line in mistakes(tmp_path, text))
    assert len(found) == len(expected), found
    assert all(line.startswith(start) for line, start in zip(found, sorted(expected), strict=True)), found


@pytest.mark.parametrize(
    "written",
    ["mail={account}", "(mail={account}", "(mail={account}))", "((mail={account}))", "(&)", "(mail={account})(uid=*)",
     "(!(mail={account})(uid=x))", "(mail=\\\\zz{account})", "(mail)", "(=x{account})"],
)  # fmt: skip
def test_what_is_no_filter(tmp_path: Path, written: str) -> None:
    found = mistakes(tmp_path, directory(SEARCH + f'filter: "{written}"'))
    assert "filter: is not a filter in parentheses; write (mail={account}), or (&(" in found[0]


@pytest.mark.parametrize(
    "written",
    ["(mail={account})", "(&(objectClass=person)(|(uid={local})(mail={account}))(!(loginDisabled=TRUE)))",
     "(memberOf:1.2.840.113556.1.4.1941:={account})", "(cn=\\\\28{local}\\\\29)", "(&(mail={account})(cn=*))"],
)  # fmt: skip
def test_filters(tmp_path: Path, written: str) -> None:
    found = loaded(tmp_path, directory(SEARCH + f'filter: "{written}"')).directory
    assert found is not None
    assert found.filter == written.replace("\\\\", "\\")


def test_password_url_is_for_a_directory_that_is_not_ours(tmp_path: Path) -> None:
    portal = '{url: "https://login.example.org", password_url: "https://passwords.example.org"}'
    text = VALID.replace('{url: "https://login.example.org"}', portal)
    (found,) = mistakes(tmp_path, text)
    assert found.endswith(
        "portal.password_url: means nothing where the portal has that page (directory: embedded); remove it"
    )
    config = loaded(tmp_path, text + directory(FILTER).removeprefix(VALID))
    assert config.portal.password_url == "https://passwords.example.org"
    assert yaml.safe_load(show(config, only_changed=True))["portal"]["password_url"] == config.portal.password_url


def test_everything_and_what_is_shown_of_it(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("ldap-secret\n")
    secret.chmod(0o600)
    fields = f'{FILTER}, bind_dn: "cn=x", password_file: "{secret}", group_filter: "(member={{dn}})"'
    config = loaded(tmp_path, directory(fields))
    expected = LdapDirectory(
        "ldaps://x", "dc=x", "(mail={account})", "", "cn=x", Secret("ldap-secret"), "(member={dn})"
    )
    assert config.directory == expected
    for only_changed in (False, True):
        shown = yaml.safe_load(show(config, only_changed))["directory"]
        assert shown == {
            "type": "ldap",
            "url": "ldaps://x",
            "base": "dc=x",
            "filter": "(mail={account})",
            "bind_dn": "cn=x",
            "password": "<secret>",
            "group_filter": "(member={dn})",
        }
    assert loaded(tmp_path).directory is None
    assert yaml.safe_load(show(loaded(tmp_path), only_changed=False))["directory"] == {"type": "embedded"}
    assert "directory" not in yaml.safe_load(show(loaded(tmp_path), only_changed=True))


def test_insecure_is_warned_of_at_every_start(tmp_path: Path) -> None:
    config = loaded(
        tmp_path, directory('url: "ldap://ldap.example.org", insecure: true, account_dn: "uid={local},dc=x"')
    )
    (warning,) = config.warnings
    assert warning.endswith("directory.insecure: account passwords go to ldap.example.org in the clear")


def test_its_files_are_read_by_the_process_that_asks_for_them(tmp_path: Path) -> None:
    """The core runs under a uid that cannot read the portal's."""
    text = directory(FILTER + ', ca: /nowhere/ca.pem, bind_dn: "cn=x", password_file: /nowhere/password')
    found = mistakes(tmp_path, text)
    assert len(found) == 2
    assert all("/nowhere/" in line for line in found)
    config = load(tmp_path / "sidegate.yaml", certificates=False, secrets=False, directory=False)
    assert config.directory is not None
    assert config.directory.password is None
