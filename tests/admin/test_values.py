from __future__ import annotations

import pytest

from proxy.admin import values
from proxy.admin.desk import Invalid
from proxy.domain.model import Protocol


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("30m", 1800), ("12h", 43200), ("1.5h", 5400), ("90d", 7776000), ("2w", 1209600)]
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert values.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "d", "0d", "-1d", "90 d", "1y", "٣d"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(Invalid, match="such as 90d"):
        values.duration(text)


def test_a_century_is_the_longest() -> None:
    assert values.duration("36500d") == values.LONGEST
    for text in ("36501d", "999999w"):
        with pytest.raises(Invalid, match="at most 36500d"):
            values.expiry(text, 0.0)


def test_moments_ahead_and_back() -> None:
    now = 1_000_000_000.0
    assert values.expiry("1h", now) == now + 3600
    assert values.since("1h", now) == now - 3600
    assert values.since("2001-09-09T01:46:40Z", now) == now
    assert values.since("2001-09-09", now) == 999_993_600.0


def test_networks_are_canonical_and_each_once() -> None:
    assert values.networks(["2001:DB8::/32", "192.0.2.7", "192.0.2.7/32"]) == ("2001:db8::/32", "192.0.2.7/32")
    with pytest.raises(Invalid, match="at most 32"):
        values.networks(f"10.0.{n}.0/24" for n in range(33))


def test_scopes() -> None:
    assert values.scopes([" IMAP", "ldap"]) == {Protocol.IMAP, Protocol.LDAP}
    with pytest.raises(Invalid, match="at least one"):
        values.scopes([])
