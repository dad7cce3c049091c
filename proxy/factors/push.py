"""The authenticator on the phone: the portal itself, installed there as a web app, with a key that never leaves it.

Registering: the browser shows a link as a QR code; the phone that opens it leaves its public key there, having signed
with it, and the browser, whose person sees that it is the right phone, adds it. Asking: the browser that signs in shows
a number and waits; the phone signs the number that its person typed. Push services only wake the phone: without them it
asks by itself while it is open. The phone's side is in phones.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection

from proxy.domain import tokens
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account
from proxy.domain.phones import LONGEST, WITHIN, Asking, may_ask, number_from
from proxy.factors import Begun, message
from proxy.factors.qr import picture
from proxy.factors.sealing import Sealer
from proxy.store import challenges, factors, links, portal_sessions
from proxy.store.challenges import Challenge, State
from proxy.store.factors import FactorRow, NewFactor
from proxy.store.links import Purpose
from proxy.store.threads import StoreThreads

LINK_LIFE = 900.0
"""Seconds for opening a link on the phone; the page makes another when it is over."""
GO_ON_WITHIN = 60.0
"""Seconds beyond its own that an answer waits for the browser."""
DAY = 86400.0
SCANNED = "sidegate:"
"""What stands before the number in the picture: no camera opens anything by it, the authenticator reads it."""

NOT_YET = message("No phone has opened the link yet. Scan the picture with your phone, or open the link there.")
KNOWN = message("That phone is registered for this account already.")
NOT_CONFIRMED = message("It is not confirmed on your phone. Ask your phone again, or choose another way.")

Wake = Callable[[Account, Sequence[FactorRow]], None]
"""Says to phones that somebody signs in. Returns at once, and never raises."""


def usable(url: str) -> bool:
    """Whether browsers have service workers and keys at this `portal.url`: https, or this very machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "https" or host in ("localhost", "127.0.0.1", "::1") or host.endswith(".localhost")


