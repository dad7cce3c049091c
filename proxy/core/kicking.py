"""Chat servers are told to end the sessions of people whose app passwords end: those outlive the Bind that let them in.

Told twice, as a login that was accepted just before the revoke may open its chat session just after the first time; and
again for a while where that fails. Nobody waits for any of it but the first answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

from proxy import logs
from proxy.admin.desk import ChatKick
from proxy.chat import kickers
from proxy.chat.kick import CannotKick, Kick
from proxy.config.settings import Config
from proxy.core.tasks import Tasks
from proxy.domain.audit import AuditEvent, Event
from proxy.domain.model import Account
from proxy.store import accounts, audit
from proxy.store.errors import StoreUnavailable
from proxy.store.threads import StoreThreads

AFTER_SUCCESS = (2.0,)
AFTER_FAILURE = (2.0, 15.0, 60.0, 300.0)
"""Seconds between one time and the next."""
FAILED_LATELY = 10.0
"""Seconds for which a service that does not answer is only told in the background: a bulk revoke must not wait for it
person by person."""
MAX_WAITING = 1000
"""Kicks that wait for their next time."""
OUT_OF_REACH = "chat sessions of this service cannot be cut from here"

_log = logs.get("core")


@dataclass(slots=True)
class _Service:
    dn: str
    kick: Kick | None
    failed: float = float("-inf")
    """When it last did not answer, on the loop's clock."""
    problem: str = ""


class Kicker:
    """All service accounts of the configuration, and how each is told."""

    def __init__(self, store: StoreThreads, node: str, clock: Callable[[], float]) -> None:
        self._store = store
        self._node = node
        self._clock = clock
        self._services: list[_Service] = []
        self._tasks = Tasks()
        self._waiting = 0

    def configure(self, config: Config) -> None:
        """Take the service accounts of a (new) configuration."""
        self._services = [
            _Service(service.dn, kickers.make(service.on_revoke) if service.on_revoke is not None else None)
            for backend in config.backends.values()
            for service in backend.service_accounts
        ]

    async def stop(self) -> None:
        await self._tasks.stop()

    async def kick(self, account_ids: Collection[int], known: Collection[Account] = ()) -> list[ChatKick]:
        """Have these accounts thrown out everywhere; a row for each service. `known` are those that may be removed."""
        if not self._services or not account_ids:
            return []
        people = {account.id: account for account in known}
        missing = set(account_ids) - people.keys()
        if missing:
            try:
                people |= await self._store.read(accounts.by_ids, missing)
            except StoreUnavailable as error:
                _log.error("chat servers are not told of a revoke", reason=str(error), accounts=len(missing))
        chosen = [people[i] for i in dict.fromkeys(account_ids) if i in people]
        return list(await asyncio.gather(*(self._tell(service, chosen) for service in self._services)))

    def kick_later(self, account_ids: Collection[int]) -> None:
        """As kick, with nobody who waits for it."""

        async def work() -> None:
            await self.kick(account_ids)

        if self._services and account_ids:
            self._tasks.spawn(work())

    async def _tell(self, service: _Service, people: list[Account]) -> ChatKick:
        if service.kick is None:
            return {"service": service.dn, "users": None, "problem": OUT_OF_REACH}
        users: int | None = 0
        problem: str | None = None
        now = asyncio.get_running_loop().time
        for account in people:
            if now() - service.failed < FAILED_LATELY:
                problem = service.problem
                self._again(service, account, AFTER_FAILURE)
                continue
            try:
                done = await self._once(service, service.kick, account)
                users = None if done is None or users is None else users + done
                self._again(service, account, AFTER_SUCCESS)
            except CannotKick as error:
                problem = str(error)
                self._again(service, account, AFTER_FAILURE)
        return {"service": service.dn, "users": users, "problem": problem}

    async def _once(self, service: _Service, kick: Kick, account: Account) -> int | None:
        try:
            users = await kick(account)
        except CannotKick as error:
            service.failed, service.problem = asyncio.get_running_loop().time(), str(error)
            _log.error("a chat server was not told of a revoke", service=service.dn, user=account.address, reason=error)
            await self._record(Event.CHAT_KICK_FAILED, account, f"service={service.dn}: {error}")
            raise
        service.failed = float("-inf")
        if users != 0:
            _log.info("chat user kicked", service=service.dn, user=account.address, users=users)
            await self._record(Event.CHAT_KICKED, account, f"service={service.dn}")
        return users

    def _again(self, service: _Service, account: Account, waits: tuple[float, ...]) -> None:
        async def work(kick: Kick) -> None:
            try:
                for wait in waits:
                    await asyncio.sleep(wait)
                    try:
                        await self._once(service, kick, account)
                    except CannotKick:
                        continue
                    return
            finally:
                self._waiting -= 1

        if service.kick is None:
            return
        if self._waiting >= MAX_WAITING:
            _log.error("too many kicks wait for their next time", service=service.dn, user=account.address)
            return
        self._waiting += 1
        self._tasks.spawn(work(service.kick))

    async def _record(self, event: Event, account: Account, detail: str) -> None:
        record = AuditEvent(
            time=self._clock(),
            event=event,
            actor="sidegate",
            account=account.address,
            account_id=account.id,
            detail=detail,
        )
        try:
            await self._store.write(audit.append, self._node, [record])
        except StoreUnavailable as error:
            _log.error("a kick is not in the audit", reason=str(error))
