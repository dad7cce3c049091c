"""docs/threats.md names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_attack_is_tried_by_a_test_that_is_there() -> None:
    rows = [line for line in (ROOT / "docs" / "threats.md").read_text().splitlines() if line.startswith("| ")]
    named = [re.findall(r"`(tests/[a-z_/]+\.py)::(test_\w+)`", row) for row in rows]
    headings = [row for row, tests in zip(rows, named, strict=True) if not tests]
    assert [row.split(" | ")[0] for row in headings] == ["| attack", "| attack"]
    missing = [
        f"{path}::{name}"
        for tests in named
        for path, name in tests
        if not (ROOT / path).exists() or f"def {name}(" not in (ROOT / path).read_text()
    ]
    assert missing == []
