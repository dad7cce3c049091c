"""The audit trail: one hash chain per node (domain/audit.py), appended in the transaction of the change it records."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Connection, Dialect, Row, bindparam, delete, func, insert, or_, select, update

from proxy.domain.audit import CHAIN_START, AuditEvent, Event, chain, digest
from proxy.store.schema import audit as table
from proxy.store.schema import audit_heads

SALT_BYTES = 16
_PERSONAL = ("account", "account_id", "app_password", "network", "detail")
_MAX_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One record as stored. Of an `erased` one, the personal fields are None and the actor is empty."""

    seq: int
    """Grows over all nodes; the place to go on reading from."""
    node: str
    event: AuditEvent
    erased: bool


def append(c: Connection, node: str, events: Iterable[AuditEvent]) -> None:
    """Add records to the node's chain, in order. Two writers of one node take turns: they are in write transactions."""
    records = list(events)
    if not records:
        return
    head = c.execute(_head, {"of_node": node}).one_or_none()
    link = CHAIN_START if head is None else head.chain
    rows = []
    salts = secrets.token_bytes(SALT_BYTES * len(records))
    for number, event in enumerate(records):
        salt = salts[number * SALT_BYTES : (number + 1) * SALT_BYTES]
        stands_for_it = digest(event, salt)
        link = chain(link, stands_for_it)
        rows.append(_row(node, event, salt, stands_for_it, link))
    _insert(c, rows)
    seq = c.execute(_newest_seq, {"of_node": node}).scalar_one()
    end = {"seq": seq, "records": len(rows) + (0 if head is None else head.records), "chain": link}
    if head is None:
        c.execute(insert(audit_heads), {"node": node, **end})
    else:
        c.execute(update(audit_heads).where(audit_heads.c.node == node), end)


def read(
    c: Connection,
    *,
    account: str | None = None,
    since: float | None = None,
    after: int | None = None,
    limit: int = 1000,
) -> list[AuditRecord]:
    """Records in order: of one account (address), not older than `since`, behind seq `after`; at most `limit`.

    Go on with `after` = the last seq, to page and to follow.
    """
    chosen = select(table).order_by(table.c.seq).limit(limit)
    if account is not None:
        chosen = chosen.where(table.c.account == account)
    if since is not None:
        chosen = chosen.where(table.c.time >= since)
    if after is not None:
        chosen = chosen.where(table.c.seq > after)
    return [AuditRecord(row.seq, row.node, _event(row, row.actor or ""), row.erased) for row in c.execute(chosen)]


def last_seq(c: Connection) -> int:
    """Where the trail ends now (0: it is empty): follow from here to see only what is new."""
    newest: int | None = c.execute(select(func.max(table.c.seq))).scalar()
    return newest or 0


def erase(c: Connection, address: str, limit: int = 500) -> int:
    """Take a person out of at most `limit` records that name them as account or actor; call until it returns 0.

    The salt goes too, so that the digests, which stay and keep the chain whole, cannot be matched by guessing.
    """
    of_them = select(table.c.seq).where(or_(table.c.account == address, table.c.actor == address)).limit(limit)
    gone = dict.fromkeys((*_PERSONAL, "actor", "salt"), None)
    return c.execute(update(table).where(table.c.seq.in_(of_them)).values(**gone, erased=True)).rowcount


def prune(c: Connection, before: float, limit: int = 500) -> int:
    """Remove records older than `before` (seconds since the epoch) from the old end of each node's chain; call until
    it returns 0. At most `limit` of a node go at once.

    The newest of them is emptied instead and stays, as the PRUNED record that says where the rest of the chain begins.
    """
    removed = 0
    for head in c.execute(select(audit_heads)).all():
        oldest = c.execute(_oldest, {"of_node": head.node, "most": limit + 1}).all()
        old = list(itertools.takewhile(lambda row: row.time < before, oldest))
        if not old or old[-1].event == Event.PRUNED:
            continue
        mark = old[-1].seq
        gone = c.execute(delete(table).where(table.c.node == head.node, table.c.seq < mark)).rowcount
        nothing = dict.fromkeys((*_PERSONAL, "actor", "salt", "protocol", "reason"), None)
        c.execute(update(table).where(table.c.seq == mark).values(**nothing, event=Event.PRUNED.value, erased=True))
        c.execute(update(audit_heads).where(audit_heads.c.node == head.node).values(records=head.records - gone))
        removed += len(old)
    return removed


@dataclass(slots=True)
class Verification:
    """How far `verify_slice` has come. `problems` are sentences; an empty list at `done` means the trail is whole."""

    problems: list[str] = field(default_factory=list)
    checked: int = 0
    """Records."""
    done: bool = False
    _nodes: list[_Node] = field(default_factory=list, repr=False)
    _started: bool = field(default=False, repr=False)


@dataclass(slots=True)
class _Node:
    name: str
    head: Row[Any] | None
    end: int
    """Its newest seq when verification began; what is appended meanwhile is for the next."""
    at: int = 0
    link: bytes = CHAIN_START
    records: int = 0


def verify(c: Connection) -> list[str]:
    """Recompute every chain from its beginning; returns the problems found. For long trails see `verify_slice`."""
    progress = Verification()
    while not progress.done:
        progress = verify_slice(c, progress)
    return progress.problems


