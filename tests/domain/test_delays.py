import pytest

from proxy.domain.delays import DAY, PER_NETWORK, Bucket, Step, is_network, keys, wait_after


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 0), (1, 1), (2, 1), (3, 3), (8, 3), (9, 5), (24, 5), (25, 10), (99, 10), (100, DAY), (5000, DAY)],
)
def test_the_delay_grows(failures: int, seconds: float) -> None:
    assert wait_after(failures) == seconds


def test_a_bucket_waits_from_its_last_failure() -> None:
    assert Bucket("password:account:1").wait(5.0) == 0
    bucket = Bucket("password:account:1").failed(1e9).failed(1e9 + 1).failed(1e9 + 2)
    assert bucket == Bucket("password:account:1", 3, 1e9 + 2)
    assert [bucket.wait(1e9 + 2 + later) for later in (0, 2.5, 3, 60)] == [3, 0.5, 0, 0]


def test_whoever_fails_a_hundred_times_waits_a_day_and_begins_anew() -> None:
    bucket = Bucket("password:account:1", 99, 1e9).failed(1e9 + 10)
    assert bucket.wait(1e9 + 11) == DAY - 1
    assert bucket.wait(1e9 + 10 + DAY) == 0
    assert bucket.failed(1e9 + 10 + DAY).failures == 1


def test_a_network_holds_many_people() -> None:
    key = keys(Step.PASSWORD, "1", "192.0.2.7", None)[1]
    assert Bucket(key, PER_NETWORK - 1, 1e9).wait(1e9) == 0
    assert Bucket(key, PER_NETWORK, 1e9).wait(1e9) == 1
    assert Bucket(key, 100 * PER_NETWORK, 1e9).wait(1e9) == DAY


def test_what_a_try_counts_against() -> None:
    assert keys(Step.PASSWORD, "1", "192.0.2.7", None) == ("password:account:1", "password:network:192.0.2.7/32")
    assert keys(Step.FACTOR, "1", "2001:db8:1:2:3::4", None)[1] == "factor:network:2001:db8:1:2::/64"
    assert keys(Step.PASSWORD, "1", "::ffff:192.0.2.7", None)[1] == "password:network:192.0.2.7/32"
    assert keys(Step.PASSWORD, "1", "192.0.2.7", 9) == ("password:device:9",)
    assert [is_network(key) for key in keys(Step.PASSWORD, "network", "192.0.2.7", None)] == [False, True]
