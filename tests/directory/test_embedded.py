from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.directory import Checked, Directory, embedded
from proxy.directory.embedded import Embedded
from proxy.directory.pool import WAITING
from proxy.domain.model import Account, AccountKind
from proxy.domain.secret import Secret
from proxy.store import accounts, hashing, people
from proxy.store.accounts import NewAccount
from proxy.store.engine import Store
from proxy.store.threads import StoreThreads

RIGHT = Secret("correct horse battery")
CAFE = Secret("un caf\u00e9 con leche")


@asynccontextmanager
async def directory(tmp_path: Path) -> AsyncIterator[tuple[Embedded, StoreThreads]]:
    store = Store(f"sqlite:{tmp_path}/store.db")
    store.migrate()
    threads = StoreThreads(store)
    opened = Embedded(threads)
    try:
        yield opened, threads
    finally:
        await opened.close()
        await threads.close()
        store.close()


async def account(threads: StoreThreads, name: str, password: Secret | None = RIGHT, **fields: object) -> Account:
    phc = None if password is None else hashing.hash_account_password(password.reveal())

    def write(c) -> Account:
        new = accounts.add(c, NewAccount(f"{name}@example.org", 1.0, **fields))
        if phc is not None:
            accounts.set_password_hash(c, new.id, phc, 1.0)
        return new

    return await threads.write(write)


def run(tmp_path: Path, test: Callable[[Embedded, StoreThreads], Awaitable[None]]) -> None:
    async def main() -> None:
        async with directory(tmp_path) as (opened, threads):
            await test(opened, threads)

    asyncio.run(main())


def test_right_wrong_and_to_be_changed(tmp_path: Path) -> None:
    async def test(opened: Directory, threads: StoreThreads) -> None:
        alice = await account(threads, "alice")
        assert await opened.check(alice, RIGHT) is Checked.RIGHT
        assert await opened.check(alice, Secret("correct horse batterY")) is Checked.WRONG
        assert await opened.check(alice, Secret("")) is Checked.WRONG
        assert await opened.check(alice, Secret("\ud800 lone")) is Checked.WRONG
        assert await opened.check(alice, Secret("x" * 100_000)) is Checked.WRONG
        await threads.write(lambda c: people.change(c, alice.id, must_change=True))
        assert await opened.check(alice, RIGHT) is Checked.MUST_CHANGE
        assert await opened.check(alice, Secret("wrong one")) is Checked.WRONG

    run(tmp_path, test)


def test_one_password_on_all_keyboards(tmp_path: Path) -> None:
    """macOS sends an accent as a character of its own."""

    async def test(opened: Directory, threads: StoreThreads) -> None:
        alice = await account(threads, "alice", CAFE)
        assert await opened.check(alice, Secret("un cafe\u0301 con leche")) is Checked.RIGHT

    run(tmp_path, test)


def test_who_cannot_sign_in_is_like_who_is_wrong_also_in_time(tmp_path: Path) -> None:
    async def test(opened: Directory, threads: StoreThreads) -> None:
        alice = await account(threads, "alice")
        others = [
            None,
            await account(threads, "bob", None),
            await account(threads, "carol", enabled=False),
            await account(threads, "office", kind=AccountKind.SHARED),
        ]

        async def taken(who: Account | None, password: Secret) -> float:
            began = time.perf_counter()
            assert await opened.check(who, password) is Checked.WRONG
            return time.perf_counter() - began

        for who in others:
            # Interleaved, so that a noisy machine disturbs both alike.
            both = [(await taken(alice, Secret("wrong one")), await taken(who, RIGHT)) for _ in range(7)]
            wrong, nobody = (statistics.median(column) for column in zip(*both, strict=True))
            assert nobody > wrong / 2, "an unknown account is told by its time"

    run(tmp_path, test)


def test_a_flood_is_answered_at_once_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def slow(phc: str, password: str) -> bool:
        return gate.wait(30) and False

    async def test(opened: Embedded, threads: StoreThreads) -> None:
        alice = await account(threads, "alice")
        with monkeypatch.context() as patch:
            patch.setattr(embedded.hashing, "verify_account_password", slow)
            waiting = [asyncio.ensure_future(opened.check(alice, RIGHT)) for _ in range(WAITING + 5)]
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            while len(done) < 5:
                await asyncio.sleep(0.01)
                done = {job for job in waiting if job.done()}
            assert {job.result() for job in done} == {Checked.UNAVAILABLE}
            assert await opened.hash(RIGHT) is None
            gone = next(job for job in waiting if not job.done())
            gone.cancel()
            gate.set()
            results = await asyncio.gather(*waiting, return_exceptions=True)
        assert results.count(Checked.WRONG) == WAITING - 1
        assert await opened.check(alice, RIGHT) is Checked.RIGHT
        assert (await opened.hash(RIGHT) or "").startswith("$argon2id$")

    run(tmp_path, test)


def test_a_store_that_does_not_answer_is_no_wrong_password(tmp_path: Path) -> None:
    async def test(opened: Directory, threads: StoreThreads) -> None:
        alice = await account(threads, "alice")
        await threads.write(lambda c: accounts.set_password_hash(c, alice.id, "$argon2id$damaged", 2.0))
        assert await opened.check(alice, RIGHT) is Checked.UNAVAILABLE
        await threads.close()
        assert await opened.check(alice, RIGHT) is Checked.UNAVAILABLE

    run(tmp_path, test)
