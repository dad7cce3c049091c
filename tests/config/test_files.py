"""Files that the configuration names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxy.config import files
from proxy.config.reader import Bad


def secret(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(Bad) as caught:
        files.read_secret(path)
    return str(caught.value)


@pytest.mark.parametrize(("content", "expected"), [(b"x y\n", "x y"), (b" x \r\n", " x "), ("ü".encode(), "ü")])
def test_a_secret_loses_its_line_end_and_nothing_else(tmp_path: Path, content: bytes, expected: str) -> None:
    assert files.read_secret(secret(tmp_path, content)) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n", "is empty; write the secret into it"),
        (b"a\nb\n", "holds more than one line, or a control character; keep the secret alone in it"),
        (b"a\0b", "holds more than one line, or a control character; keep the secret alone in it"),
        (b"\xff", "is not UTF-8 text"),
        (b"a" * 5000, "is longer than 4096 bytes"),
    ],
)
def test_what_is_no_secret(tmp_path: Path, content: bytes, message: str) -> None:
    path = secret(tmp_path, content)
    assert refusal(path) == f"{path} {message}"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_secret_that_others_may_read(tmp_path: Path, mode: int) -> None:
    path = secret(tmp_path, b"x", mode)
    assert refusal(path) == f"{path} may be read by others than its owner (mode {mode:04o}); run: chmod 600 {path}"


def test_a_folder_or_a_pipe_is_no_secret(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert refusal(tmp_path) == f"{tmp_path} is not a file"
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert refusal(tmp_path / "pipe") == f"{tmp_path}/pipe is not a file"


def test_credentials_of_systemd_are_not_asked_for_their_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = secret(tmp_path, b"x", 0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert files.credential("secret") == path
    assert files.credential("other") is None
    assert files.read_secret(path) == "x"


def test_a_ca_is_certificates(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(Bad, match="holds a certificate that cannot be loaded"):
        files.check_ca(path)
    path.write_text("nothing")
    with pytest.raises(Bad, match="holds no certificate in PEM form"):
        files.check_ca(path)
