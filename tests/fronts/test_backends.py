"""Looking up where a backend is: once for all that wait, and never for long."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from proxy.fronts import backends
from proxy.fronts.backends import Backend, Target
from proxy.link.messages import BackendSetting

Answers = list[list[str]]
"""For each `found`: the hosts it was given."""


class Resolver:
    """Stands in for the loop's getaddrinfo."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.there = asyncio.Event()
        """Answers wait for it."""
        self.fails = False

    async def getaddrinfo(self, host: str, port: int, *, type: int) -> list[tuple[object, ...]]:
        self.asked.append(host)
        await self.there.wait()
        if self.fails:
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return [(socket.AF_INET, type, 6, "", (f"192.0.2.{len(self.asked)}", port))]


def run(scenario: Callable[[Backend, Resolver, Answers], Awaitable[None]], *addresses: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        resolver = Resolver()
        loop.getaddrinfo = resolver.getaddrinfo  # type: ignore[method-assign, assignment]
        setting = BackendSetting("mail", "imap", list(addresses), "none", None, None, "none")
        await scenario(Backend(loop, setting), resolver, [])

    asyncio.run(asyncio.wait_for(main(), 20))


def ask(backend: Backend, answers: Answers) -> None:
    def found(targets: list[Target]) -> None:
        answers.append([target.sockaddr[0] for target in targets])

    backend.targets(found)


async def until(true: Callable[[], object]) -> None:
    while not true():  # noqa: ASYNC110 - what is waited for is ordinary state
        await asyncio.sleep(0.005)


def test_literals_are_known_at_once() -> None:
    async def scenario(backend: Backend, resolver: Resolver, answers: Answers) -> None:
        ask(backend, answers)
        assert answers == [["192.0.2.9", "::1"]]
        assert resolver.asked == []

    run(scenario, "192.0.2.9:143", "[::1]:143")


def test_one_look_up_serves_all_that_wait_and_is_remembered() -> None:
    async def scenario(backend: Backend, resolver: Resolver, answers: Answers) -> None:
        for _ in range(50):
            ask(backend, answers)
        await asyncio.sleep(0)
        resolver.there.set()
        await until(lambda: len(answers) == 50)
        ask(backend, answers)
        assert answers == [["192.0.2.1", "192.0.2.9"]] * 51
        assert resolver.asked == ["mail.example.test"]

    run(scenario, "mail.example.test:143", "192.0.2.9:143")


def test_a_resolver_that_hangs_holds_nobody_and_is_not_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "LOOK_UP_WITHIN", 0.05)

    async def scenario(backend: Backend, resolver: Resolver, answers: Answers) -> None:
        for count in (1, 2):
            ask(backend, answers)
            await until(lambda count=count: len(answers) == count)
        assert answers == [[], []]
        assert resolver.asked == ["mail.example.test"]
        resolver.there.set()  # late, and used from now on
        ask(backend, answers)
        await until(lambda: len(answers) == 3)
        assert answers[2] == ["192.0.2.1"]

    run(scenario, "mail.example.test:143")


@pytest.mark.parametrize("hangs", [True, False])
def test_an_old_answer_is_used_while_the_resolver_is_away(monkeypatch: pytest.MonkeyPatch, hangs: bool) -> None:
    monkeypatch.setattr(backends, "LOOK_UP_WITHIN", 0.05)

    async def scenario(backend: Backend, resolver: Resolver, answers: Answers) -> None:
        resolver.there.set()
        ask(backend, answers)
        await until(lambda: answers)
        backend._fresh_until = 0.0  # half a minute later
        resolver.fails = True
        if hangs:
            resolver.there.clear()
        ask(backend, answers)
        await until(lambda: len(answers) == 2)
        ask(backend, answers)  # at once: not every login waits for a resolver that is away
        assert answers == [["192.0.2.1"]] * 3
        assert len(resolver.asked) == 2

    run(scenario, "mail.example.test:143")
