"""The worker's epoll instance, on a private event loop."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
import uvloop

from proxy.fronts.poller import READ, WRITE, Poller


@pytest.fixture
def poller() -> Iterator[Poller]:
    loop = uvloop.new_event_loop()
    yield Poller(loop)
    loop.close()


def run(poller: Poller, until: Callable[[], object], turns: int = 50) -> None:
    """Turn the loop until `until()`; every turn handles what is ready, none waits long."""
    for _ in range(turns):
        if until():
            return
        poller.loop.call_later(0.01, poller.loop.stop)
        poller.loop.run_forever()
    raise AssertionError("did not happen")


def turn(poller: Poller) -> None:
    poller.loop.call_later(0.02, poller.loop.stop)
    poller.loop.run_forever()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


def test_a_handler_hears_what_it_waits_for(poller: Poller, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    seen: list[int] = []
    poller.enter(ours.fileno(), READ, seen.append)
    turn(poller)
    assert not seen

    theirs.send(b"x")
    run(poller, lambda: seen)
    assert set(seen) == {READ}

    seen.clear()
    poller.change(ours.fileno(), WRITE)
    run(poller, lambda: seen)
    assert set(seen) == {WRITE}

    poller.leave(ours.fileno())
    seen.clear()
    turn(poller)
    assert not seen


def test_an_event_of_a_closed_descriptor_does_not_reach_its_successor(poller: Poller) -> None:
    """Closed while a batch is handled, its number taken at once: what the batch still holds is not for the new one."""
    pairs = [socket.socketpair() for _ in range(2)]
    heard: list[str] = []
    newcomer: list[tuple[socket.socket, socket.socket]] = []

    def first_of_the_two(mine: int) -> Callable[[int], None]:
        def handler(events: int) -> None:
            """Close the other one and let a silent socket take its number."""
            heard.append("old")
            other = pairs[1 - mine][0]
            number = other.fileno()
            if number < 0:
                return
            poller.leave(number)
            other.close()
            silent, far = socket.socketpair()
            if silent.fileno() != number:
                silent, far = far, silent
            assert silent.fileno() == number
            newcomer.append((silent, far))
            poller.enter(number, READ, lambda events: heard.append("new"))
            poller.leave(pairs[mine][0].fileno())

        return handler

    for index, (ours, theirs) in enumerate(pairs):
        poller.enter(ours.fileno(), READ, first_of_the_two(index))
        theirs.send(b"x")
    run(poller, lambda: heard)
    turn(poller)
    assert heard == ["old"]

    newcomer[0][1].send(b"x")
    run(poller, lambda: "new" in heard)
    for one in (*pairs, *newcomer):
        for sock in one:
            sock.close()


def test_more_events_than_a_batch_all_arrive_and_timers_run_between(poller: Poller) -> None:
    count = 600
    pairs = [socket.socketpair() for _ in range(count)]
    order: list[str] = []
    for ours, theirs in pairs:
        theirs.send(b"x")

        def handler(events: int, ours: socket.socket = ours) -> None:
            poller.leave(ours.fileno())
            order.append("event")
            if len(order) == 1:
                poller.loop.call_soon(order.append, "loop")

        poller.enter(ours.fileno(), READ, handler)
    run(poller, lambda: len(order) == count + 1)
    assert order.index("loop") < count
    for one in pairs:
        for sock in one:
            sock.close()
