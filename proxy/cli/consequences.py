"""What a revoke brought with it, in words."""

from __future__ import annotations

from typing import Any

from proxy.cli.show import counted, note


def consequences(done: dict[str, Any]) -> str:
    """2 app passwords revoked, 3 sessions cut, 1 chat user kicked."""
    parts = [
        f"{counted(len(done['revoked']), 'app password')} revoked",
        f"{counted(done['sessions_cut'], 'session')} cut",
    ]
    chat = [row for row in done.get("chat", []) if row["problem"] is None]
    if chat:
        known = [row["users"] for row in chat if row["users"] is not None]
        if known:
            parts.append(f"{counted(sum(known), 'chat user')} kicked")
        told = len(chat) - len(known)
        if told:
            parts.append(f"{counted(told, 'chat server')} told")
    return ", ".join(parts)


def note_what_is_left(done: dict[str, Any]) -> None:
    """A line for each service where chat sessions may go on."""
    for row in done.get("chat", []):
        if row["problem"] is not None:
            note(f"{row['service']}: {row['problem']}.")
