"""The LDAP comparison: bind + search + unbind, searches, and idle sessions, in front of a real slapd."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from bench.ldap.contestants import LOGINS, BackLdap, Directory, Gate
from bench.measure import LOAD_CPU, PROXY_CPU, Contestant, Suite, first_line, load, pinned
from tests.support.sidegate import Certificates

# Load and backend share a CPU and are about as busy as a proxy: rates say nothing, CPU and one client's times do.
WORKS = {
    "bind + search + unbind": ["bind", "800", "16"],
    "search": ["search", "8000", "16"],
    "bind + search + unbind, one client": ["bind", "60", "1"],
    "search, one client": ["search", "1000", "1"],
}


def start(stack: ExitStack, root: Path, certificates: Certificates, names: list[str]) -> list[Contestant]:
    pinned(LOAD_CPU)
    directory = Directory(root / "directory", certificates)
    stack.callback(directory.stop)
    pinned(PROXY_CPU)

    def back_ldap(name: str, *, tls: bool = True, assert_identity: bool = False) -> Contestant:
        folder = root / name.replace(" ", "-")
        return BackLdap(name, folder, certificates, directory.port, tls=tls, assert_identity=assert_identity)

    make = {
        "sidegate": lambda: Gate(root / "sidegate", certificates, directory.port),
        "back-ldap": lambda: back_ldap("back-ldap"),
        "back-ldap idassert": lambda: back_ldap("back-ldap idassert", assert_identity=True),
        "back-ldap in the clear": lambda: back_ldap("back-ldap in the clear", tls=False),
    }
    contestants: list[Contestant] = []
    for name in names:
        contestant = make[name]()
        stack.callback(contestant.stop)
        contestants.append(contestant)
        load(SUITE, contestant, ["bind", str(LOGINS), "1"])  # each app password is verified for the first time here
    return contestants


def figures(work: str, result: dict[str, float]) -> dict[str, float]:
    if work.endswith("one client"):
        return {f"{work}, p50 us": result["p50_us"]}
    return {
        f"{work}, CPU us": result["cpu"] / result["done"] * 1e6,
        f"({work}, CPU us of the load itself)": result["own"] / result["done"] * 1e6,
    }


SUITE = Suite(
    name="ldap",
    names=("sidegate", "back-ldap", "back-ldap idassert", "back-ldap in the clear"),
    start=start,
    load="bench.ldap.load",
    works=WORKS,
    figures=figures,
    idle=1000,
    versions=lambda: first_line("slapd", "-VV").removeprefix("@(#) $OpenLDAP: ").split(" (")[0],
)
