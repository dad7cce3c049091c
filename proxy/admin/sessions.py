"""Sessions: who is connected now, and ending it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from proxy.admin.desk import Actor, Conflict, Desk, NotFound
from proxy.admin.lookup import account_named, app_passwords_named, note
from proxy.admin.views import SessionView, stamp
from proxy.domain.audit import Event
from proxy.domain.model import Account, AppPasswordRecord
from proxy.store import accounts, app_passwords

if TYPE_CHECKING:
    from sqlalchemy import Connection


_AT_ONCE = 500
"""Sessions listed between two turns of the event loop: logins must not wait for a long list."""


async def listing(desk: Desk, account: str | None = None) -> list[SessionView]:
    """The live sessions, the oldest first, with bytes as the workers count them now."""
    account_id: int | None = None
    if account is not None:
        account_id = (await desk.store.read(account_named, desk, account)).id
    views: list[SessionView] = []
    for number, live in enumerate(sorted(await desk.census(), key=lambda live: live.started), 1):
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
        session = desk.sessions.get(live.session_id)
        if session is None or account_id not in (None, live.account_id):
            continue
        host = f"[{live.address}]" if ":" in live.address else live.address
        views.append(
            {
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
        )
    return views


async def cut(
    desk: Desk,
    actor: Actor,
    *,
    account: str | None = None,
    app_password: str | None = None,
    session_id: str | None = None,
) -> int:
    """End sessions: of an account, of one app password, or one by its id. Returns how many were live.

    Nothing is revoked: a client that still knows its app password may come back at once. NotFound when nothing is
    connected that matches.
    """
    what, target, records = await _chosen(desk, account, app_password, session_id)
    if session_id is not None:
        count = await desk.cut(sessions=[session_id])
    elif records:
        count = await desk.cut(app_passwords=[record.id for record in records])
    else:
        count = await desk.cut(accounts=[target.id] if target is not None else [])
    if count == 0:
        raise NotFound(f"no session of {what} is live")

    def write(c: Connection) -> None:
        name = records[0].name if len(records) == 1 else None
        note(c, desk, actor, Event.SESSIONS_CUT, target, app_password=name, detail=f"sessions={count} of {what}")

    await desk.store.write(write)
    return count


async def _chosen(
    desk: Desk, account: str | None, app_password: str | None, session_id: str | None
) -> tuple[str, Account | None, list[AppPasswordRecord]]:
    if session_id is not None:
        session = desk.sessions.get(session_id)
        if session is None:
            raise NotFound(f"no session has the id {session_id!r}; `sidegate sessions list` shows them")
        return session_id, await desk.store.read(accounts.by_id, session.account_id), []
    if app_password is None:
        if account is None:
            raise NotFound("name an account, an app password or a session")
        target = await desk.store.read(account_named, desk, account)
        return target.address, target, []

    def read(c: Connection) -> tuple[str, Account | None, list[AppPasswordRecord]]:
        if account is not None:
            target = account_named(c, desk, account)
            return f"{target.address} {app_password!r}", target, app_passwords_named(c, target, [app_password])
        live = [record for record in app_passwords.find(c, None, app_password) if record.ended is None]
        if not live:
            raise NotFound(f"there is no live app password {app_password!r}; `sidegate passwords list` shows all")
        owners = {record.account_id: accounts.by_id(c, record.account_id) for record in live}
        if len(owners) > 1:
            named = ", ".join(sorted(owner.address for owner in owners.values() if owner is not None))
            raise Conflict(f"several accounts have an app password {app_password!r}: {named}; name the account too")
        return app_password, owners[live[0].account_id], live

    return await desk.store.read(read)
