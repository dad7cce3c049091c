from __future__ import annotations

import pytest

from proxy.domain.values import value


@value
class Point:
    x: int
    y: int = 0


def test_values_are_equal_and_hash_alike_when_their_fields_do() -> None:
    assert Point(1) == Point(1, 0) != Point(1, 2)
    assert {Point(1): "a"}[Point(1, 0)] == "a"


def test_they_hold_their_fields_and_nothing_else() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 2  # type: ignore[attr-defined]
