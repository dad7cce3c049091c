"""One hash for identical verifications, also in the moment between its end and its result being remembered."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

from proxy.core.verifying import Verifier
from tests.core.test_memory import record

RECORD = record(1, 1)


def play(script: Callable[[Verifier, threading.Event, list[str]], Awaitable[None]]) -> None:
    go, runs = threading.Event(), list[str]()

    def verify(phc: str, letters: str) -> bool:
        runs.append(letters)
        return go.wait(10)

    async def main() -> None:
        verifier = Verifier(verify)
        try:
            await script(verifier, go, runs)
        finally:
            verifier.close()

    asyncio.run(main())


def test_a_login_that_comes_as_the_hash_ends_does_not_start_another() -> None:
    async def script(verifier: Verifier, go: threading.Event, runs: list[str]) -> None:
        first = asyncio.create_task(verifier.verify(RECORD, "letters", b"digest"))
        await asyncio.sleep(0)
        (flying,) = verifier._flying.values()
        answers: list[bool] = []

        def late(_: asyncio.Future[bool]) -> None:
            """Its result is there, and the first one has not been woken yet."""
            try:
                verifier.verify(RECORD, "letters", b"digest").send(None)
            except StopIteration as done:
                answers.append(done.value)

        flying.add_done_callback(late)
        go.set()
        assert await first
        assert answers == [True]
        assert runs == ["letters"]

    play(script)


def test_a_verification_nobody_waits_for_any_more_is_forgotten_when_it_ends() -> None:
    async def script(verifier: Verifier, go: threading.Event, runs: list[str]) -> None:
        waiter = asyncio.create_task(verifier.verify(RECORD, "letters", b"digest"))
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        (flying,) = verifier._flying.values()
        go.set()
        assert await flying
        assert not verifier._flying
        assert not verifier._waiting
        assert await verifier.verify(RECORD, "letters", b"digest")
        assert runs == ["letters", "letters"]
        assert not verifier._flying

    play(script)
