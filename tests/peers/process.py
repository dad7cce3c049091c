"""Start a server as a plain process, wait until it listens, end it by pid."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

_LOWEST = 12_000
"""Above the ports that the demo prefers."""
_WORKERS = 8
_given: deque[int] = deque(maxlen=200)
"""Chosen lately: their servers may not listen yet."""


def free_ports(count: int) -> list[int]:
    """Different loopback ports that nothing listens on.

    Below those that the kernel gives to outgoing connections, of which the tests make thousands: one of them could take
    a port before the server that it was chosen for. No two workers of pytest-xdist choose the same.
    """
    lowest_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    candidates = range(_LOWEST + worker, lowest_outgoing, _WORKERS)
    found: list[int] = []
    for port in random.sample(candidates, len(candidates)):
        if len(found) == count:
            break
        if port in _given:
            continue
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            found.append(port)
    _given.extend(found)
    assert len(found) == count, f"no {count} free ports from {_LOWEST} to {lowest_outgoing}"
    return found


def wait_until(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Poll until `condition()` is true; AssertionError that names `what` otherwise."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)


def listening(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """One server process group with its log file."""

    def __init__(
        self, argv: list[str], log: Path, ports: Iterable[int] = (), env: dict[str, str] | None = None
    ) -> None:
        self.log = log
        self._ports = list(ports)
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, **(env or {})},
            )

    def wait(self, seconds: float = 20) -> None:
        """Until every port listens; the log's end is in the error otherwise."""

        def up() -> bool:
            assert self.process.poll() is None, f"{self.process.args} ended: {self.text()[-2000:]}"
            return all(listening(port) for port in self._ports)

        try:
            wait_until(up, "listening", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text()[-2000:]}") from error

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_for_log(self, words: str, seconds: float = 10) -> str:
        """The log once it contains `words`."""
        try:
            wait_until(lambda: words in self.text(), f"log line with {words!r}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text()[-3000:]}") from error
        return self.text()

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is not None:
                break
            os.killpg(self.process.pid, number)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                continue
