"""What `backends` says of LDAP servers alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.settings import ClientAddress, Login, ProsodyKick, ServiceAccount, Strategy
from proxy.domain.secret import Secret
from tests.config.mistakes import VALID, loaded, mistakes

DIRECTORY = """\
  directory:
    protocol: ldap
    address: "10.0.0.6:389"
    tls: starttls
    account_dn: "uid={local},ou=people,dc=example,dc=org"
    login: {strategy: proxied_authorization, bind_dn: "cn=sidegate,ou=services,dc=example,dc=org", password: pw}
"""
WITH_DIRECTORY = VALID.replace(
    "backends:\n", '  - {protocol: ldap, listen: "[::]:636", tls: implicit, backend: directory}\nbackends:\n'
)
DN = '"uid={local},ou=people,dc=example,dc=org"'

DIRECTORY_TABLE: list[tuple[str, str, list[str]]] = [
    (
        f"    account_dn: {DN}\n",
        "",
        ["20:5: backends.directory.account_dn: is missing; write uid={local},ou=people,dc=example,dc=org"],
    ),
    (
        DN,
        "uid",
        [
            "23:17: backends.directory.account_dn: is no DN that can be compared; write "
            "uid={local},ou=people,dc=example,dc=org"
        ],
    ),
    (DN, '""', ["23:17: backends.directory.account_dn: is empty; write a value or remove the key"]),
    (
        DN,
        "uid=x{local}",
        [
            "23:17: backends.directory.account_dn: may have {account}, {local} and {domain} as whole "
            "values, and no other braces"
        ],
    ),
    (
        "ou=services",
        "ou=people,uid=x",
        [],
    ),
    (
        "cn=sidegate,ou=services",
        "UID=sidegate, OU=people",
        [
            "23:17: backends.directory.account_dn: makes login.bind_dn an account's; move the service out of there, "
            "such as to ou=services"
        ],
    ),
    (
        "tls: starttls\n    account_dn",
        'tls: starttls\n    username: "{local}"\n    account_dn',
        ["23:15: backends.directory.username: means nothing in ldap, where account_dn says it; remove it"],
    ),
    (
        "tls: starttls\n    account_dn",
        "tls: starttls\n    bind_names: yes\n    client_address: id\n    account_dn",
        [
            "23:17: backends.directory.bind_names: must be true or false, without quotes",
            "24:21: backends.directory.client_address: id does not exist in ldap; write one of proxy_v2, none",
        ],
    ),
    (
        "tls: starttls\n    account_dn",
        "tls: starttls\n    service_accounts: []\n    account_dn",
        [],
    ),
    (
        "tls: starttls\n    account_dn",
        "tls: starttls\n    service_accounts: {dn: x}\n    account_dn",
        ["23:23: backends.directory.service_accounts: must be a list; write [{dn: …, networks: […]}]"],
    ),
    (
        "tls: starttls\n    account_dn",
        "tls: starttls\n    service_accounts: [{}, {dn: plain, networks: [x]}, {network: []}, cn=chat]\n    account_dn",
        [
            "23:24: backends.directory.service_accounts[0].dn: is missing; write cn=chat,ou=services,dc=example,dc=org",
            "23:24: backends.directory.service_accounts[0].networks: is missing; say where the service is: "
            "[10.0.0.7/32]",
            "23:33: backends.directory.service_accounts[1].dn: is no distinguished name; write "
            "cn=sidegate,ou=services,dc=example,dc=org",
            "23:51: backends.directory.service_accounts[1].networks[0]: is not a network; write 10.0.0.0/8, 192.0.2.7 "
            "or 2001:db8::/32",
            "23:56: backends.directory.service_accounts[2].dn: is missing; write cn=chat,ou=services,dc=example,dc=org",
            "23:56: backends.directory.service_accounts[2].networks: is missing; say where the service is: "
            "[10.0.0.7/32]",
            "23:57: backends.directory.service_accounts[2].network: unknown key; did you mean networks?",
            "23:71: backends.directory.service_accounts[3]: must be a mapping; write {dn: …} (keys: dn, networks, "
            "on_revoke)",
        ],
    ),
    (
        "tls: starttls\n    account_dn",
        "tls: starttls\n    service_accounts:\n"
        "      - {dn: 'UID=chat, ou=People,dc=example,dc=org', networks: [10.0.0.1]}\n"
        "      - {dn: 'CN=sidegate, ou=services,dc=example,dc=org', networks: [10.0.0.1]}\n"
        "      - {dn: 'cn=a,dc=org', networks: [10.0.0.1]}\n"
        "      - {dn: 'CN=A , dc=org', networks: [10.0.0.1]}\n"
        "      - {dn: '2.5.4.3=a,dc=org', networks: [10.0.0.1]}\n"
        "    account_dn",
        [
            "24:14: backends.directory.service_accounts[0].dn: is an account's by account_dn, whose password must "
            "never pass; move the service to another branch",
            "25:14: backends.directory.service_accounts[1].dn: is login.bind_dn, which may speak for everybody; give "
            "the service an entry of its own",
            "27:14: backends.directory.service_accounts[3].dn: is in this list already; give it all its networks there",
            "28:14: backends.directory.service_accounts[4].dn: has an OID, a quoted or a # value, which cannot be "
            "compared; write names and plain values",
        ],
    ),
    (
        "tls: starttls",
        "tls: none",
        [
            "22:10: backends.directory.tls: none leaves logins and entries readable on the way to an address that is "
            "not loopback; write starttls or implicit, or say insecure: true"
        ],
    ),
    (
        "login: {strategy: proxied_authorization, ",
        "login: {strategy: static, user: u, ",
        [
            "24:23: backends.directory.login.strategy: static does not exist for ldap, only for imap, smtp",
            "24:49: backends.directory.login.bind_dn: means nothing to strategy static; remove it",
        ],
    ),
    (
        'bind_dn: "cn=sidegate,ou=services,dc=example,dc=org", password: pw',
        "user: u",
        [
            "24:12: backends.directory.login.bind_dn: is missing; strategy proxied_authorization needs bind_dn: …",
            "24:12: backends.directory.login.password: is missing; strategy proxied_authorization needs "
            "password_file: /path of a file",
            "24:52: backends.directory.login.user: means nothing to strategy proxied_authorization; remove it",
        ],
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), DIRECTORY_TABLE)
def test_mistakes_of_a_directory(tmp_path: Path, old: str, new: str, expected: list[str]) -> None:
    assert DIRECTORY.count(old) == 1
    text = WITH_DIRECTORY + DIRECTORY.replace(old, new)
    if expected:
        assert mistakes(tmp_path, text) == expected
    else:
        assert loaded(tmp_path, text).warnings == ()


def test_a_directory(tmp_path: Path) -> None:
    config = loaded(tmp_path, WITH_DIRECTORY + DIRECTORY, secrets=True)
    backend = config.backends["directory"]
    assert backend.account_dn == "uid={local},ou=people,dc=example,dc=org"
    assert (backend.bind_names, backend.client_address) == (False, ClientAddress.NONE)
    assert backend.login == Login(
        Strategy.PROXIED_AUTHORIZATION,
        password=Secret("pw"),
        bind_dn="cn=sidegate,ou=services,dc=example,dc=org",
    )
    assert config.fronts[-1].name == "ldap:636"
    text = DIRECTORY.replace("tls: starttls\n", "tls: starttls\n    bind_names: true\n    client_address: proxy_v2\n")
    backend = loaded(tmp_path, WITH_DIRECTORY + text).backends["directory"]
    assert (backend.bind_names, backend.client_address) == (True, ClientAddress.PROXY_V2)


def test_services(tmp_path: Path) -> None:
    text = DIRECTORY.replace(
        "tls: starttls\n",
        "tls: starttls\n    service_accounts: [{dn: 'cn=chat,dc=org', networks: [10.0.0.7, 192.0.2.0/24]}]\n",
    )
    config = loaded(tmp_path, WITH_DIRECTORY + text + "limits: {shared_networks: [10.0.0.7/32]}\n")
    networks = ("10.0.0.7/32", "192.0.2.0/24")
    assert config.backends["directory"].service_accounts == (ServiceAccount("cn=chat,dc=org", networks),)
    assert config.shared_networks() == networks
    services = config.rules().services
    assert list(services) == ["directory"]
    assert "192.0.2.200" in services["directory"]["cn=chat,dc=org"]


def test_a_service_that_is_told_of_revokes(tmp_path: Path) -> None:
    text = DIRECTORY.replace(
        "tls: starttls\n",
        "tls: starttls\n    service_accounts:\n      - dn: cn=chat,dc=org\n        networks: [10.0.0.7]\n"
        "        on_revoke: {type: prosody, socket: /run/x, chat_user: '{account}'}\n",
    )
    (service,) = loaded(tmp_path, WITH_DIRECTORY + text).backends["directory"].service_accounts
    assert service.on_revoke == ProsodyKick(Path("/run/x"), "{account}")
    wrong = text.replace("socket: /run/x", "url: x")
    assert [line.partition("service_accounts[0].")[2] for line in mistakes(tmp_path, WITH_DIRECTORY + wrong)] == [
        "on_revoke.socket: is missing; write Prosody's admin_socket",
        "on_revoke.url: means nothing to type prosody; remove it",
    ]


def test_several_domains_have_to_be_told_apart_in_a_dn(tmp_path: Path) -> None:
    domains = "domains: [example.org, example.net]\n"
    assert mistakes(tmp_path, WITH_DIRECTORY + DIRECTORY + domains) == [
        "23:17: backends.directory.account_dn: gives alice of every domain one DN; with several domains write "
        "{account} or {domain}"
    ]
    for template in ("mail={account},dc=org", "uid={local},o={domain},dc=org"):
        text = WITH_DIRECTORY + DIRECTORY.replace(DN, f'"{template}"') + domains
        assert loaded(tmp_path, text).backends["directory"].account_dn == template


READING = (
    'login: {strategy: service_identity, bind_dn: "cn=sidegate,ou=services,dc=example,dc=org", password: pw, '
    'bases: ["ou=people,dc=example,dc=org"], attributes: [uid, memberOf]}'
)


def test_reading_under_the_services_rights(tmp_path: Path) -> None:
    text = WITH_DIRECTORY + DIRECTORY[: DIRECTORY.index("login:")] + READING + "\n    bind_only: true\n"
    backend = loaded(tmp_path, text, secrets=True).backends["directory"]
    assert backend.login == Login(
        Strategy.SERVICE_IDENTITY,
        password=Secret("pw"),
        bind_dn="cn=sidegate,ou=services,dc=example,dc=org",
        bases=("ou=people,dc=example,dc=org",),
        attributes=("uid", "memberOf"),
    )
    assert backend.bind_only


def test_reading_may_leave_dns_to_the_accounts(tmp_path: Path) -> None:
    """What is said of services holds all the same, except that none can be an account's by a template."""
    directory = WITH_DIRECTORY + DIRECTORY[: DIRECTORY.index("account_dn:")]
    services = "service_accounts: [{dn: 'cn=chat,dc=org', networks: [10.0.0.7]}]\n"
    text = f"{directory}{services}    {READING}\n"
    backend = loaded(tmp_path, text).backends["directory"]
    assert (backend.account_dn, backend.bind_names) == ("", False)
    assert backend.service_accounts == (ServiceAccount("cn=chat,dc=org", ("10.0.0.7/32",)),)
    assert mistakes(tmp_path, text.replace("cn=chat,", "cn=sidegate,ou=services,dc=example,")) == [
        "23:29: backends.directory.service_accounts[0].dn: is login.bind_dn, which may speak for everybody; give the "
        "service an entry of its own"
    ]
    empty = f"{directory}account_dn: ''\n    {READING}\n"
    assert mistakes(tmp_path, empty) == [
        "23:17: backends.directory.account_dn: is empty; write a value or remove the key"
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            '["ou=people,dc=example,dc=org"]',
            '["", "2.5.4.11=x", people]',
            [("bases[0]", "is empty"), ("bases[1]", "compared"), ("bases[2]", "no distinguished")],
        ),
        (
            "[uid, memberOf]",
            "['*', uid;binary, userPassword, unicodepwd, ms-Mcs-AdmPwd, msDS-KeyCredentialLink]",
            [
                ("attributes[0]", "no attribute"),
                ("attributes[1]", "no attribute"),
                ("attributes[2]", "holds a password"),
                ("attributes[3]", "holds a password"),
                ("attributes[4]", "holds a password, a key"),
                ("attributes[5]", "who may speak for whom"),
            ],
        ),
        (
            'bases: ["ou=people,dc=example,dc=org"], attributes: [uid, memberOf]',
            "user: x",
            [
                ("attributes", "is missing; strategy service_identity needs attributes: [uid, cn, mail]"),
                ("bases", 'is missing; strategy service_identity needs bases: ["ou=people,dc=example,dc=org"]'),
                ("user", "means nothing"),
            ],
        ),
    ],
)
def test_mistakes_of_reading(tmp_path: Path, old: str, new: str, expected: list[tuple[str, str]]) -> None:
    assert READING.count(old) == 1
    text = WITH_DIRECTORY + DIRECTORY[: DIRECTORY.index("login:")] + READING.replace(old, new) + "\n"
    found = mistakes(tmp_path, text)
    assert len(found) == len(expected)
    for line, (key, words) in zip(found, expected, strict=True):
        assert f"backends.directory.login.{key}: " in line
        assert words in line


def test_mail_backends_have_none_of_it(tmp_path: Path) -> None:
    text = VALID.replace("    login:", "    bind_only: true\n    service_accounts: [{}]\n    login:", 1)
    assert [line.partition("mail.")[2] for line in mistakes(tmp_path, text)] == [
        "bind_only: is for ldap only; remove it",
        "service_accounts: is for ldap only; remove it",
    ]
