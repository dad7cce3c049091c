"""Factors: one kind a file, behind one contract. The portal's pages know the contract and no kind.

registry.py   the kinds this configuration offers
keeping.py    what was registered, kept and recorded
qr.py         pictures to scan
phone_codes.py  codes to phone numbers (phone_numbers.py), which gateways.py, webhook.py and by_apprise.py send
sealing.py    what factors keep that only the portal may read
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from proxy.domain.factor_kinds import FactorKind
from proxy.domain.messages import message
from proxy.domain.model import Account
from proxy.store.factors import FactorRow, NewFactor

__all__ = ["Begun", "Factor", "FactorRow", "Failing", "NewFactor", "Sends", "TooMany", "message"]


class TooMany(str):
    """What a `finish` says when nothing was looked at, because too much was wrong before."""


class Failing(str):
    """What is said when something of ours does not work now."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A registration or a challenge that waits for its answer."""

    page: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """For the page's template; may hold what is shown once."""
    notes: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What `finish…` needs, JSON; the portal session keeps it. Secrets in it are sealed."""
    problem: str = ""
    """A message id: what was wrong before."""


class Factor(Protocol):
    """One kind of factor. Answers are forms as they were sent: checked here, never trusted.

    A text returned by `finish…` says what was wrong, for the person: a message id of the catalogue.
    """

    kind: FactorKind

    async def begin_registration(self, account: Account, name: str) -> Begun:
        """Make what a new factor of this name starts with. Nothing is kept yet."""
        ...

    async def resume_registration(self, account: Account, begun_notes: Mapping[str, Any]) -> Begun:
        """The page again, after a wrong answer or a reload: what the person may have stored already stays as it was."""
        ...

    async def finish_registration(
        self, account: Account, begun_notes: Mapping[str, Any], answer: Mapping[str, str]
    ) -> NewFactor | Begun | str:
        """The proven factor, for keeping.keep. The proof itself must not count again: see NewFactor.counter. Begun: the
        registration goes on with another page."""
        ...

    async def begin(self, account: Account, rows: Sequence[FactorRow], session_hash: bytes) -> Begun:
        """Challenge a person who has these factors of this kind."""
        ...

    async def finish(
        self, account: Account, rows: Sequence[FactorRow], begun_notes: Mapping[str, Any], answer: Mapping[str, str]
    ) -> FactorRow | str:
        """The factor that was proven. What may count once is counted in the store before this returns."""
        ...


@runtime_checkable
class Sends(Protocol):
    """A factor that sends something, when it is asked to and never before."""

    async def send(
        self, account: Account, rows: Sequence[FactorRow], session_hash: bytes, answer: Mapping[str, str]
    ) -> str | None:
        """For the challenge of this session. A message id: what stood in the way."""
        ...
