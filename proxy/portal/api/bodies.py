"""What requests carry, typed and checked: unknown fields and wrong types are errors that name the place."""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

from proxy.admin.desk import Invalid
from proxy.domain.model import AccountKind, MfaState

MAX_BODY = 64 * 1024 * 1024
"""Bytes; a CSV of 500,000 accounts is about half of it."""


class Body(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # some hold secrets


class NewAccount(Body):
    account: str
    kind: str = AccountKind.PERSON.value
    aliases: list[str] = []
    backend_name: str | None = None
    name: str | None = None
    owner: str | None = None
    members: list[str] = []
    admin: bool = False
    password: str | None = None


class AccountChange(Body):
    """Exactly one of these."""

    enabled: bool | None = None
    password: str | None = None


class Aliases(Body):
    add: list[str] = []
    remove: list[str] = []


class Members(Body):
    members: list[str]


class ImportFile(Body):
    name: str
    """For error texts."""
    text: str
    dry_run: bool = False


class MfaChange(Body):
    state: MfaState
    accounts: list[str] = []
    all: bool = False
    """Every person; then `accounts` is empty."""
    dry_run: bool = False


class Expiring(Body):
    """A code or link to be made."""

    expires: str | None = None


class Bypass(Body):
    minutes: int


class NewAppPassword(Body):
    name: str
    scopes: list[str] = []
    networks: list[str] = []
    expires: str | None = None
    owner: str | None = None


class Revoke(Body):
    """`account` with `names` or `all`; or `unused_for` alone."""

    account: str | None = None
    names: list[str] = []
    all: bool = False
    unused_for: str | None = None


class Rename(Body):
    account: str
    app_password: str
    name: str


class Narrow(Body):
    """What is left out stays."""

    account: str
    app_password: str
    scopes: list[str] = []
    networks: list[str] = []
    expires: str | None = None


class CutSessions(Body):
    account: str | None = None
    app_password: str | None = None
    id: str | None = None


class Rehearsal(Body):
    login_name: str
    secret: str
    protocol: Literal["imap", "smtp", "ldap"] = "imap"
    address: str = "::1"


B = TypeVar("B", bound=Body)


async def body(request: Request, kind: type[B]) -> B:
    """The request's JSON body. Invalid names the place that is wrong, and repeats no secret."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY:
            raise HTTPException(413, f"a request takes at most {MAX_BODY} bytes")
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"the request's body is wrong: {error}") from None
