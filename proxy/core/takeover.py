"""Sessions that outlived a core: workers keep them, say so in their Hello, and hear at once what must go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy import Connection

from proxy import logs
from proxy.core import claims
from proxy.core.cutting import Cutter
from proxy.domain.model import Account, AppPasswordRecord, ClientInfo, Protocol
from proxy.domain.session_table import NOBODY, Session, SessionTable
from proxy.link.messages import LiveSession
from proxy.link.server import Peer
from proxy.store import accounts, app_passwords
from proxy.store.errors import StoreUnavailable
from proxy.store.threads import StoreThreads

AGAIN = 1.0
"""Seconds until sessions are compared again with a store that could not be read."""
SLICE = 500
NAMELESS = "?"
"""Account and app password of a session until the store has been read."""

_log = logs.get("core")


def register(table: SessionTable, peer: Peer, live: list[LiveSession]) -> tuple[list[Session], list[str]]:
    """Enter a worker's sessions; those that cannot be ours come back as ids to cut. So do services: they have no row in
    the store by which they could be known again, and bind anew.

    Entered before the store is read: a cut that comes meanwhile names them too, and waits behind the Welcome.
    """
    kept: list[Session] = []
    cut: list[str] = []
    for one in live:
        try:
            session = _from_before(one, peer.number)
            table.register(session)
            kept.append(session)
        except ValueError:
            cut.append(one.session_id)
    return kept, cut


async def stale(store: StoreThreads, sessions: list[Session]) -> list[str]:
    """Ids of the sessions whose account or app password is not what it was. Others that have no names yet get them."""
    ids: list[str] = []
    sessions = [session for session in sessions if session.account_id != NOBODY]
    for start in range(0, len(sessions), SLICE):
        part = sessions[start : start + SLICE]
        in_force = await store.read(app_passwords.in_force, {s.app_password_id for s in part})
        good = [s for s in part if in_force.get(s.app_password_id) == (s.account_id, s.generation)]
        ids += {s.id for s in part} - {s.id for s in good}
        await _name(store, [s for s in good if s.account == NAMELESS])
    return ids


async def compare(
    store: StoreThreads,
    cutter: Cutter,
    forget: Callable[[int], None],
    sessions: Callable[[], list[Session]],
) -> None:
    """Cut those of `sessions` that are stale, as soon as the store can be read: a slow disk alone cuts nobody.

    Nobody has told of what changed, so `forget` hears of their accounts; and because a login may have begun before
    that, sessions are compared until none is stale.
    """
    cut: set[str] = set()
    while chosen := [session for session in sessions() if session.id not in cut]:
        try:
            ids = await stale(store, chosen)
        except StoreUnavailable:
            await asyncio.sleep(AGAIN)
            continue
        if not ids:
            return
        cut.update(ids)
        for account_id in {session.account_id for session in chosen if session.id in cut}:
            forget(account_id)
        closed = await cutter.cut(sessions=ids)
        _log.warning("cut sessions whose app password had changed unnoticed", sessions_cut=closed)


async def _name(store: StoreThreads, sessions: list[Session]) -> None:
    if not sessions:
        return
    owners, records = await store.read(_facts, {s.account_id for s in sessions}, {s.app_password_id for s in sessions})
    for session in sessions:
        account, record = owners.get(session.account_id), records.get(session.app_password_id)
        if account is not None and record is not None:
            session.account, session.app_password = account.address, record.name


def _facts(
    c: Connection, account_ids: set[int], app_password_ids: set[int]
) -> tuple[dict[int, Account], dict[int, AppPasswordRecord]]:
    """Runs in a thread of the store."""
    return accounts.by_ids(c, account_ids), app_passwords.by_ids(c, app_password_ids)


def _from_before(live: LiveSession, worker: int) -> Session:
    """ValueError if it cannot be ours."""
    if not claims.is_address(live.address):
        raise ValueError("not an address")
    if live.account_id == NOBODY:
        raise ValueError("nobody's")
    program = claims.program(live.program)
    return Session(
        id=live.session_id,
        worker=worker,
        account_id=live.account_id,
        account=NAMELESS,
        app_password_id=live.app_password_id,
        app_password=NAMELESS,
        generation=live.generation,
        protocol=Protocol(live.protocol),
        backend=live.backend,
        client=ClientInfo(live.address, live.port, live.local_address, live.local_port, live.tls, program),
        started=live.started,
        program=program,
        live=True,
    )
