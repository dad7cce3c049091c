"""A child of the supervisor that does nothing but what a test tells it to.

It works in the folder of the configuration (or of the link socket). There it writes what it is into `ROLE-PID.json` and
what happens to it, one line each, into `events`; and reads, at start: `fail-ROLE` (`CODE SENTENCE`: give up so),
`never-ROLE` (do not be ready while it is there), `stubborn-ROLE` (do not end at SIGTERM); at any time: `order-PID`
(`exit N` or `hang`).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--config", type=Path)
parser.add_argument("--link", type=Path)
parser.add_argument("--listen", default="")
parser.add_argument("--listen-fd")
parser.add_argument("--status-fd", type=int)


def main(role: str) -> None:
    arguments = parser.parse_args()
    directory = (arguments.config or arguments.link).parent
    me = f"{role}-{os.getpid()}"
    facts = {
        "argv": sys.argv[1:],
        "environment": dict(os.environ),
        "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),
        "parent": os.getppid(),
        "soft_core": Path("/proc/self/limits").read_text().split("Max core file size")[1].split()[0],
    }
    (directory / f"{me}.json").write_text(json.dumps(facts))

    def say(event: str) -> None:
        with open(directory / "events", "a") as out:
            out.write(f"{event} {me}\n")

    def told(number: int, frame: object) -> None:
        say(signal.Signals(number).name)
        if number == signal.SIGTERM and not (directory / f"stubborn-{role}").exists():
            sys.exit(0)

    signal.signal(signal.SIGTERM, told)
    signal.signal(signal.SIGHUP, told)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    say("born")
    failing = directory / f"fail-{role}"
    if failing.exists():
        code, _, sentence = failing.read_text().partition(" ")
        print(sentence, file=sys.stderr, flush=True)
        sys.exit(int(code))
    while (directory / f"never-{role}").exists():
        time.sleep(0.02)
    os.write(arguments.status_fd, b"R")
    beaten = time.monotonic()
    beating = True
    while True:
        time.sleep(0.02)
        order = directory / f"order-{os.getpid()}"
        if order.exists():
            verb, *rest = order.read_text().split()
            order.unlink()
            if verb == "exit":
                sys.exit(int(rest[0]))
            if verb == "hang":
                beating = False
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if beating and time.monotonic() - beaten > 0.1:
            beaten = time.monotonic()
            try:
                os.write(arguments.status_fd, b".")
            except BrokenPipeError:
                sys.exit(1)
