"""What reaches the store in batches, never on the login path: verdicts, refusals, last use, counters.

A crash may lose a second of it (DESIGN section 8); changes are written by the use cases themselves and never are. While
the store is away everything waits here, up to a bound; what is beyond is counted and said.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TypeVarTuple

from sqlalchemy import Connection

from proxy import logs
from proxy.domain.audit import AuditEvent
from proxy.domain.model import LastUse
from proxy.notices import old_programs
from proxy.store import app_passwords, audit, history
from proxy.store.app_passwords import Use
from proxy.store.errors import StoreUnavailable
from proxy.store.history import RefusalRecord
from proxy.store.threads import StoreThreads

VERDICTS_EVERY = 0.5
USES_EVERY = 4.0
"""Seconds between two writes; with the write itself they stay under the 1 s and 5 s that are promised."""
MAX_WAITING = 20_000
"""Records of a kind that wait for the store."""
SLICE = 250
"""Records of a kind in one transaction: some 20 ms of the writer's time, so that a revoke need not wait."""

Args = TypeVarTuple("Args")

_log = logs.get("core")


@dataclass(slots=True)
class _Use:
    last: LastUse
    messages: int = 0
    recipients: int = 0


class WriteBehind:
    """Collects on the loop, writes in the store's writer thread."""

    def __init__(self, store: StoreThreads, node: str) -> None:
        self._store = store
        self._node = node
        self._audit: list[AuditEvent] = []
        self._refusals: list[RefusalRecord] = []
        self._uses: dict[int, _Use] = {}
        self._dropped = 0
        self._failing = False
        self._verdicts = _Work(self._all_verdicts)
        self._last_uses = _Work(self._all_uses)

    def audit(self, event: AuditEvent) -> None:
        """A verdict's record."""
        if len(self._audit) < MAX_WAITING:
            self._audit.append(event)
        else:
            self._dropped += 1

    def refusal(self, record: RefusalRecord) -> None:
        """A row of `sidegate why`."""
        if len(self._refusals) < MAX_WAITING:
            self._refusals.append(record)
        else:
            self._dropped += 1

    def used(self, app_password_id: int, use: LastUse, messages: int = 0, recipients: int = 0) -> None:
        """An app password was used just now, or its session has counted something."""
        entry = self._uses.get(app_password_id)
        if entry is None:
            entry = self._uses[app_password_id] = _Use(use)
        elif use.time >= entry.last.time:
            entry.last = use
        entry.messages += messages
        entry.recipients += recipients

    async def write_verdicts(self) -> None:
        """Write what waits of audit and history."""
        await self._verdicts.run()

    async def write_uses(self) -> None:
        """Write last uses and counters."""
        await self._last_uses.run()

    async def _all_verdicts(self) -> None:
        while self._audit or self._refusals:
            events, self._audit = self._audit[:SLICE], self._audit[SLICE:]
            rows, self._refusals = self._refusals[:SLICE], self._refusals[SLICE:]
            if not await self._written(self._write_verdicts, events, rows):
                self._audit = events + self._audit
                self._refusals = rows + self._refusals
                return

    async def _all_uses(self) -> None:
        while self._uses:
            uses = dict(itertools.islice(self._uses.items(), SLICE))
            for key in uses:
                del self._uses[key]
            batch = [Use(key, use.last, use.messages, use.recipients) for key, use in uses.items()]
            if not await self._written(app_passwords.record_uses, batch):
                for key, use in uses.items():
                    self.used(key, use.last, use.messages, use.recipients)
                return

    def _write_verdicts(self, c: Connection, events: list[AuditEvent], rows: list[RefusalRecord]) -> None:
        """Runs in the writer thread."""
        if events:
            audit.append(c, self._node, events)
        if rows:
            old_programs.tell_of_own(c, history.record(c, rows))

    async def _written(self, fn: Callable[[Connection, *Args], None], *args: *Args) -> bool:
        try:
            await self._store.write(fn, *args, patient=True)  # after a time-out it would have to be written twice
        except StoreUnavailable as error:
            if not self._failing:
                self._failing = True
                _log.error("records of logins wait until the store takes them", reason=str(error))
            return False
        if self._failing:
            self._failing = False
            _log.info("the store takes records again", dropped=self._dropped)
            self._dropped = 0
        elif self._dropped:
            _log.error("records of logins came faster than the store takes them", dropped=self._dropped)
            self._dropped = 0
        return True


class _Work:
    """Runs at most once at a time: who asks meanwhile waits for its end. It goes on when who waits is cancelled, as the
    store does with what it has begun: the outcome decides whether a slice is written again."""

    def __init__(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())
        await asyncio.shield(self._task)
