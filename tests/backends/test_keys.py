"""Pepper and signing key: made once, kept private, never replaced."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from proxy.backends import keys
from proxy.keyfiles import KeysError


def test_created_once_private_and_loaded(tmp_path: Path):
    assert keys.create(tmp_path) is True
    folder = tmp_path / "keys"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(os.listdir(folder)) == ["pepper-1", "signing-1.pem"]
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first = keys.load(tmp_path)
    assert list(first.peppers) == [1]
    assert len(first.peppers[1]) == 32
    assert first.signing.id == "signing-1"
    assert first.signing.public_pem.startswith("-----BEGIN PUBLIC KEY-----\n")

    assert keys.create(tmp_path) is False
    assert keys.load(tmp_path) == first


def test_what_is_missing_is_made_what_is_there_stays(tmp_path: Path):
    keys.create(tmp_path)
    before = keys.load(tmp_path)
    (tmp_path / "keys" / "signing-1.pem").unlink()
    assert keys.create(tmp_path) is True
    after = keys.load(tmp_path)
    assert after.peppers == before.peppers
    assert after.signing.public_pem != before.signing.public_pem


def test_every_pepper_verifies_the_newest_key_signs(tmp_path: Path):
    keys.create(tmp_path)
    folder = tmp_path / "keys"
    for source, target in (("pepper-1", "pepper-10"), ("signing-1.pem", "signing-2.pem")):
        (folder / target).touch(0o600)
        (folder / target).write_bytes((folder / source).read_bytes())
    (folder / "pepper-1.bak").write_text("not a key")
    loaded = keys.load(tmp_path)
    assert sorted(loaded.peppers) == [1, 10]
    assert loaded.signing.id == "signing-2"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660])
def test_a_key_that_others_may_read_is_an_error(tmp_path: Path, mode: int):
    keys.create(tmp_path)
    path = tmp_path / "keys" / "pepper-1"
    path.chmod(mode)
    with pytest.raises(
        KeysError, match=f"{path} may be read by others than its owner .mode 0{mode:o}.; run: chmod 600"
    ):
        keys.load(tmp_path)


def damaged_curve(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP384R1())
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "pepper-1").unlink(), "has no pepper; run: sidegate init"),
        (lambda folder: (folder / "signing-1.pem").unlink(), "has no signing key; run: sidegate init"),
        (lambda folder: (folder / "pepper-1").write_text("ab"), "pepper-1 is damaged"),
        (lambda folder: (folder / "pepper-1").write_text("no hex"), "pepper-1 is damaged"),
        (lambda folder: (folder / "pepper-1").write_bytes(b"\xff\xfe"), "pepper-1 is damaged"),
        (lambda folder: (folder / "signing-1.pem").write_text("junk"), "signing-1.pem is damaged"),
        (lambda folder: damaged_curve(folder / "signing-1.pem"), "signing-1.pem is damaged"),
        (lambda folder: ((folder / "pepper-1").unlink(), (folder / "pepper-1").mkdir(0o700)), "cannot be read"),
    ],
)
def test_missing_and_damaged_keys_are_named(tmp_path: Path, damage, sentence: str):
    keys.create(tmp_path)
    secret = (tmp_path / "keys" / "pepper-1").read_text().strip()
    damage(tmp_path / "keys")
    with pytest.raises(KeysError) as error:
        keys.load(tmp_path)
    assert sentence in str(error.value)
    assert secret not in str(error.value)


def test_no_folder_at_all(tmp_path: Path):
    with pytest.raises(KeysError, match="is not there; run: sidegate init"):
        keys.load(tmp_path / "nowhere")


def test_no_key_shows_in_a_repr(tmp_path: Path):
    keys.create(tmp_path)
    loaded = keys.load(tmp_path)
    shown = repr(loaded)
    assert loaded.peppers[1].hex() not in shown
    assert "PRIVATE" not in shown
    assert repr(loaded.peppers[1]) not in shown
