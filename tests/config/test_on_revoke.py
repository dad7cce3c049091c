"""`on_revoke`: what each way takes, and every mistake at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config import document
from proxy.config.errors import Problems
from proxy.config.on_revoke import NEEDS, TAKES, read
from proxy.config.reader import KEYS, section
from proxy.config.settings import EjabberdKick, KickWay, OnRevoke, ProsodyKick, WebhookKick
from proxy.domain.secret import Secret
from tests.support.sidegate import Certificates

API = "https://chat.example.org:5443/api"
USER = "{local}@chat.example.org"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def reading(
    folder: Path, text: str, *, secrets: bool = True, certificates: bool = True, domains: tuple[str, ...] = ("a.org",)
) -> tuple[OnRevoke | None, list[str], list[str]]:
    """What was read, the errors, the warnings; without the file's name."""
    file = folder / "sidegate.yaml"
    file.write_text(text)
    file.chmod(0o600)
    problems = Problems(file)
    node = document.parse(text.encode(), problems)
    assert node is not None
    here = section(node, "on_revoke", problems, "on_revoke")
    assert here is not None
    found = read(here, domains, certificates=certificates, secrets=secrets)
    errors, warnings = (
        sorted(str(one).removeprefix(f"{file}:") for one in ones) for ones in (problems.errors, problems.warnings)
    )
    return found, errors, warnings


def taken(folder: Path, text: str, **options: bool) -> OnRevoke | None:
    found, errors, warnings = reading(folder, text, **options)
    assert (errors, warnings) == ([], [])
    return found


def test_every_way_and_key_is_in_the_tables() -> None:
    assert set(NEEDS) == set(TAKES) == set(KickWay)
    assert {"type", *(key for way in KickWay for key in (*NEEDS[way], *TAKES[way]))} == set(KEYS["on_revoke"])


def test_ejabberd(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    secret.chmod(0o600)
    ca = Certificates(tmp_path / "tls").ca
    base = f'type: ejabberd, url: "{API}", chat_user: "{USER}"'
    assert taken(tmp_path, f"{{{base}}}") == EjabberdKick(API, USER)
    assert taken(tmp_path, f"{{{base}, token_file: {secret}, ca: {ca}}}") == EjabberdKick(
        API, USER, token=Secret("hunter2"), ca=ca
    )
    by_password = EjabberdKick(API, USER, user="k@admin.a.org", password=Secret("hunter2"))
    assert taken(tmp_path, f"{{{base}, user: k@admin.a.org, password_file: {secret}}}") == by_password
    assert taken(tmp_path, f"{{{base}, user: k@admin.a.org, password: hunter2}}") == by_password


def test_prosody(tmp_path: Path) -> None:
    found = taken(tmp_path, '{type: prosody, socket: /run/prosody/admin.sock, chat_user: "{account}"}')
    assert found == ProsodyKick(Path("/run/prosody/admin.sock"), "{account}")


def test_webhook(tmp_path: Path) -> None:
    found = taken(tmp_path, f"{{type: webhook, url: 'https://a.org/kick?x=1', secret: {WHSEC}}}")
    assert found == WebhookKick("https://a.org/kick?x=1", Secret(WHSEC), "{account}")


def test_secrets_may_be_for_another_process_to_read(tmp_path: Path) -> None:
    found = taken(tmp_path, "{type: webhook, url: 'https://a.org/', secret_file: /not/there}", secrets=False)
    assert found == WebhookKick("https://a.org/", None, "{account}")
    found = taken(tmp_path, "{type: webhook, url: 'https://a.org/'}", secrets=False)
    assert found == WebhookKick("https://a.org/", None, "{account}")


def test_a_secret_from_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "on_revoke.secret").write_text(WHSEC)
    found = taken(tmp_path, "{type: webhook, url: 'https://a.org/'}")
    assert found == WebhookKick("https://a.org/", Secret(WHSEC), "{account}")


