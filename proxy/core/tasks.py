"""Work in the background of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from proxy import logs

_log = logs.get("core")


class Tasks:
    """Keeps tasks until they are done (the loop itself holds only weak references) and says when one fails."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Start `work` now; it runs until it first waits when the loop turns."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    async def stop(self) -> None:
        """Cancel what runs."""
        running = list(self._tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("internal error", exc_info=error)
