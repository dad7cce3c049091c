"""Which kinds are offered where, and which processes load what they need."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.domain.factor_kinds import FactorKind
from proxy.factors import registry
from tests.admin.office import configuration
from tests.factors.conftest import Place

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("url", "kinds"),
    [
        ("https://login.example.org", [FactorKind.PASSKEY, FactorKind.TOTP, FactorKind.PUSH, FactorKind.RECOVERY_CODE]),
        ("http://127.0.0.1:8080", [FactorKind.TOTP, FactorKind.PUSH, FactorKind.RECOVERY_CODE]),
        ("http://login.example.org", [FactorKind.TOTP, FactorKind.RECOVERY_CODE]),
    ],
)
def test_kinds_in_the_order_they_are_offered(place: Place, tmp_path: Path, url: str, kinds: list[FactorKind]) -> None:
    config = configuration(tmp_path)
    config = replace(config, portal=replace(config.portal, url=url))
    made = registry.make(config, place.store, place.sealer, place.clock, os.urandom)
    assert list(made) == kinds
    assert all(factor.kind is kind for kind, factor in made.items())


@pytest.mark.parametrize("process", ["proxy.core.__main__", "proxy.front_worker", "proxy.supervisor.parent"])
def test_no_other_process_loads_what_reads_a_browsers_bytes(process: str) -> None:
    code = f"import sys, {process}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert process in loaded.split()
    assert not {"fido2", "OpenSSL", "pyotp", "segno", "phonenumbers", "apprise", "proxy.factors"} & set(loaded.split())
