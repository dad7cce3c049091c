"""Growing delays at the portal, where what is guessed at has few bits (NIST SP 800-63B 5.2.2; the curve is Kanidm's).

Whoever attacks an account from outside delays strangers, never its person where they are known, and nobody for ever
(docs/decisions/0013-delays-at-the-portal.md has the arithmetic):

* at a known device (a cookie of its own, got by an earlier full sign-in) only what failed there counts;
* in a trusted network only what failed in that network;
* elsewhere what failed anywhere, but the first tries from a network go ahead of that, so many a day over all networks.

A try during a delay is neither looked at nor counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from proxy.domain.networks import network_of

DAY = 86400.0
LONGEST = 600.0
"""Seconds: 144 tries a day, over all networks that go on guessing at one account."""
PER_NETWORK = 20
"""Failures from one network that weigh like one of an account: many honest people sit behind one address."""
FIRST = 3
"""Tries of one network at an account that do not wait for what others have done to it."""
FIRST_A_DAY = 100
"""Of those, over all networks (NIST's figure for failures in a row)."""
_CURVE = ((1, 0.0), (3, 1.0), (9, 3.0), (25, 5.0), (100, 10.0))
"""Fewer failures than this: seconds to wait."""


class Step(StrEnum):
    """What is guessed at; each is counted apart, so that a right password does not pay for wrong codes."""

    PASSWORD = "password"
    FACTOR = "factor"
    ENROLMENT_CODE = "enrolment_code"
    RECOVERY_ADDRESS = "recovery_address"


class _Of(StrEnum):
    """What a key counts failures of; its second word."""

    DEVICE = "device"
    ACCOUNT = "account"
    HERE = "here"
    """One account in one network."""
    FIRST = "first"
    """One account in networks that were new to it."""
    NETWORK = "network"


def wait_after(failures: int) -> float:
    """Seconds from the last failure until the next try: none after none, ten minutes from the 100th on."""
    return next((seconds for below, seconds in _CURVE if failures < below), LONGEST)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Failures of one key in a row, each less than a day after the one before."""

    key: str
    failures: int = 0
    last: float = 0.0
    """When the last one was, seconds since the epoch."""

    def count(self, now: float) -> int:
        """Those that still count."""
        return 0 if now - self.last >= DAY else self.failures

    def wait(self, now: float) -> float:
        """Seconds until the next try is looked at, as far as this key goes; 0: now."""
        failures = self.failures // PER_NETWORK if is_network(self.key) else self.failures
        return max(0.0, self.last + wait_after(failures) - now)

    def failed(self, now: float) -> Bucket:
        """The bucket with one failure more."""
        return Bucket(self.key, self.count(now) + 1, now)


def keys(step: Step, who: str, address: str, device_id: int | None, *, trusted: bool = False) -> tuple[str, ...]:
    """What a try counts against.

    `who` is an account's id, or, for a name that leads to none, a keyed digest of it (people type passwords into name
    fields). `device_id`: of a device that this account is known by. `trusted`: the address is in a trusted network.
    """
    if device_id is not None:
        return (f"{step}:{_Of.DEVICE}:{device_id}",)
    network = network_of(address)
    here = f"{step}:{_Of.HERE}:{who}:{network}"
    if trusted:
        return (here,)
    account, first = f"{step}:{_Of.ACCOUNT}:{who}", f"{step}:{_Of.FIRST}:{who}"
    return account, here, first, f"{step}:{_Of.NETWORK}:{network}"


def wait(buckets: Iterable[Bucket], now: float) -> float:
    """Seconds until a try that counts against these is looked at; 0: now."""
    found = {_of(bucket.key): bucket for bucket in buckets}
    passed_over = {_Of.FIRST, _Of.ACCOUNT} if _is_first(found, now) else {_Of.FIRST}
    return max((bucket.wait(now) for of, bucket in found.items() if of not in passed_over), default=0.0)


def failed(buckets: Iterable[Bucket], now: float) -> list[Bucket]:
    """Those that a failed try counts against, with one failure more."""
    found = {_of(bucket.key): bucket for bucket in buckets}
    first = _is_first(found, now)
    return [bucket.failed(now) for of, bucket in found.items() if first or of is not _Of.FIRST]


def is_network(key: str) -> bool:
    """Whether a key is a network's. A right password does not clear it: it must not pay for guesses at others."""
    return _of(key) is _Of.NETWORK


def is_cleared(key: str) -> bool:
    """Whether a right password proves that these failures were the person's own."""
    return _of(key) in (_Of.DEVICE, _Of.ACCOUNT, _Of.HERE)


def _is_first(found: dict[_Of, Bucket], now: float) -> bool:
    here, first = found.get(_Of.HERE), found.get(_Of.FIRST)
    if here is None or first is None:
        return False
    return here.count(now) < FIRST and first.count(now) < FIRST_A_DAY


def _of(key: str) -> _Of:
    return _Of(key.split(":", 2)[1])
