"""One end of a connection by itself, on a socket pair."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

import uvloop

from proxy.fronts.descriptor import Leg


def run(scenario: Callable[[Leg, socket.socket], Awaitable[None]]) -> None:
    """`scenario` gets a leg and the peer's blocking end."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        leg = Leg(asyncio.get_running_loop(), ours)
        try:
            await scenario(leg, theirs)
        finally:
            leg.close()
            theirs.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(main(), 20))


def test_what_a_blocked_leg_keeps_arrives_whole_and_in_order() -> None:
    async def scenario(leg: Leg, peer: socket.socket) -> None:
        drained: list[bool] = []
        leg.on_drained = lambda: drained.append(leg.blocked)
        sent = b""
        for number in range(2000):
            data = b"%06d" % number * 100
            leg.send(memoryview(data))
            sent += data
        assert leg.blocked
        peer.setblocking(False)
        got = b""
        while len(got) < len(sent):
            got += await asyncio.get_running_loop().sock_recv(peer, 65536)
        assert got == sent
        await asyncio.sleep(0)
        assert drained == [False]

    run(scenario)


def test_many_small_replies_to_a_peer_that_does_not_read_cost_no_more_than_their_bytes() -> None:
    """10,000 replies took up to 1.3 s while each one copied all that waited before it."""

    async def scenario(leg: Leg, peer: socket.socket) -> None:
        while leg.send(b"x" * 65536):
            pass
        start = time.process_time()
        for _ in range(10_000):
            leg.send(b"a OK CAPABILITY completed, and some more words to make it as long as one is\r\n")
        assert time.process_time() - start < 0.03

    run(scenario)
