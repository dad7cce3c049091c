"""The order that every revoke keeps: the row is durable, then what is remembered is dropped, then sessions are closed
(threats 52: commit, bump, kill). A login in flight meets one of the three.

Chat sessions are not ours to close: their servers are told, while our own are being closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, NotRequired, TypedDict

from proxy.admin.desk import ChatKick, Desk
from proxy.domain.model import Account, AppPasswordRecord, Protocol
from proxy.store.errors import StoreUnavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection


class Revoked(TypedDict):
    """`passwords revoke --json`."""

    revoked: list[int]
    """Ids of app passwords that are tombstones now."""
    sessions_cut: int
    chat: NotRequired[list[ChatKick]]
    """One for each service of a directory, where there are any and what was revoked could log in to them."""


async def write_then_cut(
    desk: Desk,
    write: Callable[[Connection], list[AppPasswordRecord]],
    *,
    app_passwords: Collection[AppPasswordRecord] = (),
    accounts: Collection[Account] = (),
    revoked: bool = True,
) -> Revoked:
    """Run `write`, which returns the app passwords it ended, ahead of other writes; then end what they and `accounts`
    have open.

    `app_passwords` are those that are meant to end, `revoked` is as for desk.Cut. Should the store not answer in time,
    the write may still happen later: then their sessions are cut all the same, and StoreUnavailable is raised.
    """
    try:
        ended = await desk.store.write(write, urgent=True)
    except StoreUnavailable:
        await cut(desk, app_passwords, accounts, revoked=revoked)
        raise
    return await cut(desk, ended, accounts, revoked=revoked)


async def cut(
    desk: Desk, ended: Collection[AppPasswordRecord], accounts: Collection[Account] = (), *, revoked: bool = True
) -> Revoked:
    """Drop what is remembered about these and close their sessions; returns when the workers have confirmed it, and the
    chat servers have answered."""
    account_ids = [account.id for account in accounts]
    for account_id in {*account_ids, *(record.account_id for record in ended)}:
        desk.changed(account_id)
    ids = [record.id for record in ended]
    chatting = {*account_ids, *(record.account_id for record in ended if Protocol.LDAP in record.scopes)}
    sessions, chat = await asyncio.gather(
        desk.cut(app_passwords=ids, accounts=account_ids, revoked=revoked), desk.kick(chatting, accounts)
    )
    done: Revoked = {"revoked": ids, "sessions_cut": sessions}
    if chat:
        done["chat"] = chat
    return done
