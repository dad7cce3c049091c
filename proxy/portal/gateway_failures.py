"""A text message or a call that was not sent: into the audit, and the admins are told, once an hour of each kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy import logs
from proxy.domain.audit import AuditEvent, Event
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.notices import Kind
from proxy.factors.phone_codes import Failed
from proxy.notices.telling import tell
from proxy.store import accounts, audit, notices

if TYPE_CHECKING:
    from sqlalchemy import Connection

HOUR = 3600.0
LOOKED_AT = 50
"""Notices, the newest: nobody is told more within an hour."""

_log = logs.get("portal")


def noting(node: str, clock: Callable[[], float]) -> Failed:
    """For factors.registry.make."""

    def failed(c: Connection, kind: FactorKind, reason: str) -> None:
        now = clock()
        _log.error("code not sent", factor=kind.value, reason=reason)
        audit.append(c, node, [AuditEvent(now, Event.GATEWAY_FAILED, "sidegate", detail=f"{kind}: {reason}")])
        facts = {"gateway": kind.value, "reason": reason}
        for admin in accounts.admins(c):
            told = [one for one in notices.last(c, admin.id, LOOKED_AT) if one.kind == Kind.GATEWAY_FAILING]
            if not any(one.text.get("gateway") == kind.value and one.created > now - HOUR for one in told):
                tell(c, admin, Kind.GATEWAY_FAILING, facts, now)

    return failed
