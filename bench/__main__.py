"""python -m bench [--suite imap,ldap,portal] [--rounds N] [--only NAME,…] [--work WORK,…] [--write FILE]

One interleaved run of each suite: medians and paired ratios, into FILE between the suite's marks.
"""

from __future__ import annotations

import argparse
import re
import resource
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench import portal
from bench.imap.suite import SUITE as IMAP
from bench.ldap.suite import SUITE as LDAP
from bench.measure import Samples, Suite, machine, one_round, table
from tests.support.sidegate import Certificates

SUITES = {suite.name: suite for suite in (IMAP, LDAP)}


def results(suite: Suite, rounds: int, only: str, work: str) -> str:
    """The text that goes into docs/performance.md."""
    names = only.split(",") if only else list(suite.names)
    works = work.split(",") if work else ["idle", *suite.works]
    samples: Samples = {}
    with ExitStack() as stack:
        root = Path(tempfile.mkdtemp(prefix="sidegate-bench-"))
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        root.chmod(0o755)
        contestants = suite.start(stack, root, Certificates(root / "tls"), names)
        for number in range(rounds):
            for row, name, value in one_round(suite, contestants, works, number):
                samples.setdefault(row, {}).setdefault(name, []).append(value)
            print(f"{suite.name}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return (
        f"{machine()}; {suite.versions()}.\n"
        f"{rounds} interleaved rounds; proxies on one CPU, backend and load on the other. "
        f"Medians; ratios are medians of per-round ratios with their range.\n\n{table(samples, names)}\n"
    )


def write(page: Path, suite: str, text: str) -> None:
    """Replace what stands between the suite's marks."""
    begin, end = f"<!-- results: {suite} -->", f"<!-- end: {suite} -->"
    whole, count = re.subn(
        f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", lambda _: f"\n{text}\n", page.read_text(), flags=re.DOTALL
    )
    if count != 1:
        raise SystemExit(f"{page}: has no place between {begin} and {end}")
    page.write_text(whole)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--suite", default=",".join([*SUITES, "portal"]))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="contestants; default: all of the suite")
    parser.add_argument("--work", default="", help="default: all of the suite")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(20000, hard), hard))
    for name in options.suite.split(","):
        if name == "portal":
            text = portal.results(options.rounds)
        else:
            text = results(SUITES[name], options.rounds, options.only, options.work)
        print(text)
        if options.write:
            write(options.write, name, text)


if __name__ == "__main__":
    main()
