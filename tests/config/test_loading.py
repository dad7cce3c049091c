"""Whole files: what loads, and every mistake by line and column."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config import ConfigErrors, load, show
from proxy.config.factor_settings import Factors, Push
from proxy.config.loading import machine_name
from proxy.config.reader import KEYS
from proxy.config.settings import (
    Address,
    Backend,
    BackendTls,
    ClientAddress,
    Config,
    Front,
    FrontTls,
    Limits,
    Login,
    Policy,
    Portal,
    Strategy,
    TlsPair,
)
from proxy.domain.model import Protocol
from tests.config.mistakes import VALID, changed, loaded, mistakes, write


def test_a_small_file_with_all_its_defaults(tmp_path: Path) -> None:
    assert loaded(tmp_path) == Config(
        path=tmp_path / "sidegate.yaml",
        store="sqlite:/var/lib/sidegate/sidegate.db",
        state_dir=Path("/var/lib/sidegate"),
        run_dir=Path("/run/sidegate"),
        workers=None,
        tls=(TlsPair(Path("/etc/x/chain.pem"), Path("/etc/x/key.pem")),),
        portal=Portal(
            "https://login.example.org", Address("127.0.0.1", 8080), None, name="example.org", remember_days=30
        ),
        default_domain="example.org",
        domains=("example.org",),
        hostname=machine_name(),
        fronts=(
            Front(
                "imap:993",
                Protocol.IMAP,
                Address("::", 993),
                FrontTls.IMPLICIT,
                "mail",
                (),
                Address(machine_name(), 993),
            ),
            Front(
                "smtp:465",
                Protocol.SMTP,
                Address("::", 465),
                FrontTls.IMPLICIT,
                "submission",
                (),
                Address(machine_name(), 465),
            ),
        ),
        backends={
            "mail": Backend(
                name="mail",
                protocol=Protocol.IMAP,
                addresses=(Address("10.0.0.5", 143),),
                tls=BackendTls.STARTTLS,
                ca=None,
                server_name=None,
                username="{account}",
                login=Login(Strategy.DOVECOT_TOKEN, issuer="sidegate", client_id="sidegate"),
                client_address=ClientAddress.ID,
            ),
            "submission": Backend(
                name="submission",
                protocol=Protocol.SMTP,
                addresses=(Address("127.0.0.1", 10587),),
                tls=BackendTls.NONE,
                ca=None,
                server_name=None,
                username="{account}",
                login=Login(Strategy.XCLIENT),
                client_address=ClientAddress.XCLIENT,
            ),
        },
        factors=Factors(Push("mailto:postmaster@example.org")),
        policy=Policy(),
        limits=Limits(),
        node=machine_name().partition(".")[0],
    )


def test_the_store_follows_the_state_directory(tmp_path: Path) -> None:
    assert loaded(tmp_path, VALID + "state_dir: /srv/s\n").store == "sqlite:/srv/s/sidegate.db"


ALL_AT_ONCE = """\
workers: 0
colour: red
portal: {url: "http://login.example.org", lisen: 1}
fronts:
  - {protocol: imap, listen: "[::]:993", tls: implicit, backend: mial}
  - 7
backends:
  mail: {protocol: imap, address: 10.0.0.5, tls: none, login: {strategy: xclient}}
