"""Who else may use the store: what `check` and `doctor` say."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.cli.sharing import SHARED_FOLDER, problems
from proxy.config import Config
from tests.admin.office import configuration

GROUP = os.getgid()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    (tmp_path / "sidegate.db").touch(0o600)
    monkeypatch.setattr(os, "getgrouplist", lambda user, gid: [gid, GROUP])
    return configuration(tmp_path)


def shared(config: Config) -> Config:
    return replace(config, portal=replace(config.portal, user="nobody"))


def share(folder: Path) -> None:
    folder.chmod(SHARED_FOLDER)
    (folder / "sidegate.db").chmod(0o660)


def test_one_user_has_it_alone(config: Config, tmp_path: Path) -> None:
    assert list(problems(config)) == []
    (tmp_path / "sidegate.db").chmod(0o660)
    ((text, todo),) = problems(config)
    assert "is open to its group (mode 0660), and no portal.user shares it" in text
    assert todo == f"chmod 600 {tmp_path}/sidegate.db"
    (tmp_path / "sidegate.db").chmod(0o604)
    ((text, _),) = problems(config)
    assert "open to everybody" in text


def test_a_portal_of_its_own_shares_it(config: Config, tmp_path: Path) -> None:
    share(tmp_path)
    assert list(problems(shared(config))) == []
    (tmp_path / "sidegate.db-wal").touch(0o600)
    ((text, todo),) = problems(shared(config))
    assert "sidegate.db-wal is closed to portal.user" in text
    assert todo == "stop sidegate and run: sidegate migrate"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: folder.chmod(0o2770), "has mode 2770; portal.user shares it"),
        (lambda folder: folder.chmod(0o700), "has mode 0700"),
        (lambda folder: (folder / "sidegate.db").chmod(0o666), "open to everybody"),
        (lambda folder: (folder / "sidegate.db").chmod(0o600), "closed to portal.user"),
    ],
)
def test_what_is_wrong_with_it(config: Config, tmp_path: Path, spoil: Callable[[Path], None], said: str) -> None:
    share(tmp_path)
    spoil(tmp_path)
    ((text, _),) = problems(shared(config))
    assert said in text


def test_who_is_no_member_of_the_group(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    share(tmp_path)
    monkeypatch.setattr(os, "getgrouplist", lambda user, gid: [pwd.getpwnam("nobody").pw_gid])
    ((text, todo),) = problems(shared(config))
    assert text.startswith("nobody is no member of group ")
    assert todo.startswith("usermod -aG ")


def test_nothing_where_there_is_no_file(config: Config, tmp_path: Path) -> None:
    (tmp_path / "sidegate.db").unlink()
    assert list(problems(shared(config))) == []
    assert list(problems(replace(config, store="postgresql://x/y"))) == []
