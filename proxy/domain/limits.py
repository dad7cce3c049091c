"""Limits make failures cheap; they never keep a right app password out (DESIGN section 4).

Counted are distinct (account, secret) pairs in a window: per network, per IPv6 /48 around it, and per
(account, network). A secret that fails again and again counts once, so an old phone behind a shared
address bans nobody. Everything is bounded; a full table forgets idle rows first, an active penalty never.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from heapq import heappop, heappush

from proxy.domain.networks import NetworkSet, network_of, site_of

MAX_ENTRIES = 65_536
SITE_FACTOR = 4
"""A /48 holds many honest people behind their own /64s: it takes this many times a network's limit."""
_EVICTION_TRIES = 16


@dataclass(frozen=True, slots=True)
class LimitRules:
    """Counts and seconds (configuration `limits`)."""

    shaped_per_network: int = 60
    shaped_per_account_and_network: int = 20
    window: float = 600.0
    penalty: float = 15.0
    penalty_max: float = 600.0
    shared_networks: tuple[str, ...] = ()


@dataclass(slots=True)
class _Bucket:
    since: float
    count: int = 0
    until: float = 0.0
    strikes: int = 0


class RefusalLimiter:
    """Counts shaped refusals. Times are monotonic seconds."""

    def __init__(self, rules: LimitRules, max_entries: int = MAX_ENTRIES) -> None:
        self._rules = rules
        self._shared = NetworkSet(rules.shared_networks)
        self._max = max_entries
        self._buckets: OrderedDict[Hashable, _Bucket] = OrderedDict()
        self._pairs: OrderedDict[int, float] = OrderedDict()
        self._limited: dict[str, None] = {}
        """The networks under penalty, in the order in which they came under it."""
        self._ends: list[tuple[float, str]] = []
        """A heap: when each of them ends."""

    def limited(self, now: float, address: str, name: str) -> bool:
        """Whether a refusal for this client address and login name is answered with the limit reply."""
        return any(
            bucket is not None and bucket.until > now
            for bucket in (self._buckets.get(key) for key, _ in self._keys(address, name))
        )

    def refused(self, now: float, address: str, name: str, secret: bytes) -> None:
        """Count a shaped refusal. `secret` is any keyed digest of what was tried, `name` the login name, known or not.

        Not called for a tombstone: an old phone is no attack.
        """
        for key, limit in self._keys(address, name):
            if self._is_new(now, key, name, secret):
                self._count(now, key, limit)

    def limited_networks(self, now: float) -> list[str]:
        """The networks under penalty now, the longest-standing first."""
        self._let_go(now)
        return list(self._limited)

    def __len__(self) -> int:
        return len(self._buckets)

    def _keys(self, address: str, name: str) -> list[tuple[Hashable, int]]:
        network = network_of(address)
        keys: list[tuple[Hashable, int]] = [((name, network), self._rules.shaped_per_account_and_network)]
        if address not in self._shared:
            keys.append((network, self._rules.shaped_per_network))
            site = site_of(network)
            if site is not None:
                keys.append((site, self._rules.shaped_per_network * SITE_FACTOR))
        return keys

    def _is_new(self, now: float, key: Hashable, name: str, secret: bytes) -> bool:
        pair = hash((key, name, secret))
        seen = self._pairs.get(pair)
        if seen is not None and now - seen < self._rules.window:
            return False
        self._pairs[pair] = now
        self._pairs.move_to_end(pair)
        if len(self._pairs) > self._max:
            self._pairs.popitem(last=False)
        return True

    def _count(self, now: float, key: Hashable, limit: int) -> None:
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._max and not self._evict(now):
                return
            bucket = self._buckets[key] = _Bucket(since=now)
        elif now - bucket.since >= self._rules.window and bucket.until <= now:
            if now - max(bucket.since, bucket.until) >= 2 * self._rules.window:
                bucket.strikes = 0
            bucket.since, bucket.count = now, 0
        self._buckets.move_to_end(key)
        bucket.count += 1
        if bucket.count >= limit and bucket.until <= now:
            bucket.until = now + min(self._rules.penalty * 2**bucket.strikes, self._rules.penalty_max)
            bucket.strikes = min(bucket.strikes + 1, 16)
            if isinstance(key, str):
                self._let_go(now)
                self._limited[key] = None
                heappush(self._ends, (bucket.until, key))

    def _let_go(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            self._limited.pop(heappop(self._ends)[1], None)

    def _evict(self, now: float) -> bool:
        """Make room by dropping the idlest row that is not under penalty; False when there is none near the old end."""
        for key in [key for key, _ in zip(self._buckets, range(_EVICTION_TRIES), strict=False)]:
            if self._buckets[key].until <= now:
                del self._buckets[key]
                return True
            self._buckets.move_to_end(key)
        return False
