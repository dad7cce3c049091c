"""What use cases answer with. Field names are the contract of `--json` (DESIGN section 7); times RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypedDict


class AccountView(TypedDict):
    """One row of `accounts list`."""

    id: int
    account: str
    kind: str
    login_names: list[str]
    mfa: str
    enabled: bool
    app_passwords: int
    """Live ones."""
    factors: list[str]
    last_sign_in: str | None


class AccountDetail(AccountView):
    """`accounts show`."""

    name: str | None
    backend_name: str | None
    admin: bool
    owner: str | None
    members: list[str]
    created: str


class LastUseView(TypedDict):
    time: str
    address: str
    protocol: str
    program: str | None


class AppPasswordView(TypedDict):
    """One row of `passwords list`."""

    id: int
    account: str
    owner: str | None
    """Address of the person who minted it; None once that person is removed."""
    name: str
    scopes: list[str]
    networks: list[str]
    created: str
    expires: str | None
    last_used: LastUseView | None
    sessions: int
    revoked: str | None
    """When it was revoked (a tombstone); an expired one keeps None, its `expires` is past."""


class CreatedView(AppPasswordView):
    """`passwords create`: the one time the secret is shown."""

    secret: str


class SessionView(TypedDict):
    """One row of `sessions list`."""

    id: str
    account: str
    app_password: str | None
    protocol: str
    client: str
    """address:port"""
    program: str | None
    backend: str
    started: str
    bytes_in: int
    """From the client."""
    bytes_out: int
    node: str


class AuditView(TypedDict):
    """One line of `audit --json`."""

    time: str
    event: str
    actor: str | None
    account: str | None
    app_password: str | None
    protocol: str | None
    network: str | None
    reason: str | None
    detail: str | None


class RefusalView(TypedDict):
    """One row of `why`."""

    time: str
    first: str
    """When the row's first try came; `count` tries up to `time`."""
    count: int
    protocol: str
    network: str
    program: str | None
    app_password: str | None
    reason: str
    meaning: str
    todo: str


def stamp(moment: float) -> str:
    """`2026-11-24T04:29:00.250Z`; always milliseconds, so that texts sort as times do."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stamp_or_none(moment: float | None) -> str | None:
    return None if moment is None else stamp(moment)
