"""Whose fault a failed backend login is, for people: the true reason, and what to do about it."""

from __future__ import annotations

from proxy.domain.verdicts import Reason
from proxy.wire.events import Fault

FAULT_REASONS: dict[str, Reason] = {
    Fault.CONNECT: Reason.BACKEND_UNAVAILABLE,
    Fault.PROTOCOL: Reason.BACKEND_UNAVAILABLE,
    Fault.TEMPORARY: Reason.BACKEND_UNAVAILABLE,
    Fault.CREDENTIAL: Reason.BACKEND_REFUSED_US,
    Fault.UNKNOWN_ACCOUNT: Reason.BACKEND_UNKNOWN_ACCOUNT,
    Fault.SERVICE: Reason.SERVICE_REFUSED,
}

CURES: dict[str, str] = {
    Fault.CONNECT: "see that the server runs, listens there, and shows a certificate that backends.{backend}.ca signed",
    Fault.PROTOCOL: "see that backends.{backend}.protocol and tls are what the server speaks at that address",
    Fault.TEMPORARY: "the server says that it cannot now; its own log says why",
    Fault.CREDENTIAL: "see that backends.{backend}.login is what the server expects (docs/backends)",
    Fault.UNKNOWN_ACCOUNT: "make {account} known there, or correct its backend name (or backends.{backend}.username)",
}
"""By Fault; filled with `backend` and `account`."""
