"""Sessions that outlived a core: workers keep them, say so in their Hello, and hear at once what must go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy import Connection

from proxy import logs
from proxy.core import claims
from proxy.core.cutting import Cutter
from proxy.domain.model import Account, AppPasswordRecord, ClientInfo, Protocol
from proxy.domain.session_table import Session, SessionTable
from proxy.link.messages import LiveSession
from proxy.link.server import Peer
from proxy.store import accounts, app_passwords
from proxy.store.errors import StoreUnavailable
from proxy.store.threads import StoreThreads

AGAIN = 1.0
"""Seconds until sessions are compared again with a store that could not be read."""
SLICE = 500

_log = logs.get("core")


def register(table: SessionTable, peer: Peer, live: list[LiveSession]) -> tuple[list[Session], list[str]]:
    """Enter a worker's sessions; those that cannot be ours come back as ids to cut.

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
    """Ids of the sessions whose account or app password is not what it was. The others get their names."""
    ids: list[str] = []
    for start in range(0, len(sessions), SLICE):
        part = sessions[start : start + SLICE]
        owners, records = await store.read(_facts, {s.account_id for s in part}, {s.app_password_id for s in part})
        for session in part:
            account, record = owners.get(session.account_id), records.get(session.app_password_id)
            if account is None or record is None or not _still_good(session, account, record):
                ids.append(session.id)
            else:
                session.account, session.app_password = account.address, record.name
    return ids


async def compare(store: StoreThreads, cutter: Cutter, sessions: Callable[[], list[Session]]) -> None:
    """Cut those of `sessions` that are stale, as soon as the store can be read: a slow disk alone cuts nobody."""
    while chosen := sessions():
        try:
            ids = await stale(store, chosen)
        except StoreUnavailable:
            await asyncio.sleep(AGAIN)
            continue
        if ids:
            closed = await cutter.cut(sessions=ids)
            _log.warning("cut sessions whose app password had changed unnoticed", sessions_cut=closed)
        return


def _facts(
    c: Connection, account_ids: set[int], app_password_ids: set[int]
) -> tuple[dict[int, Account], dict[int, AppPasswordRecord]]:
    """Runs in a thread of the store."""
    return accounts.by_ids(c, account_ids), app_passwords.by_ids(c, app_password_ids)


def _still_good(session: Session, account: Account, record: AppPasswordRecord) -> bool:
    return (
        account.enabled
        and record.account_id == account.id
        and record.ended is None
        and record.generation == session.generation
    )


def _from_before(live: LiveSession, worker: int) -> Session:
    """ValueError if it cannot be ours."""
    if not claims.is_address(live.address):
        raise ValueError("not an address")
    program = claims.program(live.program)
    return Session(
        id=live.session_id,
        worker=worker,
        account_id=live.account_id,
        account="?",
        app_password_id=live.app_password_id,
        app_password="?",  # noqa: S106 - a name, not known yet
        generation=live.generation,
        protocol=Protocol(live.protocol),
        backend=live.backend,
        client=ClientInfo(live.address, live.port, live.local_address, live.local_port, live.tls, program),
        started=live.started,
        program=program,
        live=True,
    )
