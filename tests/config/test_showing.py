"""The configuration printed again, and the example."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from proxy.config import Config, example, load, show
from proxy.config.reader import KEYS
from proxy.config.settings import Limits, Policy, Strategy
from tests.config.mistakes import VALID, changed, loaded, write
from tests.config.test_directories import DIRECTORY, READING, WITH_DIRECTORY

ROOT = Path(__file__).parents[2]
FULL = (
    changed(
        "{strategy: dovecot_token, issuer: sidegate, client_id: sidegate}",
        '{strategy: master_user, user: m, password: hunter2, separator: "*"}\n    username: "{local}"',
    ).replace(
        '{url: "https://login.example.org"}',
        '{url: "https://login.example.org", name: Mail, trusted_networks: [10.0.0.0/8], remember_days: 7}',
    )
    + "factors: {push: {contact: 'https://example.org/', services: ['https://push.example.org']}}\n"
    "workers: 3\npolicy: {app_password_max_age: 36h, audit_keep: forever}\n"
    "limits: {penalty: 1500ms, shared_networks: [10.0.0.0/8]}\n"
)


def without_warnings(config: Config) -> Config:
    return replace(config, warnings=())


LDAP = WITH_DIRECTORY + DIRECTORY.replace("password: pw", "password: hunter2")
NAMES = LDAP.replace("    account_dn", "    bind_names: true\n    client_address: proxy_v2\n    account_dn")

STORED = (
    WITH_DIRECTORY + DIRECTORY[: DIRECTORY.index("account_dn")] + READING.replace("password: pw", "password: hunter2")
)

PUBLIC = (
    changed('"[::]:993", tls: implicit', '"127.0.0.1:993", public: "imap.example.org:993", tls: implicit').replace(
        '"[::]:465"', '"[::]:465", public: none'
    )
    + "hostname: mail.example.org\n"
)


@pytest.mark.parametrize("text", [VALID, FULL, LDAP, NAMES, STORED, PUBLIC])
@pytest.mark.parametrize("only_changed", [False, True])
def test_what_is_shown_loads_again_as_the_same(tmp_path: Path, text: str, only_changed: bool) -> None:
    first = loaded(tmp_path, text, secrets=True)
    shown = show(first, only_changed)
    assert without_warnings(loaded(tmp_path, shown.replace("<secret>", "hunter2"), secrets=True)) == without_warnings(
        first
    )


def test_only_what_is_changed(tmp_path: Path) -> None:
    config = loaded(tmp_path, FULL, secrets=True)
    tree = yaml.safe_load(show(config, only_changed=True))
    assert list(tree) == [
        "workers",
        "tls",
        "portal",
        "default_domain",
        "fronts",
        "backends",
        "factors",
        "policy",
        "limits",
    ]
    assert tree["policy"] == {"app_password_max_age": "36h", "audit_keep": "forever"}
    assert tree["limits"] == {"penalty": "1500ms", "shared_networks": ["10.0.0.0/8"]}
    assert tree["backends"]["mail"]["login"]["password"] == "<secret>"
    assert "hunter2" not in show(config, only_changed=False)


def test_a_directory_is_shown_with_what_means_something_to_it(tmp_path: Path) -> None:
    config = loaded(tmp_path, LDAP, secrets=True)
    shown = yaml.safe_load(show(config, only_changed=False))["backends"]["directory"]
    keys = ["protocol", "address", "tls", "account_dn", "bind_names", "bind_only"]
    keys += ["service_accounts", "client_address", "login"]
    assert list(shown) == keys
    shown = yaml.safe_load(show(config, only_changed=True))["backends"]["directory"]
    assert list(shown) == ["protocol", "address", "tls", "account_dn", "login"]


# ---- the example --------------------------------------------------------------------------------


def uncommented() -> str:
    """Every option switched on: `# key` becomes `key`, `##` stays a comment. The second `tls` stands for the first."""
    text = example()
    text = re.sub(r"^tls:\n  certificate: .*\n  key: .*\n", "", text, flags=re.MULTILINE)
    text = text.replace("sidegate-portal\n", "nobody\n")  # a user that every machine has
    return re.sub(r"^( *)# (?!#)", r"\1", text, flags=re.MULTILINE)


def test_the_example_is_the_one_in_config() -> None:
    assert example() == (ROOT / "config" / "sidegate.yaml").read_text("utf-8")


def test_the_example_loads_as_it_stands(tmp_path: Path) -> None:
    config = load(write(tmp_path, example(), 0o644), certificates=False)
    assert [front.name for front in config.fronts] == ["imap:993", "imap:143", "smtp:465", "smtp:587"]


def test_the_example_loads_with_everything_in_it_and_shows_the_defaults(tmp_path: Path) -> None:
    full = load(write(tmp_path, uncommented()), certificates=False, secrets=False, directory=False)
    plain = load(write(tmp_path, example()), certificates=False)
    assert {backend.login.strategy for backend in full.backends.values()} == set(Strategy)
    assert (full.limits, full.policy) == (Limits(), Policy())
    for key in ("store", "state_dir", "run_dir", "workers", "default_domain", "domains"):
        assert getattr(full, key) == getattr(plain, key), key
    assert (full.portal.listen, full.portal.name) == (plain.portal.listen, plain.portal.name)
    assert (full.portal.enrolment, full.portal.remember_days) == (plain.portal.enrolment, plain.portal.remember_days)
    assert full.backends["mail"].client_address is plain.backends["mail"].client_address
    assert full.backends["mail"].username == plain.backends["mail"].username


def test_every_key_there_is_stands_in_the_example() -> None:
    written = set(re.findall(r"\b([a-z_]+):(?=\s)", uncommented()))
    assert {key for keys in KEYS.values() for key in keys} <= written
