"""A small valid configuration, and how tests break it."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config import Config, ConfigErrors, load

VALID = """\
default_domain: example.org
tls: {certificate: /etc/x/chain.pem, key: /etc/x/key.pem}
portal: {url: "https://login.example.org"}
fronts:
  - {protocol: imap, listen: "[::]:993", tls: implicit, backend: mail}
  - {protocol: smtp, listen: "[::]:465", tls: implicit, backend: submission}
backends:
  mail:
    protocol: imap
    address: "10.0.0.5:143"
    tls: starttls
    login: {strategy: dovecot_token, issuer: sidegate, client_id: sidegate}
  submission:
    protocol: smtp
    address: "127.0.0.1:10587"
    tls: none
    login: {strategy: xclient}
"""


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "sidegate.yaml"
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def loaded(folder: Path, text: str = VALID, *, certificates: bool = False, secrets: bool = False) -> Config:
    return load(write(folder, text), certificates=certificates, secrets=secrets)


def changed(old: str, new: str) -> str:
    assert VALID.count(old) == 1, old
    return VALID.replace(old, new)


def mistakes(
    folder: Path, text: str, *, certificates: bool = False, secrets: bool = True, mode: int = 0o600
) -> list[str]:
    """The errors of `text` as printed, without the file's name."""
    path = write(folder, text, mode)
    with pytest.raises(ConfigErrors) as caught:
        load(path, certificates=certificates, secrets=secrets)
    lines = str(caught.value).split("\n")
    assert lines == [str(error) for error in caught.value.errors]
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]
