"""Start a server as a plain process, wait until it listens, end it by pid."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """Loopback ports that nothing listens on; all are held until the last is chosen, so they differ."""
    held = []
    try:
        for _ in range(count):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", 0))
            held.append(sock)
        return [sock.getsockname()[1] for sock in held]
    finally:
        for sock in held:
            sock.close()


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
