"""Secrets of a section: written into it, in a file that it names, or given by systemd."""

from __future__ import annotations

from collections.abc import Callable

from proxy.config import files, values
from proxy.config.document import Scalar
from proxy.config.reader import Bad, Section
from proxy.domain.secret import Secret

_OTHERS = 0o077


def read(
    here: Section, key: str, check: Callable[[str], None] = lambda secret: None, *, secrets: bool
) -> Secret | None:
    """From `KEY`, else `KEY_file`, else systemd's credential named like the key's path. None without `secrets`.

    `check` raises Bad, with no secret in it, for one that cannot be meant.
    """

    def checked(secret: str) -> Secret:
        check(secret)
        return Secret(secret)

    in_file = f"{key}_file"
    if key in here and in_file in here:
        here.fail(in_file, f"stands beside {key}; keep one of the two")
    if key in here:
        _check_mode(here, key)
        return here.get(key, lambda scalar: checked(values.text(scalar)), None)

    def from_file(scalar: Scalar) -> Secret | None:
        path = values.absolute_path(scalar)
        return checked(files.read_secret(path)) if secrets else None

    if in_file in here:
        return here.get(in_file, from_file, None)
    path = files.credential(here.at(key))
    if path is None or not secrets:
        return None
    try:
        return checked(files.read_secret(path))
    except Bad as error:
        here.problems.add(here.mark, here.at(key), str(error))
        return None


def is_given(here: Section, key: str, *, secrets: bool) -> bool:
    """Whether `read` has something to read. What is nowhere may be a credential, which only the core gets."""
    return key in here or f"{key}_file" in here or files.credential(here.at(key)) is not None or not secrets


def _check_mode(here: Section, key: str) -> None:
    """A secret in the configuration itself wants that file to itself."""
    file = here.problems.file
    mode = file.stat().st_mode
    if mode & _OTHERS:
        message = f"is a secret in a file that others may read (mode {mode & 0o777:04o}); run: chmod 600 {file}"
        here.fail(key, f"{message}, or use {key}_file")
