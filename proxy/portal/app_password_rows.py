"""App passwords as their person sees them: the core's list, and what the store knows of programs that still try."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from proxy.domain.model import Account, Protocol
from proxy.domain.verdicts import Reason
from proxy.portal.app_password_form import SCOPES
from proxy.portal.moments import Moment, tell
from proxy.portal.texts import Texts
from proxy.store import accounts, history
from proxy.store.history import RefusalRecord

if TYPE_CHECKING:
    from sqlalchemy import Connection

STILL = 30 * 86400.0
"""Seconds since the last try for which a program still tries."""
SOON = 7 * 86400.0
"""Seconds before its end from which one should be thinking of the next."""
SHOWN_ENDED = 15
"""Tombstones of an account in the list, beyond those that are still tried."""


@dataclass(frozen=True, slots=True)
class Tries:
    """A program that still sends an app password that has ended."""

    last: Moment
    count: int
    protocol: str
    network: str
    program: str | None


@dataclass(frozen=True, slots=True)
class Use:
    """The last login with an app password."""

    time: Moment
    address: str
    protocol: str
    program: str | None
    """As it introduced itself."""


@dataclass(frozen=True, slots=True)
class Row:
    """One app password, live or ended."""

    id: int
    account: str
    name: str
    scopes: Sequence[str]
    """What it may do, in words."""
    networks: Sequence[str]
    created: Moment
    ends: Moment | None
    ends_soon: bool
    used: Use | None
    sessions: int
    ended: Moment | None
    revoked: bool
    """Of an ended one: revoked, else it has expired."""
    tries: Tries | None


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An account of the person, or a shared mailbox they are a member of, with their app passwords for it."""

    address: str
    shared: bool
    live: Sequence[Row]
    ended: Sequence[Row]
    """The last ended first."""


def mailboxes(c: Connection, account: Account) -> tuple[list[Account], dict[int, RefusalRecord]]:
    """The person's account and the shared mailboxes they are a member of; and by app password, of those that have
    ended, the newest refusal, with the count of all that are remembered."""
    chosen = [account, *accounts.memberships(c, account.id)]
    tries: dict[int, RefusalRecord] = {}
    for one in chosen:
        for row in history.last(c, one.id):
            if row.app_password_id is None or row.reason not in (Reason.REVOKED, Reason.EXPIRED):
                continue
            newest = tries.get(row.app_password_id)
            tries[row.app_password_id] = row if newest is None else replace(newest, count=newest.count + row.count)
    return chosen, tries


def arrange(
    texts: Texts,
    now: float,
    chosen: Sequence[Account],
    views: Iterable[dict[str, Any]],
    tries: dict[int, RefusalRecord],
) -> list[Mailbox]:
    """The page's sections; `views` are the core's AppPasswordViews."""
    rows = [_row(texts, now, view, tries) for view in views]
    return [
        Mailbox(
            address=one.address,
            shared=one is not chosen[0],
            live=[row for row in rows if row.account == one.address and row.ended is None],
            ended=_shown([row for row in rows if row.account == one.address and row.ended is not None]),
        )
        for one in chosen
    ]


def _shown(ended: list[Row]) -> list[Row]:
    ended.sort(key=lambda row: row.ended.iso if row.ended is not None else "", reverse=True)
    tried = [row for row in ended if row.tries is not None]
    return tried + [row for row in ended if row.tries is None][:SHOWN_ENDED]


def _row(texts: Texts, now: float, view: dict[str, Any], tries: dict[int, RefusalRecord]) -> Row:
    ended = _ended(now, view)
    use = view["last_used"]
    refusal = tries.get(view["id"]) if ended is not None else None
    return Row(
        id=view["id"],
        account=view["account"],
        name=view["name"],
        scopes=[scope_text(texts, scope) for scope in view["scopes"]],
        networks=[host(network) for network in view["networks"]],
        created=tell(texts, now, view["created"]),
        ends=tell(texts, now, view["expires"]) if view["expires"] is not None else None,
        ends_soon=view["expires"] is not None and datetime.fromisoformat(view["expires"]).timestamp() - now < SOON,
        used=None
        if use is None
        else Use(tell(texts, now, use["time"]), use["address"], use["protocol"].upper(), use["program"]),
        sessions=view["sessions"],
        ended=tell(texts, now, ended) if ended is not None else None,
        revoked=view["revoked"] is not None,
        tries=_tries(texts, now, refusal),
    )


def _ended(now: float, view: dict[str, Any]) -> str | None:
    """When it ended: the sweep takes a minute, an expiry counts at once."""
    if view["revoked"] is not None:
        return str(view["revoked"])
    expires = view["expires"]
    return expires if expires is not None and datetime.fromisoformat(expires).timestamp() <= now else None


def _tries(texts: Texts, now: float, refusal: RefusalRecord | None) -> Tries | None:
    if refusal is None or now - refusal.time > STILL:
        return None
    last = tell(texts, now, refusal.time)
    return Tries(last, refusal.count, refusal.protocol.upper(), host(refusal.network), refusal.program)


def host(network: str) -> str:
    """A network of one IPv4 address is that address to people."""
    return network.removesuffix("/32")


def scope_text(texts: Texts, scope: str) -> str:
    try:
        return texts.say(SCOPES[Protocol(scope)])
    except ValueError:  # of another version
        return scope
