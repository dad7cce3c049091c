"""Running out of descriptors: accepting pauses, sessions go on, and it recovers by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from proxy.link.messages import LimitSetting
from tests.fronts.conftest import Rig


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """A worker of its own for every test here."""
    return make_rig()


def processor_time(rig: Rig) -> float:
    with open(f"/proc/{rig.process.pid}/schedstat") as stat:
        return int(stat.read().split()[0]) / 1e9


def test_at_the_limit_accepting_pauses_and_recovers(make_rig: Callable[..., Rig], limits: LimitSetting) -> None:
    limits.connections_per_network = 1000
    rig = make_rig(limits=limits, prefix=["prlimit", "--nofile=256:256"])
    session = rig.log_in()
    crowd = [rig.raw("imap") for _ in range(300)]
    rig.wait_for(lambda: rig.logged("out of descriptors"))
    before, start = processor_time(rig), time.monotonic()
    session.send(b"b NOOP\r\n")
    assert session.until(b"b ")[-1] == b"b OK done\r\n"
    time.sleep(1)
    assert processor_time(rig) - before < 0.2 * (time.monotonic() - start)
    for peer in crowd:
        peer.close()
    start = time.monotonic()
    late = rig.log_in()
    assert time.monotonic() - start < 2
    late.send(b"b NOOP\r\n")
    assert late.until(b"b ")[-1] == b"b OK done\r\n"


@pytest.mark.root
def test_descriptors_come_back(rig: Rig) -> None:
    import os

    def count() -> int:
        return len(os.listdir(f"/proc/{rig.process.pid}/fd"))

    rig.log_in().close()
    time.sleep(0.3)
    before = count()
    for _ in range(10):
        rig.log_in().close()
        rig.raw("imaps").close()
        client = rig.tls("smtps")
        client.line()
        client.close()
    rig.wait_for(lambda: count() <= before)
