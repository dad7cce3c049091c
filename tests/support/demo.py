"""A running `sidegate demo`."""

from __future__ import annotations

import contextlib
import imaplib
import json
import os
import re
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.peers.process import wait_until

ROOT = Path(__file__).parents[2]


class Demo:
    """A running demo, in a process group of its own as at a terminal."""

    def __init__(self, root: Path, *options: str) -> None:
        self.ready_file = root / "ready.json"
        self.output = root / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "proxy", "demo", "--ready-file", str(self.ready_file), *options],
                cwd=ROOT,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, "TMPDIR": str(root)},
            )

    def wait(self) -> Demo:
        def ready() -> bool:
            assert self.process.poll() is None, self.text()
            return self.ready_file.exists()

        wait_until(ready, "the ready file", 90)
        self.facts: dict[str, Any] = json.loads(self.ready_file.read_text())
        self.directory = Path(self.facts["config"]).parent
        self.context = ssl.create_default_context(cafile=self.facts["ca"])
        return self

    def text(self) -> str:
        return self.output.read_text()

    def commands(self) -> list[str]:
        """Everything that is printed to be pasted: paragraphs that begin with a program."""
        paragraphs = self.text().split("\n\n")
        return [text for text in paragraphs if re.match(r"(curl|printf|/\S*python\S*|\S*/sidegate) ", text)]

    def members(self) -> set[int]:
        """Processes of its session, by pid."""
        found = set()
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.process.pid and state != "Z":
                    found.add(int(path.parent.name))
        return found

    def paste(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def imap(self, secret: str) -> imaplib.IMAP4:
        client = imaplib.IMAP4_SSL("localhost", self.facts["imap"]["tls"], ssl_context=self.context, timeout=30)
        try:
            client.login("alice", secret)  # a bare name means the default domain
        except imaplib.IMAP4.error:
            client.shutdown()
            raise
        return client

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(40)
