"""The authenticator on the phone: who may register, who may confirm what, and how often phones are asked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from proxy.domain import tokens
from proxy.domain.model import Account
from proxy.domain.phones import Answered, Claim, Decision
from proxy.domain.sign_in import LIFE, Stage
from proxy.factors import Begun, phones, push
from proxy.factors.phones import Phone
from proxy.factors.push import KNOWN, NOT_CONFIRMED, NOT_YET, Push
from proxy.store import challenges, factors, portal_sessions
from proxy.store.challenges import State
from proxy.store.factors import FactorRow, NewFactor
from proxy.store.portal_sessions import PortalSession
from tests.factors.conftest import Place
from tests.support.phone import SoftPhone

ORIGIN = "https://login.example.org"


@dataclass
class Stand:
    place: Place
    woken: list[tuple[str, list[str]]] = field(default_factory=list)
    factor: Push = field(init=False)

    def __post_init__(self) -> None:
        place = self.place
        self.factor = Push(place.store, place.sealer, ORIGIN, place.clock, os.urandom, self.wake)

    def wake(self, account: Account, rows: Sequence[FactorRow]) -> None:
        self.woken.append((account.address, [row.name for row in rows]))

    def session(self, account: Account, stage: Stage = Stage.CHALLENGE) -> bytes:
        """Somebody who has typed the account password."""
        token_hash, now = os.urandom(32), self.place.now
        session = PortalSession(
            token_hash, account.id, stage, now, now, now + LIFE, now, None, None, "192.0.2.7", "Firefox"
        )
        self.place.run(self.place.store.write(portal_sessions.add, session))
        return token_hash

    def phone(self, account: Account, name: str = "phone") -> SoftPhone:
        """A registered one."""
        place, phone = self.place, SoftPhone(ORIGIN)
        begun = place.run(self.factor.begin_registration(account, name))
        assert self.connect(begun, phone) == account
        phone.account = account.id
        place.keep(account, place.run(self.factor.finish_registration(account, begun.notes, {})))
        return phone

    def connect(self, begun: Begun, phone: SoftPhone, **changed: str) -> Account | None:
        token = begun.page["token"]
        sent = {**phone.registration(token), **changed}
        public = {"key": sent["key"], "agent": "Chrome (Android)", "language": "en"}
        arguments = (self.place.sealer, ORIGIN, changed.get("token", token), public, sent["signature"], self.place.now)
        return self.place.run(self.place.store.write(phones.connect, *arguments))

    def ask(self, account: Account, session: bytes) -> Begun:
        return self.place.run(self.factor.begin(account, self.rows(account), session))

    def again(self, account: Account, session: bytes) -> None:
        self.place.run(self.factor.again(account, self.rows(account), session))

    def rows(self, account: Account) -> list[FactorRow]:
        return self.place.rows(account)

    def asked(self, account: Account) -> list[bytes]:
        """The challenges that the account's phones are shown."""
        found = self.place.run(self.place.store.read(phones.waiting, account.id, self.place.now))
        return [one.challenge.id_hash for one in found]

    def answer(
        self, account: Account, challenge: bytes, number: str = "", decision: Decision = Decision.CONFIRM
    ) -> Answered:
        phone = Phone(account, self.rows(account)[-1])
        arguments = (self.place.sealer, phone, challenge, decision, number, self.place.now)
        return self.place.run(self.place.store.write(phones.answer, *arguments))[0]

    def finish(self, account: Account, begun: Begun) -> FactorRow | str:
        return self.place.run(self.factor.finish(account, self.rows(account), begun.notes, {}))


@pytest.fixture
def stand(place: Place) -> Stand:
    return Stand(place)


def other_than(number: str) -> str:
    return "000000" if number != "000000" else "000001"


# ---- registering --------------------------------------------------------------------------------


