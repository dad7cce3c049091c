"""Portal sessions. The cookie holds a random token; kept is its SHA-256."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, insert, select, update

from proxy.domain.sign_in import IDLE, Stage
from proxy.store.schema import portal_sessions as table

MOST = 50
"""Sessions of one account that are in, and as many again that are on the way there; the longest unseen go first."""
TOUCHED_AFTER = 60.0
"""Seconds. `seen` is not written at every request: a page would wait for the disk."""


@dataclass(frozen=True, slots=True)
class PortalSession:
    """Times are seconds since the epoch."""

    token_hash: bytes = field(repr=False)
    account_id: int
    stage: Stage
    created: float
    seen: float
    expires: float
    """Absolute: requests do not move it."""
    password_time: float | None
    """When the account password was right; None where a passkey or the identity provider was the only step."""
    factor_time: float | None
    """When a factor was last proven."""
    device_id: int | None
    address: str
    agent: str
    """The browser, as it calls itself."""
    notes: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What a half-done step needs; JSON."""
    provider_time: float | None = None
    """When the identity provider last vouched for them; None: they came in with a password or a passkey of ours."""


_live = (table.c.expires > bindparam("now"), table.c.seen > bindparam("idle_since"))
_by_token = select(table).where(table.c.token_hash == bindparam("hash"), *_live)
_of_account = select(table).where(table.c.account_id == bindparam("id"), *_live).order_by(table.c.seen.desc())


def add(c: Connection, session: PortalSession) -> None:
    """Begin a session. Beyond MOST of the account at its stage, those unseen for longest end."""
    c.execute(insert(table), _values(session))
    same = (table.c.account_id == session.account_id, _is_in(session.stage))
    newest = select(table.c.token_hash).where(*same).order_by(table.c.seen.desc(), table.c.created.desc()).limit(MOST)
    c.execute(delete(table).where(*same, table.c.token_hash.not_in(newest)))


def by_token(c: Connection, token_hash: bytes, now: float) -> PortalSession | None:
    """The session of a cookie, unless it is over: absolutely, or for idling."""
    row = c.execute(_by_token, {"hash": token_hash, "now": now, "idle_since": now - IDLE}).first()
    return None if row is None else _session(row)


def of_account(c: Connection, account_id: int, now: float) -> list[PortalSession]:
    """The live sessions of an account, the last seen first."""
    return [_session(row) for row in c.execute(_of_account, {"id": account_id, "now": now, "idle_since": now - IDLE})]


def rotate(c: Connection, old_hash: bytes, session: PortalSession) -> bool:
    """Put `session` in the place of the one that it is a step ahead of, under another token. False when that has ended
    or stepped on already: of two requests with one cookie, one gets there."""
    return bool(c.execute(update(table).where(table.c.token_hash == old_hash).values(**_values(session))).rowcount)


def touch(c: Connection, token_hash: bytes, now: float) -> None:
    """Note that the session was used. Callers do it when `seen` is TOUCHED_AFTER ago."""
    c.execute(update(table).where(table.c.token_hash == token_hash, table.c.seen < now).values(seen=now))


def set_notes(c: Connection, token_hash: bytes, notes: Mapping[str, Any]) -> bool:
    """Replace the notes; False when the session has ended."""
    changed = update(table).where(table.c.token_hash == token_hash).values(notes=json.dumps(notes))
    return bool(c.execute(changed).rowcount)


def take_notes(c: Connection, token_hash: bytes) -> dict[str, Any] | None:
    """The notes, which are gone then: what was to be answered once is answered once. None: there are none."""
    waiting = (table.c.token_hash == token_hash, table.c.notes != "{}")
    notes = c.execute(select(table.c.notes).where(*waiting)).scalar()
    if (
        notes is None
        or not c.execute(
            update(table).where(table.c.token_hash == token_hash, table.c.notes == notes).values(notes="{}")
        ).rowcount
    ):
        return None
    found: dict[str, Any] = json.loads(notes)
    return found


def end(c: Connection, token_hash: bytes) -> bool:
    """Sign out; False when it had ended."""
    return bool(c.execute(delete(table).where(table.c.token_hash == token_hash)).rowcount)


def end_all(c: Connection, account_id: int, *, but: bytes | None = None) -> int:
    """End the account's sessions, all or all but one; returns how many."""
    chosen = delete(table).where(table.c.account_id == account_id)
    return c.execute(chosen if but is None else chosen.where(table.c.token_hash != but)).rowcount


def prune(c: Connection, now: float) -> int:
    """Forget the sessions that are over; returns how many."""
    return c.execute(delete(table).where(table.c.expires <= now)).rowcount


def _is_in(stage: Stage) -> ColumnElement[bool]:
    return table.c.stage == Stage.IN.value if stage is Stage.IN else table.c.stage != Stage.IN.value


def _values(session: PortalSession) -> dict[str, Any]:
    return {**asdict(session), "stage": session.stage.value, "notes": json.dumps(session.notes)}


def _session(row: Row[Any]) -> PortalSession:
    return PortalSession(**{**row._mapping, "stage": Stage(row.stage), "notes": json.loads(row.notes)})
