"""Codes that are sent to a phone number: what text messages (sms.py) and calls (call.py) have in common.

A code is made for one portal session, or one registration, and right there only; kept of it is an HMAC under the portal
key. A number counts once a code that was sent to it has come back. How many are sent is in domain/phone_codes.py.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sqlalchemy import Connection

from proxy.config.factor_settings import PhoneCodes
from proxy.domain import phone_codes
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account
from proxy.domain.phone_codes import Message, Sending
from proxy.factors import Begun, Failing, TooMany, message
from proxy.factors.gateways import Gateway, NotTaken
from proxy.factors.phone_numbers import Wrong, masked, number_of
from proxy.factors.sealing import Sealer
from proxy.store import challenges, factors, people, sent_codes
from proxy.store.challenges import Challenge, State
from proxy.store.factors import FactorRow, NewFactor
from proxy.store.threads import StoreThreads

NO_CODE = message("Enter the six digits of the code that was sent to you.")
WRONG = message("That code is not right. Check it; only the last one that was sent to you counts.")
OVER = message("That code does not count any more. Ask for a new one.")
KNOWN = message("That number is registered for this account already.")
NO_SUCH = message("Choose one of your phone numbers.")
ENOUGH = TooMany(message("You have been sent several codes within the last hour. Wait an hour, or choose another way."))
BUSY = Failing(message("No more codes can be sent at the moment. Choose another way, or try again later."))
BLOCKED = message("No codes are sent to your phones until you have a new account password. Choose another way.")
FAILED = Failing(message("The code could not be sent just now. Choose another way, or try again in a few minutes."))
SAID = {Sending.ACCOUNT: ENOUGH, Sending.PREFIX: BUSY, Sending.DAY: BUSY, Sending.BLOCKED: BLOCKED}


class Texts(Protocol):
    """Of one language, as portal/texts.py has them."""

    def say(self, text: str, **values: object) -> str: ...


Failed = Callable[[Connection, FactorKind, str], None]
"""Notes that a gateway failed, and why."""


@dataclass(frozen=True, slots=True)
class Way:
    """What the two kinds differ in."""

    kind: FactorKind
    types: Collection[int]
    """Types of number that it reaches."""
    write: Callable[[Texts, str, str, str], str]
    """The message, of: the language, the site's name, the portal's host, the code."""


@dataclass(frozen=True, slots=True)
class Site:
    """Who sends the codes."""

    name: str
    host: str


class ByPhone:
    """`sealed` of its rows is the number; `public` has it masked, as `shown`."""

    def __init__(
        self,
        way: Way,
        settings: PhoneCodes,
        gateway: Gateway,
        store: StoreThreads,
        sealer: Sealer,
        site: Site,
        texts: Mapping[str, Texts],
        clock: Callable[[], float],
        token: Callable[[int], bytes],
        failed: Failed,
    ) -> None:
        self.kind = way.kind
        self._way = way
        self._settings = settings
        self._gateway = gateway
        self._store = store
        self._sealer = sealer
        self._site = site
        self._texts = texts
        self._clock = clock
        self._token = token
        self._failed = failed

    # ---- registering ----------------------------------------------------------------------------

    async def begin_registration(self, account: Account, name: str) -> Begun:
        """`page`: `step` (number or code), `number` as it was typed, `shown`: where the code went."""
        return Begun({"step": "number", "number": ""}, {"name": name})

    async def resume_registration(self, account: Account, begun_notes: Mapping[str, Any]) -> Begun:
        """The page again. Nothing is sent again."""
        if "sealed" not in begun_notes:
            return await self.begin_registration(account, begun_notes["name"])
        return Begun({"step": "code", "shown": masked(self._number(account.id, begun_notes["sealed"]))}, begun_notes)

    async def finish_registration(
        self, account: Account, begun_notes: Mapping[str, Any], answer: Mapping[str, str]
    ) -> NewFactor | Begun | str:
        """A number: it is sent a code. `other`: another number after all; `again`: a new code. A code: the factor."""
        if answer.get("other"):
            return await self.begin_registration(account, begun_notes["name"])
        if "sealed" not in begun_notes or "number" in answer:
            return await self._take_number(account, begun_notes, answer)
        if answer.get("again"):
            return await self._send_first(account, begun_notes, begun_notes["sealed"], answer)
        code = phone_codes.code_of(answer.get("code", ""))
        if code is None:
            return NO_CODE
        own = bytes.fromhex(begun_notes["challenge"])
        said = await self._store.write(self._prove, account.id, own, code)
        if said is not None:
            return said
        number = self._number(account.id, begun_notes["sealed"])
        sealed = bytes.fromhex(begun_notes["sealed"])
        return NewFactor(self.kind, begun_notes["name"], sealed=sealed, public={"shown": masked(number)})

    async def _take_number(self, account: Account, notes: Mapping[str, Any], answer: Mapping[str, str]) -> Begun:
        typed = answer.get("number", "").strip()
        page = {"step": "number", "number": typed}
        try:
            number = number_of(typed, self._settings.countries, self._way.types)
        except Wrong as error:
            return Begun(page, {"name": notes["name"]}, str(error))
        theirs = await self._store.read(factors.of_account, account.id, self.kind)
        if any(self._number_of(row) == number for row in theirs):
            return Begun(page, {"name": notes["name"]}, KNOWN)
        sealed = self._sealer.seal(number.encode(), context=self._context("factor", account.id)).hex()
        begun = await self._send_first(account, notes, sealed, answer)
        return begun if not begun.problem else Begun(page, {"name": notes["name"]}, begun.problem)

    async def _send_first(
        self, account: Account, notes: Mapping[str, Any], sealed: str, answer: Mapping[str, str]
    ) -> Begun:
        number, own = self._number(account.id, sealed), self._token(32)
        problem = await self._send(account, number, own, None, answer.get("language", ""))
        if problem is not None:
            again = await self.resume_registration(account, notes)
            return Begun(again.page, again.notes, problem)
        page = {"step": "code", "shown": masked(number)}
        return Begun(page, {"name": notes["name"], "sealed": sealed, "challenge": own.hex()})

    def _prove(self, c: Connection, account_id: int, own: bytes, code: str) -> str | None:
        """What is wrong with a code. A right one stays right for this registration: its name may be wrong still."""
        last = challenges.last_of_session(c, account_id, own, self.kind)
        if last is not None and last.state is State.ANSWERED and self._clock() < last.expires:
            return None if self._is_right(last, code) else WRONG
        return self._answer(c, last, code)

    # ---- signing in -----------------------------------------------------------------------------

    async def begin(self, account: Account, rows: Sequence[FactorRow], session_hash: bytes) -> Begun:
        """`page`: `step` (ask or code), `numbers` (id and masked), and `shown`: where the code went. Nothing is sent
        before it is asked for."""
        last = await self._store.read(challenges.last_of_session, account.id, session_hash, self.kind)
        numbers = [(row.id, row.public["shown"]) for row in sorted(rows, key=lambda row: -(row.used or row.created))]
        page: dict[str, Any] = {"step": "ask", "numbers": numbers}
        if last is not None and last.state is State.OPEN and self._clock() < last.expires:
            shown = next((shown for number, shown in numbers if number == last.factor_id), "")
            page |= {"step": "code", "shown": shown, "sent": last.factor_id}
        return Begun(page, {"session": session_hash.hex()})

    async def send(
        self, account: Account, rows: Sequence[FactorRow], session_hash: bytes, answer: Mapping[str, str]
    ) -> str | None:
        """Send a code to the number that was chosen; what stands in the way, if anything does."""
        row = next((row for row in rows if str(row.id) == answer.get("factor", "")), None)
        if row is None:
            return NO_SUCH
        try:  # what is allowed may have changed since it was registered
            number = number_of(self._number_of(row), self._settings.countries, self._way.types)
        except Wrong as error:
            return str(error)
        return await self._send(account, number, session_hash, row.id, answer.get("language", ""))

    async def finish(
        self, account: Account, rows: Sequence[FactorRow], begun_notes: Mapping[str, Any], answer: Mapping[str, str]
    ) -> FactorRow | str:
        """The number whose code it is: of this session, once, and three tries."""
        code = phone_codes.code_of(answer.get("code", ""))
        if code is None:
            return NO_CODE
        session_hash = bytes.fromhex(begun_notes["session"])

        def write(c: Connection) -> FactorRow | str:
            last = challenges.last_of_session(c, account.id, session_hash, self.kind)
            row = next((row for row in rows if last is not None and row.id == last.factor_id), None)
            return self._answer(c, last, code) or row or OVER

        return await self._store.write(write)

    def _answer(self, c: Connection, last: Challenge | None, code: str) -> str | None:
        """What is wrong with an answer. It is counted before it is looked at."""
        now = self._clock()
        if last is None or last.state is not State.OPEN or now >= last.expires:
            return OVER
        tries = challenges.count_try(c, last.id_hash)
        if not 0 < tries <= phone_codes.TRIES:
            return OVER
        if self._is_right(last, code):
            return None if challenges.answer(c, last.id_hash, State.OPEN, State.ANSWERED, now) else OVER
        if tries < phone_codes.TRIES:
            return WRONG
        challenges.end(c, last.id_hash, now)
        return OVER

    # ---- sending --------------------------------------------------------------------------------

    async def _send(
        self, account: Account, number: str, session_hash: bytes, factor_id: int | None, language: str
    ) -> str | None:
        """Send a code for this session; what was sent to it before counts no more. What stands in the way, if anything
        does."""
        code = phone_codes.code_from(self._token(16))
        now = self._clock()
        challenge = Challenge(
            id_hash=self._token(32),
            account_id=account.id,
            session_hash=session_hash,
            kind=self.kind,
            factor_id=factor_id,
            created=now,
            expires=now + phone_codes.WITHIN,
        )
        challenge = replace(challenge, sealed=self._digest(challenge, code))
        sent_id = await self._store.write(self._count, challenge, phone_codes.prefix_of(number))
        if isinstance(sent_id, Sending):
            return SAID[sent_id]
        if language not in self._texts:
            language = next(iter(self._texts))
        text = self._way.write(self._texts[language], self._site.name, self._site.host, code)
        digits = code if self.kind is FactorKind.CALL else None
        try:
            await self._gateway(Message(number, text, language, self.kind.value, digits))
        except NotTaken as error:
            await self._store.write(self._take_back, challenge, sent_id, error)
            return FAILED
        return None

    def _count(self, c: Connection, challenge: Challenge, prefix: str) -> int | Sending:
        """Begin the challenge and count what is to be sent, if it may be."""
        account_id, now = challenge.account_id, challenge.created
        if people.by_id(c, account_id).push_blocked:
            return Sending.BLOCKED
        limit = self._settings.daily_limit
        may = phone_codes.may_send(sent_codes.sent(c, account_id, self.kind, prefix, now), limit)
        if may is Sending.ACCOUNT:
            return may
        sent_id = sent_codes.add(c, account_id, self.kind, prefix, now)
        if may is not Sending.YES:
            sent_codes.not_taken(c, sent_id)
            reached = f"the daily limit of {limit}" if may is Sending.DAY else "the limit for numbers that begin alike"
            self._failed(c, self.kind, f"{reached} is reached")
            return may
        last = challenges.last_of_session(c, account_id, challenge.session_hash, self.kind)
        if last is not None:
            challenges.end(c, last.id_hash, now)
        challenges.add(c, challenge)
        return sent_id

    def _take_back(self, c: Connection, challenge: Challenge, sent_id: int, error: NotTaken) -> None:
        challenges.end(c, challenge.id_hash, self._clock())
        if not error.perhaps:
            sent_codes.not_taken(c, sent_id)
        self._failed(c, self.kind, str(error))

    # ---- what is kept ---------------------------------------------------------------------------

    def _is_right(self, challenge: Challenge, code: str) -> bool:
        return hmac.compare_digest(self._digest(challenge, code), challenge.sealed or b"")

    def _digest(self, challenge: Challenge, code: str) -> bytes:
        context = self._context("code", challenge.account_id)
        return self._sealer.digest(f"{challenge.id_hash.hex()}:{code}", context=context)

    def _number_of(self, row: FactorRow) -> str:
        return self._number(row.account_id, (row.sealed or b"").hex())

    def _number(self, account_id: int, sealed: str) -> str:
        return self._sealer.open(bytes.fromhex(sealed), context=self._context("factor", account_id)).decode()

    def _context(self, what: str, account_id: int) -> str:
        return f"{what}:{account_id}:{self.kind}"