"""


def test_all_errors_come_at_once_in_file_order(tmp_path: Path) -> None:
    assert mistakes(tmp_path, ALL_AT_ONCE) == [
        "1:1: default_domain: is missing; write default_domain: example.org",
        "1:1: tls: is missing; write {certificate: /path/fullchain.pem, key: /path/key.pem}, or a list of them",
        "1:10: workers: must be auto (one per CPU) or a number from 1 to 256",
        f"2:1: colour: unknown key; there is {', '.join(KEYS[''])}",
        "3:15: portal.url: must begin with https:// (http:// only to a loopback address)",
        "3:43: portal.lisen: unknown key; did you mean listen?",
        "5:66: fronts[0].backend: there is no such backend; did you mean mail?",
        "6:5: fronts[1]: must be a mapping; write {protocol: …} (keys: protocol, listen, tls, backend,"
        " proxy_protocol_from, public)",
        '8:35: backends.mail.address: must be host:port; write "10.0.0.5:143" or "mail.example.org:993"',
        "8:74: backends.mail.login.strategy: xclient does not exist for imap, only for smtp",
    ]


LATER = "is not in this version of sidegate"
TABLE: list[tuple[str, list[str]]] = [
    ("", ["1:1: is empty; `sidegate config example` prints one to start from"]),
    ("# nothing\n", ["1:1: is empty; `sidegate config example` prints one to start from"]),
    (
        "- a\n",
        [f"1:1: must be a mapping; write {{store: …}} (keys: {', '.join(KEYS[''])})"],
    ),
    (VALID + "run_dir: sockets\n", ["18:10: run_dir: must be an absolute path; begin it with /"]),
    (
        VALID + f"run_dir: /{'x' * 97}\n",
        ["18:10: run_dir: is too long for a socket in it (107 bytes in all); write a shorter path"],
    ),
    (VALID + "workers: 999\n", ["18:10: workers: must be auto (one per CPU) or a number from 1 to 256"]),
    (
        VALID + "store: postgresql://a@b/c\n",
        [f"18:8: store: PostgreSQL {LATER}; write sqlite:/var/lib/sidegate/sidegate.db"],
    ),
    (
        VALID + "domains: [example.net]\n",
        ["18:10: domains: lacks default_domain; add it, or bare login names could never be accepted"],
    ),
    (
        VALID + "domains: []\n",
        ["18:10: domains: is an empty list; name the domains of your accounts, or remove the key"],
    ),
    (VALID + "domains: example.org\n", ["18:10: domains: must be a list; write [a, b]"]),
    (VALID + "domains: [example.org, EXAMPLE.org]\n", ["18:24: domains[1]: stands twice in this list; keep one"]),
    (VALID + "factors: {otp: {}}\n", ["18:11: factors.otp: unknown key; did you mean totp?"]),
    (
        VALID + "factors: {totp: {digits: 8}}\n",
        ["18:17: factors.totp: has no settings in this version of sidegate; write totp: {}"],
    ),
    (VALID + "factors: [totp]\n", ["18:10: factors: must be a mapping; write {push: {…}}"]),
    (
        VALID + "policy: {account_passwords_on_fronts: until_enforced}\n",
        [f"18:39: policy.account_passwords_on_fronts: until_enforced {LATER}; write refuse"],
    ),
    (
        VALID + "policy: {app_password_limit: 0, app_password_max_age: 5}\n",
        [
            "18:30: policy.app_password_limit: is out of range; write a number from 1 to 1000",
            "18:55: policy.app_password_max_age: must be a duration with its unit: 250ms, 30s, 5m, 12h, 90d or 2w",
        ],
    ),
    (
        VALID + "policy: {audit_keep: 12h}\n",
        ["18:22: policy.audit_keep: is out of range; write a duration from 1d to 36500d"],
    ),
    (
        VALID + "limits: {penalty: 1h, shared_networks: [10.1.0.0/8]}\n",
        [
            "18:19: limits.penalty: penalty is longer than penalty_max; swap them",
            "18:41: limits.shared_networks[0]: has bits set behind the prefix; write 10.0.0.0/8, or the single address"
            " without a prefix",
        ],
    ),
    (
        VALID + "limits: {window: 10y}\n",
        ["18:18: limits.window: must be a duration with its unit: 250ms, 30s, 5m, 12h, 90d or 2w"],
    ),
    (
        VALID + "limits: []\n",
        [f"18:9: limits: must be a mapping; write {{refusal_delay: …}} (keys: {', '.join(KEYS['limits'])})"],
    ),
]


@pytest.mark.parametrize(("text", "expected"), TABLE)
def test_mistakes(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert mistakes(tmp_path, text) == expected


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.yaml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigErrors) as caught:
            load(path)
        hint = "name the file with --config or $SIDEGATE_CONFIG"
        assert str(caught.value) == f"{path}:1:1: cannot be read: {reason}; {hint}"


def test_empty_factors_are_taken(tmp_path: Path) -> None:
    config = loaded(tmp_path, VALID + "factors: {totp: {}, passkey: , push: {}}\n")
    assert config.warnings == ()
    assert config.factors == Factors(Push("mailto:postmaster@example.org"))


def test_every_limit_is_read(tmp_path: Path) -> None:
    text = "".join(
        f"  {key}: {value}\n"
        for key, value in {
            "refusal_delay": "500ms",
            "login_timeout": "30s",
            "refusals_per_connection": 3,
            "connections_per_network": 7,
            "sessions_per_app_password": 8,
            "sessions_per_account": 9,
            "shaped_per_network": 10,
            "shaped_per_account_and_network": 11,
            "window": "20m",
            "penalty": "5s",
            "penalty_max": "6s",
            "shared_networks": "[10.0.0.0/8]",
        }.items()
    )
    expected = Limits(0.5, 30.0, 3, 7, 8, 9, 10, 11, 1200.0, 5.0, 6.0, ("10.0.0.0/8",))
    assert loaded(tmp_path, f"{VALID}limits:\n{text}").limits == expected


def test_an_inline_secret_wants_the_file_to_itself(tmp_path: Path) -> None:
    text = changed(
        "login: {strategy: dovecot_token, issuer: sidegate, client_id: sidegate}",
        "login: {strategy: static, user: u, password: hunter2}",
    )
    assert mistakes(tmp_path, text, mode=0o640) == [
        "12:50: backends.mail.login.password: is a secret in a file that others may read (mode 0640);"
        f" run: chmod 600 {tmp_path}/sidegate.yaml, or use password_file"
    ]
    assert loaded(tmp_path, text).backends["mail"].login.user == "u"
    assert load(write(tmp_path, VALID, 0o644), certificates=False).default_domain == "example.org"


# ---- whatever is in the file --------------------------------------------------------------------

CANARY = "Kanarienvogel-7"
WORDS = st.sampled_from(
    [*{key for keys in KEYS.values() for key in keys}, "mail", "imap", "smtp", "none", "xclient", "static", "", "null"]
)
LEAVES = WORDS | st.integers() | st.booleans() | st.none() | st.text(max_size=8) | st.sampled_from(["[::]:993", "1s"])
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=6), max_leaves=25
)


def errors_of(folder: Path, raw: bytes) -> ConfigErrors | None:
    path = folder / "any.yaml"
    path.write_bytes(raw)
    path.chmod(0o600)
    try:
        show(load(path), only_changed=False)
    except ConfigErrors as errors:
        return errors
    return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


@settings(max_examples=150)
@given(raw=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_raise_anything_else(folder: Path, raw: bytes) -> None:
    errors_of(folder, raw)


@settings(max_examples=150)
@given(text=st.text(alphabet="a:-[]{}&*!|>'\"%@`#?, \n\t\\x0", max_size=80))
def test_no_yaml_shaped_text_raises_anything_else(folder: Path, text: str) -> None:
    errors_of(folder, text.encode())


@settings(max_examples=200)
@given(tree=st.dictionaries(st.sampled_from(KEYS[""]), TREES, max_size=8))
def test_no_tree_of_known_words_raises_anything_else(folder: Path, tree: dict[str, object]) -> None:
    errors_of(folder, yaml.safe_dump(yaml.safe_load(VALID) | tree, allow_unicode=True).encode("utf-8", "ignore"))


@pytest.mark.parametrize("position", range(VALID.count("\n")))
@pytest.mark.parametrize(
    "shape", [": {c}", ": *{c}", ": &{c} {c}", ": !{c} x", ": '{c}", ": [{c}", ": {c}: {c}", "{c}: 1"]
)
def test_no_error_repeats_a_value_whatever_line_it_replaces(folder: Path, position: int, shape: str) -> None:
    lines = VALID.splitlines()
    key = lines[position].partition(":")[0]
    for quoted in (CANARY, f'"{CANARY}"'):
        broken = [*lines[:position], key + shape.replace("{c}", quoted), *lines[position + 1 :]]
        errors = errors_of(folder, "\n".join(broken).encode())
        assert CANARY not in str(errors)
        assert CANARY not in repr(errors)


def test_a_secret_is_in_no_error_no_repr_and_no_listing(tmp_path: Path) -> None:
    os.environ.pop("CREDENTIALS_DIRECTORY", None)
    login = f"{{strategy: master_user, user: master, password: {CANARY}}}"
    text = changed("{strategy: dovecot_token, issuer: sidegate, client_id: sidegate}", login)
    config = loaded(tmp_path, text)
    secret = config.backends["mail"].login.password
    assert secret is not None
    assert secret.reveal() == CANARY
    assert CANARY not in repr(config) + str(config) + show(config, only_changed=False)
    for broken in (text + "x: 1\n", text.replace("password:", "pasword:"), text.replace("user:", "issuer:")):
        assert CANARY not in "\n".join(mistakes(tmp_path, broken))
