"""What a person is told who has to wait before the next try."""

from __future__ import annotations

import math

from proxy.portal.web import Visit


def patience(visit: Visit, seconds: float) -> tuple[str, dict[str, str]]:
    """The sentence, and the header for programs (RFC 9110 section 10.2.3)."""
    whole = max(1, math.ceil(seconds))
    if whole < 90:
        text = visit.texts.count(
            "Too many tries. Wait %(num)s second, then try again.",
            "Too many tries. Wait %(num)s seconds, then try again.",
            whole,
        )
    else:
        text = visit.texts.count(
            "Too many tries. Wait %(num)s minute, then try again.",
            "Too many tries. Wait %(num)s minutes, then try again.",
            math.ceil(whole / 60),
        )
        text += " " + visit.say(
            "On a device that you have signed in with before, or with a passkey, you need not wait."
        )
    return text, {"Retry-After": str(whole)}
