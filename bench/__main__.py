"""python -m bench [--rounds N] [--only NAME,…] [--write FILE]: one interleaved run, medians and paired ratios."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.contestants import Contestant, DovecotProxy, Gate, Nginx, Stub, pinned
from tests.support.sidegate import Certificates

PROXY_CPU, LOAD_CPU = 0, 1
WORKS = {
    "login": ["login", "400", "48"],
    "login resumed": ["resumed", "960", "16"],
    "login latency": ["login", "60", "1"],
    "down 1": ["down", "400", "1"],
    "down 4": ["down", "400", "4"],
    "up 1": ["up", "400", "1"],
    "up 4": ["up", "400", "4"],
    "noop": ["noop", "2000"],
}
IDLE = 1000


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


def load(contestant: Contestant, work: list[str]) -> dict[str, float]:
    argv = [sys.executable, "-m", "bench.load", str(LOAD_CPU), str(contestant.port), contestant.secret, *work]
    before = cpu_seconds(contestant.pid)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f"{contestant.name}: {work}: {done.stderr[-800:]}")
    result: dict[str, float] = json.loads(done.stdout)
    result["cpu"] = cpu_seconds(contestant.pid) - before
    return result


def figures(work: str, result: dict[str, float]) -> dict[str, float]:
    """A work's result as the rows of the table."""
    if work == "login latency":
        return {"login p50, one client, ms": result["p50_ms"]}
    if work.startswith("login"):
        if work == "login resumed" and result["reused"] < 0.9:
            return {}
        return {f"{work}, CPU ms": result["cpu"] / result["done"] * 1e3}
    if work == "noop":
        return {"NOOP p50, us": result["p50_us"], "NOOP CPU, us": result["cpu"] / result["done"] * 1e6}
    return {
        f"{work}, MB/s": result["done"] / result["seconds"] / 1e6,
        f"{work}, CPU s/GB": result["cpu"] / result["done"] * 1e9,
    }


def idle_memory(contestant: Contestant) -> float:
    """KiB per idle session: the slope over IDLE sessions."""
    before = memory_kib(contestant.pid)
    argv = [
        sys.executable,
        "-m",
        "bench.load",
        str(LOAD_CPU),
        str(contestant.port),
        contestant.secret,
        "idle",
        str(IDLE),
    ]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        if not process.stdout.readline():
            raise SystemExit(f"{contestant.name}: could not hold {IDLE} sessions")
        after = memory_kib(contestant.pid)
        process.stdin.write("\n")
        process.stdin.close()
    return (after - before) / IDLE


def table(samples: dict[str, dict[str, list[float]]], names: list[str]) -> str:
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


def versions() -> str:
    def first_line(*argv: str) -> str:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip().splitlines()[0]

    model = next(
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    )
    nginx, dovecot = first_line("nginx", "-v"), first_line("dovecot", "--version")
    python = f"CPython {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    return f"{model}, {os.cpu_count()} CPUs; kernel {platform.release()}; {python}; {nginx}; Dovecot {dovecot}."


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="sidegate,nginx,nginx 64k,dovecot")
    parser.add_argument("--work", default=",".join(["idle", *WORKS]))
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    names, works = options.only.split(","), options.work.split(",")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(20000, hard), hard))
    root = Path(tempfile.mkdtemp(prefix="sidegate-bench-"))
    root.chmod(0o755)
    certificates = Certificates(root / "tls")
    stub = Stub(LOAD_CPU)
    pinned(PROXY_CPU)  # what is started from here on inherits it
    make = {
        "sidegate": lambda: Gate(root / "sidegate", certificates, stub.port),
        "nginx": lambda: Nginx(root / "nginx", certificates, stub.port, None),
        "nginx 64k": lambda: Nginx(root / "nginx64k", certificates, stub.port, "64k"),
        "dovecot": lambda: DovecotProxy(root / "dovecot", certificates, stub.port),
    }
    contestants: list[Contestant] = []
    samples: dict[str, dict[str, list[float]]] = {}
    try:
        contestants += [make[name]() for name in names]
        for contestant in contestants:
            load(contestant, ["verify", "50"])
        for number in range(options.rounds):
            for work in works:
                # the order turns with the rounds, so that drift of the machine hits everybody alike
                for contestant in [
                    *contestants[number % len(contestants) :],
                    *contestants[: number % len(contestants)],
                ]:
                    if work == "idle":
                        if number == 0:  # later rounds would see memory that is used again
                            kib = idle_memory(contestant)
                            samples.setdefault("KiB per idle session", {}).setdefault(contestant.name, []).append(kib)
                        continue
                    for row, value in figures(work, load(contestant, WORKS[work])).items():
                        samples.setdefault(row, {}).setdefault(contestant.name, []).append(value)
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    finally:
        for contestant in contestants:
            contestant.stop()
        stub.stop()
        shutil.rmtree(root, ignore_errors=True)
    text = (
        f"{versions()}\n{options.rounds} interleaved rounds; proxies on one CPU, stub backend and load on the other. "
        f"Medians; ratios are medians of per-round ratios with their range.\n\n{table(samples, names)}\n"
    )
    print(text)
    if options.write:
        head = options.write.read_text().partition("<!-- results -->")[0] if options.write.exists() else ""
        options.write.write_text(f"{head}<!-- results -->\n\n{text}")


if __name__ == "__main__":
    main()
