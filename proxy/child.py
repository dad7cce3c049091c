"""What a child process owes its supervisor: a status pipe, and not to outlive it.

On the pipe go `R` once when the child is ready, then `.` every second for as long as its event loop turns.
Silence makes the supervisor kill the child; a pipe without a reader makes the child end itself.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
from collections.abc import Callable
from typing import Protocol as Interface

BEAT = 1.0
"""Seconds between two signs of life."""

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4


class _Timers(Interface):
    """The part of an asyncio loop that is needed here."""

    def call_later(self, delay: float, callback: Callable[[], object]) -> object: ...


def settle(status_fd: int | None, *, farewell: signal.Signals = signal.SIGKILL) -> None:
    """First thing in a child's main(): end with the parent, leave no core file, leave Ctrl-C to the supervisor.

    `farewell` is the signal that the parent's death sends. Without a status pipe (started by hand) only the core file
    is ruled out.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)  # no ptrace, no /proc/PID/mem for other processes of this uid
    if status_fd is None:
        return
    os.set_inheritable(status_fd, False)
    os.set_blocking(status_fd, False)
    # A terminal's Ctrl-C reaches the whole process group; the supervisor decides in which order it stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(farewell)
    poll = select.poll()
    poll.register(status_fd, 0)
    if poll.poll(0):  # POLLERR: the parent died before prctl was in force
        os._exit(1)


def die_with_parent(farewell: signal.Signals = signal.SIGKILL) -> None:
    """`farewell` for this process as soon as its parent is gone. A parent that is gone already goes unnoticed."""
    _prctl(_PR_SET_PDEATHSIG, farewell)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def report_ready(timers: _Timers, status_fd: int, orphaned: Callable[[], object]) -> None:
    """Say ready, then keep beating on `timers`; `orphaned` is called once when the supervisor is gone."""

    def beat(sign: bytes) -> None:
        if _write(status_fd, sign):
            timers.call_later(BEAT, lambda: beat(b"."))
        else:
            orphaned()

    beat(b"R")


def _write(fd: int, sign: bytes) -> bool:
    """False when nobody holds the other end. A full pipe (a stopped supervisor) is no reason to go."""
    try:
        os.write(fd, sign)
    except BlockingIOError:
        return True
    except BrokenPipeError:
        return False
    return True
