"""The portal's key; what keys have in common is in tests/backends/test_keys.py too."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from proxy import keyfiles
from proxy.backends import keys
from proxy.keyfiles import KeysError, portal_key


def test_made_once_private_and_beside_the_cores(tmp_path: Path) -> None:
    assert keyfiles.create_portal_key(tmp_path)
    path = tmp_path / "keys" / "portal-1"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    key = portal_key(tmp_path)
    assert len(key) == 32
    assert not keyfiles.create_portal_key(tmp_path)
    assert portal_key(tmp_path) == key
    keys.create(tmp_path)
    core = keys.load(tmp_path)
    assert list(core.peppers) == [1]
    assert key not in core.peppers.values()
    assert portal_key(tmp_path) == key


def test_missing_exposed_and_damaged_are_named(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match=f"{tmp_path}/keys/portal-1 is not there; run: sidegate init"):
        portal_key(tmp_path)
    keyfiles.create_portal_key(tmp_path)
    path = tmp_path / "keys" / "portal-1"
    path.chmod(0o640)
    with pytest.raises(KeysError, match=f"run: chmod 600 {path}"):
        portal_key(tmp_path)
    path.chmod(0o600)
    path.write_text("abcd\n")
    with pytest.raises(KeysError, match="portal-1 is damaged: 64 hexadecimal digits are expected"):
        portal_key(tmp_path)


def test_systemd_hands_it_to_a_portal_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyfiles.create_portal_key(tmp_path / "state")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "portal-1").write_bytes(b"ab" * 32 + b"\n")
    os.chmod(credentials / "portal-1", 0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert portal_key(tmp_path / "state") == b"\xab" * 32
