"""What is on the login path or behind every page, or runs every minute, must not read whole tables."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from proxy.domain.audit import AuditEvent, Event
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Protocol
from proxy.domain.verdicts import Reason
from proxy.store import (
    accounts,
    app_passwords,
    audit,
    challenges,
    codes,
    devices,
    factors,
    history,
    links,
    notices,
    people,
    portal_sessions,
    sign_ins,
    throttles,
)
from proxy.store.app_passwords import Use
from proxy.store.engine import Store
from proxy.store.history import RefusalRecord
from proxy.store.links import Purpose


@pytest.mark.parametrize(
    ("call", "index"),
    [
        (lambda c: accounts.by_login_name(c, "alice@example.org"), "sqlite_autoindex_login_names_1 (name=?)"),
        (lambda c: accounts.by_id(c, 1), "accounts USING INTEGER PRIMARY KEY"),
        (lambda c: app_passwords.by_tags(c, 1, [(1, 7)]), "(account_id=? AND tag=?)"),
        (lambda c: app_passwords.by_id(c, 1), "INTEGER PRIMARY KEY"),
        (lambda c: app_passwords.of_account(c, 1), "(account_id=?)"),
        (lambda c: app_passwords.count_live(c, 1), "(account_id=?)"),
        (lambda c: app_passwords.live_ids(c, owner_id=1), "(owner_id=?)"),
        (lambda c: app_passwords.due(c, 1.0), "ix_app_passwords_due (expires>? AND expires<?)"),
        (lambda c: app_passwords.unused_since(c, 1.0), "ix_app_passwords_unused (used_time=? AND created<?)"),
        (lambda c: app_passwords.unused_since(c, 1.0, [1, 2]), "INTEGER PRIMARY KEY"),
        (lambda c: app_passwords.record_uses(c, [Use(1, None, 1, 1)]), "INTEGER PRIMARY KEY"),
        (lambda c: accounts.set_enabled(c, 1, False), "INTEGER PRIMARY KEY"),
        (lambda c: history.last(c, 1, 20), "ix_refusals_account_id_time (account_id=?)"),
        (lambda c: people.by_id(c, 1), "people USING INTEGER PRIMARY KEY"),
        (lambda c: portal_sessions.by_token(c, b"t", 1.0), "(token_hash=?)"),
        (lambda c: portal_sessions.touch(c, b"t", 1.0), "(token_hash=?)"),
        (lambda c: portal_sessions.prune(c, 1.0), "ix_portal_sessions_expires (expires<?)"),
        (lambda c: devices.by_token(c, 1, b"t"), "(token_hash=?)"),
        (lambda c: factors.kinds(c, 1), "(account_id=?)"),
        (lambda c: factors.advance_counter(c, 1, 5), "INTEGER PRIMARY KEY"),
        (lambda c: codes.use_recovery(c, 1, b"h", 1.0), "(account_id=? AND code_hash=?)"),
        (lambda c: links.use(c, b"t", 1.0, Purpose.SET_PASSWORD), "(token_hash=?)"),
        (lambda c: sign_ins.last(c, 1), "(account_id=?)"),
        (lambda c: sign_ins.last_times(c, [1, 2]), "(account_id=? AND outcome=?)"),
        (lambda c: throttles.wait(c, ["password:account:1", "password:network:192.0.2.1/32"], 1.0), "(key=?)"),
        (lambda c: challenges.open_of(c, 1, 1.0), "(account_id=?)"),
        (lambda c: challenges.count_since(c, 1, FactorKind.PUSH, 1.0), "(account_id=? AND created>?)"),
        (lambda c: notices.due(c, 1.0), "ix_notices_due (due<?)"),
        (lambda c: notices.last(c, 1, 9), "(account_id=?)"),
        (lambda c: notices.since(c, 1, "signed_in", 1.0), "(account_id=? AND created>?)"),
        (lambda c: notices.told_since(c, [1], 1.0, channel="page"), "(account_id=? AND created>?)"),
        (lambda c: history.refused_since(c, [1], 1.0), "(account_id=? AND time>?)"),
        (lambda c: notices.count_since(c, 1, 1.0, ["signed_in"]), "(account_id=? AND created>?)"),
        (
            lambda c: history.record(c, [RefusalRecord(1, 1.0, Reason.REVOKED, Protocol.IMAP, "192.0.2.1/32")]),
            "INTEGER PRIMARY KEY",
        ),
        (
            lambda c: audit.append(c, "n1", [AuditEvent(1.0, Event.ERASED, "sidegate")]),
            "ix_audit_node_seq (node=?)",
        ),
        (lambda c: audit.read(c, account="a", after=5), "ix_audit_account_seq (account=? AND seq>?)"),
        (lambda c: audit.read(c, after=5), "INTEGER PRIMARY KEY"),
    ],
)
def test_an_index_finds_it(sqlite_file: Path, call: Callable[[Connection], object], index: str) -> None:
    store = Store(f"sqlite:{sqlite_file}")
    ran: list[tuple[str, object]] = []

    def note(_c: object, _cursor: object, statement: str, values: object, _context: object, many: bool) -> None:
        ran.append((statement, values[0] if many else values))  # type: ignore[index]

    with store.writing() as c:
        event.listen(c, "before_cursor_execute", note)
        call(c)
        event.remove(c, "before_cursor_execute", note)
        plans = [
            row.detail
            for statement, values in ran
            if statement.startswith(("SELECT", "UPDATE", "DELETE"))
            for row in c.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)  # type: ignore[arg-type]
        ]
    store.close()
    assert any(index in plan for plan in plans), plans
    assert not [plan for plan in plans if plan.startswith("SCAN")]
