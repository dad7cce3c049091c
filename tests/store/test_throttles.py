import pytest

from proxy.domain.delays import DAY, Step, keys
from proxy.store import throttles
from proxy.store.engine import Store
from tests.store.race import race

NOW = 1.79e9
KEYS = keys(Step.PASSWORD, "1", "192.0.2.7", None)
ELSEWHERE = keys(Step.PASSWORD, "1", "198.51.100.1", None)


def test_failures_are_counted_across_whatever_asks(store: Store) -> None:
    with store.writing() as c:
        assert throttles.wait(c, KEYS, NOW) == 0
    race(store, [lambda c: throttles.failed(c, KEYS, NOW)] * 5)
    with store.writing() as c:
        assert throttles.wait(c, KEYS, NOW) == 3
        for _ in range(3):
            throttles.failed(c, ELSEWHERE, NOW)
        assert throttles.wait(c, ELSEWHERE, NOW + 1) == 2
        assert throttles.wait(c, keys(Step.FACTOR, "1", "192.0.2.7", None), NOW) == 0
        assert throttles.wait(c, keys(Step.PASSWORD, "1", "192.0.2.7", 9), NOW) == 0  # at a known device


def test_success_clears_the_account_and_not_the_network(store: Store) -> None:
    with store.writing() as c:
        for _ in range(60):
            throttles.failed(c, KEYS, NOW)
        throttles.succeeded(c, KEYS)
        assert throttles.wait(c, KEYS[:3], NOW) == 0
        assert throttles.wait(c, KEYS, NOW) == 1  # the one that succeeded had been the sixtieth
        throttles.failed(c, KEYS, NOW)
        assert throttles.wait(c, KEYS, NOW) == 3


def test_the_first_tries_from_a_network_do_not_wait_for_others(store: Store) -> None:
    with store.writing() as c:
        for _ in range(200):
            throttles.failed(c, KEYS, NOW)
        assert throttles.wait(c, KEYS, NOW) == 600
        assert [throttles.ahead(c, ELSEWHERE, NOW + later) for later in (0, 1, 2)] == [0, 0, 0]
        assert throttles.wait(c, ELSEWHERE, NOW + 5) == 597
        throttles.take_back(c, ELSEWHERE)
        assert throttles.wait(c, ELSEWHERE, NOW + 5) == 0
        assert throttles.wait(c, keys(Step.PASSWORD, "1", "198.51.100.9", None, trusted=True), NOW) == 0


def test_a_right_password_costs_a_network_nothing(store: Store) -> None:
    with store.writing() as c:
        for n in range(1000):
            mine = keys(Step.PASSWORD, str(n), "192.0.2.7", None)
            assert throttles.ahead(c, mine, NOW) == 0
            throttles.succeeded(c, mine)


def test_of_many_tries_at_once_one_is_looked_at(store: Store) -> None:
    waits = race(store, [lambda c: throttles.ahead(c, KEYS, NOW)] * 5)
    assert sorted(waits) == [0, 1, 1, 1, 1]


def test_a_try_that_was_none_is_taken_back(store: Store) -> None:
    with store.writing() as c:
        throttles.ahead(c, KEYS, NOW)
        throttles.take_back(c, KEYS)
        assert throttles.wait(c, KEYS, NOW) == 0


def test_what_counts_no_more_is_forgotten(store: Store) -> None:
    with store.writing() as c:
        throttles.failed(c, ["password:account:1"], NOW)
        throttles.failed(c, ["password:account:2"], NOW + 1)
        assert throttles.prune(c, NOW + DAY) == 1
        assert throttles.prune(c, NOW + DAY) == 0


def test_a_flood_pushes_out_itself(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttles, "MOST", 10)
    with store.writing() as c:
        for _ in range(30):
            throttles.failed(c, ["password:account:victim"], NOW)
        for n in range(50):
            throttles.failed(c, [f"password:account:{n}"], NOW + 1 + n)
        assert throttles.prune(c, NOW + 60) == 41
        assert throttles.wait(c, ["password:account:victim"], NOW) == 10
        assert throttles.wait(c, ["password:account:49"], NOW + 50) == 1
        assert throttles.wait(c, ["password:account:40"], NOW + 41) == 0
