"""A new app password on its way to the one page that shows it: from the POST that mints it to the GET behind it.

So that neither a reload nor the way back shows it again, or makes another. In between it is in the store, sealed, for
the session that made it alone, and only until the page is there.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from proxy.domain.secret import Secret
from proxy.portal.web import Visit
from proxy.store import links
from proxy.store.links import Purpose

if TYPE_CHECKING:
    from sqlalchemy import Connection

KEPT = 60.0
"""Seconds in which the browser has to ask for the page."""


async def keep(visit: Visit, app_password_id: str, secret: Secret) -> None:
    """Keep it for `take`. Raises StoreUnavailable."""
    desk, handle, account_id = visit.desk, _handle(visit, app_password_id), visit.account.id
    sealed = desk.sealer.seal(secret.reveal().encode("ascii"), context=_context(visit, app_password_id))
    now = desk.clock()

    def write(c: Connection) -> None:
        links.add(c, handle, account_id, Purpose.APP_PASSWORD, now=now, expires=now + KEPT, sealed=sealed)

    await desk.store.write(write)


async def take(visit: Visit, app_password_id: str) -> Secret | None:
    """The secret, once; None: it was shown, or is none that this session has just made."""
    desk = visit.desk
    link = await desk.store.write(links.use, _handle(visit, app_password_id), desk.clock(), Purpose.APP_PASSWORD)
    if link is None or link.sealed is None:
        return None
    return Secret(desk.sealer.open(link.sealed, context=_context(visit, app_password_id)).decode("ascii"))


def _handle(visit: Visit, app_password_id: str) -> bytes:
    """What it is found by: nobody without the session's cookie can name it."""
    return hashlib.sha256(f"app password {app_password_id} ".encode() + visit.session.token_hash).digest()


def _context(visit: Visit, app_password_id: str) -> str:
    return f"app_password:{visit.account.id}:{app_password_id}"
