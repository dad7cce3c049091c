"""/history: what the person was told, sign-ins here, and programs that were not let in, in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.domain.factor_kinds import FactorKind
from proxy.domain.notices import Channel
from proxy.domain.sign_in import Outcome, Stage
from proxy.notices import words
from proxy.portal.agents import agent_name
from proxy.portal.app_password_rows import host
from proxy.portal.arrival import PROVIDER
from proxy.portal.factor_texts import KINDS
from proxy.portal.moments import Moment, tell
from proxy.portal.not_me import may_say
from proxy.portal.refusals import explain
from proxy.portal.texts import message
from proxy.portal.web import Visit, need, render, visit_of
from proxy.store import app_passwords, history, notices, sign_ins
from proxy.store.history import RefusalRecord
from proxy.store.notices import Notice
from proxy.store.sign_ins import SignIn

if TYPE_CHECKING:
    from sqlalchemy import Connection

NOTICES_SHOWN = 40
SHOWN = 60
"""Rows of each kind: a page stays small."""

OUTCOMES = {
    Outcome.SIGNED_IN: message("Signed in"),
    Outcome.WRONG_PASSWORD: message("Not let in: wrong account password"),
    Outcome.WRONG_FACTOR: message("Not let in: the account password was right, but not the second step"),
    Outcome.DENIED: message("Not let in: you denied it"),
    Outcome.FRAUD: message("Not let in: you reported it as fraud"),
}
_OTHER = message("Something else happened")


TOLD = {
    Channel.PUSH: message("told on your phone"),
    Channel.RECOVERY: message("told by mail to %(address)s"),
    Channel.MAILBOX: message("told by mail to %(address)s"),
    Channel.PAGE: message("told here only"),
}
WAITS = message("waits to be sent to %(address)s")
WAITS_FOR_PHONE = message("waits to be sent to your phone")
FAILED = message("could not be sent")


@dataclass(frozen=True, slots=True)
class ToldRow:
    """A notice, over however many channels."""

    id: int
    time: Moment
    title: str
    happened: str
    details: list[tuple[str, str]]
    told: list[str]
    """How, or how not."""
    not_me: bool
    """Whether it can be undone."""


@dataclass(frozen=True, slots=True)
class SignInRow:
    """A sign-in, or a try."""

    time: Moment
    outcome: str
    good: bool
    knows: bool
    """It got past the account password, and no further."""
    factor: str | None
    address: str
    agent: str
    here: bool
    """In the device that this is read on."""


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """Tries of a program that were alike."""

    time: Moment
    first: Moment | None
    """Of several."""
    count: int
    meaning: str
    todo: str
    protocol: str
    network: str
    program: str | None
    app_password: str | None


@need(Stage.IN)
async def page(request: Request) -> Response:
    visit = visit_of(request)
    tries, refused, names, told = await visit.desk.store.read(_read, visit.account.id)
    return render(
        request,
        "history.html",
        told=[_told(visit, list(alike)) for _, alike in groupby(told, key=lambda one: (one.created, one.kind))],
        sign_ins=[_sign_in(visit, one) for one in tries],
        refusals=[_refusal(visit, one, names) for one in refused],
    )


ROUTES = [Route("/history", page)]


def _read(c: Connection, account_id: int) -> tuple[list[SignIn], list[RefusalRecord], dict[int, str], list[Notice]]:
    """The newest of all kinds, and the names of the app passwords that refusals are about."""
    refused = history.last(c, account_id, SHOWN)
    about = app_passwords.by_ids(c, (row.app_password_id for row in refused if row.app_password_id is not None))
    names = {record.id: record.name for record in about.values()}
    return sign_ins.last(c, account_id, SHOWN), refused, names, notices.last(c, account_id, NOTICES_SHOWN)


def _told(visit: Visit, alike: list[Notice]) -> ToldRow:
    first = alike[-1]
    return ToldRow(
        id=first.id,
        time=tell(visit.texts, visit.desk.clock(), first.created),
        title=words.title(visit.texts, first.kind, first.text),
        happened=words.happened(visit.texts, first.kind, first.text),
        details=words.details(visit.texts, first.kind, first.text),
        told=[_how(visit, one) for one in reversed(alike)],
        not_me=may_say(first, visit.session.device_id),
    )


def _how(visit: Visit, notice: Notice) -> str:
    if notice.channel == Channel.PAGE:
        return visit.say(FAILED if notice.tries else TOLD[Channel.PAGE])
    if notice.channel == Channel.PUSH:
        return visit.say(TOLD[Channel.PUSH] if notice.sent is not None else WAITS_FOR_PHONE)
    return visit.say(TOLD[Channel.MAILBOX] if notice.sent is not None else WAITS, address=notice.recipient)


def _sign_in(visit: Visit, row: SignIn) -> SignInRow:
    known = Outcome(row.outcome) if row.outcome in set(Outcome) else None
    return SignInRow(
        time=tell(visit.texts, visit.desk.clock(), row.time),
        outcome=visit.say(OUTCOMES[known] if known is not None else _OTHER),
        good=known is Outcome.SIGNED_IN,
        knows=known in (Outcome.WRONG_FACTOR, Outcome.DENIED, Outcome.FRAUD),
        factor=None if row.factor is None else _factor(visit, row.factor),
        address=row.address,
        agent=agent_name(row.agent),
        here=row.device_id is not None and row.device_id == visit.session.device_id,
    )


def _factor(visit: Visit, told: str) -> str:
    """`totp: Phone`, as sign-ins record it, in words."""
    if told == PROVIDER:
        return visit.desk.config.portal.provider_name
    kind, _, name = told.partition(": ")
    if kind not in set(FactorKind):
        return told
    label = visit.say(KINDS[FactorKind(kind)].label)
    return f"{label} ({name})" if name else label


def _refusal(visit: Visit, row: RefusalRecord, names: dict[int, str]) -> RefusalRow:
    words, now = explain(str(row.reason)), visit.desk.clock()
    account = visit.account.address
    return RefusalRow(
        time=tell(visit.texts, now, row.time),
        first=tell(visit.texts, now, row.first) if row.first is not None and row.count > 1 else None,
        count=row.count,
        meaning=visit.say(words.meaning, account=account),
        todo=visit.say(words.todo, account=account),
        protocol=str(row.protocol).upper(),
        network=host(row.network),
        program=row.program,
        app_password=names.get(row.app_password_id) if row.app_password_id is not None else None,
    )
