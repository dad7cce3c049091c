"""Sending what is due, in the portal process: each notice once, in its person's language, over the next channel where
nobody is reached, again later where the server cannot now. Several processes may do so beside each other.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Protocol

from sqlalchemy import Connection

from proxy import logs
from proxy.domain.audit import AuditEvent, Event
from proxy.domain.model import Account
from proxy.domain.notices import EVERY_WAY, KEEP_TRYING, Channel, Kind, retry_after
from proxy.notices import digest, web_push, words
from proxy.notices.mailer import Mailer, Posted, Unsendable
from proxy.notices.telling import Way, tell_admins, ways
from proxy.notices.web_push import Sent
from proxy.notices.words import Speech
from proxy.store import accounts, audit, notices, people
from proxy.store.errors import StoreUnavailable
from proxy.store.notices import Notice
from proxy.store.threads import StoreThreads

EVERY = 2.0
"""Seconds between two looks: "at once", as people see it."""
DIGESTS_EVERY = 3600.0
"""Seconds between two looks for digests that are due."""
REST = 60.0
"""Seconds in which a mail server that took nothing is left alone."""
A_ROUND = 50
"""Notices between two looks."""
ORDER = tuple(Channel)
BY_MAIL = (Channel.RECOVERY, Channel.MAILBOX)
DEFAULT = "en"
"""The language of who chose none."""

PATH = "/history"
"""What a notice on a phone opens: who is not signed in there signs in first."""
TTL = 86400
"""Seconds for which a push service keeps it for a phone that is off."""

_log = logs.get("portal")


class Push(Protocol):
    """What sends to phones (web_push.WebPush)."""

    async def send(
        self, subscription: Mapping[str, str], payload: bytes, *, ttl: int, urgency: str, topic: str | None = None
    ) -> Sent: ...


class Outbox:
    """One per portal process."""

    def __init__(self, store: StoreThreads, speeches: Mapping[str, Speech], clock: Callable[[], float]) -> None:
        """`speeches`: languages by their code."""
        self._store = store
        self._speeches = speeches
        self._clock = clock
        self._failing = False
        self._digest_at = 0.0
        self.use(None, None, node="", site="", host="")

    def use(self, mailer: Mailer | None, push: Push | None, *, node: str, site: str, host: str) -> None:
        """As the configuration has it from now on. `mailer`, `push` None: nothing goes that way. `site`: what the
        portal is called; `host`: of its URL, for Message-IDs."""
        self._mailer = mailer
        self._push = push
        self._node = node
        self._site = site
        self._host = host
        self._rest_until = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.deliver()
                if self._mailer is not None and self._clock() >= self._digest_at:
                    self._digest_at = self._clock() + DIGESTS_EVERY
                    await digest.write_due(self._store, self._clock())
            except StoreUnavailable as error:
                _log.error("nobody is told anything until the store can be used", reason=str(error))
                await asyncio.sleep(REST)
            await asyncio.sleep(EVERY)

    async def deliver(self) -> int:
        """One round; returns how many were taken."""
        taken = 0
        for notice in await self._store.read(notices.due, self._clock(), A_ROUND, self._resting()):
            if notice.channel in self._resting():
                continue
            # Before it is sent: whoever else looks now leaves it alone, and if we die it is tried again.
            if await self._store.write(notices.claim, notice, self._clock() + retry_after(notice.tries + 1)):
                taken += await self._try(notice)
        return taken

    def _resting(self) -> tuple[Channel, ...]:
        """Channels that nothing goes over just now."""
        return BY_MAIL if self._mailer is not None and self._clock() < self._rest_until else ()

    async def _try(self, notice: Notice) -> bool:
        posted, why = await self._send(notice)
        now = self._clock()
        if posted is Posted.TAKEN:
            await self._store.write(notices.sent, notice.id, now, patient=True)  # else it would be sent again
            _log.info("told", kind=notice.kind, channel=notice.channel, notice=notice.id)
            return True
        if posted is Posted.REFUSED or now - notice.created >= KEEP_TRYING:
            _log.warning("not told", kind=notice.kind, channel=notice.channel, notice=notice.id, reason=why)
            await self._store.write(self._turn, notice, why, now)
        return False

    async def _send(self, notice: Notice) -> tuple[Posted, str]:
        """Posted.REFUSED where this channel reaches nobody, ever."""
        account, language = await self._store.read(_reader, notice.account_id)
        if account is None or not account.enabled:
            return Posted.REFUSED, "the account is disabled"
        speech = self._speeches.get(language or DEFAULT, self._speeches[DEFAULT])
        if notice.channel == Channel.PUSH:
            return await self._to_phone(notice, speech)
        if self._mailer is None:
            return Posted.REFUSED, "no mail is sent here"
        subject, body = words.mail(
            speech, notice.kind, notice.text, created=notice.created, account=account.address, site=self._site
        )
        try:
            posted, why = await self._mailer.send(
                notice.recipient,
                subject,
                body,
                message_id=f"{notice.id}.{notice.created:.0f}@{self._host}",
                date=formatdate(notice.created),
            )
        except Unsendable as error:
            return Posted.REFUSED, str(error)
        await self._mark(posted, why)
        return posted, why

    async def _to_phone(self, notice: Notice, speech: Speech) -> tuple[Posted, str]:
        """One try: what a phone does not get now is better told another way than later."""
        if self._push is None:
            return Posted.REFUSED, "nothing is sent to phones here"
        shown = words.title(speech, notice.kind, notice.text), words.happened(speech, notice.kind, notice.text)
        payload = web_push.message(*shown, path=PATH, tag=f"notice-{notice.id}")
        sent = await self._push.send(json.loads(notice.recipient), payload, ttl=TTL, urgency="normal")
        return (Posted.TAKEN if sent is Sent.TAKEN else Posted.REFUSED), f"push: {sent}"

    async def _mark(self, posted: Posted, why: str) -> None:
        """Whether the mail server works. It is said once when it stops and once when it does again, to admins over what
        is no mail."""
        failing = posted is Posted.FAILED
        if failing:
            self._rest_until = self._clock() + REST
        if failing and not self._failing:
            _log.error("mails cannot be sent; everything is tried again for two days", reason=why)
            await self._store.write(self._say_failing, why)
        elif self._failing and not failing:
            _log.info("mails can be sent again")
        self._failing = failing

    def _say_failing(self, c: Connection, why: str) -> None:
        now = self._clock()
        tell_admins(c, Kind.MAIL_FAILING, {"reason": why}, now)
        event = AuditEvent(now, Event.NOTICE_FAILED, "sidegate", reason="mail server", detail=why)
        audit.append(c, self._node, [event])

    def _turn(self, c: Connection, notice: Notice, why: str, now: float) -> None:
        """Over the next channel, as the person can be reached now; else it stays on their history page."""
        account = accounts.by_id(c, notice.account_id)
        channel, recipient = _next(c, account, notice) if account is not None else (Channel.PAGE, "")
        notices.turn(c, notice, channel, recipient, now)
        if channel is Channel.PAGE and self._mailer is not None:
            address = account.address if account is not None else None
            detail = f"{notice.kind} over {notice.channel}: {why}"
            event = AuditEvent(
                now, Event.NOTICE_FAILED, "sidegate", account=address, account_id=notice.account_id, detail=detail
            )
            audit.append(c, self._node, [event])


def _reader(c: Connection, account_id: int) -> tuple[Account | None, str | None]:
    """Whom it is told, and their language."""
    return accounts.by_id(c, account_id), people.by_id(c, account_id).language


def _next(c: Connection, account: Account, notice: Notice) -> Way:
    """What comes behind the channel of a notice. What was told over every channel is told there already."""
    if notice.channel in set(Channel) and notice.kind not in (*EVERY_WAY, Kind.MAIL_FAILING):
        behind = ORDER[ORDER.index(Channel(notice.channel)) + 1 :]
        for channel, recipient in ways(c, account):
            if channel in behind:
                return channel, recipient
    return Channel.PAGE, ""
