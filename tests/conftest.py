"""Tests marked `real` need Debian's servers and clients, and those marked `real` or `root` need root.

Without it they are skipped, in CI they fail.
"""

from __future__ import annotations

import functools
import glob
import os
import shutil
from pathlib import Path

import hypothesis
import pytest

# How long one example takes says more about the machine than about the code; a test as a whole has pytest's timeout.
hypothesis.settings.register_profile("sidegate", deadline=None)
hypothesis.settings.load_profile("sidegate")

IN_CI = os.environ.get("CI") == "true"
PACKAGES = Path(__file__).with_name("debian-packages.txt")


def _is_there(program: str) -> bool:
    if program.startswith("/"):
        return bool(glob.glob(program))
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None


@functools.cache
def missing_packages() -> tuple[str, ...]:
    lines = (line.split() for line in PACKAGES.read_text("utf-8").splitlines() if not line.startswith("#"))
    return tuple(package for package, program in lines if not _is_there(program))


def pytest_runtest_setup(item: pytest.Item) -> None:
    real = item.get_closest_marker("real") is not None
    if real and missing_packages():
        _do_without(f"needs {' '.join(missing_packages())}; `make test` as root installs them")
    if (real or item.get_closest_marker("root") is not None) and os.geteuid() != 0:
        _do_without("needs root: Dovecot and Postfix start as nobody else, and a front worker lets nobody else look in")


def _do_without(reason: str) -> None:
    if IN_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if IN_CI and reporter is not None and exitstatus == 0 and (reporter.stats.keys() & {"skipped", "xfailed"}):
        reporter.write_line("In CI nothing may be skipped.", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
