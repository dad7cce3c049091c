"""The IMAP comparison: logins, downloads, uploads, NOOPs and idle sessions, in front of a stub backend."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from bench.imap.contestants import DovecotProxy, Gate, Nginx, Stub
from bench.measure import LOAD_CPU, PROXY_CPU, Contestant, Suite, first_line, load, pinned
from tests.support.sidegate import Certificates

WORKS = {
    "login": ["login", "400", "48"],
    "login resumed": ["resumed", "960", "48"],
    "login latency": ["login", "60", "1"],
    "down 1": ["down", "400", "1"],
    "down 4": ["down", "400", "4"],
    "up 1": ["up", "400", "1"],
    "up 4": ["up", "400", "4"],
    "noop": ["noop", "2000"],
}


def start(stack: ExitStack, root: Path, certificates: Certificates, names: list[str]) -> list[Contestant]:
    stub = Stub(LOAD_CPU)
    stack.callback(stub.stop)
    pinned(PROXY_CPU)
    make = {
        "sidegate": lambda: Gate(root / "sidegate", certificates, stub.port),
        "nginx": lambda: Nginx(root / "nginx", certificates, stub.port, None),
        "nginx 64k": lambda: Nginx(root / "nginx64k", certificates, stub.port, "64k"),
        "dovecot": lambda: DovecotProxy(root / "dovecot", certificates, stub.port),
    }
    contestants: list[Contestant] = []
    for name in names:
        contestant = make[name]()
        stack.callback(contestant.stop)
        contestants.append(contestant)
        load(SUITE, contestant, ["verify", "50"])
    return contestants


def figures(work: str, result: dict[str, float]) -> dict[str, float]:
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


SUITE = Suite(
    name="imap",
    names=("sidegate", "nginx", "nginx 64k", "dovecot"),
    start=start,
    load="bench.imap.load",
    works=WORKS,
    figures=figures,
    idle=1000,
    versions=lambda: f"{first_line('nginx', '-v')}; Dovecot {first_line('dovecot', '--version')}",
)
