"""Who else may use the store's file: nobody, or, where the portal has a user of its own, that one by a shared group."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from proxy.config import Config

SHARED_FOLDER = 0o3770
"""Of the state directory that is shared: what is made there is the group's too, and nobody removes another's."""


def problems(config: Config) -> Iterator[tuple[str, str]]:
    """What is wrong, and what to do; nothing where the store is no file, or not there yet."""
    scheme, _, name = config.store.partition(":")
    path, user = Path(name), config.portal.user
    if scheme != "sqlite" or not os.access(path.parent, os.X_OK) or not path.exists():
        return
    for file in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        mode = stat.S_IMODE(file.stat().st_mode) if file.exists() else 0o600 if user is None else 0o660
        if mode & 0o007:
            yield f"{file} is open to everybody (mode {mode:04o})", f"chmod o-rwx {file}"
        elif user is None and mode & 0o070:
            yield f"{file} is open to its group (mode {mode:04o}), and no portal.user shares it", f"chmod 600 {file}"
        elif user is not None and mode & 0o060 != 0o060:
            yield f"{file} is closed to portal.user (mode {mode:04o})", "stop sidegate and run: sidegate migrate"
    if user is not None:
        yield from _group(path.parent, path, user)


def _group(folder: Path, path: Path, user: str) -> Iterator[tuple[str, str]]:
    shared, account = folder.stat(), pwd.getpwnam(user)
    group = _name(shared.st_gid)
    if shared.st_gid not in os.getgrouplist(user, account.pw_gid):
        yield (
            f"{user} is no member of group {group}, which shares the store",
            f"usermod -aG {group} {user}",
        )
    if path.stat().st_gid != shared.st_gid:
        yield f"{path} is not of group {group}", f"chgrp {group} {path}"
    if (mode := stat.S_IMODE(shared.st_mode)) != SHARED_FOLDER:
        yield f"{folder} has mode {mode:04o}; portal.user shares it", f"chmod {SHARED_FOLDER:o} {folder}"


def _name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
