"""What every load generator shares."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol


class Closes(Protocol):
    def close(self) -> None: ...


def hold(held: Sequence[Closes]) -> None:
    """Keep these connections until a line comes on stdin."""
    print(json.dumps({"done": len(held)}), flush=True)
    sys.stdin.readline()
    for client in held:
        client.close()


def parallel(threads: int, work: Callable[[int], None]) -> float:
    """Seconds that `threads` copies of work(number) take together; the first error is raised."""
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    all_threads = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    start = time.perf_counter()
    for thread in all_threads:
        thread.start()
    for thread in all_threads:
        thread.join()
    if errors:
        raise errors[0]
    return time.perf_counter() - start
