"""When another process ends. Its pidfd tells at once, whoever its parent is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable


def on_end(pid: int, ended: Callable[[], None]) -> bool:
    """Call `ended` from the loop once the process is gone. False, and nothing is called, if it cannot be watched.

    `pid` as SO_PEERCRED gives it: 0 for a process of another PID namespace, which nobody here can watch.
    """
    loop = asyncio.get_running_loop()
    if pid <= 0:
        return False
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        loop.call_soon(ended)
        return True
    except OSError:
        return False

    def over() -> None:
        loop.remove_reader(fd)
        os.close(fd)
        ended()

    loop.add_reader(fd, over)
    return True
