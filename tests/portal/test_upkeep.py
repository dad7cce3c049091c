"""What the portal does by the clock."""

from __future__ import annotations

import asyncio

import pytest

from proxy.portal.upkeep import prune_forever
from proxy.store.errors import StoreUnavailable
from proxy.store.schema import portal_sessions
from tests.peers.process import wait_until
from tests.portal.site import Site, notes_of


def test_sessions_that_are_over_are_forgotten_also_after_the_store_was_away(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.signed_in()
    site.later(13 * 3600)
    site.signed_in()
    write, failures = site.desk.store.write, iter([StoreUnavailable("the disk is full")])

    async def away_at_first(*args: object) -> object:
        for failure in failures:
            raise failure
        return await write(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(site.desk.store, "write", away_at_first)

    async def run() -> None:
        upkeep = asyncio.create_task(prune_forever(site.desk.store, site.desk.clock, 0.01))
        await asyncio.to_thread(wait_until, lambda: len(site.read(notes_of, portal_sessions)) == 1, "one session", 30)
        assert not upkeep.done()
        upkeep.cancel()

    site.runner.run(run())
