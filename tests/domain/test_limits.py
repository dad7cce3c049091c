import time

from proxy.domain.limits import LimitRules, RefusalLimiter

RULES = LimitRules()
HERE = "203.0.113.9"


def fail(limiter: RefusalLimiter, count: int, *, now: float = 0.0, address: str = HERE, spread: bool = True) -> None:
    """`count` distinct secrets, each for its own account if `spread`, else all for alice."""
    for i in range(count):
        limiter.refused(now, address, f"user{i}" if spread else "alice", f"{now}-{i}".encode())


def test_sixty_distinct_tries_limit_a_network_and_only_that_one() -> None:
    limiter = RefusalLimiter(RULES)
    fail(limiter, 59)
    assert not limiter.limited(0, HERE, "alice")
    limiter.refused(0, HERE, "one", b"more")
    assert limiter.limited(0, HERE, "alice")
    assert limiter.limited_networks(0) == ["203.0.113.9/32"]
    assert not limiter.limited(0, "203.0.113.10", "alice")


def test_limited_networks_come_and_go_with_their_penalties() -> None:
    limiter = RefusalLimiter(RULES)
    fail(limiter, 60)
    fail(limiter, 60, address="198.51.100.1", now=5.0)
    assert limiter.limited_networks(5.0) == ["203.0.113.9/32", "198.51.100.1/32"]
    assert limiter.limited_networks(14.9) == ["203.0.113.9/32", "198.51.100.1/32"]
    fail(limiter, 60, now=15.0)  # again, and for longer
    assert limiter.limited_networks(15.0) == ["198.51.100.1/32", "203.0.113.9/32"]
    assert limiter.limited_networks(20.0) == ["203.0.113.9/32"]
    assert limiter.limited_networks(44.9) == ["203.0.113.9/32"]
    assert limiter.limited_networks(45.0) == []


def test_to_ask_which_are_limited_costs_nothing_however_many_are_counted() -> None:
    """The core asks every second on its event loop."""
    limiter = RefusalLimiter(RULES)
    for n in range(30_000):
        limiter.refused(0.0, f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", "alice", b"x")
    fail(limiter, 60)
    assert len(limiter) > 50_000
    took = []
    for _ in range(5):
        begun = time.thread_time()
        assert limiter.limited_networks(1.0) == ["203.0.113.9/32"]
        took.append(time.thread_time() - begun)
    assert min(took) < 0.001


def test_twenty_for_one_account_from_one_network() -> None:
    limiter = RefusalLimiter(RULES)
    fail(limiter, 20, spread=False)
    assert limiter.limited(0, HERE, "alice")
    assert not limiter.limited(0, HERE, "bob")
    assert not limiter.limited(0, "198.51.100.1", "alice")


def test_the_same_stale_secret_counts_once_however_often_it_comes() -> None:
    limiter = RefusalLimiter(RULES)
    for second in range(0, 590):
        limiter.refused(float(second), HERE, "alice", b"old phone")
    assert not limiter.limited(590, HERE, "alice")


def test_penalties_double_up_to_ten_minutes_and_are_forgotten() -> None:
    limiter = RefusalLimiter(RULES)
    now, seen = 0.0, []
    for _ in range(8):
        fail(limiter, 60, now=now)
        start = now
        while limiter.limited(now, HERE, "nobody"):
            now += 1
        seen.append(now - start)
    assert seen == [15, 30, 60, 120, 240, 480, 600, 600]
    now += 3 * RULES.window
    fail(limiter, 60, now=now)
    assert not limiter.limited(now + 15, HERE, "nobody")


def test_a_new_window_starts_from_zero() -> None:
    limiter = RefusalLimiter(RULES)
    fail(limiter, 59)
    fail(limiter, 59, now=RULES.window)
    assert not limiter.limited(RULES.window, HERE, "nobody")


def test_shared_networks_count_per_account_only() -> None:
    limiter = RefusalLimiter(LimitRules(shared_networks=("203.0.113.0/24",)))
    fail(limiter, 500)
    assert not limiter.limited(0, HERE, "nobody")
    fail(limiter, 20, spread=False)
    assert limiter.limited(0, HERE, "alice")


def test_ipv6_is_counted_by_64_and_rolled_up_to_48() -> None:
    limiter = RefusalLimiter(RULES)
    fail(limiter, 60, address="2001:db8:1:1::5")
    assert limiter.limited(0, "2001:db8:1:1:ffff::9", "x")
    assert not limiter.limited(0, "2001:db8:1:2::9", "x")
    for subnet in range(2, 5):
        fail(limiter, 60, address=f"2001:db8:1:{subnet}::5", now=1.0 + subnet)
    assert limiter.limited(6, "2001:db8:1:ff::9", "x")
    assert not limiter.limited(6, "2001:db8:2:1::9", "x")


def test_bounded_and_a_full_table_never_forgets_an_active_penalty() -> None:
    limiter = RefusalLimiter(LimitRules(), max_entries=200)
    fail(limiter, 60)
    for i in range(5_000):
        limiter.refused(1.0, f"10.{i >> 16}.{(i >> 8) & 255}.{i & 255}", "x", str(i).encode())
    assert len(limiter) <= 200
    assert limiter.limited(1.0, HERE, "anybody")


def test_a_table_full_of_penalties_takes_nobody_else_in() -> None:
    limiter = RefusalLimiter(LimitRules(shaped_per_network=1, shaped_per_account_and_network=1), max_entries=20)
    for i in range(50):
        limiter.refused(0.0, f"10.0.0.{i}", "x", b"s")
    assert len(limiter) == 20
    assert limiter.limited(0.0, "10.0.0.0", "x")
    assert not limiter.limited(0.0, "10.0.0.49", "x")
