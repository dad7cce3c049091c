"""When the claims of an ID token count."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.domain.id_tokens import LEEWAY, Proof, Untrue, is_new, name_in, weigh
from proxy.domain.sign_in import FRESH

NOW = 1_790_000_000.0
GOOD: dict[str, Any] = {
    "iss": "https://id.example.org",
    "sub": "u1",
    "aud": "sidegate",
    "iat": NOW - 1,
    "exp": NOW + 300,
    "nonce": "n",
    "auth_time": NOW - 10,
    "acr": "gold",
    "amr": ["pwd", "otp"],
}


def weighed(**claims: Any) -> Proof:
    given = {key: value for key, value in {**GOOD, **claims}.items() if value is not None}
    return weigh(given, issuer="https://id.example.org", client_id="sidegate", nonce="n", now=NOW)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"aud": ["sidegate"]},
        {"aud": ["other", "sidegate"], "azp": "sidegate"},
        {"azp": "sidegate"},
        {"exp": NOW - LEEWAY + 1},
        {"iat": NOW + LEEWAY},
        {"nbf": NOW + LEEWAY},
    ],
)
def test_what_counts(claims: dict[str, Any]) -> None:
    assert weighed(**claims) == Proof("u1", NOW - 10, "gold", ("pwd", "otp"))


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "https://id.example.org/"}, "iss"),
        ({"iss": None}, "iss"),
        ({"sub": None}, "sub"),
        ({"sub": 7}, "sub"),
        ({"aud": "other"}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": ["other"]}, "aud"),
        ({"aud": ["sidegate", "other"]}, "azp"),
        ({"azp": "other"}, "azp"),
        ({"nonce": "m"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"exp": NOW - LEEWAY}, "expired"),
        ({"exp": None}, "expired"),
        ({"exp": "never"}, "exp is no time"),
        ({"exp": True}, "exp is no time"),
        ({"exp": float("inf")}, "exp is no time"),
        ({"iat": None}, "issued"),
        ({"iat": NOW - 601}, "issued"),
        ({"iat": NOW + LEEWAY + 1}, "issued"),
        ({"nbf": NOW + LEEWAY + 1}, "issued"),
        ({"auth_time": NOW + LEEWAY + 1}, "auth_time"),
        ({"auth_time": "today"}, "auth_time"),
    ],
)
def test_what_does_not(claims: dict[str, Any], why: str) -> None:
    with pytest.raises(Untrue, match=why):
        weighed(**claims)


def test_what_is_no_acr_or_amr_says_nothing() -> None:
    proof = weighed(acr=1, amr="mfa", auth_time=None)
    assert (proof.acr, proof.amr, proof.auth_time) == ("", (), None)
    assert not proof.has_factor((), ("mfa", "m"))
    assert not proof.has_factor((), ())


def test_a_clock_a_little_ahead_does_not_make_the_future() -> None:
    assert weighed(auth_time=NOW + 5).auth_time == NOW


@pytest.mark.parametrize(
    ("acr", "amr", "expected"),
    [
        ((), (), False),
        (("silver",), (), False),
        (("silver", "gold"), (), True),
        ((), ("hwk",), False),
        ((), ("hwk", "otp"), True),
        (("silver",), ("otp",), True),
    ],
)
def test_either_says_that_a_factor_was_proven(acr: tuple[str, ...], amr: tuple[str, ...], expected: bool) -> None:
    assert weighed().has_factor(acr, amr) is expected


def test_only_who_was_asked_once_more_is_new() -> None:
    asked = NOW - 20
    assert is_new(weighed(auth_time=asked), asked, NOW)
    assert is_new(weighed(auth_time=asked - LEEWAY), asked, NOW)  # another clock
    assert not is_new(weighed(auth_time=asked - LEEWAY - 1), asked, NOW)
    assert not is_new(weighed(auth_time=None), asked, NOW)
    assert not is_new(weighed(auth_time=NOW - FRESH - 1), NOW - FRESH - 5, NOW)


def test_the_name_of_the_account() -> None:
    claims = {"email": "alice@example.org", "email_verified": True, "upn": "al"}
    assert name_in(claims, "email", trust_unverified_email=False) == "alice@example.org"
    assert name_in({**claims, "email_verified": "true"}, "email", trust_unverified_email=False) == "alice@example.org"
    assert name_in(claims, "upn", trust_unverified_email=False) == "al"
    for unverified in (False, None, 1, "yes"):
        spoiled = {**claims, "email_verified": unverified}
        assert name_in(spoiled, "email", trust_unverified_email=True) == "alice@example.org"
        with pytest.raises(Untrue, match="email_verified"):
            name_in(spoiled, "email", trust_unverified_email=False)
    for missing in (None, "", 7, ["al"]):
        with pytest.raises(Untrue, match="account_claim"):
            name_in({**claims, "upn": missing}, "upn", trust_unverified_email=False)
