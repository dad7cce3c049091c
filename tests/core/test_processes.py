"""The end of a process is heard of at once, child or not."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from proxy.core.processes import on_end


def test_a_process_that_ends_is_heard_of_before_anybody_reaps_it():
    async def run() -> None:
        ended = asyncio.Event()
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)  # noqa: ASYNC220 - a moment
        assert on_end(process.pid, ended.set)
        await asyncio.sleep(0)
        assert not ended.is_set()
        process.kill()
        await asyncio.wait_for(ended.wait(), 20)
        with process:
            pass
        ended.clear()
        assert on_end(process.pid, ended.set)  # reaped: gone before we looked
        await asyncio.wait_for(ended.wait(), 20)

    asyncio.run(run())


def test_a_process_of_another_namespace_cannot_be_watched():
    async def run() -> None:
        assert not on_end(0, lambda: None)

    asyncio.run(run())
