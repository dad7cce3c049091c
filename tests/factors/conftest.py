"""A store with two persons in it, a clock that tests move, and the portal key."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from proxy.domain.model import Account
from proxy.factors.sealing import Sealer
from proxy.store import accounts, factors
from proxy.store.accounts import NewAccount
from proxy.store.engine import Store
from proxy.store.factors import FactorRow, NewFactor
from proxy.store.threads import StoreThreads

R = TypeVar("R")


@dataclass
class Place:
    """What factors are made from. `run` answers one question on a loop of its own."""

    store: StoreThreads
    alice: Account
    bob: Account
    now: float = 1_800_000_000.0
    sealer: Sealer = Sealer(bytes(range(32)), os.urandom)  # noqa: RUF009 - it has no state

    def clock(self) -> float:
        return self.now

    def run(self, question: Awaitable[R]) -> R:
        async def ask() -> R:
            return await question

        return asyncio.run(ask())

    def keep(self, account: Account, new: NewFactor | str) -> FactorRow:
        assert isinstance(new, NewFactor), new
        row = self.run(self.store.write(factors.add, account.id, new, self.now))
        assert row is not None
        return row

    def rows(self, account: Account) -> list[FactorRow]:
        return self.run(self.store.read(factors.of_account, account.id))


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store to copy."""
    path = tmp_path_factory.mktemp("migrated") / "store.db"
    store = Store(f"sqlite:{path}")
    store.migrate()
    store.close()
    return path


@pytest.fixture
def place(migrated: Path, tmp_path: Path) -> Iterator[Place]:
    store = Store(f"sqlite:{shutil.copy(migrated, tmp_path / 'store.db')}")
    with store.writing() as c:
        alice, bob = (
            accounts.add(c, NewAccount(f"{name}@example.org", 1000.0, display_name=name.title()))
            for name in ("alice", "bob")
        )
    threads = StoreThreads(store)
    yield Place(threads, alice, bob)
    asyncio.run(threads.close())
    store.close()
