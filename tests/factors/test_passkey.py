"""Passkeys against an authenticator in software: what is accepted, and every way that must not be."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable

import pytest

from proxy.domain.audit import Event
from proxy.domain.model import Account
from proxy.factors import passkey as module
from proxy.factors.passkey import COPIED, KNOWN, NO_ANSWER, TOO_LATE, UNKNOWN, WITHIN, WRONG, Passkey
from proxy.store import audit, factors
from proxy.store.factors import FactorRow, NewFactor
from tests.factors.conftest import Place
from tests.support.authenticator import Authenticator, decoded, encoded

URL = "https://login.example.org/apps"
ORIGIN = "https://login.example.org"


@pytest.fixture
def passkey(place: Place) -> Passkey:
    return at(place, URL)


def at(place: Place, url: str) -> Passkey:
    return Passkey(place.store, "node1", url, "Example Mail", place.clock, os.urandom)


def register(
    place: Place, passkey: Passkey, authenticator: Authenticator, account: Account | None = None, name: str = "laptop"
) -> FactorRow:
    account = account or place.alice
    begun = place.run(passkey.begin_registration(account, name))
    answer = authenticator.create(begun.page["options"])
    return place.keep(account, place.run(passkey.finish_registration(account, begun.notes, answer)))


def prove(
    place: Place, passkey: Passkey, get: Callable[[str], dict[str, str]], account: Account | None = None
) -> FactorRow | str:
    """One challenge, answered by `get` from its options."""
    account = account or place.alice
    rows = place.rows(account)
    begun = place.run(passkey.begin(account, rows, b"session"))
    return place.run(passkey.finish(account, rows, begun.notes, get(begun.page["options"])))


def changed(answer: dict[str, str], **response: str) -> dict[str, str]:
    credential = json.loads(answer["credential"])
    credential["response"].update(response)
    return {"credential": json.dumps(credential)}


def test_what_a_browser_is_asked_for_a_new_one(place: Place, passkey: Passkey) -> None:
    authenticator = Authenticator(ORIGIN)
    register(place, passkey, authenticator)
    options = json.loads(place.run(passkey.begin_registration(place.alice, "phone")).page["options"])
    assert options["rp"] == {"id": "login.example.org", "name": "Example Mail"}
    assert options["user"]["name"] == "alice@example.org"
    assert options["user"]["displayName"] == "Alice"
    assert options["attestation"] == "none"
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["authenticatorSelection"]["residentKey"] == "preferred"
    assert [one["id"] for one in options["excludeCredentials"]] == [encoded(authenticator.passkeys[0].id)]
    assert len(decoded(options["challenge"])) == 32
    assert options["timeout"] == 300_000


def test_what_a_browser_is_asked_at_a_challenge(place: Place, passkey: Passkey) -> None:
    authenticator = Authenticator(ORIGIN)
    row = register(place, passkey, authenticator)
    options = json.loads(place.run(passkey.begin(place.alice, [row], b"session")).page["options"])
    assert options["rpId"] == "login.example.org"
    assert options["userVerification"] == "required"
    assert options["allowCredentials"] == [
        {"id": encoded(authenticator.passkeys[0].id), "type": "public-key", "transports": ["internal"]}
    ]


@pytest.mark.parametrize("counts", [True, False])
def test_is_registered_and_proven_again_and_again(place: Place, passkey: Passkey, counts: bool) -> None:
    authenticator = Authenticator(ORIGIN, counts=counts)
    row = register(place, passkey, authenticator)
    for n in range(1, 4):
        said = prove(place, passkey, authenticator.get)
        assert isinstance(said, FactorRow)
        assert said.id == row.id
        assert place.rows(place.alice)[0].counter == (n + 1 if counts else 0)


def test_several_per_account(place: Place, passkey: Passkey) -> None:
    laptop, phone = Authenticator(ORIGIN), Authenticator(ORIGIN)
    register(place, passkey, laptop, name="laptop")
    register(place, passkey, phone, name="phone")
    for authenticator, name in ((laptop, "laptop"), (phone, "phone")):
        said = prove(place, passkey, authenticator.get)
        assert isinstance(said, FactorRow)
        assert said.name == name


def test_the_same_one_twice_is_one(place: Place, passkey: Passkey) -> None:
    authenticator = Authenticator(ORIGIN)
    begun = place.run(passkey.begin_registration(place.alice, "laptop"))
    answer = authenticator.create(begun.page["options"])
    place.keep(place.alice, place.run(passkey.finish_registration(place.alice, begun.notes, answer)))
    assert place.run(passkey.finish_registration(place.alice, begun.notes, answer)) == KNOWN


@pytest.mark.parametrize(
    ("url", "rp_id", "origin"),
    [
        ("https://login.example.org", "login.example.org", "https://login.example.org"),
        ("https://login.example.org:443/a/b", "login.example.org", "https://login.example.org"),
        ("https://Login.Example.org:8443", "login.example.org", "https://login.example.org:8443"),
        ("http://localhost:8080", "localhost", "http://localhost:8080"),
    ],
)
def test_origin_and_relying_party_come_from_the_url(place: Place, url: str, rp_id: str, origin: str) -> None:
    passkey, authenticator = at(place, url), Authenticator(origin)
    register(place, passkey, authenticator)
    assert authenticator.passkeys[0].rp_id == rp_id
    assert isinstance(prove(place, passkey, authenticator.get), FactorRow)


@pytest.mark.parametrize(
    ("url", "usable"),
    [
        ("https://login.example.org", True),
        ("http://localhost:8080", True),
        ("http://127.0.0.1:8080", False),
        ("https://127.0.0.1:8080", False),
        ("https://[::1]:8080", False),
    ],
)
def test_an_address_is_no_relying_party(url: str, usable: bool) -> None:
    assert module.usable(url) is usable


ELSEWHERE = [
    "https://evil.example",
    "https://sub.login.example.org",
    "https://example.org",
    "https://login.example.org:8443",
    "http://login.example.org",
    "https://login.example.org.evil.example",
    "https://login.example.org/",
    "https://LOGIN.example.org",
    "",
]


@pytest.mark.parametrize("origin", ELSEWHERE)
def test_an_answer_given_to_another_origin(place: Place, passkey: Passkey, origin: str) -> None:
    authenticator = Authenticator(origin)
    begun = place.run(passkey.begin_registration(place.alice, "laptop"))
    answer = authenticator.create(begun.page["options"])
    assert place.run(passkey.finish_registration(place.alice, begun.notes, answer)) == WRONG
    authenticator = Authenticator(ORIGIN)
    register(place, passkey, authenticator)
    authenticator.origin = origin
    assert prove(place, passkey, authenticator.get) == WRONG


def test_a_credential_made_for_another_relying_party(place: Place, passkey: Passkey) -> None:
    authenticator = Authenticator(ORIGIN)
    register(place, passkey, authenticator)
    authenticator.passkeys[0].rp_id = "sub.login.example.org"
    assert prove(place, passkey, authenticator.get) == WRONG


def test_a_challenge_that_was_not_this_one(place: Place, passkey: Passkey) -> None:
    authenticator = Authenticator(ORIGIN, counts=False)
    row = register(place, passkey, authenticator)
    first = place.run(passkey.begin(place.alice, [row], b"session"))
    answer = authenticator.get(first.page["options"])
    second = place.run(passkey.begin(place.alice, [row], b"session"))
    assert place.run(passkey.finish(place.alice, [row], second.notes, answer)) == WRONG


def test_five_minutes_and_no_more(place: Place, passkey: Passkey) -> None:
    authenticator = Authenticator(ORIGIN)
    register(place, passkey, authenticator)

    def after(seconds: float) -> Callable[[str], dict[str, str]]:
        def get(options: str) -> dict[str, str]:
            place.now += seconds
            return authenticator.get(options)

        return get

    assert isinstance(prove(place, passkey, after(WITHIN)), FactorRow)
    assert prove(place, passkey, after(WITHIN + 1)) == TOO_LATE
    begun = place.run(passkey.begin_registration(place.alice, "phone"))
    place.now += WITHIN + 1
    answer = Authenticator(ORIGIN).create(begun.page["options"])
    assert place.run(passkey.finish_registration(place.alice, begun.notes, answer)) == TOO_LATE


def test_a_person_who_was_not_verified(place: Place, passkey: Passkey) -> None:
    authenticator = Authenticator(ORIGIN)
    begun = place.run(passkey.begin_registration(place.alice, "laptop"))
    answer = authenticator.create(begun.page["options"], verified=False)
    assert place.run(passkey.finish_registration(place.alice, begun.notes, answer)) == WRONG
    authenticator = Authenticator(ORIGIN)
    register(place, passkey, authenticator)
    assert prove(place, passkey, lambda options: authenticator.get(options, verified=False)) == WRONG


def test_a_key_of_a_kind_that_was_not_asked_for(place: Place, passkey: Passkey) -> None:
    begun = place.run(passkey.begin_registration(place.alice, "laptop"))
    answer = Authenticator(ORIGIN, algorithm=-65535).create(begun.page["options"])  # RSA with SHA-1
    assert place.run(passkey.finish_registration(place.alice, begun.notes, answer)) == WRONG


def test_an_attestation_that_nobody_asked_for_is_not_looked_at(place: Place, passkey: Passkey) -> None:
    authenticator = Authenticator(ORIGIN, attestation={"fmt": "packed", "attStmt": {"alg": -7, "x5c": [b"junk"]}})
    register(place, passkey, authenticator)
    assert isinstance(prove(place, passkey, authenticator.get), FactorRow)


def test_another_accounts_credential(place: Place, passkey: Passkey) -> None:
    """Also when the answer says that it is for this account, and also under this account's credential's id."""
    hers, his = Authenticator(ORIGIN), Authenticator(ORIGIN)
    register(place, passkey, hers)
    register(place, passkey, his, place.bob)
    theirs = his.passkeys[0]
    assert prove(place, passkey, lambda options: his.get(options, passkey=theirs)) == UNKNOWN
    theirs.user = module.user_handle(place.alice)
    assert prove(place, passkey, lambda options: his.get(options, passkey=theirs)) == UNKNOWN
    theirs.id = hers.passkeys[0].id
    assert prove(place, passkey, lambda options: his.get(options, passkey=theirs)) == WRONG


def test_this_accounts_credential_that_says_it_is_anothers(place: Place, passkey: Passkey) -> None:
    authenticator = Authenticator(ORIGIN)
    register(place, passkey, authenticator)
    authenticator.passkeys[0].user = module.user_handle(place.bob)
    assert prove(place, passkey, authenticator.get) == UNKNOWN


def test_a_changed_signature(place: Place, passkey: Passkey) -> None:
    authenticator = Authenticator(ORIGIN)
    register(place, passkey, authenticator)
    assert (
        prove(place, passkey, lambda options: changed(authenticator.get(options), signature=encoded(b"0" * 70)))
        == WRONG
    )


def test_a_counter_that_went_back_is_refused_and_recorded(place: Place, passkey: Passkey) -> None:
    authenticator = Authenticator(ORIGIN)
    row = register(place, passkey, authenticator)
    for _ in range(3):
        prove(place, passkey, authenticator.get)
    authenticator.passkeys[0].counter = 1  # what a copy made at the beginning would show next is 2
    assert prove(place, passkey, authenticator.get) == COPIED
    (record,) = place.run(place.store.read(audit.read))
    assert record.event.event == Event.PASSKEY_COUNTER_WENT_BACK
    assert record.event.account == "alice@example.org"
    assert record.event.detail == f"{row.name}: 2 after 4; there may be a copy of it"
    assert place.rows(place.alice)[0].counter == 4


def test_a_forged_counter_is_no_news(place: Place, passkey: Passkey) -> None:
    """The counter is believed once the signature is right: nobody else can have a passkey called a copy."""
    authenticator, stranger = Authenticator(ORIGIN), Authenticator(ORIGIN)
    register(place, passkey, authenticator)
    prove(place, passkey, authenticator.get)
    register(place, passkey, stranger, place.bob)
    stranger.passkeys[0].id, stranger.passkeys[0].counter = authenticator.passkeys[0].id, 0
    stranger.passkeys[0].user = module.user_handle(place.alice)
    assert prove(place, passkey, lambda options: stranger.get(options, passkey=stranger.passkeys[0])) == WRONG
    assert place.run(place.store.read(audit.read)) == []


def test_of_two_requests_with_one_answer_one_wins(place: Place, passkey: Passkey) -> None:
    authenticator = Authenticator(ORIGIN)
    row = register(place, passkey, authenticator)
    begun = place.run(passkey.begin(place.alice, [row], b"session"))
    answer = authenticator.get(begun.page["options"])

    async def race() -> list[FactorRow | str]:
        return await asyncio.gather(*(passkey.finish(place.alice, [row], begun.notes, answer) for _ in range(5)))

    assert sum(isinstance(one, FactorRow) for one in place.run(race())) == 1


def test_one_that_was_removed_meanwhile(place: Place, passkey: Passkey) -> None:
    authenticator = Authenticator(ORIGIN, counts=False)
    row = register(place, passkey, authenticator)
    begun = place.run(passkey.begin(place.alice, [row], b"session"))
    place.run(place.store.write(factors.remove_all, place.alice.id))
    answer = authenticator.get(begun.page["options"])
    assert place.run(passkey.finish(place.alice, [row], begun.notes, answer)) == UNKNOWN


def test_leads_to_its_account_where_nobody_said_a_name(place: Place, passkey: Passkey) -> None:
    authenticator = Authenticator(ORIGIN)
    register(place, passkey, authenticator, place.bob)
    options = passkey.ask(b"c" * 32, [], place.now + WITHIN).page["options"]
    assert "allowCredentials" not in json.loads(options)
    assert module.account_named(authenticator.get(options)) == place.bob.id


def test_says_nothing_about_the_person_to_who_finds_the_authenticator(place: Place) -> None:
    handle = module.user_handle(place.alice)
    assert b"alice" not in handle
    assert handle != module.user_handle(place.bob)
    assert len(handle) == 24


NONSENSE = [
    "",
    "x",
    "[]",
    "null",
    "{}",
    '{"response": []}',
    '{"response": {}}',
    '{"response": {"userHandle": 7}}',
    '{"response": {"userHandle": "é"}}',
    '{"response": {"userHandle": "' + "_" * 32 + '"}}',
    '{"id": {}, "response": {"userHandle": null}}',
    "[" * 10_000,
    '{"response":' * 2000,
    "9" * 20_000,
]


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_is_refused_in_words(place: Place, passkey: Passkey, text: str) -> None:
    register(place, passkey, Authenticator(ORIGIN))
    assert prove(place, passkey, lambda _: {"credential": text}) in (NO_ANSWER, WRONG)
    begun = place.run(passkey.begin_registration(place.alice, "phone"))
    said = place.run(passkey.finish_registration(place.alice, begun.notes, {"credential": text}))
    assert said in (NO_ANSWER, WRONG)
    assert module.account_named({"credential": text}) is None
    assert prove(place, passkey, lambda _: {}) == NO_ANSWER


@pytest.mark.parametrize("seed", range(8))
def test_whatever_bytes_are_changed_it_is_refused_in_words(place: Place, passkey: Passkey, seed: int) -> None:
    dice = random.Random(seed)
    authenticator = Authenticator(ORIGIN)
    row = register(place, passkey, authenticator)
    made = place.run(passkey.begin_registration(place.alice, "phone"))
    asked = place.run(passkey.begin(place.alice, [row], b"session"))
    answers = {
        "create": Authenticator(ORIGIN).create(made.page["options"]),
        "get": authenticator.get(asked.page["options"]),
    }
    parts = {
        "create": ["clientDataJSON", "attestationObject"],
        "get": ["clientDataJSON", "authenticatorData", "signature"],
    }
    for _ in range(40):
        what = dice.choice(["create", "get"])
        part = dice.choice(parts[what])
        raw = bytearray(decoded(json.loads(answers[what]["credential"])["response"][part]))
        for _ in range(dice.randint(1, 3)):
            raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
        bad = changed(answers[what], **{part: encoded(bytes(raw[: dice.randint(len(raw) // 2, len(raw))]))})
        if what == "create":
            said: object = place.run(passkey.finish_registration(place.alice, made.notes, bad))
        else:
            said = place.run(passkey.finish(place.alice, [row], asked.notes, bad))
        assert said == WRONG if what == "get" else isinstance(said, str | NewFactor)
