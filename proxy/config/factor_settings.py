"""Typed settings of `factors`, as settings.py has the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from proxy.domain.secret import Secret


@dataclass(frozen=True, slots=True)
class Push:
    """The authenticator on the phone."""

    contact: str = ""
    """Whom the operators of push services may turn to: mailto: or https:."""
    services: tuple[str, ...] = ()
    """Origins of push services besides those that browsers come with."""


DEFAULT_DAILY_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Webhook:
    """Who is asked to send a text message, or to call."""

    url: str
    secret: Secret | None = None
    """As domain/webhooks.py takes it; None: secrets are not read."""
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class PhoneCodes:
    """Codes that are sent to phone numbers, by a webhook or through Apprise."""

    countries: tuple[str, ...]
    """ISO 3166 letters of the countries whose numbers are taken, the first one's without a country code."""
    daily_limit: int = DEFAULT_DAILY_LIMIT
    webhook: Webhook | None = None
    apprise: Secret | None = None
    """A URL of Apprise's; `{to}` in it stands for the number. None: none, or secrets are not read."""


@dataclass(frozen=True, slots=True)
class Factors:
    """Settings of second factors; those that need none are always there."""

    push: Push = field(default_factory=Push)
    sms: PhoneCodes | None = None
    """None: not offered."""
    call: PhoneCodes | None = None