def verify_slice(c: Connection, progress: Verification, limit: int = 1000) -> Verification:
    """Check up to `limit` records more and return the same object, moved on. Slices may be separate transactions."""
    if not progress._started:
        progress._started = True
        progress._nodes = _nodes(c)
    if progress._nodes:
        node = progress._nodes[0]
        rows = c.execute(_slice, {"of_node": node.name, "at": node.at, "end": node.end, "most": limit}).all()
        if node.records and rows and rows[0].event == Event.PRUNED and rows[0].seq == _first_seq(c, node.name):
            # Records that were still to be checked were removed between two slices: begin again with what is left.
            progress._nodes[0] = next(fresh for fresh in _nodes(c) if fresh.name == node.name)
            return progress
        for row in rows:
            _check(node, row, progress.problems)
        progress.checked += len(rows)
        if len(rows) < limit:
            _check_end(node, progress.problems)
            progress._nodes.pop(0)
    if len(progress.problems) >= _MAX_PROBLEMS:
        progress.problems[_MAX_PROBLEMS:] = ["… and more"]
        progress._nodes.clear()
    progress.done = not progress._nodes
    return progress


_head = select(audit_heads).where(audit_heads.c.node == bindparam("of_node")).with_for_update()
_newest_seq = select(func.max(table.c.seq)).where(table.c.node == bindparam("of_node"))
_oldest = (
    select(table.c.seq, table.c.time, table.c.event)
    .where(table.c.node == bindparam("of_node"))
    .order_by(table.c.seq)
    .limit(bindparam("most"))
)
_slice = (
    select(table)
    .where(table.c.node == bindparam("of_node"), table.c.seq > bindparam("at"), table.c.seq <= bindparam("end"))
    .order_by(table.c.seq)
    .limit(bindparam("most"))
)


def _first_seq(c: Connection, node: str) -> int | None:
    return c.execute(select(func.min(table.c.seq)).where(table.c.node == node)).scalar()


def _nodes(c: Connection) -> list[_Node]:
    heads = {head.node: head for head in c.execute(select(audit_heads))}
    ends: dict[str, int] = {
        row.node: row.end
        for row in c.execute(select(table.c.node, func.max(table.c.seq).label("end")).group_by(table.c.node))
    }
    return [_Node(name, heads.get(name), ends.get(name, 0)) for name in sorted({*heads, *ends})]


def _check(node: _Node, row: Row[Any], problems: list[str]) -> None:
    where = f"node {node.name}, record {row.seq}"
    if row.erased:
        if row.salt is not None or row.actor is not None or any(row._mapping[name] is not None for name in _PERSONAL):
            problems.append(f"{where}: is marked as erased but says more than an erased record does")
    elif row.salt is None or digest(_event(row, row.actor), row.salt) != row.digest:
        problems.append(f"{where}: was changed")
    starts = row.event == Event.PRUNED and not node.records
    link = row.chain if starts else chain(node.link, row.digest)
    if link != row.chain:
        problems.append(f"{where}: does not follow from the record before it (changed, removed, inserted or moved)")
    node.link = row.chain  # go on from what is stored, so that one problem is reported once
    node.at = row.seq
    node.records += 1


def _check_end(node: _Node, problems: list[str]) -> None:
    if node.head is None:
        problems.append(f"node {node.name}: where its chain ends is not on record")
    elif (node.head.seq, node.head.records, node.head.chain) != (node.at, node.records, node.link):
        problems.append(
            f"node {node.name}: the chain ends at record {node.at} after {node.records} records; "
            f"on record is {node.head.seq} after {node.head.records}"
        )


_COLUMNS = (
    *("node", "time", "event", "actor", "account", "account_id", "app_password", "protocol", "network", "reason"),
    *("detail", "salt", "digest", "chain"),
)


def _row(node: str, event: AuditEvent, salt: bytes, stands_for_it: bytes, link: bytes) -> tuple[object, ...]:
    """Values of _COLUMNS. Drivers know str, but not every one its enumerations."""
    return (
        node,
        event.time,
        str(event.event),
        event.actor,
        event.account,
        event.account_id,
        event.app_password,
        None if event.protocol is None else str(event.protocol),
        event.network,
        event.reason,
        event.detail,
        salt,
        stands_for_it,
        link,
    )


def _insert(c: Connection, rows: list[tuple[object, ...]]) -> None:
    """Past SQLAlchemy's handling of parameters, which costs more than all of SQLite: there is a row for every login."""
    statement, positional = _insertion(c.dialect)
    c.exec_driver_sql(statement, rows if positional else [dict(zip(_COLUMNS, row, strict=True)) for row in rows])


@cache
def _insertion(dialect: Dialect) -> tuple[str, bool]:
    """The statement in the driver's words, and whether parameters have places (in the order of _COLUMNS) or names."""
    compiled = insert(table).compile(dialect=dialect, column_keys=_COLUMNS)
    return str(compiled), compiled.positional


def _event(row: Row[Any], actor: str) -> AuditEvent:
    return AuditEvent(
        time=row.time,
        event=row.event,
        actor=actor,
        account=row.account,
        account_id=row.account_id,
        app_password=row.app_password,
        protocol=row.protocol,
        network=row.network,
        reason=row.reason,
        detail=row.detail,
    )
