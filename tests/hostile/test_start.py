"""What may be missing or wrong when sidegate starts (what a person sees of it at the terminal: tests/supervisor)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.stand import (
    ALICE,
    MASTER_PASSWORD,
    Stand,
    assert_clean,
    unavailable,
)
from tests.peers.process import listening
from tests.support.sidegate import Certificates


def test_unreachable_backends_do_not_delay_ready(tmp_path: Path, certificates: Certificates) -> None:
    stand = Stand(tmp_path, certificates, start=False)
    stand.mail.close()
    stand.smtp.close()
    try:
        stand.gate.start()
        stand.gate.add_account(ALICE)
        secret = stand.mint(ALICE, "laptop")
        for protocol in ("imap", "smtp"):
            assert stand.refusal(protocol, ALICE, secret) == unavailable(protocol)
            assert stand.refusal(protocol, ALICE, "wrong") != unavailable(protocol)
        for name, address in (("mail", stand.mail.address), ("submission", stand.smtp.address)):
            line = f'event="backend does not answer" backend={name} address={address} '
            assert line in stand.gate.log()
        assert_clean(stand.gate.log())
    finally:
        stand.stop()


def break_key(stand: Stand, root: Path) -> str:
    stand.gate.settings["tls"]["key"] = str(Certificates(root / "other").key)
    return rf"^{stand.gate.config}:\d+:\d+: tls\.certificate: {root}/other/key\.pem is not the key of"


def break_master_password(stand: Stand, root: Path) -> str:
    path = Path(stand.gate.settings["backends"]["mail"]["login"]["password_file"])
    path.chmod(0o644)
    return rf"^{stand.gate.config}:\d+:\d+: backends\.mail\.login\.password_file: {path} may be read by others"


def break_pepper(stand: Stand, root: Path) -> str:
    path = stand.gate.root / "state" / "keys" / "pepper-1"
    path.chmod(0o640)
    return rf"{path} may be read by others than its owner \(mode 0640\); run: chmod 600 {path}"


def lose_pepper(stand: Stand, root: Path) -> str:
    (stand.gate.root / "state" / "keys" / "pepper-1").unlink()
    return r"the keys cannot be used.*pepper"


def break_store(stand: Stand, root: Path) -> str:
    (stand.gate.root / "sidegate.db").write_bytes(b"no database " * 1000)
    return r"the store cannot be used.*sidegate\.db"


@pytest.mark.parametrize(
    ("breakage", "status"),
    [(break_key, 78), (break_master_password, 78), (break_pepper, 78), (lose_pepper, 78), (break_store, 75)],
)
def test_what_is_unusable_stops_the_start(
    tmp_path: Path, certificates: Certificates, breakage: Callable[[Stand, Path], str], status: int
) -> None:
    """One sentence with the place, the documented exit status, and nothing left running."""
    stand = Stand(tmp_path, certificates, start=False)
    words = breakage(stand, tmp_path)
    stand.gate.write_config()
    done = stand.gate.cli("serve")
    stand.mail.close()
    stand.smtp.close()
    assert done.returncode == status, done.stderr
    assert len(re.findall(words, done.stderr, re.M)) == 1, done.stderr
    assert_clean(done.stderr)
    assert "\nready\n" not in done.stderr
    assert MASTER_PASSWORD not in done.stderr
    assert not any(listening(port) for port in stand.gate.ports.values())
