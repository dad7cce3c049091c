"""Log lines of the core go where production's go, so that capsys sees them."""

from __future__ import annotations

import pytest

from proxy import logs


@pytest.fixture(autouse=True)
def _logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    logs.setup("info")
