"""Moments as people say them. The server knows no time zone of theirs: what is near is told by its distance."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from proxy.portal.texts import Texts

_FAR = 45 * 86400.0
"""Seconds; beyond that a date says more than a number of days."""


class Moment(NamedTuple):
    """What a template makes a <time> of."""

    text: str
    iso: str
    full: str
    """In UTC, to the minute: shown when one asks for it."""


def tell(texts: Texts, now: float, then: float | str) -> Moment:
    """`then`: seconds since the epoch, or as the API writes them."""
    at = datetime.fromisoformat(then) if isinstance(then, str) else datetime.fromtimestamp(then, UTC)
    at = at.astimezone(UTC)
    full = at.strftime("%Y-%m-%d %H:%M UTC")
    return Moment(_distance(texts, at.timestamp() - now) or at.strftime("%Y-%m-%d"), at.isoformat("T", "seconds"), full)


def _distance(texts: Texts, seconds: float) -> str | None:
    past, length = seconds <= 0, abs(seconds)
    if length >= _FAR:
        return None
    if length >= 86400:
        number = round(length / 86400)
        if past:
            return texts.count("%(num)s day ago", "%(num)s days ago", number)
        return texts.count("in %(num)s day", "in %(num)s days", number)
    if length >= 3600:
        number = round(length / 3600)
        if past:
            return texts.count("%(num)s hour ago", "%(num)s hours ago", number)
        return texts.count("in %(num)s hour", "in %(num)s hours", number)
    if length >= 60:
        number = round(length / 60)
        if past:
            return texts.count("%(num)s minute ago", "%(num)s minutes ago", number)
        return texts.count("in %(num)s minute", "in %(num)s minutes", number)
    return texts.say("just now") if past else texts.say("in less than a minute")
