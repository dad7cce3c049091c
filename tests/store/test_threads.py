import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import Connection

from proxy.store import accounts
from proxy.store.engine import Store
from proxy.store.errors import NameTaken, StoreUnavailable
from proxy.store.threads import StoreThreads
from tests.store import rows

Body = Callable[[StoreThreads], Awaitable[None]]


def run(store: Store, body: Body, **options: float) -> None:
    async def main() -> None:
        threads = StoreThreads(store, **options)  # type: ignore[arg-type]
        try:
            await body(threads)
        finally:
            await threads.close()

    asyncio.run(main())


class Gate:
    """A job that holds its thread until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, _c: Connection) -> None:
        self.begun.set()
        assert self.go_on.wait(20)

    async def is_held(self) -> None:
        assert await asyncio.to_thread(self.begun.wait, 20)


def test_a_write_is_read_back(store: Store) -> None:
    async def body(threads: StoreThreads) -> None:
        alice = await threads.write(rows.account, "alice@example.org")
        assert await threads.read(accounts.by_login_name, "alice@example.org") == alice

    run(store, body)


def test_what_a_write_raises_comes_back_and_undoes_it(store: Store) -> None:
    def twice(c: Connection) -> None:
        rows.account(c)
        rows.account(c)

    async def body(threads: StoreThreads) -> None:
        with pytest.raises(NameTaken):
            await threads.write(twice)
        assert await threads.read(accounts.listing) == []
        await threads.write(rows.account)  # the thread goes on

    run(store, body)


def test_readers_do_not_wait_for_a_long_write_and_do_not_see_half_of_it(store: Store) -> None:
    gate = Gate()

    def slow(c: Connection) -> None:
        rows.account(c)
        gate(c)

    async def body(threads: StoreThreads) -> None:
        writing = asyncio.create_task(threads.write(slow))
        await gate.is_held()
        assert await asyncio.gather(*(threads.read(accounts.listing) for _ in range(10))) == [[]] * 10
        assert not writing.done()
        gate.go_on.set()
        await writing
        assert len(await threads.read(accounts.listing)) == 1

    run(store, body)


def test_a_long_read_leaves_room_for_others(store: Store) -> None:
    gate = Gate()

    async def body(threads: StoreThreads) -> None:
        reading = asyncio.create_task(threads.read(gate))
        await gate.is_held()
        assert await threads.read(accounts.listing) == []
        gate.go_on.set()
        await reading

    run(store, body)


def test_urgent_writes_overtake_and_equals_keep_their_order(store: Store) -> None:
    gate, order = Gate(), []

    def note(_c: Connection, what: str) -> None:
        order.append(what)

    async def body(threads: StoreThreads) -> None:
        tasks = [asyncio.create_task(threads.write(gate))]
        await gate.is_held()
        for what in ("one", "two", "three"):
            tasks.append(asyncio.create_task(threads.write(note, what)))
        for what in ("revoke 1", "revoke 2"):
            tasks.append(asyncio.create_task(threads.write(note, what, urgent=True)))
        await asyncio.sleep(0)
        gate.go_on.set()
        await asyncio.gather(*tasks)

    run(store, body)
    assert order == ["revoke 1", "revoke 2", "one", "two", "three"]


def test_out_of_time_before_its_turn_a_write_never_runs(store: Store) -> None:
    gate = Gate()

    async def body(threads: StoreThreads) -> None:
        holding = asyncio.create_task(threads.write(gate))
        await gate.is_held()
        with pytest.raises(StoreUnavailable) as caught:
            await threads.write(rows.account)
        assert str(caught.value) == f"{store.where}: no answer in 0.3 s; what was asked was not done"
        with pytest.raises(StoreUnavailable, match="what was asked may still be done"):
            await holding
        gate.go_on.set()
        await threads.close()

    run(store, body, timeout=0.3)
    with store.reading() as c:
        assert accounts.listing(c) == []


@pytest.mark.parametrize("leave", ["out of time", "cancelled"])
def test_a_write_that_is_done_after_its_asker_left_is_told(store: Store, leave: str) -> None:
    gate = Gate()

    def add(c: Connection) -> None:
        gate(c)
        rows.account(c)

    async def body(threads: StoreThreads) -> None:
        told = asyncio.Event()
        threads.unheard = told.set
        asked = asyncio.create_task(threads.write(add))
        await gate.is_held()
        if leave == "cancelled":
            asked.cancel()
        with pytest.raises((StoreUnavailable, asyncio.CancelledError)):
            await asked
        assert not told.is_set()
        gate.go_on.set()
        await asyncio.wait_for(told.wait(), 20)

    run(store, body, timeout=0.3 if leave == "out of time" else 20)
    with store.reading() as c:
        assert len(accounts.listing(c)) == 1


def test_a_write_that_failed_or_never_ran_is_not_told(store: Store) -> None:
    async def body(threads: StoreThreads) -> None:
        told: list[None] = []
        threads.unheard = lambda: told.append(None)

        def fail(c: Connection) -> None:
            raise StoreUnavailable("no")

        with pytest.raises(StoreUnavailable, match="no"):
            await threads.write(fail)
        await asyncio.sleep(0.05)
        assert told == []

    run(store, body)


def test_a_write_whose_asker_went_away_before_its_turn_never_runs(store: Store) -> None:
    gate = Gate()

    async def body(threads: StoreThreads) -> None:
        holding = asyncio.create_task(threads.write(gate))
        await gate.is_held()
        asked = asyncio.create_task(threads.write(rows.account))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        gate.go_on.set()
        await holding
        assert await threads.read(accounts.listing) == []

    run(store, body)


def test_close_finishes_what_was_asked_for_and_takes_no_more(store: Store) -> None:
    gate = Gate()

    async def body(threads: StoreThreads) -> None:
        holding = asyncio.create_task(threads.write(gate))
        await gate.is_held()
        asked = [asyncio.create_task(threads.write(rows.account, f"u{n}@example.org")) for n in range(20)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(threads.close())
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match="shutting down"):
            await threads.write(rows.account)
        with pytest.raises(StoreUnavailable, match="shutting down"):
            await threads.read(accounts.listing)
        gate.go_on.set()
        await closing
        await asyncio.gather(holding, *asked)

    run(store, body)
    with store.reading() as c:
        assert len(accounts.listing(c)) == 20


def test_a_store_that_cannot_be_opened_is_unavailable_until_it_can(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("late") / "store.db"
    store = Store(f"sqlite:{path}")

    async def body(threads: StoreThreads) -> None:
        for ask in (threads.read, threads.write):
            with pytest.raises(StoreUnavailable, match="is not there"):
                await ask(accounts.listing)
        store.migrate()
        await threads.write(rows.account)
        assert len(await threads.read(accounts.listing)) == 1

    run(store, body)
    store.close()
