"""An identity provider, asked over HTTP: what it says right, and everything that it may say wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import pytest

from proxy.config.settings import OidcSignIn
from proxy.directory import oidc
from proxy.directory.oidc import Person, Provider, ProviderDown, Refused, Secrets
from proxy.domain.secret import Secret
from tests.support.fake_provider import CLIENT_ID, CLIENT_SECRET, FakeProvider, provider, rsa

NOW = 1_790_000_000.0
REDIRECT = "https://login.example.org/sign-in/callback"
SECRETS = Secrets("state", "nonce", "v" * 43)
T = TypeVar("T")


class Desk:
    """A provider, and whoever asks it."""

    def __init__(self, fake: FakeProvider, runner: asyncio.Runner) -> None:
        self.fake, self.runner = fake, runner
        self.settings = OidcSignIn(fake.issuer, CLIENT_ID, Secret(CLIENT_SECRET), amr=("mfa",))
        self.now = NOW
        fake.clock = lambda: self.now
        self.provider = self.made()

    def made(self, **changes: Any) -> Provider:
        self.settings = replace(self.settings, **changes)
        self.provider = Provider(self.settings, REDIRECT, lambda: self.now)
        return self.provider

    def run(self, asked: Any) -> Any:
        return self.runner.run(asked)

    def goes(self, *, again: bool = False) -> str:
        return str(self.run(self.provider.address(SECRETS, again=again)))

    def comes_back(self) -> dict[str, str]:
        answer = urlsplit(self.fake.authorize(self.goes())).query
        return {key: value for key, (value,) in parse_qs(answer).items()}

    def person(self, answer: dict[str, str] | None = None, secrets: Secrets = SECRETS) -> Person:
        found = self.run(self.provider.person(answer or self.comes_back(), secrets))
        assert isinstance(found, Person)
        return found


@pytest.fixture
def desk() -> Iterator[Desk]:
    with provider(lambda: NOW) as fake, asyncio.Runner() as runner:
        made = Desk(fake, runner)
        yield made
        runner.run(made.provider.close())


def test_who_comes_back(desk: Desk) -> None:
    person = desk.person()
    assert (person.name, person.has_factor) == ("alice@example.org", True)
    assert (person.proof.subject, person.proof.auth_time) == ("u1", NOW)
    desk.fake.amr = ["pwd"]
    assert not desk.person().has_factor


def test_what_a_browser_takes_along(desk: Desk) -> None:
    asked = parse_qs(urlsplit(desk.goes()).query)
    assert asked["scope"] == ["openid email profile"]
    assert (asked["state"], asked["nonce"], asked["redirect_uri"]) == (["state"], ["nonce"], [REDIRECT])
    assert not {"prompt", "max_age", "acr_values"} & asked.keys()
    assert SECRETS.verifier not in desk.goes()
    desk.made(acr=("gold", "urn:x"))
    asked = parse_qs(urlsplit(desk.goes(again=True)).query)
    assert (asked["prompt"], asked["max_age"], asked["acr_values"]) == (["login"], ["300"], ["gold urn:x"])


def test_the_client_secret_goes_where_the_provider_takes_it(desk: Desk) -> None:
    desk.fake.metadata = {"token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_post"]}
    assert desk.person().name == "alice@example.org"
    desk.made(client_secret=Secret("wrong"))
    with pytest.raises(ProviderDown, match="401: invalid_client"):
        desk.person()


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_a_new_key_of_every_kind_is_fetched(desk: Desk, algorithm: str) -> None:
    desk.person()
    desk.fake.use(algorithm)
    desk.now += 31
    desk.fake.auth_time = desk.now
    assert desk.person().name == "alice@example.org"
    assert desk.fake.asked.count("/keys") == 2


def test_unknown_keys_do_not_have_the_provider_asked_again_and_again(desk: Desk) -> None:
    desk.person()
    desk.now += 31
    desk.fake.header = {"kid": "nobody's"}
    for _ in range(4):
        with pytest.raises(Refused, match="not signed with a key"):
            desk.person()
    assert desk.fake.asked.count("/keys") == 2


def test_a_token_without_kid_is_tried_with_every_key(desk: Desk) -> None:
    desk.fake.published, desk.fake.header = [rsa("other"), *desk.fake.published], {}
    assert desk.person().name == "alice@example.org"


def test_another_claim_may_name_the_account(desk: Desk) -> None:
    desk.made(account_claim="upn")
    desk.fake.person["upn"] = "al@example.org"
    assert desk.person().name == "al@example.org"


def test_what_the_id_token_leaves_out_is_asked_for(desk: Desk) -> None:
    desk.fake.person = {"sub": "u1"}
    desk.fake.userinfo = {"sub": "u1", "email": "alice@example.org", "email_verified": True}
    assert desk.person().name == "alice@example.org"
    desk.fake.userinfo["sub"] = "u2"
    with pytest.raises(Refused, match="somebody else"):
        desk.person()
    desk.fake.userinfo = {"sub": "u1"}
    with pytest.raises(Refused, match="there is no email"):
        desk.person()


def test_an_unverified_address_is_nobodys(desk: Desk) -> None:
    desk.fake.person["email_verified"] = False
    with pytest.raises(Refused, match="email_verified"):
        desk.person()
    desk.made(trust_unverified_email=True)
    assert desk.person().name == "alice@example.org"


SPOILED: dict[str, dict[str, Any]] = {
    "nonce": {"nonce": "another"},
    "aud": {"aud": "another"},
    "azp": {"aud": [CLIENT_ID, "another"], "azp": "another"},
    "iss": {"iss": "https://evil.example"},
    "expired": {"exp": NOW - 61},
    "issued": {"iat": NOW - 3600},
}


@pytest.mark.parametrize("why", SPOILED)
def test_claims_that_do_not_count(desk: Desk, why: str) -> None:
    desk.fake.claims = lambda claims: claims | SPOILED[why]
    with pytest.raises(Refused, match=why):
        desk.person()


def test_a_signature_by_somebody_else(desk: Desk) -> None:
    desk.fake.key = rsa("one")
    with pytest.raises(Refused, match="not signed with a key"):
        desk.person()


def test_the_public_key_is_no_shared_secret(desk: Desk) -> None:
    desk.fake.confuse()
    with pytest.raises(Refused, match="signed in a way that is not taken"):
        desk.person()


def test_a_token_without_signature(desk: Desk) -> None:
    def bare(token: str) -> str:
        return f"eyJhbGciOiJub25lIn0.{token.split('.')[1]}."

    desk.fake.token = bare
    with pytest.raises(Refused, match="signed in a way that is not taken"):
        desk.person()


@pytest.mark.parametrize("token", ["", "a.b.c", "….é.x", "x" * 70_000])
def test_what_is_no_token(desk: Desk, token: str) -> None:
    desk.fake.token = lambda _: token
    with pytest.raises((Refused, ProviderDown)):
        desk.person()


def test_a_token_that_was_changed(desk: Desk) -> None:
    def changed(token: str) -> str:
        head, body, signature = token.split(".")
        return f"{head}.{body[:-4]}AAAA.{signature}"

    desk.fake.token = changed
    with pytest.raises(Refused, match="not signed with a key"):
        desk.person()


def test_a_code_counts_once_and_with_its_verifier(desk: Desk) -> None:
    answer = desk.comes_back()
    with pytest.raises(Refused, match="the code does not count"):
        desk.person(answer, replace(SECRETS, verifier="w" * 43))
    answer = desk.comes_back()
    desk.person(answer)
    with pytest.raises(Refused, match="the code does not count"):
        desk.person(answer)
    with pytest.raises(Refused, match="no code"):
        desk.person({"iss": desk.fake.issuer})


@pytest.mark.parametrize("iss", [None, "https://evil.example", ""])
def test_the_answer_of_another_provider(desk: Desk, iss: str | None) -> None:
    desk.fake.iss = iss
    with pytest.raises(Refused, match="another provider"):
        desk.person()
    assert "/token" not in desk.fake.asked


def test_a_provider_that_does_not_say_that_it_sends_iss(desk: Desk) -> None:
    desk.fake.metadata = {"authorization_response_iss_parameter_supported": None}
    desk.fake.iss = None
    assert desk.person().name == "alice@example.org"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("access_denied", Refused),
        ("login_required", Refused),
        ("no such \x1b code", Refused),
        ("server_error", ProviderDown),
        ("temporarily_unavailable", ProviderDown),
        ("unauthorized_client", ProviderDown),
    ],
)
def test_the_provider_says_no(desk: Desk, error: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        desk.person({"iss": desk.fake.issuer, "error": error})
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({"issuer": "https://evil.example"}, "another issuer"),
        ({"token_endpoint": None}, "token_endpoint"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "authorization_endpoint"),
        ({"jwks_uri": 7}, "jwks_uri"),
        ({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}, "no client secret"),
        ({"id_token_signing_alg_values_supported": ["none", "HS256"]}, "signs with none of"),
    ],
)
def test_metadata_that_cannot_be_used(desk: Desk, metadata: dict[str, Any], why: str) -> None:
    desk.fake.metadata = metadata
    with pytest.raises(ProviderDown, match=why):
        desk.goes()


def test_https_does_not_lead_to_http() -> None:
    document = {"issuer": "https://id.example.org", "id_token_signing_alg_values_supported": ["RS256"]}
    with pytest.raises(ProviderDown, match="authorization_endpoint"):
        oidc._metadata({**document, "authorization_endpoint": "http://id.example.org/"}, "https://id.example.org")


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/keys"])
def test_a_part_of_it_is_broken(desk: Desk, path: str) -> None:
    desk.fake.broken = {path}
    with pytest.raises(ProviderDown, match="answered 500: server_error"):
        desk.person()


def test_down_is_known_for_a_moment_and_then_asked_again(desk: Desk) -> None:
    desk.fake.broken = {"/.well-known/openid-configuration"}
    for _ in range(5):
        with pytest.raises(ProviderDown):
            desk.goes()
    assert len(desk.fake.asked) == 1
    desk.fake.broken = set()
    desk.now += 11
    desk.goes()


def test_stopped(desk: Desk) -> None:
    desk.goes()
    desk.fake.stop()
    desk.now += 11
    with pytest.raises(ProviderDown, match="cannot be reached"):
        desk.goes()
    assert desk.run(desk.provider.sign_out_address("https://x")) == ""


def test_slow(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "ANSWER_WITHIN", 0.2)
    desk.fake.stuck.set()
    with pytest.raises(ProviderDown, match=r"did not answer within 0\.2 s"):
        desk.goes()


def test_where_a_session_there_is_ended(desk: Desk) -> None:
    address = desk.run(desk.provider.sign_out_address("https://login.example.org/"))
    assert address.startswith(f"{desk.fake.issuer}/end?")
    assert parse_qs(urlsplit(address).query) == {
        "client_id": [CLIENT_ID],
        "post_logout_redirect_uri": ["https://login.example.org/"],
    }
    desk.fake.metadata = {"end_session_endpoint": None}
    desk.now += 11
    assert desk.run(desk.provider.sign_out_address("https://login.example.org/")) == ""