def test_a_phone_that_opens_the_link_is_added_by_the_browser(stand: Stand) -> None:
    place, phone = stand.place, SoftPhone(ORIGIN)
    begun = place.run(stand.factor.begin_registration(place.alice, "my phone"))
    assert begun.page["url"] == f"{ORIGIN}/phone/add/{begun.page['token']}"
    assert begun.page["token"] not in str(begun.notes)
    assert place.run(stand.factor.finish_registration(place.alice, begun.notes, {})) == NOT_YET
    assert stand.connect(begun, phone) == place.alice
    seen = place.run(stand.factor.resume_registration(place.alice, begun.notes))
    assert seen.page["url"] == begun.page["url"]
    assert seen.page["phone"]["agent"] == "Chrome (Android)"
    for _ in range(2):  # a name that is taken asks for another, and for the same phone
        new = place.run(stand.factor.finish_registration(place.alice, begun.notes, {}))
        assert isinstance(new, NewFactor)
        assert (new.name, new.public["key"]) == ("my phone", phone.key)
    place.keep(place.alice, new)
    assert place.run(stand.factor.finish_registration(place.alice, begun.notes, {})) == KNOWN


def test_the_first_phone_has_the_link(stand: Stand) -> None:
    begun = stand.place.run(stand.factor.begin_registration(stand.place.alice, "phone"))
    first = SoftPhone(ORIGIN)
    assert stand.connect(begun, first) is not None
    assert stand.connect(begun, SoftPhone(ORIGIN)) is None
    new = stand.place.run(stand.factor.finish_registration(stand.place.alice, begun.notes, {}))
    assert isinstance(new, NewFactor)
    assert new.public["key"] == first.key


def test_a_key_that_does_not_sign_is_not_taken(stand: Stand) -> None:
    begun = stand.place.run(stand.factor.begin_registration(stand.place.alice, "phone"))
    other = SoftPhone(ORIGIN)
    assert stand.connect(begun, SoftPhone(ORIGIN), key=other.key) is None
    assert stand.connect(begun, SoftPhone("https://login.example.net")) is None  # signed for another site
    assert stand.connect(begun, SoftPhone(ORIGIN), signature="AAAA") is None
    assert stand.connect(begun, SoftPhone(ORIGIN), token="x" * 43) is None
    assert stand.connect(begun, SoftPhone(ORIGIN)) is not None


def test_a_link_is_good_for_a_quarter_of_an_hour_and_then_there_is_another(stand: Stand) -> None:
    begun = stand.place.run(stand.factor.begin_registration(stand.place.alice, "phone"))
    stand.place.now += push.LINK_LIFE
    assert stand.connect(begun, SoftPhone(ORIGIN)) is None
    again = stand.place.run(stand.factor.resume_registration(stand.place.alice, begun.notes))
    assert again.page["token"] != begun.page["token"]
    assert stand.connect(again, SoftPhone(ORIGIN)) is not None


def test_nobody_elses_link_is_finished(stand: Stand) -> None:
    begun = stand.place.run(stand.factor.begin_registration(stand.place.alice, "phone"))
    stand.connect(begun, SoftPhone(ORIGIN))
    with pytest.raises(Exception, match="cannot be opened"):
        stand.place.run(stand.factor.finish_registration(stand.place.bob, begun.notes, {}))


# ---- confirming ---------------------------------------------------------------------------------


def test_the_number_from_the_page_typed_on_the_phone_opens_once(stand: Stand) -> None:
    alice = stand.place.alice
    stand.phone(alice)
    session = stand.session(alice)
    begun = stand.ask(alice, session)
    assert (begun.page["state"], len(begun.page["number"])) == ("waiting", 6)
    assert begun.page["number"] not in str(begun.notes)
    assert stand.woken == [("alice@example.org", ["phone"])]
    assert stand.finish(alice, begun) == NOT_CONFIRMED
    (challenge,) = stand.asked(alice)
    assert stand.answer(alice, challenge, begun.page["number"]) is Answered.CONFIRMED
    assert stand.answer(alice, challenge, begun.page["number"]) is Answered.OVER
    row = stand.finish(alice, begun)
    assert isinstance(row, FactorRow)
    assert row.name == "phone"
    assert stand.finish(alice, begun) == NOT_CONFIRMED


def test_of_two_browsers_with_one_cookie_one_goes_on(stand: Stand) -> None:
    alice = stand.place.alice
    stand.phone(alice)
    begun = stand.ask(alice, stand.session(alice))
    stand.answer(alice, stand.asked(alice)[0], begun.page["number"])
    rows = stand.rows(alice)

    async def race() -> list[FactorRow | str]:
        return await asyncio.gather(*(stand.factor.finish(alice, rows, begun.notes, {}) for _ in range(10)))

    assert sum(isinstance(one, FactorRow) for one in stand.place.run(race())) == 1


