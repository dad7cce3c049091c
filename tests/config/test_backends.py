"""The `backends` section: what fits together and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.backends import CARRIES, NEEDS, SPEAKS, TAKES
from proxy.config.reader import KEYS
from proxy.config.settings import Address, ClientAddress, Login, Strategy
from proxy.domain.secret import Secret
from tests.config.mistakes import VALID, changed, loaded, mistakes

LOGIN = "{strategy: dovecot_token, issuer: sidegate, client_id: sidegate}"
STRATEGIES = "dovecot_token, master_user, xclient, static, proxied_authorization, service_identity"
LATER = "is not in this version of sidegate"


def test_every_strategy_and_way_is_in_the_tables() -> None:
    assert set(SPEAKS) == set(NEEDS) == set(TAKES) == set(Strategy)
    assert set(CARRIES) == set(ClientAddress)
    assert {"strategy", *(key for keys in TAKES.values() for key in keys)} == set(KEYS["login"])


TABLE: list[tuple[str, str, list[str]]] = [
    (
        "    login: " + LOGIN + "\n",
        "",
        [
            "9:5: backends.mail.login: is missing; write {strategy: one of dovecot_token, master_user, xclient, "
            "static, proxied_authorization, service_identity, …}"
        ],
    ),
    (
        LOGIN,
        "static",
        [
            "12:12: backends.mail.login: must be a mapping; write {strategy: …} (keys: strategy, user, password,"
            " password_file, separator, issuer, client_id, audience, bind_dn, bases, attributes)"
        ],
    ),
    (
        LOGIN,
        "{}",
        ["12:12: backends.mail.login.strategy: is missing; write one of " + STRATEGIES],
    ),
    (
        LOGIN,
        "{strategy: master}",
        ["12:23: backends.mail.login.strategy: is none of " + STRATEGIES],
    ),
    (
        LOGIN,
        "{strategy: proxied_authorization, bind_dn: x, password: p}",
        [
            "12:23: backends.mail.login.strategy: proxied_authorization does not exist for imap, only for ldap",
            "12:55: backends.mail.login.bind_dn: is no distinguished name; write cn=sidegate,ou=services,dc=example,"
            "dc=org",
        ],
    ),
    (
        LOGIN,
        "{strategy: static, user: u, password: p, bind_dn: cn=x}",
        ["12:62: backends.mail.login.bind_dn: means nothing to strategy static; remove it"],
    ),
    (
        LOGIN,
        "{strategy: master_user, separator: x}",
        [
            "12:12: backends.mail.login.password: is missing; strategy master_user needs password_file: /path of a "
            "file",
            "12:12: backends.mail.login.user: is missing; strategy master_user needs user: …",
            '12:47: backends.mail.login.separator: must be one punctuation character; write "*", or remove it to send '
            "an authzid",
        ],
    ),
    (
        LOGIN,
        "{strategy: static, user: u, password: p, password_file: /f, issuer: i}",
        [
            "12:68: backends.mail.login.password_file: stands beside password; keep one of the two",
            "12:80: backends.mail.login.issuer: means nothing to strategy static; remove it",
        ],
    ),
    (
        LOGIN,
        "{strategy: dovecot_token}",
        [
            "12:12: backends.mail.login.client_id: is missing; strategy dovecot_token needs client_id: …",
            "12:12: backends.mail.login.issuer: is missing; strategy dovecot_token needs issuer: …",
        ],
    ),
    (
        LOGIN,
        "{strategy: static, user: u, password: [p]}",
        ["12:50: backends.mail.login.password: must be a single value, not a list"],
    ),
    ("protocol: imap\n", "protocol: pop3\n", ["9:15: backends.mail.protocol: is none of imap, smtp, ldap"]),
    (
        "protocol: smtp\n    address",
        "protocol: smtp\n    account_dn: uid={local}\n    bind_names: true\n    address",
        [
            "15:17: backends.submission.account_dn: is for ldap only; remove it",
            "16:17: backends.submission.bind_names: is for ldap only; remove it",
        ],
    ),
    (
        "protocol: imap\n",
        "protocol: smtp\n",
        ["5:66: fronts[0].backend: mail speaks smtp, this front imap; name another"],
    ),
    (
        "tls: none",
        "tls: starttls\n    insecure: true",
        ["17:15: backends.submission.insecure: means nothing with tls: starttls, which is always verified; remove it"],
    ),
    (
        "tls: none",
        "tls: none\n    ca: /etc/ca.pem",
        ["17:9: backends.submission.ca: means nothing with tls: none; remove it"],
    ),
    (
        "tls: starttls",
        "tls: none",
        [
            "11:10: backends.mail.tls: none leaves logins and mail readable on the way to an address that is not "
            "loopback; write starttls or implicit, or say insecure: true"
        ],
    ),
    ("    tls: starttls\n", "", ["9:5: backends.mail.tls: is missing; write starttls, implicit or none"]),
    (
        '    address: "10.0.0.5:143"\n',
        "",
        ['9:5: backends.mail.address: is missing; write "10.0.0.5:143", or a list to be tried in order'],
    ),
    (
        '"127.0.0.1:10587"',
        '["127.0.0.1:10587", "mx:25"]',
        [
            "16:10: backends.submission.tls: none leaves logins and mail readable on the way to an address that is not"
            " loopback; write starttls or implicit, or say insecure: true"
        ],
    ),
    (
        "tls: starttls",
        "tls: starttls\n    client_address: xclient",
        ["12:21: backends.mail.client_address: xclient does not exist in imap; write one of id, proxy_v2, none"],
    ),
    (
        "tls: none",
        "tls: none\n    client_address: proxy_v2",
        ["17:21: backends.submission.client_address: strategy xclient always passes the address by XCLIENT; remove it"],
    ),
    (
        "tls: starttls",
        'tls: starttls\n    username: "{local}"\ndomains: [example.org, example.net]',
        ["12:15: backends.mail.username: gives alice of every domain one name; with several domains write {account}"],
    ),
    (
        "tls: starttls",
        "tls: starttls\n    username: vmail",
        ["12:15: backends.mail.username: gives several accounts one name; write {account}, or {local} once"],
    ),
    (
        "  mail:\n",
        "  ma il:\n",
        [
            "5:66: fronts[0].backend: there is no such backend; there is submission",
            "8:3: backends.?: is no name for a backend; write a letter, then letters, digits, - or _ (31 at most)",
        ],
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), TABLE)
def test_mistakes(tmp_path: Path, old: str, new: str, expected: list[str]) -> None:
    text = changed(old, new)
    if "\ndomains" in new:  # a key of the top level cannot stand inside of backends
        text = changed(old, new.partition("\ndomains")[0]) + "domains: [example.org, example.net]\n"
    assert mistakes(tmp_path, text) == expected


def test_no_backends_at_all(tmp_path: Path) -> None:
    head = VALID.partition("backends:\n")[0]
    missing = "is missing; name at least one server: {mail: {protocol: imap, address: …, login: …}}"
    assert mistakes(tmp_path, head)[0] == f"1:1: backends: {missing}"
    wrong = mistakes(tmp_path, head + "backends: [mail]\n", mode=0o644)
    assert wrong.count("7:11: backends: must be a mapping of names; write name: {…}") == 1


def test_several_addresses_keep_their_order(tmp_path: Path) -> None:
    text = changed('"10.0.0.5:143"', '["10.0.0.5:143", "imap.example.org:143", "[2001:db8::5]:143"]')
    assert loaded(tmp_path, text).backends["mail"].addresses == (
        Address("10.0.0.5", 143),
        Address("imap.example.org", 143),
        Address("2001:db8::5", 143),
    )


def test_what_is_warned_about(tmp_path: Path) -> None:
    text = (
        changed("tls: starttls", "tls: none\n    insecure: true")
        + "  spare: {protocol: imap, address: 'x.org:993', tls: implicit, "
        + "login: {strategy: static, user: a, password: b}}\n"
    )
    prefix = f"{tmp_path}/sidegate.yaml:"
    assert [warning.removeprefix(prefix) for warning in loaded(tmp_path, text).warnings] == [
        "12:15: backends.mail.insecure: logins and mail go to 10.0.0.5:143 in the clear",
        "19:3: backends.spare: is not used by any front",
    ]


def with_login(login: str) -> str:
    return changed(LOGIN, login)


def password(folder: Path, login: str) -> Secret | None:
    return loaded(folder, changed(LOGIN, login), secrets=True).backends["mail"].login.password


def test_a_password_comes_from_the_configuration(tmp_path: Path) -> None:
    assert password(tmp_path, "{strategy: static, user: u, password: 0777}") == Secret("0777")


def test_a_password_comes_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("pa ss\n")
    secret.chmod(0o600)
    login = f'{{strategy: master_user, user: m, password_file: {secret}, separator: "*"}}'
    assert password(tmp_path, login) == Secret("pa ss")
    assert loaded(tmp_path, changed(LOGIN, login)).backends["mail"].login.password is None
    secret.chmod(0o644)
    assert mistakes(tmp_path, changed(LOGIN, login)) == [
        f"12:60: backends.mail.login.password_file: {secret} may be read by others than its owner (mode 0644);"
        f" run: chmod 600 {secret}"
    ]


def test_a_password_comes_from_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    login = "{strategy: static, user: u}"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert mistakes(tmp_path, changed(LOGIN, login)) == [
        "12:12: backends.mail.login.password: is missing; strategy static needs password_file: /path of a file"
    ]
    credential = tmp_path / "backends.mail.login.password"
    credential.write_text("from systemd\n")
    credential.chmod(0o640)  # an access list that names the service's user shows as group permission
    assert password(tmp_path, login) == Secret("from systemd")
    credential.write_text("")
    assert mistakes(tmp_path, changed(LOGIN, login)) == [
        f"12:12: backends.mail.login.password: {credential} is empty; write the secret into it"
    ]


def test_who_may_not_see_the_password_does_not_miss_it(tmp_path: Path) -> None:
    assert loaded(tmp_path, changed(LOGIN, "{strategy: static, user: u}")).backends["mail"].login == Login(
        Strategy.STATIC, user="u"
    )
