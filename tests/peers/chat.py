"""What Prosody and ejabberd have in common: whom they ask about passwords, and running as a user of their own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

HOST = "chat.example.org"
"""The domain in people's addresses: alice@chat.example.org."""


@dataclass(frozen=True)
class Directory:
    """The LDAP server, or front, at 127.0.0.1 that a chat server asks: as `bind_dn` for the person's DN, then by that
    person's Bind."""

    port: int
    """For StartTLS."""
    ldaps_port: int
    ca: Path
    bind_dn: str
    password: str
    base: str
    uid: str = "uid"
    """The attribute that holds the local part of a chat user's address."""


def as_user(user: str, argv: list[str]) -> list[str]:
    """`argv`, run as `user` in the same process: neither server wants to be root."""
    return ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", *argv]


def private_copy(source: Path, folder: Path, user: str) -> Path:
    """A copy of `source` in `folder` that `user` owns and nobody else reads."""
    copy = folder / source.name
    shutil.copyfile(source, copy)
    copy.chmod(0o600)
    shutil.chown(copy, user, user)
    return copy