def test_of_answers_at_once_one_counts(stand: Stand) -> None:
    alice = stand.place.alice
    stand.phone(alice)
    begun = stand.ask(alice, stand.session(alice))
    phone, challenge = Phone(alice, stand.rows(alice)[0]), stand.asked(alice)[0]
    both = [(Decision.CONFIRM, begun.page["number"]), (Decision.DENY, "")] * 5

    async def race() -> list[Answered]:
        place = stand.place
        said = (place.store.write(phones.answer, place.sealer, phone, challenge, *one, place.now) for one in both)
        return [came_to for came_to, _ in await asyncio.gather(*said)]

    assert stand.place.run(race()).count(Answered.OVER) == 9


def test_a_reload_shows_the_same_number_and_asks_nobody_again(stand: Stand) -> None:
    alice = stand.place.alice
    stand.phone(alice)
    session = stand.session(alice)
    assert len({stand.ask(alice, session).page["number"] for _ in range(5)}) == 1
    assert len(stand.woken) == 1


def test_three_wrong_numbers_end_it(stand: Stand) -> None:
    alice = stand.place.alice
    stand.phone(alice)
    session = stand.session(alice)
    begun = stand.ask(alice, session)
    wrong = other_than(begun.page["number"])
    (challenge,) = stand.asked(alice)
    said = [stand.answer(alice, challenge, typed) for typed in (wrong, "12", wrong, begun.page["number"])]
    assert said == [Answered.WRONG, Answered.WRONG, Answered.ENDED, Answered.OVER]
    assert stand.finish(alice, begun) == NOT_CONFIRMED
    assert stand.ask(alice, session).page == {"state": "over"}


@pytest.mark.parametrize("decision", [Decision.DENY, Decision.FRAUD])
def test_what_was_denied_is_not_confirmed_any_more(stand: Stand, decision: Decision) -> None:
    alice = stand.place.alice
    stand.phone(alice)
    begun = stand.ask(alice, stand.session(alice))
    (challenge,) = stand.asked(alice)
    assert stand.answer(alice, challenge, decision=decision) in (Answered.DENIED, Answered.REPORTED)
    assert stand.answer(alice, challenge, begun.page["number"]) is Answered.OVER
    assert stand.finish(alice, begun) == NOT_CONFIRMED


def test_what_was_confirmed_by_mistake_may_be_reported_until_somebody_goes_on(stand: Stand) -> None:
    alice = stand.place.alice
    stand.phone(alice)
    begun = stand.ask(alice, stand.session(alice))
    (challenge,) = stand.asked(alice)
    stand.answer(alice, challenge, begun.page["number"])
    assert stand.answer(alice, challenge, decision=Decision.FRAUD) is Answered.REPORTED
    assert stand.finish(alice, begun) == NOT_CONFIRMED


def test_the_numbers_of_two_sign_ins_are_not_interchanged(stand: Stand) -> None:
    """Threats row 42: alice's and bob's, and hers now and hers before."""
    alice, bob = stand.place.alice, stand.place.bob
    stand.phone(alice)
    stand.phone(bob)
    first = stand.ask(alice, stand.session(alice))
    other = stand.ask(bob, stand.session(bob))
    (challenge,) = stand.asked(alice)
    if other.page["number"] != first.page["number"]:
        assert stand.answer(alice, challenge, other.page["number"]) is Answered.WRONG
    # bob's phone says something about alice's challenge
    for decision in Decision:
        arguments = (stand.place.sealer, Phone(bob, stand.rows(bob)[0]), challenge, decision, first.page["number"])
        said, found = stand.place.run(stand.place.store.write(phones.answer, *arguments, stand.place.now))
        assert (said, found) == (Answered.OVER, None)
    assert stand.answer(alice, challenge, first.page["number"]) is Answered.CONFIRMED
    # and her own other browser does not go on with it
    elsewhere = stand.ask(alice, stand.session(alice))
    assert stand.finish(alice, elsewhere) == NOT_CONFIRMED
    assert isinstance(stand.finish(alice, first), FactorRow)


def test_a_phone_that_was_removed_meanwhile_opens_nothing(stand: Stand) -> None:
    alice = stand.place.alice
    stand.phone(alice, "first")
    stand.phone(alice, "second")
    begun = stand.ask(alice, stand.session(alice))
    stand.answer(alice, stand.asked(alice)[0], begun.page["number"])
    gone = stand.rows(alice)[-1]
    stand.place.run(stand.place.store.write(factors.remove, alice.id, gone.id))
    assert stand.finish(alice, begun) == NOT_CONFIRMED


