"""`portal.sign_in`: who people prove themselves to."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from proxy.config import load, show
from proxy.config.settings import OidcSignIn
from proxy.domain.secret import Secret
from tests.config.mistakes import VALID, loaded, mistakes

PORTAL = 'portal: {url: "https://login.example.org"'
NEEDED = 'issuer: "https://id.example.org/realms/staff", client_id: sidegate, client_secret: hunter2'


def sign_in(text: str, more: str = "") -> str:
    assert PORTAL in VALID
    return VALID.replace(PORTAL, f"{PORTAL}, {more}sign_in: {{{text}}}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["type: is missing; write {type: oidc, issuer: …, client_id: …, client_secret_file: …}"]),
        ("type: saml", ["type: is none of password, oidc"]),
        ("type: password, client_id: x", ["client_id: means nothing to type password; remove it"]),
        (
            "type: oidc",
            [
                'issuer: is missing; write "https://id.example.org/realms/staff"',
                "client_id: is missing; write what the provider calls sidegate",
                "client_secret: is missing; write client_secret_file: /path of a file",
            ],
        ),
        (
            "type: oidc, client_id: x, client_secret: y, " + 'issuer: "http://id.example.org"',
            ["issuer: must begin with https:// (http:// only to a loopback address)"],
        ),
        (
            "type: oidc, client_id: x, client_secret: y, " + 'issuer: "https://id.example.org/?a=b"',
            ["issuer: is no issuer, which has no query; write it as it stands in the provider's metadata"],
        ),
        (
            f"type: oidc, {NEEDED}, account_claim: upn, trust_unverified_email: true",
            ["trust_unverified_email: means nothing with another account_claim than email; remove it"],
        ),
        (
            f'type: oidc, {NEEDED}, break_glass: "no body", name: "a:b", mfa: [mfa]',
            [
                "break_glass: is no login name; write admin@example.org",
                "name: must be at most 64 printable characters without a colon",
                "mfa: must be a mapping; write {acr: …} (keys: acr, amr)",
            ],
        ),
        (
            f"type: oidc, {NEEDED}, mfa: {{acr: gold, amr: [mfa, mfa], loa: 2}}, secret: x",
            [
                "mfa.acr: must be a list; write [a, b]",
                "mfa.amr[1]: stands twice in this list; keep one",
                "mfa.loa: unknown key; there is acr, amr",
                "secret: unknown key; did you mean client_secret?",
            ],
        ),
        (f"type: oidc, {NEEDED}, ca: /nowhere.pem", ["ca: "]),
    ],
)
def test_mistakes(tmp_path: Path, text: str, expected: list[str]) -> None:
    found = sorted(line.partition("portal.sign_in.")[2] for line in mistakes(tmp_path, sign_in(text)))
    assert len(found) == len(expected), found
    for line, beginning in zip(found, sorted(expected), strict=True):
        assert line.startswith(beginning), (line, beginning)


def test_password_url_means_something_with_a_provider(tmp_path: Path) -> None:
    url = 'password_url: "https://id.example.org/account", '
    config = loaded(tmp_path, sign_in(f"type: oidc, {NEEDED}", url), secrets=True)
    assert config.portal.password_url == "https://id.example.org/account"
    (found,) = mistakes(tmp_path, sign_in("type: password", url))
    assert "password_url: means nothing" in found


def test_whole_and_shown_again(tmp_path: Path) -> None:
    text = f"type: oidc, {NEEDED}, account_claim: upn, mfa: {{acr: [gold], amr: [mfa]}}, break_glass: ADMIN, name: ID"
    config = loaded(tmp_path, sign_in(text), secrets=True)
    issuer = "https://id.example.org/realms/staff"
    expected = OidcSignIn(
        issuer,
        "sidegate",
        Secret("hunter2"),
        account_claim="upn",
        acr=("gold",),
        amr=("mfa",),
        name="ID",
        break_glass="admin@example.org",
    )
    assert config.portal.sign_in == expected
    assert config.portal.provider_name == "ID"
    shown = yaml.safe_load(show(config, only_changed=True))["portal"]["sign_in"]
    assert shown == {
        "type": "oidc",
        "issuer": issuer,
        "client_id": "sidegate",
        "client_secret": "<secret>",
        "name": "ID",
        "break_glass": "admin@example.org",
        "account_claim": "upn",
        "mfa": {"acr": ["gold"], "amr": ["mfa"]},
    }


def test_only_the_portal_reads_the_secret(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    secret.chmod(0o600)
    text = NEEDED.replace("client_secret: hunter2", f"client_secret_file: {secret}")
    path = tmp_path / "sidegate.yaml"
    path.write_text(sign_in(f"type: oidc, {text}"))
    with_it = load(path, certificates=False, secrets=False).portal.sign_in
    assert with_it is not None
    assert with_it.client_secret == Secret("hunter2")
    without = load(path, certificates=False, secrets=False, directory=False).portal.sign_in
    assert without is not None
    assert without.client_secret is None


def test_whose_password_is_kept_here(tmp_path: Path) -> None:
    portal = loaded(tmp_path, sign_in(f"type: oidc, {NEEDED}, break_glass: admin"), secrets=True).portal
    assert portal.keeps_password_of(["root@example.org", "admin@example.org"])
    assert not portal.keeps_password_of(["alice@example.org"])
    without = loaded(tmp_path, sign_in(f"type: oidc, {NEEDED}"), secrets=True).portal
    assert not without.keeps_password_of(["alice@example.org"])
    assert loaded(tmp_path, VALID, secrets=True).portal.keeps_password_of(["alice@example.org"])


def test_what_the_docs_say_is_a_configuration(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "portal" / "identity-provider.md"
    _, _, rest = page.read_text("utf-8").partition("```yaml\n")
    settings = {**yaml.safe_load(VALID), **yaml.safe_load(rest.partition("```")[0])}
    path = tmp_path / "sidegate.yaml"
    path.write_text(yaml.safe_dump(settings))
    config = load(path, certificates=False, secrets=False, directory=False)
    assert config.portal.sign_in is not None
    assert config.portal.sign_in.amr == ("mfa", "otp", "hwk")
