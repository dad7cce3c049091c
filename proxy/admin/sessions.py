"""Sessions: who is connected now, and ending it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from typing import TYPE_CHECKING

from proxy.admin.desk import Actor, Conflict, Desk, NotFound
from proxy.admin.lookup import account_named, means_several, note
from proxy.admin.views import SessionView, stamp
from proxy.domain.audit import Event
from proxy.domain.session_table import Session
from proxy.store import accounts

if TYPE_CHECKING:
    from sqlalchemy import Connection


_AT_ONCE = 500
"""Sessions listed between two turns of the event loop: logins must not wait for a long list."""


async def listing(desk: Desk, account: str | None = None) -> list[SessionView]:
    """The live sessions, the oldest first, with bytes as the workers count them now."""
    account_id: int | None = None
    if account is not None:
        account_id = (await desk.store.read(account_named, desk, account)).id
    return [view async for view in views(desk, lambda session: account_id in (None, session.account_id))]


async def views(desk: Desk, chosen: Callable[[Session], bool]) -> AsyncIterator[SessionView]:
    """Rows of `sessions list`."""
    for number, live in enumerate(sorted(await desk.census(), key=lambda live: live.started), 1):
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
        session = desk.sessions.get(live.session_id)
        if session is None or not chosen(session):
            continue
        host = f"[{live.address}]" if ":" in live.address else live.address
        yield {
            "id": live.session_id,
            "account": session.account,
            "app_password": session.app_password,
            "protocol": live.protocol,
            "client": f"{host}:{live.port}",
            "program": live.program or session.program,
            "backend": session.backend_address or session.backend,
            "started": stamp(live.started),
            "bytes_in": live.bytes_in,
            "bytes_out": live.bytes_out,
            "node": desk.node,
        }


async def cut(
    desk: Desk,
    actor: Actor,
    *,
    account: str | None = None,
    app_password: str | None = None,
    session_id: str | None = None,
) -> int:
    """End sessions: of an account, of an app password (by name or id, of `account` if given), or one by its id.

    Returns how many were live. Nothing is revoked: a client that has its app password may come back at once.
    NotFound when nothing that matches is connected, Conflict when `app_password` means two. Recorded before it is
    done: what ends sessions is in the audit, or does not happen.
    """
    target = (await desk.store.read(account_named, desk, account)).id if account is not None else None
    return await cut_chosen(desk, actor, target, app_password, session_id)


async def cut_chosen(
    desk: Desk,
    actor: Actor,
    account_id: int | None,
    app_password: str | None,
    session_id: str | None,
    *,
    among: Collection[int] | None = None,
) -> int:
    """As cut; `among`: only sessions of these app passwords are seen."""
    chosen = [
        session
        for session in desk.sessions
        if _matches(session, account_id, app_password, session_id)
        and (among is None or session.app_password_id in among)
    ]
    if not chosen:
        raise NotFound("no live session matches; `sidegate sessions list` shows them")
    names = {s.app_password_id: s.app_password for s in chosen if s.app_password is not None}
    if app_password is not None and len(names) > 1:
        owners = sorted({session.account for session in chosen})
        if len(owners) == 1:
            raise means_several(app_password, owners[0], names)
        raise Conflict(f"{', '.join(owners)} are connected with an app password {app_password!r}: name the account too")

    def write(c: Connection) -> None:
        owner = accounts.by_id(c, chosen[0].account_id)
        name = next(iter(names.values())) if len(names) == 1 else None
        note(c, desk, actor, Event.SESSIONS_CUT, owner, app_password=name, detail=f"sessions={len(chosen)}")

    await desk.store.write(write, urgent=True)
    if app_password is not None:
        return await desk.cut(app_passwords=list(names), revoked=False)
    if session_id is not None:
        return await desk.cut(sessions=[session_id], revoked=False)
    if among is not None:
        return await desk.cut(sessions=[session.id for session in chosen], revoked=False)
    return await desk.cut(accounts=[chosen[0].account_id], revoked=False)


def _matches(session: Session, account_id: int | None, app_password: str | None, session_id: str | None) -> bool:
    return (
        (account_id is None or session.account_id == account_id)
        and (app_password is None or _is_with(session, app_password))
        and (session_id is None or session.id == session_id)
    )


def _is_with(session: Session, app_password: str) -> bool:
    """By name or id. A service has neither."""
    return session.app_password is not None and app_password in (session.app_password, str(session.app_password_id))
