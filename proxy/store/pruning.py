"""What the portal's tables forget, so that each of them stays bounded."""

from __future__ import annotations

from sqlalchemy import Connection

from proxy.store import challenges, links, notices, portal_sessions, sent_codes, throttles


def prune(c: Connection, now: float) -> int:
    """Forget what is over in all of them; returns how many rows. Once a minute keeps it to a few milliseconds."""
    tables = (challenges, links, notices, portal_sessions, sent_codes, throttles)
    return sum(table.prune(c, now) for table in tables)
