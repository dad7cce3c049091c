"""What every use case works with: the desk, and who sits at it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypedDict

from proxy.config.settings import Config
from proxy.link.messages import LiveSession

if TYPE_CHECKING:
    from proxy.domain.model import Account
    from proxy.domain.session_table import SessionTable
    from proxy.store.threads import StoreThreads


class ActorKind(StrEnum):
    """What gives an actor the right to act."""

    OPERATOR = "operator"
    """Whoever may open admin.sock: root and sidegate's own group on this host."""
    PERSON = "person"
    """Somebody signed in at the portal, which asks in their name: what is their own, and no more."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for a change; written into the audit record."""

    who: str
    """For people: `operator:1000` (a uid of the host), `person:alice@example.org`; never empty."""
    kind: ActorKind = ActorKind.OPERATOR
    account: Account | None = None
    """Of a person: their account, enabled when this was made."""


class ChatKick(TypedDict):
    """What became of the chat sessions of one service (config `service_accounts`)."""

    service: str
    """Its DN."""
    users: int | None
    """Chat users that were thrown out; None: not known."""
    problem: str | None
    """For people: why there may still be some."""


class Kick(Protocol):
    """Has chat servers throw out these accounts; `known` are those that the store may not have any more."""

    def __call__(self, account_ids: Collection[int], known: Collection[Account] = ()) -> Awaitable[list[ChatKick]]: ...


class Cut(Protocol):
    """Ends sessions everywhere; selectors add up. Returns how many were live, once the workers confirmed it.

    StillOpen if one neither confirms nor can be ended. `revoked`: what let them in holds no more.
    """

    def __call__(
        self,
        *,
        app_passwords: Sequence[int] = (),
        accounts: Sequence[int] = (),
        sessions: Sequence[str] = (),
        revoked: bool = True,
    ) -> Awaitable[int]: ...


@dataclass(slots=True)
class Desk:
    """Built once by the core; the first argument of every use case."""

    store: StoreThreads
    config: Config
    peppers: dict[int, bytes] = field(repr=False)
    """By version; the highest mints."""
    node: str
    clock: Callable[[], float]
    """Seconds since the epoch."""
    randbelow: Callable[[int], int]
    sessions: SessionTable
    changed: Callable[[int], None]
    """An account, or one of its app passwords, is no longer what it was: drop what is remembered about it."""
    cut: Cut
    kick: Kick
    census: Callable[[], Awaitable[list[LiveSession]]]
    """Every live session with its bytes so far, as the workers count them now."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the core stops: what would go on for ever ends."""


class Refusal(Exception):
    """A use case says no. `code` is for programs and stable, the text for people: what, where, what to do next."""

    code = "refused"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class NotFound(Refusal):
    """Nothing of that name is here."""

    code = "not_found"


class Forbidden(Refusal):
    """The actor has no right to it; whether it exists is not said."""

    code = "forbidden"


class Conflict(Refusal):
    """It would collide with what is here already."""

    code = "conflict"


class StillOpen(Refusal):
    """What was asked for is done and durable, but sessions that it must end could not be ended. Trying again helps."""

    code = "still_open"


class Invalid(Refusal):
    """A value that cannot be meant; the text names it."""

    code = "invalid"
