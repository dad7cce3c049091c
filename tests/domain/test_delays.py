from collections.abc import Callable

import pytest

from proxy.domain import delays
from proxy.domain.delays import (
    DAY,
    FIRST,
    FIRST_A_DAY,
    LONGEST,
    PER_NETWORK,
    Bucket,
    Step,
    is_network,
    keys,
    wait_after,
)

NOW = 1e9
OWNER = "203.0.113.1"


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 0), (1, 1), (2, 1), (3, 3), (8, 3), (9, 5), (24, 5), (25, 10), (99, 10), (100, 600), (5000, 600)],
)
def test_the_delay_grows_to_ten_minutes(failures: int, seconds: float) -> None:
    assert wait_after(failures) == seconds


def test_a_bucket_waits_from_its_last_failure() -> None:
    assert Bucket("password:account:1").wait(5.0) == 0
    bucket = Bucket("password:account:1").failed(NOW).failed(NOW + 1).failed(NOW + 2)
    assert bucket == Bucket("password:account:1", 3, NOW + 2)
    assert [bucket.wait(NOW + 2 + later) for later in (0, 2.5, 3, 60)] == [3, 0.5, 0, 0]


def test_a_day_without_a_failure_ends_the_row() -> None:
    bucket = Bucket("password:account:1", 99, NOW).failed(NOW + 10)
    assert bucket.wait(NOW + 11) == LONGEST - 1
    assert bucket.failed(NOW + 9 + DAY).failures == 101
    assert bucket.failed(NOW + 10 + DAY).failures == 1


def test_a_network_holds_many_people() -> None:
    key = keys(Step.PASSWORD, "1", "192.0.2.7", None)[3]
    assert Bucket(key, PER_NETWORK - 1, NOW).wait(NOW) == 0
    assert Bucket(key, PER_NETWORK, NOW).wait(NOW) == 1
    assert Bucket(key, 100 * PER_NETWORK, NOW).wait(NOW) == LONGEST


def test_what_a_try_counts_against() -> None:
    assert keys(Step.PASSWORD, "1", "192.0.2.7", None) == (
        "password:account:1",
        "password:here:1:192.0.2.7/32",
        "password:first:1",
        "password:network:192.0.2.7/32",
    )
    assert keys(Step.FACTOR, "1:totp", "2001:db8:1:2:3::4", None)[3] == "factor:network:2001:db8:1:2::/64"
    assert keys(Step.PASSWORD, "1", "::ffff:192.0.2.7", None)[3] == "password:network:192.0.2.7/32"
    assert keys(Step.PASSWORD, "1", "192.0.2.7", 9, trusted=True) == ("password:device:9",)
    assert keys(Step.PASSWORD, "1", "192.0.2.7", None, trusted=True) == ("password:here:1:192.0.2.7/32",)
    assert [is_network(key) for key in keys(Step.PASSWORD, "network", "192.0.2.7", None)] == [False, False, False, True]


class Attack:
    """One account, and whoever guesses at it as fast as they are let, from so many networks."""

    def __init__(self, networks: int) -> None:
        self.buckets: dict[str, Bucket] = {}
        self.addresses = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(networks)]
        self.now = NOW
        self.guesses = 0

    def of(self, address: str, **more: bool) -> list[Bucket]:
        return [self.buckets.get(key, Bucket(key)) for key in keys(Step.PASSWORD, "1", address, None, **more)]

    def wait(self, address: str, **more: bool) -> float:
        return delays.wait(self.of(address, **more), self.now)

    def fail(self, address: str, **more: bool) -> None:
        self.buckets |= {bucket.key: bucket for bucket in delays.failed(self.of(address, **more), self.now)}

    def until(self, end: float, stop: Callable[[], bool] = lambda: False) -> None:
        """Guess whenever any of the networks may."""
        while not stop():
            waits = {address: self.wait(address) for address in self.addresses}
            address = min(waits, key=lambda one: waits[one])
            if self.now + waits[address] >= end:
                break
            self.now += waits[address]
            self.fail(address)
            self.guesses += 1
        self.now = end


@pytest.mark.parametrize("networks", [1, 20, 200])
def test_guesses_a_day(networks: int) -> None:
    """The figures of docs/decisions/0013-delays-at-the-portal.md."""
    attack = Attack(networks)
    counts = []
    for day in range(1, 4):
        before = attack.guesses
        attack.until(NOW + day * DAY)
        counts.append(attack.guesses - before)
    assert 240 < counts[0] <= 243
    assert 144 <= max(counts[1:]) <= 144 + min(FIRST * networks, FIRST_A_DAY)


@pytest.mark.parametrize("networks", [1, 10, FIRST_A_DAY // FIRST])
def test_who_comes_from_elsewhere_does_not_wait_for_them(networks: int) -> None:
    attack = Attack(networks)
    attack.until(NOW + 2 * DAY)
    assert attack.buckets["password:account:1"].wait(attack.now) > 0
    for seconds in (0, 1, 1):
        assert attack.wait(OWNER) == seconds
        attack.now += seconds
        attack.fail(OWNER)
    attack.now += 3
    assert attack.wait(OWNER) == LONGEST - 3, "after three of their own they are like anybody"


def test_more_networks_than_that_delay_strangers_but_not_where_people_are_trusted() -> None:
    attack = Attack(500)
    attack.until(NOW + DAY, lambda: attack.guesses == 300)
    attack.now = max(bucket.last for bucket in attack.buckets.values()) + 5
    assert 0 < attack.wait(OWNER) <= LONGEST
    assert attack.wait(OWNER, trusted=True) == 0
    attack.fail(OWNER, trusted=True)
    assert attack.wait(OWNER, trusted=True) == 1


def test_those_who_were_first_count_for_a_day() -> None:
    attack = Attack(34)
    attack.until(NOW + DAY, lambda: attack.guesses == 120)
    first = attack.buckets["password:first:1"]
    assert first.failures == FIRST_A_DAY
    attack.now = first.last + DAY - 1
    attack.fail(attack.addresses[0])
    assert attack.wait(OWNER) == LONGEST
    attack.now += 1
    assert attack.wait(OWNER) == 0