def test_a_number_is_good_for_five_minutes_or_ten_if_one_asks(stand: Stand) -> None:
    alice = stand.place.alice
    stand.phone(alice)
    session = stand.session(alice)
    begun = stand.ask(alice, session)
    (challenge,) = stand.asked(alice)
    stand.place.now += 299
    assert begun.page["more"]
    stand.place.run(stand.factor.more_time(alice, session))
    later = stand.ask(alice, session)
    assert (later.page["number"], later.page["more"]) == (begun.page["number"], False)
    stand.place.now += 300
    assert stand.asked(alice) == [challenge]
    stand.place.run(stand.factor.more_time(alice, session))
    stand.place.now += 1
    assert stand.asked(alice) == []
    assert stand.answer(alice, challenge, begun.page["number"]) is Answered.OVER
    assert stand.ask(alice, session).page == {"state": "over"}


def test_what_was_confirmed_waits_a_minute_for_the_browser(stand: Stand) -> None:
    alice = stand.place.alice
    stand.phone(alice)
    begun = stand.ask(alice, stand.session(alice))
    stand.place.now += 299
    stand.answer(alice, stand.asked(alice)[0], begun.page["number"])
    stand.place.now += 61
    assert stand.finish(alice, begun) == NOT_CONFIRMED


# ---- how often ----------------------------------------------------------------------------------


def test_twenty_sign_ins_ask_a_phone_three_times(stand: Stand) -> None:
    """Threats row 40."""
    alice = stand.place.alice
    stand.phone(alice)
    states = []
    for _ in range(20):
        states.append(stand.ask(alice, stand.session(alice)).page["state"])
        for challenge in stand.asked(alice):
            stand.answer(alice, challenge, decision=Decision.DENY)
    assert states == ["waiting"] * 3 + ["too_often"] * 17
    assert len(stand.woken) == 3


def test_one_is_open_at_a_time_and_twenty_at_once_ask_once(stand: Stand) -> None:
    alice = stand.place.alice
    stand.phone(alice)
    sessions, rows = [stand.session(alice) for _ in range(20)], stand.rows(alice)

    async def storm() -> list[Begun]:
        return await asyncio.gather(*(stand.factor.begin(alice, rows, session) for session in sessions))

    states = [begun.page["state"] for begun in stand.place.run(storm())]
    assert sorted(states) == ["busy"] * 19 + ["waiting"]
    assert len(stand.asked(alice)) == len(stand.woken) == 1


def test_a_sign_in_that_was_begun_anew_is_not_waited_for(stand: Stand) -> None:
    alice = stand.place.alice
    stand.phone(alice)
    first = stand.session(alice)
    stand.ask(alice, first)
    stand.place.run(stand.place.store.write(portal_sessions.end, first))
    assert stand.asked(alice) == []
    assert stand.ask(alice, stand.session(alice)).page["state"] == "waiting"


def test_ten_times_a_day(stand: Stand) -> None:
    alice = stand.place.alice
    stand.phone(alice)
    states = []
    for _ in range(12):
        states.append(stand.ask(alice, stand.session(alice)).page["state"])
        stand.place.now += 600
    assert states == ["waiting"] * 10 + ["too_often"] * 2
    stand.place.now += 86400
    assert stand.ask(alice, stand.session(alice)).page["state"] == "waiting"


def test_again_asks_only_when_it_is_over_and_is_counted(stand: Stand) -> None:
    alice = stand.place.alice
    stand.phone(alice)
    session = stand.session(alice)
    first = stand.ask(alice, session).page["number"]
    stand.again(alice, session)
    assert stand.ask(alice, session).page["number"] == first
    for _ in range(5):
        stand.place.now += 1
        for challenge in stand.asked(alice):
            stand.answer(alice, challenge, decision=Decision.DENY)
        stand.again(alice, session)
    assert len(stand.woken) == 3
    assert stand.place.run(stand.factor.state(alice.id, session)) == "over"


