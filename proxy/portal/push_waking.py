"""Saying to phones that somebody signs in. They find out by themselves what it is about; a push service may be slow, or
down, and no page waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from proxy import logs
from proxy.domain.audit import AuditEvent, Event
from proxy.domain.model import Account
from proxy.domain.notices import DAY, Kind
from proxy.domain.phones import WITHIN
from proxy.factors import FactorRow
from proxy.notices.telling import tell_admins
from proxy.notices.web_push import Sent, WebPush, message
from proxy.portal import texts
from proxy.portal.texts import DEFAULT, Texts
from proxy.store import audit, factors
from proxy.store.errors import StoreUnavailable
from proxy.store.threads import StoreThreads

if TYPE_CHECKING:
    from sqlalchemy import Connection

TITLE = texts.message("Is it you who signs in?")
BODY = texts.message("Somebody signs in to your account at %(site)s. Open this to confirm it, or to stop it.")
TAG = "sign-in"

_log = logs.get("portal")


class Waking:
    """A factors.push.Wake; one per portal process. `close` it."""

    def __init__(
        self, web_push: WebPush, store: StoreThreads, languages: Mapping[str, Texts], clock: Callable[[], float]
    ) -> None:
        self._web_push = web_push
        self._store = store
        self._languages = languages
        self._clock = clock
        self._told: float | None = None
        """When admins were told last that it does not work."""
        self.site = ""
        """What messages call it."""
        self.node = ""
        self._running: set[asyncio.Task[None]] = set()

    def __call__(self, account: Account, phones: Sequence[FactorRow]) -> None:
        for phone in phones:
            if "endpoint" in phone.public:
                task = asyncio.get_running_loop().create_task(self._wake(account, phone))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _wake(self, account: Account, phone: FactorRow) -> None:
        say = self._languages[phone.public.get("language", DEFAULT)].say
        payload = message(say(TITLE), say(BODY, site=self.site), path="/phone", tag=TAG)
        sent = await self._web_push.send(phone.public, payload, ttl=int(WITHIN), urgency="high", topic=TAG)
        _log.info("phone woken", user=account.address, factor=phone.name, result=sent.value)
        try:
            if sent is Sent.GONE:
                await self._store.write(forget_subscription, phone)
            elif sent is Sent.FAILED:
                await self._store.write(self._say_failing, account, phone)
        except StoreUnavailable as error:
            _log.warning("what became of a push message is not kept", reason=str(error))

    def _say_failing(self, c: Connection, account: Account, phone: FactorRow) -> None:
        """In the audit each time; admins are told once a day, in case it is not one phone's trouble alone."""
        now, service = self._clock(), urlsplit(phone.public["endpoint"]).hostname or "?"
        why = f"push: {phone.name} by {service}"
        event = AuditEvent(
            now, Event.NOTICE_FAILED, "sidegate", account=account.address, account_id=account.id, detail=why
        )
        audit.append(c, self.node, [event])
        if self._told is None or now - self._told >= DAY:
            self._told = now
            tell_admins(c, Kind.GATEWAY_FAILING, {"gateway": "push", "reason": service}, now)


def forget_subscription(c: Connection, phone: FactorRow) -> None:
    """The push service knows it no more: the phone asks by itself, and subscribes anew when it is opened."""
    current = factors.by_id(c, phone.account_id, phone.id)
    if current is not None and current.public.get("endpoint") == phone.public.get("endpoint"):
        kept = {name: value for name, value in current.public.items() if name not in SUBSCRIPTION}
        factors.set_public(c, phone.account_id, phone.id, kept)


SUBSCRIPTION = ("endpoint", "p256dh", "auth")
