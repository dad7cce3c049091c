"""`portal.mail`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from proxy.config import load, show
from proxy.config.settings import Address, BackendTls, Mail
from proxy.domain.secret import Secret
from tests.config.mistakes import VALID, loaded, mistakes, write

URL = 'url: "https://login.example.org"'


def mail(text: str) -> str:
    assert VALID.count(URL) == 1
    return VALID.replace(URL, f"{URL}, mail: {{{text}}}")


FROM = "from: sidegate@example.org, "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "",
            [
                "from: is missing; write sidegate@example.org",
                'server: is missing; write "mail.example.org:587"',
                "tls: is missing; write starttls, implicit or none",
            ],
        ),
        (
            'from: "a b@example.org", server: mail.example.org, tls: yes',
            [
                "from: is no mail address; write sidegate@example.org",
                'server: must be host:port; write "10.0.0.5:143" or "mail.example.org:993"',
                "tls: is none of implicit, starttls, none",
            ],
        ),
        ('from: root, server: "x:25", tls: starttls', ["from: is no mail address; write sidegate@example.org"]),
        ('from: "a@b\\r\\nBcc: c@d", server: "x:25", tls: starttls', None),
        (
            FROM + 'server: "10.0.0.5:25", tls: none, ca: /ca.pem',
            [
                "tls: none leaves what people are told readable on the way to an address that is not loopback; write "
                "starttls or implicit, or say insecure: true",
                "ca: means nothing with tls: none; remove it",
            ],
        ),
        (
            FROM + 'server: "x:465", tls: implicit, insecure: true',
            ["insecure: means nothing with tls: implicit, which is always verified; remove it"],
        ),
        (
            FROM + 'server: "x:465", tls: implicit, user: me',
            ["password: is missing; write password_file: /path of a file"],
        ),
        (FROM + 'server: "x:465", tls: implicit, password: pw', ["user: is missing; write whose password it is"]),
        (
            FROM + 'server: "x:465", tls: implicit, to: me',
            ["to: unknown key; there is from, server, tls, ca, insecure, user"],
        ),
    ],
)
def test_mistakes(tmp_path: Path, text: str, expected: list[str] | None) -> None:
    found = [line.partition(" portal.mail.")[2] for line in mistakes(tmp_path, mail(text))]
    if expected is None:
        assert found
        assert "Bcc" not in "".join(found)
    else:
        assert len(found) == len(expected)
        assert all(line.startswith(start) for line, start in zip(found, expected, strict=True)), found


def test_read_and_shown(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hush\n")
    secret.chmod(0o600)
    text = mail(f'{FROM}server: "mail.example.org:587", tls: starttls, user: me, password_file: {secret}')
    config = load(write(tmp_path, text), certificates=False, secrets=False)
    assert config.portal.mail == Mail(
        "sidegate@example.org",
        Address("mail.example.org", 587),
        BackendTls.STARTTLS,
        user="me",
        password=Secret("hush"),
    )
    shown = show(config, only_changed=True)
    assert "hush" not in shown
    assert yaml.safe_load(shown)["portal"]["mail"] == {
        "from": "sidegate@example.org",
        "server": "mail.example.org:587",
        "tls": "starttls",
        "user": "me",
        "password": "<secret>",
    }


def test_the_password_is_the_portals_alone(tmp_path: Path) -> None:
    """The core and front workers run under uids that cannot read it."""
    text = mail(f'{FROM}server: "x:587", tls: starttls, user: me, password_file: /nowhere, ca: /nowhere')
    config = load(write(tmp_path, text), certificates=False, secrets=False, directory=False)
    assert config.portal.mail is not None
    assert config.portal.mail.password is None


def test_insecure_is_warned_of_at_every_start(tmp_path: Path) -> None:
    config = loaded(tmp_path, mail(f'{FROM}server: "10.0.0.5:25", tls: none, insecure: true'))
    assert [warning.rpartition("portal.mail.")[2] for warning in config.warnings] == [
        "insecure: what people are told goes to 10.0.0.5:25 in the clear"
    ]


def test_none_in_the_clear_on_this_machine(tmp_path: Path) -> None:
    config = loaded(tmp_path, mail(f'{FROM}server: "127.0.0.1:25", tls: none'))
    assert config.portal.mail is not None
    assert config.warnings == ()
