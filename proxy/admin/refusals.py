"""`sidegate why`: the last refusals of an account with the true reason, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.admin.desk import Desk
from proxy.admin.lookup import account_named
from proxy.admin.reasons import explain
from proxy.admin.views import RefusalView, stamp
from proxy.store import app_passwords, history

if TYPE_CHECKING:
    from sqlalchemy import Connection

LAST = 20


async def why(desk: Desk, name: str, limit: int = LAST) -> list[RefusalView]:
    """The newest first. Tries that were alike stand in one row with a count."""

    def read(c: Connection) -> list[RefusalView]:
        account = account_named(c, desk, name)
        names = {record.id: record.name for record in app_passwords.of_account(c, account.id)}
        views: list[RefusalView] = []
        for row in history.last(c, account.id, limit):
            words = explain(row.reason, account.address)
            views.append(
                {
                    "time": stamp(row.time),
                    "first": stamp(row.time if row.first is None else row.first),
                    "count": row.count,
                    "protocol": row.protocol,
                    "network": row.network,
                    "program": row.program,
                    "app_password": names.get(row.app_password_id) if row.app_password_id is not None else None,
                    "reason": row.reason,
                    "meaning": words.meaning,
                    "todo": words.todo,
                }
            )
        return views

    return await desk.store.read(read)