def test_http_stays_on_this_machine(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:5280/api", "http://[::1]:5280/api", "http://localhost/api"):
        assert taken(tmp_path, f'{{type: ejabberd, url: "{url}", chat_user: "{USER}"}}') == EjabberdKick(url, USER)
    _, errors, _ = reading(tmp_path, f'{{type: ejabberd, url: "http://10.0.0.7/api", chat_user: "{USER}"}}')
    assert errors == [
        "1:23: on_revoke.url: http leaves names and secrets readable on the way to an address that is not loopback; "
        "write https, or say insecure: true"
    ]
    found, errors, warnings = reading(
        tmp_path, f'{{type: ejabberd, url: "http://10.0.0.7/api", insecure: true, chat_user: "{USER}"}}'
    )
    assert found == EjabberdKick("http://10.0.0.7/api", USER, insecure=True)
    assert errors == []
    assert warnings == ["1:56: on_revoke.insecure: names and secrets go to 10.0.0.7 in the clear"]


WHSEC_HINT = 'must be whsec_ and 24 to 64 bytes in base64; make one: echo "whsec_$(openssl rand -base64 32)"'
ONE_ADDRESS = 'is no template of an address; write "{local}@chat.example.org", or "{account}"'


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("{}", ["1:1: on_revoke.type: is missing; write one of ejabberd, prosody, webhook"]),
        ("{type: jabber, urk: x}", [
            "1:16: on_revoke.urk: unknown key; did you mean url?",
            "1:8: on_revoke.type: is none of ejabberd, prosody, webhook",
        ]),
        ("{type: ejabberd}", [
            '1:1: on_revoke.chat_user: is missing; write "{local}@chat.example.org"',
            "1:1: on_revoke.url: is missing; write that of mod_http_api: https://chat.example.org:5443/api",
        ]),
        ("{type: prosody, url: x, user: y}", [
            '1:1: on_revoke.chat_user: is missing; write "{local}@chat.example.org"',
            "1:1: on_revoke.socket: is missing; write Prosody's admin_socket",
            "1:22: on_revoke.url: means nothing to type prosody; remove it",
            "1:31: on_revoke.user: means nothing to type prosody; remove it",
        ]),
        ("{type: webhook, token: x}", [
            "1:1: on_revoke.secret: is missing; write secret_file: /path of a file",
            "1:1: on_revoke.url: is missing; write what is to be called",
            "1:24: on_revoke.token: means nothing to type webhook; remove it",
        ]),
        ("{type: webhook, url: 'https://a.org', secret: hunter2}", [f"1:47: on_revoke.secret: {WHSEC_HINT}"]),
        ("{type: webhook, url: 'https://a.org', secret: whsec_AAAA}", [f"1:47: on_revoke.secret: {WHSEC_HINT}"]),
        (f"{{type: webhook, url: 'ftp://a.org', secret: {WHSEC}}}", [
            "1:22: on_revoke.url: is not a URL of letters, digits and :/._~%?=&+-; write "
            '"https://chat.example.org/…"',
        ]),
        (f"{{type: webhook, url: 'https://u:p@a.org', secret: {WHSEC}}}", [
            "1:22: on_revoke.url: is not a URL of letters, digits and :/._~%?=&+-; write "
            '"https://chat.example.org/…"',
        ]),
        ("{type: webhook, url: 'https://a.org', secret_file: /not/there, ca: ca.pem, insecure: true}", [
            "1:52: on_revoke.secret_file: /not/there cannot be read: No such file or directory",
            "1:68: on_revoke.ca: must be an absolute path; begin it with /",
            "1:86: on_revoke.insecure: means nothing with https://, which is always verified; remove it",
        ]),
        (f"{{type: webhook, url: 'http://[::1]', secret: {WHSEC}, ca: /ca.pem}}", [
            "1:90: on_revoke.ca: /ca.pem cannot be read: No such file or directory",
            "1:90: on_revoke.ca: means nothing with http://; remove it",
        ]),
        ("{type: prosody, socket: run, chat_user: '{local}'}", [
            "1:25: on_revoke.socket: must be an absolute path; begin it with /",
            f"1:41: on_revoke.chat_user: {ONE_ADDRESS}",
        ]),
        ("{type: prosody, socket: /s, chat_user: '{account}@chat.example.org'}", [
            f"1:40: on_revoke.chat_user: {ONE_ADDRESS}",
        ]),
        ("{type: prosody, socket: /s, chat_user: 'all@chat.example.org'}", [
            "1:40: on_revoke.chat_user: gives several accounts one name; write {account}, or {local} once",
        ]),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, text: str, errors: list[str]) -> None:
    assert reading(tmp_path, text)[1] == errors


def test_logging_in_two_ways(tmp_path: Path) -> None:
    base = f'type: ejabberd, url: "{API}", chat_user: "{USER}"'
    assert reading(tmp_path, f"{{{base}, token: t, user: u, password: p}}")[1] == [
        "1:106: on_revoke.token: stands beside user or password; keep one of the two"
    ]
    assert reading(tmp_path, f"{{{base}, password: p}}")[1] == [
        "1:1: on_revoke.user: is missing; write whose password it is, such as kicker@admin.example.org"
    ]
    assert reading(tmp_path, f"{{{base}, user: u}}")[1] == [
        "1:1: on_revoke.password: is missing; write password_file: /path of a file"
    ]


def test_two_accounts_are_not_one_chat_user(tmp_path: Path) -> None:
    text = "{type: prosody, socket: /s, chat_user: '{local}@chat.example.org'}"
    assert reading(tmp_path, text, domains=("a.org", "b.org"))[1] == [
        "1:40: on_revoke.chat_user: gives alice of every domain one name; with several domains write {account}"
    ]
    assert reading(tmp_path, text.replace("chat.example.org", "{domain}"), domains=("a.org", "b.org"))[1] == []
