from dataclasses import replace

import pytest
from sqlalchemy import Connection

from proxy.domain.factor_kinds import FactorKind
from proxy.store import challenges, factors
from proxy.store.challenges import KEPT, Challenge, State
from proxy.store.engine import Store
from proxy.store.factors import NewFactor
from tests.store import rows
from tests.store.race import race


def challenge(account_id: int, name: str = "id", **fields: object) -> Challenge:
    given = Challenge(name.encode(), account_id, b"session", FactorKind.PUSH, None, 10.0, 100.0, sealed=b"number")
    return replace(given, **fields)


@pytest.fixture
def alice(store: Store) -> int:
    with store.writing() as c:
        return rows.account(c).id


def test_of_two_answers_one_counts(store: Store, alice: int) -> None:
    with store.writing() as c:
        challenges.add(c, challenge(alice))
        assert challenges.by_id(c, b"id") == challenge(alice)
        assert challenges.by_id(c, b"other") is None

    def become(state: State):
        return lambda c: challenges.answer(c, b"id", State.OPEN, state, 20.0)

    assert sorted(race(store, [become(State.ANSWERED), become(State.DENIED)])) == [False, True]
    with store.writing() as c:
        found = challenges.by_id(c, b"id")
        assert found is not None
        assert found.state in (State.ANSWERED, State.DENIED)
        assert challenges.answer(c, b"id", found.state, State.FRAUD, 30.0)
        assert not challenges.answer(c, b"other", State.OPEN, State.FRAUD, 30.0)


def test_an_expired_one_can_be_reported_but_not_answered(store: Store, alice: int) -> None:
    with store.writing() as c:
        challenges.add(c, challenge(alice))
        assert challenges.open_of(c, alice, 99.0) == [challenge(alice)]
        assert challenges.open_of(c, alice, 100.0) == []
        assert not challenges.answer(c, b"id", State.OPEN, State.ANSWERED, 100.0)
        assert challenges.answer(c, b"id", State.OPEN, State.FRAUD, 100.0)


def test_counted_by_kind_and_time(store: Store, alice: int) -> None:
    with store.writing() as c:
        bob = rows.account(c, "bob@example.org").id
        challenges.add(c, challenge(alice, "a", created=10.0))
        challenges.add(c, challenge(alice, "b", created=20.0, kind=FactorKind.SMS))
        challenges.add(c, challenge(alice, "c", created=30.0, state=State.DENIED))
        challenges.add(c, challenge(bob, "d", created=30.0))
        assert challenges.count_since(c, alice, FactorKind.PUSH, 5.0) == 2
        assert challenges.count_since(c, alice, FactorKind.PUSH, 10.0) == 1
        assert [found.id_hash for found in challenges.open_of(c, alice, 50.0)] == [b"a", b"b"]
        assert [found.id_hash for found in challenges.open_of(c, alice, 50.0, FactorKind.SMS)] == [b"b"]
        assert challenges.withdraw(c, alice) == 2
        assert challenges.open_of(c, alice, 50.0) == []
        assert len(challenges.open_of(c, bob, 50.0)) == 1


def tries(c: Connection, number: int) -> list[int]:
    return [challenges.count_try(c, b"id") for _ in range(number)]


def test_wrong_answers_are_counted_while_it_is_open(store: Store, alice: int) -> None:
    with store.writing() as c:
        challenges.add(c, challenge(alice))
        assert tries(c, 3) == [1, 2, 3]
        challenges.answer(c, b"id", State.OPEN, State.DENIED, 20.0)
        assert tries(c, 1) == [0]


def test_kept_a_day_and_not_longer_than_its_factor(store: Store, alice: int) -> None:
    with store.writing() as c:
        phone = factors.add(c, alice, NewFactor(FactorKind.PUSH, "phone"), 1.0)
        assert phone is not None
        challenges.add(c, challenge(alice, "a", factor_id=phone.id))
        challenges.add(c, challenge(alice, "b"))
        factors.remove_all(c, alice)
        assert challenges.by_id(c, b"a") is None
        assert challenges.prune(c, 99.0 + KEPT) == 0
        assert challenges.prune(c, 100.0 + KEPT) == 1
