"""Growing delays at the portal, where what is guessed at has few bits (NIST SP 800-63B 5.2.2; the curve is Kanidm's).

Failures are counted per account, whatever sessions they come from, and per network. A known device (a cookie of its
own, got by an earlier full sign-in) is counted by itself instead: whoever attacks an account from outside delays
strangers, never its person at their own device. A try during a delay is neither looked at nor counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from proxy.domain.networks import network_of

DAY = 86400.0
PER_NETWORK = 20
"""Failures from one network that weigh like one of an account: many honest people sit behind one address."""
_NETWORK = "network"
_CURVE = ((1, 0.0), (3, 1.0), (9, 3.0), (25, 5.0), (100, 10.0))
"""Fewer failures than this: seconds to wait."""


class Step(StrEnum):
    """What is guessed at; each is counted apart, so that a right password does not pay for wrong codes."""

    PASSWORD = "password"
    FACTOR = "factor"
    ENROLMENT_CODE = "enrolment_code"


def wait_after(failures: int) -> float:
    """Seconds from the last failure until the next try: none after none; from the 100th on, until the next day."""
    return next((seconds for below, seconds in _CURVE if failures < below), DAY)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Failures of one key in a row, each less than a day after the one before."""

    key: str
    failures: int = 0
    last: float = 0.0
    """When the last one was, seconds since the epoch."""

    def wait(self, now: float) -> float:
        """Seconds until the next try is looked at; 0: now."""
        failures = self.failures // PER_NETWORK if is_network(self.key) else self.failures
        return max(0.0, self.last + wait_after(failures) - now)

    def failed(self, now: float) -> Bucket:
        """The bucket with one failure more."""
        return Bucket(self.key, 1 if now - self.last >= DAY else self.failures + 1, now)


def keys(step: Step, who: str, address: str, device_id: int | None) -> tuple[str, ...]:
    """What a try counts against.

    `who` is an account's id, or, for a name that leads to none, a keyed digest of it (people type passwords into name
    fields). `device_id`: of a device that this account is known by.
    """
    if device_id is not None:
        return (f"{step}:device:{device_id}",)
    return f"{step}:account:{who}", f"{step}:{_NETWORK}:{network_of(address)}"


def is_network(key: str) -> bool:
    """Whether a key is a network's. A right password does not clear it: it must not pay for guesses at others."""
    return key.split(":", 2)[1:2] == [_NETWORK]
