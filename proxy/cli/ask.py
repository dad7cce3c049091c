"""Questions before bulk changes, and secrets that are typed or piped."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from proxy.cli.base import Failure

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would change and change nothing.")


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if the person agrees, or said --yes. Where nobody can be asked, that is a refusal."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure(f"{question} Nobody can be asked here: add --yes to go on, or --dry-run to see what it would do")
    if not click.confirm(question, err=True):
        raise Failure("nothing was changed")


def read_secret(file: str | None, prompt: str, *, twice: bool = False) -> str:
    """A secret from a file, from stdin (`-`, or when it is piped), or typed unseen: one line, without its end."""
    if file not in (None, "-"):
        assert file is not None
        try:
            text = Path(file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise Failure(f"{file} cannot be read: {reason}") from None
    elif file == "-" or not sys.stdin.isatty():
        text = sys.stdin.read(65536)
    else:
        typed = click.prompt(prompt, hide_input=True, err=True, confirmation_prompt=twice)
        text = str(typed)
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret or "\n" in secret:
        raise Failure("a secret is one line, and not empty")
    return secret


def read_names(file: str) -> list[str]:
    """Names from a file or stdin (`-`), one a line; empty lines and those that begin with # are nothing."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Failure(f"{file} cannot be read: {reason}") from None
    names = [line.strip() for line in text.splitlines()]
    return [name for name in names if name and not name.startswith("#")]
