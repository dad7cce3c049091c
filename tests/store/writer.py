"""A process that is killed while it writes (test_durability.py): one line out per change that is done."""

import itertools
import os
import sys

from proxy.domain.audit import AuditEvent, Event
from proxy.domain.model import EndReason
from proxy.store import accounts, app_passwords, audit
from proxy.store.engine import Store
from tests.store import rows


def main(url: str, round_number: int) -> None:
    store = Store(url)
    with store.writing() as c:
        account = rows.account(c, f"r{round_number}@example.org")
    for n in itertools.count():
        with store.writing() as c:
            added = rows.app_password(c, account.id, str(n), tag=n)
            audit.append(c, "n1", [AuditEvent(float(n), Event.APP_PASSWORD_CREATED, "operator:0")])
        os.write(1, f"added {added.id}\n".encode())
        with store.writing() as c:
            app_passwords.end(c, [added.id], float(n), EndReason.REVOKED)
            audit.append(c, "n1", [AuditEvent(float(n), Event.APP_PASSWORD_REVOKED, "operator:0")])
            accounts.set_password_hash(c, account.id, "x" * 5000, float(n))  # some bulk, so that it checkpoints
        os.write(1, f"ended {added.id}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
