"""What is summed up before it becomes a line or a record, so that failures stay cheap however many come."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

MAX_KEYS = 4096
SUM_EVERY = 60.0
"""Seconds that one summary covers."""


@dataclass(slots=True)
class _Lines:
    since: float
    left: int
    held_back: int = 0


class LineBudget:
    """Failure lines: `lines` per key and window come out one by one, the rest is counted for a summary."""

    def __init__(self, lines: int, window: float) -> None:
        self._lines = lines
        self._window = window
        self._keys: OrderedDict[str, _Lines] = OrderedDict()

    def spend(self, now: float, key: str, count: int = 1) -> bool:
        """Whether the line for these `count` failures may be written; if not, they are counted."""
        entry = self._keys.get(key)
        if entry is None or now - entry.since >= self._window:
            held_back = entry.held_back if entry is not None else 0
            entry = self._keys[key] = _Lines(now, self._lines, held_back)
            if len(self._keys) > MAX_KEYS:
                self._forget_one()
        self._keys.move_to_end(key)
        if entry.left > 0:
            entry.left -= 1
            return True
        entry.held_back += count
        return False

    def hold_back(self, now: float, key: str, count: int = 1) -> None:
        """Count without a line (a limit answers this network)."""
        entry = self._keys.setdefault(key, _Lines(now, self._lines))
        entry.held_back += count
        if len(self._keys) > MAX_KEYS:
            self._forget_one()

    def take(self) -> list[tuple[str, int]]:
        """(key, failures without a line) since the last time."""
        sums = [(key, entry.held_back) for key, entry in self._keys.items() if entry.held_back]
        for entry in self._keys.values():
            entry.held_back = 0
        return sums

    def _forget_one(self) -> None:
        self._keys.popitem(last=False)


@dataclass(slots=True)
class Sum:
    """Refusals of one kind from one network within a minute."""

    time: float
    """Of the last one, seconds since the epoch."""
    count: int = 0


class SumKey(NamedTuple):
    """What refusals of one sum have in common."""

    network: str
    protocol: str
    reason: str
    account_id: int | None = None
    account: str | None = None
    app_password_id: int | None = None
    app_password: str | None = None
    limited: bool = False
    """Shaped ones that got the limit reply."""


class RefusalSums:
    """Refusals that are not worth a record each, for the audit: one record per minute and key."""

    def __init__(self) -> None:
        self._sums: OrderedDict[SumKey, Sum] = OrderedDict()

    def add(self, when: float, key: SumKey, count: int) -> None:
        """When the table is full the account is dropped from the key, then the network."""
        if key not in self._sums and len(self._sums) >= MAX_KEYS:
            key = SumKey(key.network, key.protocol, key.reason, limited=key.limited)
            if key not in self._sums:
                key = key._replace(network="*")
        entry = self._sums.setdefault(key, Sum(when))
        entry.count += count
        entry.time = when

    def take(self) -> list[tuple[SumKey, Sum]]:
        sums = list(self._sums.items())
        self._sums = OrderedDict()
        return sums
