from __future__ import annotations

import pytest

from proxy.portal import texts
from proxy.portal.moments import tell

NOW = 1_790_000_000.0
TEXTS = texts.load()


@pytest.mark.parametrize(
    ("distance", "says"),
    [
        (0, "just now"),
        (-59, "just now"),
        (30, "in less than a minute"),
        (-60, "1 minute ago"),
        (-59 * 60, "59 minutes ago"),
        (90 * 60, "in 2 hours"),
        (-3600, "1 hour ago"),
        (-26 * 3600, "1 day ago"),
        (86400, "in 1 day"),
        (-44 * 86400, "44 days ago"),
        (-45 * 86400, "2026-08-07"),
        (400 * 86400, "2027-10-26"),
    ],
)
def test_near_moments_are_told_by_their_distance(distance: float, says: str) -> None:
    assert tell(TEXTS["en"], NOW, NOW + distance).text == says


def test_a_moment_is_exact_for_who_asks() -> None:
    moment = tell(TEXTS["es"], NOW, "2026-09-21T12:13:20.000Z")
    assert moment == ("hace 2 horas", "2026-09-21T12:13:20+00:00", "2026-09-21 12:13 UTC")
    assert tell(TEXTS["en"], NOW, NOW).iso == "2026-09-21T14:13:20+00:00"
