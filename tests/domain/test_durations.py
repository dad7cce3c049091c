"""The one grammar of lengths of time."""

from __future__ import annotations

import pytest

from proxy.domain import durations


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("250ms", 0.25),
        ("0s", 0.0),
        ("45s", 45.0),
        ("1.5m", 90.0),
        ("12h", 43200.0),
        ("90d", 7776000.0),
        ("2w", 1209600.0),
    ],
)
def test_lengths_of_time(written: str, seconds: float) -> None:
    assert durations.seconds(written) == seconds


@pytest.mark.parametrize(
    "written", ["", "90", "d", "-1d", "90 d", "1y", "90D", "1.d", "1.2345s", "1234567890s", "٣d", "90d\n"]
)
def test_what_is_none(written: str) -> None:
    assert durations.seconds(written) is None
