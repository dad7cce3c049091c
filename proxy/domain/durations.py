"""Lengths of time as people write them, in the configuration and on the command line."""

from __future__ import annotations

import re

_WRITTEN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def seconds(written: str) -> float | None:
    """Of `250ms`, `30s`, `1.5m`, `12h`, `90d`, `2w`; None for anything else."""
    match = _WRITTEN.fullmatch(written)
    return None if match is None else float(match[1]) * _SECONDS[match[2]]
