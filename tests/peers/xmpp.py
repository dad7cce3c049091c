"""A chat program in a process of its own (xmpp_client.py): log in, stay, tell what became of it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

from tests.peers.chat import HOST

DEBIANS_PYTHON = "/usr/bin/python3"
"""Debian's python3-slixmpp is for that one."""
SECONDS = 20


class Xmpp:
    """`name` logs in with `password` at the chat server at 127.0.0.1:`port`, whose certificate `ca` signed."""

    def __init__(self, port: int, ca: Path, name: str, password: str) -> None:
        program = str(Path(__file__).with_name("xmpp_client.py"))
        self.process = subprocess.Popen(
            [DEBIANS_PYTHON, program, str(port), str(ca), f"{name}@{HOST}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(f"{password}\n")
        self.process.stdin.flush()
        self._states: Queue[str] = Queue()
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._states.put(line.rstrip("\n"))
        self._states.put("ended")

    def state(self, seconds: float = SECONDS) -> str:
        """The next state: `in`, `not-authorized`, `kicked CONDITION`, `failed WHY`; `still` when none comes."""
        try:
            return self._states.get(timeout=seconds)
        except Empty:
            return "still"

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