class Push:
    """`public` of its rows: `key` (the phone's, an uncompressed point, base64url), `agent`, `language`, and, of phones
    that can be woken, the push subscription: `endpoint`, `p256dh`, `auth`."""

    kind = FactorKind.PUSH

    def __init__(
        self,
        store: StoreThreads,
        sealer: Sealer,
        url: str,
        clock: Callable[[], float],
        token: Callable[[int], bytes],
        wake: Wake,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._url = url.rstrip("/")
        self._clock = clock
        self._token = token
        self._wake = wake

    async def begin_registration(self, account: Account, name: str) -> Begun:
        """A link for the phone: `page` has it as `qr` and `url`, `token`, and `phone`: which one has opened it, if
        any."""
        token, now = tokens.written(self._token(tokens.BYTES)).reveal(), self._clock()
        sealed = self._sealer.seal(token.encode(), context=_context(account, "link"))

        def write(c: Connection) -> None:
            links.add(c, tokens.hash_of(token), account.id, Purpose.PHONE, now=now, expires=now + LINK_LIFE)

        await self._store.write(write)
        return self._page(token, None, {"name": name, "token": sealed.hex()})

    async def resume_registration(self, account: Account, begun_notes: Mapping[str, Any]) -> Begun:
        """The same link, unless it is over."""
        token = self._link(account, begun_notes)
        link = await self._store.read(links.find, tokens.hash_of(token), self._clock(), Purpose.PHONE)
        if link is None:
            return await self.begin_registration(account, begun_notes["name"])
        return self._page(token, self._left(account, link.sealed), begun_notes)

    async def finish_registration(
        self, account: Account, begun_notes: Mapping[str, Any], answer: Mapping[str, str]
    ) -> NewFactor | str:
        """The phone that opened the link. Asked again, it is the same: the key may be there once only."""
        token = self._link(account, begun_notes)
        link = await self._store.read(links.find, tokens.hash_of(token), self._clock(), Purpose.PHONE)
        phone = None if link is None else self._left(account, link.sealed)
        if phone is None:
            return NOT_YET
        theirs = await self._store.read(factors.of_account, account.id, FactorKind.PUSH)
        if any(row.public["key"] == phone["key"] for row in theirs):
            return KNOWN
        return NewFactor(FactorKind.PUSH, begun_notes["name"], public=phone)

    async def begin(self, account: Account, rows: Sequence[FactorRow], session_hash: bytes) -> Begun:
        """`page`: `state` (waiting, answered, over, busy, too_often), and while it waits `number`, `qr`, and `more`:
        whether the person may have more time. A session that has asked is shown what it asked; `again` asks anew."""
        return await self._ask(account, rows, session_hash, again=False)

    async def again(self, account: Account, rows: Sequence[FactorRow], session_hash: bytes) -> None:
        """Ask once more, if what this session asked is over."""
        await self._ask(account, rows, session_hash, again=True)

    async def more_time(self, account: Account, session_hash: bytes) -> None:
        """As long as a number may be good at all."""

        def write(c: Connection) -> None:
            last = challenges.last_of_session(c, account.id, session_hash, FactorKind.PUSH)
            if last is not None:
                challenges.extend(c, last.id_hash, last.created + LONGEST, self._clock())

        await self._store.write(write)

    async def state(self, account_id: int, session_hash: bytes) -> str:
        """Of what a session asked last; nothing: it asked nothing."""
        last = await self._store.read(challenges.last_of_session, account_id, session_hash, FactorKind.PUSH)
        return "" if last is None else _state(last, self._clock())

    async def finish(
        self, account: Account, rows: Sequence[FactorRow], begun_notes: Mapping[str, Any], answer: Mapping[str, str]
    ) -> FactorRow | str:
        """The phone that confirmed: once, and for the session that asked (its hash is in the notes)."""
        session_hash = bytes.fromhex(begun_notes["session"])

        def write(c: Connection) -> FactorRow | None:
            last, now = challenges.last_of_session(c, account.id, session_hash, FactorKind.PUSH), self._clock()
            if last is None or _state(last, now) != "answered":
                return None
            row = next((row for row in rows if row.id == last.factor_id), None)
            if row is None or not challenges.answer(c, last.id_hash, State.ANSWERED, State.USED, now):
                return None
            return factors.by_id(c, account.id, row.id)

        return await self._store.write(write) or NOT_CONFIRMED

    async def _ask(self, account: Account, rows: Sequence[FactorRow], session_hash: bytes, *, again: bool) -> Begun:
        state, challenge, is_new = await self._store.write(self._find_or_add, account, session_hash, again)
        notes = {"session": session_hash.hex()}
        if challenge is None or state != "waiting":
            return Begun({"state": state}, notes)
        if is_new:
            self._wake(account, rows)
        number = self._sealer.open(challenge.sealed or b"", context=number_context(account.id)).decode()
        page = {
            "state": state,
            "number": number,
            "shown": f"{number[:3]} {number[3:]}",
            "qr": picture(SCANNED + number),
            "more": challenge.expires < challenge.created + LONGEST,
        }
        return Begun(page, notes)

    def _find_or_add(
        self, c: Connection, account: Account, session_hash: bytes, again: bool
    ) -> tuple[str, Challenge | None, bool]:
        now = self._clock()
        last = challenges.last_of_session(c, account.id, session_hash, FactorKind.PUSH)
        if last is not None and (not again or _state(last, now) in ("waiting", "answered")):
            return _state(last, now), last, False
        busy = False
        for other in challenges.open_of(c, account.id, now, FactorKind.PUSH):
            if portal_sessions.by_token(c, other.session_hash, now) is None:
                challenges.end(c, other.id_hash, now)  # signed out, or begun anew: nobody waits there
            else:
                busy = True
        counts = (challenges.count_since(c, account.id, FactorKind.PUSH, now - span) for span in (LONGEST, DAY))
        asking = may_ask(busy, *counts)
        if asking is not Asking.YES:
            return asking.value, None, False
        number = number_from(self._token(16))
        challenge = Challenge(
            id_hash=tokens.hash_of(self._token(tokens.BYTES).hex()),
            account_id=account.id,
            session_hash=session_hash,
            kind=FactorKind.PUSH,
            factor_id=None,
            created=now,
            expires=now + WITHIN,
            sealed=self._sealer.seal(number.encode(), context=number_context(account.id)),
        )
        challenges.add(c, challenge)
        return "waiting", challenge, True

    def _page(self, token: str, phone: Mapping[str, str] | None, notes: Mapping[str, Any]) -> Begun:
        url = f"{self._url}/phone/add/{token}"
        return Begun({"qr": picture(url), "url": url, "token": token, "phone": phone}, notes)

    def _link(self, account: Account, notes: Mapping[str, Any]) -> str:
        return self._sealer.open(bytes.fromhex(notes["token"]), context=_context(account, "link")).decode()

    def _left(self, account: Account, sealed: bytes | None) -> dict[str, str] | None:
        if sealed is None:
            return None
        left: dict[str, str] = json.loads(self._sealer.open(sealed, context=phone_context(account.id)))
        return left


def number_context(account_id: int) -> str:
    """What the number of a challenge is sealed for."""
    return f"number:{account_id}:{FactorKind.PUSH}"


def phone_context(account_id: int) -> str:
    """What a phone leaves in a link is sealed for this."""
    return f"factor:{account_id}:{FactorKind.PUSH}"


def _context(account: Account, what: str) -> str:
    return f"{what}:{account.id}:{FactorKind.PUSH}"


def _state(challenge: Challenge, now: float) -> str:
    """In a word, for pages."""
    if challenge.state is State.OPEN and now < challenge.expires:
        return "waiting"
    if challenge.state is State.ANSWERED and now < challenge.expires + GO_ON_WITHIN:
        return "answered"
    return "over"
