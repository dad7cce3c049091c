"""Files in `state_dir/keys`: made once, never replaced, readable by one user alone. And the portal's key among them.

    pepper-N  signing-N.pem    the core's (backends/keys.py)
    portal-1                   the portal's: 32 random bytes, hexadecimal; seals factors, keys the hashes of short codes

The core does not read the portal's key, and the portal reads nothing else here. Where the portal has a user of its own,
systemd hands it the key as the credential `portal-1`.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from proxy.config import files

FOLDER = "keys"
KEY_BYTES = 32
PORTAL = "portal-1"


class KeysError(Exception):
    """Keys are missing, unreadable, exposed or damaged; exit status 78. The text says which file and what to do."""


def create_portal_key(state_dir: Path) -> bool:
    """Make the portal's key if it is missing; False when it was there. OSError if the folder cannot be written."""
    path = folder(state_dir) / PORTAL
    if path.exists():
        return False
    write(path, new_key())
    return True


def portal_key(state_dir: Path) -> bytes:
    """The portal's key. Raises KeysError."""
    return hex_key(files.credential(PORTAL) or state_dir / FOLDER / PORTAL)


def folder(state_dir: Path) -> Path:
    """Where keys are, made if need be (0700)."""
    path = state_dir / FOLDER
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def new_key() -> bytes:
    """The content of a new key's file."""
    return secrets.token_hex(KEY_BYTES).encode("ascii") + b"\n"


def hex_key(path: Path) -> bytes:
    """The key in a file. Raises KeysError."""
    try:
        key = bytes.fromhex(private(path).decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) < KEY_BYTES:
        raise KeysError(f"{path} is damaged: {2 * KEY_BYTES} hexadecimal digits are expected; restore it")
    return key


def private(path: Path) -> bytes:
    """Contents of a file that nobody but its owner may read. Raises KeysError."""
    credentials = files.credentials_directory()
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            # systemd lets the service's user in by an access list, which shows as group permission.
            if mode & 0o077 and not (credentials is not None and path.is_relative_to(credentials)):
                raise KeysError(
                    f"{path} may be read by others than its owner (mode {mode & 0o777:04o}); run: chmod 600 {path}"
                )
            return file.read(64 * 1024)
    except FileNotFoundError:
        raise KeysError(f"{path} is not there; run: sidegate init") from None
    except OSError as error:
        raise KeysError(f"{path} cannot be read: {error.strerror}") from None


def write(path: Path, content: bytes) -> None:
    """Durably, and never over what is there."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