def test_others_are_asked_all_the_same(stand: Stand) -> None:
    alice, bob = stand.place.alice, stand.place.bob
    stand.phone(bob)
    for _ in range(4):
        stand.ask(alice, stand.session(alice))
    assert stand.ask(bob, stand.session(bob)).page["state"] == "waiting"


# ---- what a phone signs -------------------------------------------------------------------------


def known(stand: Stand, claim: Claim, verb: str, parts: tuple[str, ...], signature: str) -> Phone | None:
    return stand.place.run(stand.place.store.read(phones.phone_of, ORIGIN, claim, verb, parts, signature))


def test_a_phone_is_known_by_its_signature(stand: Stand) -> None:
    alice, bob = stand.place.alice, stand.place.bob
    phone, bobs = stand.phone(alice), stand.phone(bob)
    claim, parts = Claim(alice.id, phone.id), ("1", "a,b")
    found = known(stand, claim, "answer", parts, phone.sign("answer", *parts))
    assert found is not None
    assert (found.account, found.row.name) == (alice, "phone")
    right = phone.sign("answer", *parts)
    assert known(stand, claim, "ask", parts, right) is None
    assert known(stand, claim, "answer", ("1", "a", "b"), right) is None
    assert known(stand, Claim(bob.id, phone.id), "answer", parts, right) is None
    assert known(stand, claim, "answer", parts, bobs.sign("answer", *parts, account=alice.id)) is None
    assert (
        known(stand, Claim(alice.id, bobs.id), "answer", parts, bobs.sign("answer", *parts, account=alice.id)) is None
    )
    assert known(stand, Claim(99, phone.id), "answer", parts, phone.sign("answer", *parts, account=99)) is None
    for damaged in ("", right[:-1], right + "A", "é" * 86, "A" * 86, "//" + right[2:]):
        assert known(stand, claim, "answer", parts, damaged) is None
    assert known(stand, claim, "answer", ("1\na", "b"), phone.sign("answer", "1\na", "b")) is None


@pytest.mark.parametrize(
    ("given", "flat"),
    [
        ({"endpoint": "https://a/1", "keys": {"p256dh": "x", "auth": "y"}}, True),
        ({"endpoint": "https://b/1", "keys": {"p256dh": "x", "auth": "y"}}, False),
        ({"endpoint": "https://a/1", "keys": {"p256dh": "x"}}, False),
        ({"endpoint": "https://a/1", "keys": {"p256dh": 1, "auth": "y"}}, False),
        ({"endpoint": "https://a/1", "keys": {"p256dh": "x" * 201, "auth": "y"}}, False),
        ({"endpoint": "https://a/1", "keys": []}, False),
        ({"endpoint": 1, "keys": {"p256dh": "x", "auth": "y"}}, False),
        (None, False),
        ([], False),
    ],
)
def test_what_a_browser_says_of_a_subscription(given: object, flat: bool) -> None:
    found = phones.subscription_of(given, lambda endpoint: endpoint.startswith("https://a/"))
    assert found == ({"endpoint": "https://a/1", "p256dh": "x", "auth": "y"} if flat else {})


@pytest.mark.parametrize(
    ("said", "now"),
    [("1000000", True), ("1300000", True), ("700000", True), ("1300001", False), ("699999", False), ("", False)]
    + [(junk, False) for junk in ("x", "-1", "1e6", "١", "9" * 40)],
)
def test_what_time_a_phone_may_have(said: str, now: bool) -> None:
    assert phones.is_now(said, 1000.0) is now


@pytest.mark.parametrize(
    ("url", "usable"),
    [
        ("https://login.example.org", True),
        ("http://localhost:8080", True),
        ("http://login.localhost:8080", True),
        ("http://127.0.0.1:8080", True),
        ("http://login.example.org", False),
        ("http://10.0.0.1", False),
    ],
)
def test_where_browsers_have_what_it_takes(url: str, usable: bool) -> None:
    assert push.usable(url) is usable


def test_a_challenge_is_stored_without_what_answers_it(stand: Stand) -> None:
    alice = stand.place.alice
    stand.phone(alice)
    begun = stand.ask(alice, stand.session(alice))
    stored = stand.place.run(stand.place.store.read(challenges.by_id, stand.asked(alice)[0]))
    assert stored is not None
    assert stored.state is State.OPEN
    assert begun.page["number"].encode() not in (stored.sealed or b"")
    assert tokens.hash_of(begun.page["number"]) != stored.id_hash
