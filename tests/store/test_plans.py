"""What is on the login path, or runs every minute, must not read whole tables."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from proxy.domain.audit import AuditEvent, Event
from proxy.domain.model import Protocol
from proxy.domain.verdicts import Reason
from proxy.store import accounts, app_passwords, audit, history
from proxy.store.app_passwords import Use
from proxy.store.engine import Store
from proxy.store.history import RefusalRecord


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
