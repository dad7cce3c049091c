"""The files a configuration names: whether they can be read, who else can, and whether they are what they should be."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from proxy.config.reader import Bad

MAX_SECRET_BYTES = 4096
_OTHERS = 0o077


def read_secret(path: Path) -> str:
    """The one line of a file that only its owner may read; otherwise Bad, whose message shows nothing of it."""
    private(path)
    raw = _read(path, MAX_SECRET_BYTES)
    try:
        secret = raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise Bad(f"{path} is not UTF-8 text") from None
    if not secret:
        raise Bad(f"{path} is empty; write the secret into it")
    if not secret.isprintable():
        raise Bad(f"{path} holds more than one line, or a control character; keep the secret alone in it")
    return secret


def private(path: Path) -> None:
    """Bad when a group or the world may read `path`.

    Not asked of systemd's credentials: the kernel keeps them to the service, and an access list that names the
    service's user shows as group permission.
    """
    credentials = credentials_directory()
    if credentials is not None and path.is_relative_to(credentials):
        return
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise Bad(_unreadable(path, error)) from None
    if mode & _OTHERS:
        raise Bad(f"{path} may be read by others than its owner (mode {mode & 0o777:04o}); run: chmod 600 {path}")


def credential(key: str) -> Path | None:
    """The file that systemd's LoadCredential= left for the secret at path `key`, or None."""
    directory = credentials_directory()
    return directory / key if directory is not None and (directory / key).is_file() else None


def credentials_directory() -> Path | None:
    value = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return Path(value) if value.startswith("/") else None


def check_certificate(certificate: Path) -> None:
    _pem(certificate, b"-----BEGIN CERTIFICATE-----", "certificate")


def check_key(key: Path) -> None:
    private(key)
    _pem(key, b"PRIVATE KEY-----", "private key")


def check_pair(certificate: Path, key: Path) -> None:
    """Both were found readable; now whether they load, together."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An encrypted key would ask for its password on the terminal; the empty one makes it fail instead.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            raise Bad(f"{key} is not the key of {certificate}; name the pair that was made together") from None
        raise Bad(f"{certificate} and {key} cannot be loaded as PEM; the key must not be encrypted") from None
    except OSError as error:
        raise Bad(_unreadable(certificate, error)) from None


def check_ca(path: Path) -> None:
    """Certificates a backend's may be signed by."""
    _pem(path, b"-----BEGIN CERTIFICATE-----", "certificate")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (ssl.SSLError, OSError):
        raise Bad(f"{path} holds a certificate that cannot be loaded") from None


def _pem(path: Path, marker: bytes, what: str) -> None:
    if marker not in _read(path, 1024 * 1024):
        raise Bad(f"{path} holds no {what} in PEM form (no line with {marker.decode()})")


def _read(path: Path, limit: int) -> bytes:
    try:
        # Not a FIFO or device: opening one could wait for ever.
        if path.exists() and not path.is_file():
            raise Bad(f"{path} is not a file")
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise Bad(_unreadable(path, error)) from None
    if len(raw) > limit:
        raise Bad(f"{path} is longer than {limit} bytes")
    return raw


def _unreadable(path: Path, error: OSError) -> str:
    return f"{path} cannot be read: {error.strerror or 'not a path'}"
