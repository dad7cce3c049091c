"""Tables for people, JSON for scripts. The home of rich."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def echo_json(value: object) -> None:
    """A whole document on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def echo_json_line(value: object) -> None:
    """One object a line."""
    click.echo(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def only(row: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """The documented fields of a row, in their order: what the API adds later does not change what scripts get."""
    return {field: row[field] for field in fields}


def note(text: str) -> None:
    """Something for the person, on stderr: stdout can be piped."""
    click.echo(text, err=True)


def safe(text: str) -> str:
    """Text for a terminal: control and direction characters become visible (threats 46)."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Print rows under headings; `empty` to stderr when there are none."""
    if not rows:
        note(empty)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    wide = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        wide.add_column(heading, no_wrap=not sys.stdout.isatty())
    for row in rows:
        wide.add_row(*(Text(safe(cell)) for cell in row))
    # In a pipe nothing is wrapped or cut: what reads it has no width.
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 4096)
    with console.capture() as printed:
        console.print(wide, crop=False)
    for line in printed.get().splitlines():
        click.echo(line.rstrip())


def fields(pairs: Sequence[tuple[str, str]]) -> None:
    """One thing, a line per property."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        click.echo(f"{name:<{width}}  {safe(value)}")


_UNITS = (("y", 31536000), ("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def when(stamp: str | None, never: str = "never") -> str:
    """`3 h ago`, `in 89 d`, `just now`."""
    if stamp is None:
        return never
    distance = datetime.fromisoformat(stamp).timestamp() - time.time()
    for unit, seconds in _UNITS:
        if abs(distance) >= seconds:
            amount = f"{abs(distance) / seconds:.0f} {unit}"
            return f"in {amount}" if distance > 0 else f"{amount} ago"
    return "just now"


def clock(stamp: str) -> str:
    """A moment in local time: `2026-11-24 05:29:00`."""
    return datetime.fromisoformat(stamp).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size(count: int) -> str:
    """Bytes, as people read them."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def counted(count: int, one: str, several: str | None = None) -> str:
    """`1 session`, `3 sessions`."""
    return f"{count} {one if count == 1 else several or one + 's'}"
