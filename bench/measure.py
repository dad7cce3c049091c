"""What every comparison shares: contestants on one CPU, load and backend on the other, rounds, one table."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import ssl
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.support.sidegate import Certificates

PROXY_CPU, LOAD_CPU = 0, 1
Samples = dict[str, dict[str, list[float]]]
"""Row -> contestant -> a figure a round."""


class Contestant(Protocol):
    """A proxy, started with one worker where it has workers; `pid` is the root of its process tree."""

    name: str
    pid: int
    arguments: list[str]
    """What the load needs to reach it and to log in."""

    def stop(self) -> None: ...


@dataclass(frozen=True)
class Suite:
    """One comparison. The first of `names` is sidegate, the others are its peers."""

    name: str
    names: tuple[str, ...]
    start: Callable[[ExitStack, Path, Certificates, list[str]], list[Contestant]]
    """Starts the backend and these contestants; the stack stops them."""
    load: str
    """Module of the load generator: python -m LOAD CPU ARGUMENT… WORK NUMBER…"""
    works: Mapping[str, list[str]]
    figures: Callable[[str, dict[str, float]], dict[str, float]]
    """A work's result as rows of the table."""
    idle: int
    """Sessions that memory is measured with."""
    versions: Callable[[], str]


def pinned(cpu: int) -> None:
    """This process, and what it starts from here on."""
    os.sched_setaffinity(0, {cpu})


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    pids = [pid]
    for one in pids:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{one}/task"):
                pids += map(int, Path(f"/proc/{one}/task/{task}/children").read_text().split())
    return pids


def cpu_seconds(pid: int) -> float:
    """CPU of the tree so far: nanoseconds of the scheduler, over every thread."""
    total = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{one}/task"):
                total += int(Path(f"/proc/{one}/task/{task}/schedstat").read_text().split()[0])
    return total / 1e9


def memory_kib(pid: int) -> int:
    """PSS of the tree."""
    total = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total


def _argv(suite: Suite, contestant: Contestant, *work: str) -> list[str]:
    return [sys.executable, "-m", suite.load, str(LOAD_CPU), *contestant.arguments, *work]


def load(suite: Suite, contestant: Contestant, work: list[str]) -> dict[str, float]:
    """One run of the load: what it says, and `cpu`, the seconds that the contestant took for it."""
    before = cpu_seconds(contestant.pid)
    done = subprocess.run(_argv(suite, contestant, *work), capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f"{contestant.name}: {work}: {done.stderr[-800:]}")
    result: dict[str, float] = json.loads(done.stdout)
    result["cpu"] = cpu_seconds(contestant.pid) - before
    return result


def idle_memory(suite: Suite, contestant: Contestant) -> float:
    """KiB per idle session: the slope over `suite.idle` sessions."""
    before = memory_kib(contestant.pid)
    argv = _argv(suite, contestant, "idle", str(suite.idle))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        if not process.stdout.readline():
            raise SystemExit(f"{contestant.name}: could not hold {suite.idle} sessions")
        after = memory_kib(contestant.pid)
        process.stdin.write("\n")
        process.stdin.close()
    return (after - before) / suite.idle


def one_round(
    suite: Suite, contestants: list[Contestant], works: list[str], number: int
) -> Iterator[tuple[str, str, float]]:
    """Row, contestant, figure. The order turns with the rounds, so that drift of the machine hits everybody alike."""
    first = number % len(contestants)
    for work in works:
        for contestant in [*contestants[first:], *contestants[:first]]:
            if work == "idle":
                if number == 0:  # later rounds would see memory that is used again
                    yield "KiB per idle session", contestant.name, idle_memory(suite, contestant)
                continue
            for row, value in suite.figures(work, load(suite, contestant, suite.works[work])).items():
                yield row, contestant.name, value


def table(samples: Samples, names: list[str]) -> str:
    """Medians, and the median of per-round ratios sidegate / peer with their range."""
    peers = [name for name in names if name != "sidegate"]
    lines = ["| | " + " | ".join([*names, *(f"sidegate / {peer}" for peer in peers)]) + " |"]
    lines.append("|---" * (1 + len(names) + len(peers)) + "|")
    for row, by_name in samples.items():
        cells = [f"{statistics.median(by_name[name]):.3g}" if by_name.get(name) else "-" for name in names]
        for peer in peers:
            ratios = [a / b for a, b in zip(by_name.get("sidegate", []), by_name.get(peer, []), strict=False) if b]
            cells.append(f"{statistics.median(ratios):.2f} [{min(ratios):.2f}-{max(ratios):.2f}]" if ratios else "-")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def first_line(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().splitlines()[0]


def machine() -> str:
    model = next(
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    )
    python = f"CPython {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    return f"{model}, {os.cpu_count()} CPUs; kernel {platform.release()}; {python}"
