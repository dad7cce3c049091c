"""The worker's one epoll instance: every leg is in it, and the event loop watches it as a single descriptor.

loop.add_reader() makes a libuv handle for each descriptor, which a login paid with 24 system calls and 3 % of its CPU
time, and libuv stops watching a descriptor at its first error (uv__poll_io): a reset that came right behind data was
never heard of. Here a leg costs one call to enter and one for each change, and is announced as long as there is
something to read; the price is one more epoll_wait() per turn.
"""

from __future__ import annotations

import select
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Final

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT
FAILED: Final = select.EPOLLERR | select.EPOLLHUP
"""Reported whatever was asked for."""
_BATCH: Final = 256
"""Events handled before the loop gets its turn: timers, the link and new connections. The kernel queues fairly."""


class Poller:
    """Calls each descriptor's handler with the events that it waits for (level-triggered)."""

    __slots__ = ("_entered", "_epoll", "_handlers", "loop")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.loop = loop
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._entered: set[int] = set()
        """Descriptors that entered while a batch was being handled: what it holds for them was for their predecessor,
        closed in the same batch."""
        loop.add_reader(self._epoll.fileno(), self._turn)

    def enter(self, descriptor: int, events: int, handler: Callable[[int], None]) -> None:
        """Wait for `events` from now on. `handler` must not raise."""
        self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler
        self._entered.add(descriptor)

    def change(self, descriptor: int, events: int) -> None:
        """Wait for `events` instead; 0 would not do to wait for nothing (FAILED)."""
        self._epoll.modify(descriptor, events)

    def leave(self, descriptor: int) -> None:
        """Wait for nothing any more; before the descriptor is closed."""
        self._epoll.unregister(descriptor)
        del self._handlers[descriptor]

    def _turn(self) -> None:
        handlers, entered = self._handlers, self._entered
        entered.clear()
        for descriptor, events in self._epoll.poll(0, _BATCH):
            handler = handlers.get(descriptor)
            if handler is not None and descriptor not in entered:
                handler(events)
