import subprocess
import sys
import time
from pathlib import Path

from proxy.domain.audit import Event
from proxy.store import app_passwords, audit
from proxy.store.engine import Store

ROUNDS = 4
WRITES_FOR = 0.3
"""Seconds from the first acknowledged change to the kill."""


def acknowledged(url: str, round_number: int) -> list[str]:
    """Lines that a writer had written when it was killed in the middle of it."""
    command = [sys.executable, "-m", "tests.store.writer", url, str(round_number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as writer:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(WRITES_FOR)
        writer.kill()
        lines = (first + writer.stdout.read()).decode().split("\n")
    return lines[:-1]  # the last is empty, or cut by the kill


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(sqlite_file: Path) -> None:
    store = Store(f"sqlite:{sqlite_file}")
    lines: list[str] = []
    for round_number in range(ROUNDS):
        lines += acknowledged(f"sqlite:{sqlite_file}", round_number)
        with store.reading() as c:
            assert c.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            records = app_passwords.of_account(c, None)
            assert {f"added {r.id}" for r in records} >= {line for line in lines if line.startswith("added")}
            assert {f"ended {r.id}" for r in records if r.ended is not None} >= {
                line for line in lines if line.startswith("ended")
            }
            # A change and its audit record are both there or neither is.
            events = [record.event.event for record in audit.read(c, limit=10**6)]
            assert events.count(Event.APP_PASSWORD_CREATED) == len(records)
            assert events.count(Event.APP_PASSWORD_REVOKED) == sum(r.ended is not None for r in records)
            assert audit.verify(c) == []
    store.close()
    assert len(lines) > 10 * ROUNDS
