"""Run a command under what a unit file forbids, where no systemd runs.

    python -m tests.systemd.confine UNIT FDS COMMAND…

UNIT may be `-`. FDS (`7,9`, or `-`) are listening sockets to hand over as a socket unit does.

Applied are SystemCallFilter=, RestrictAddressFamilies=, MemoryDenyWriteExecute=, NoNewPrivileges=, LimitCORE= and
UMask=; what needs mounts or namespaces is not. The sets of system calls come from systemd-analyze.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | errno.EPERM  # SystemCallErrorNumber=EPERM
EQUAL = 4
NO_NEW_PRIVILEGES = 38
MDWE = 65


class Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def settings(unit: Path) -> dict[str, list[str]]:
    """Every value of every key, in order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith(("#", ";")):
            found.setdefault(key, []).append(value)
    return found


def system_calls(name: str) -> Iterator[str]:
    """The calls of a set such as @system-service, those of the sets inside included."""
    if not name.startswith("@"):
        yield name
        return
    shown = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter", name], capture_output=True, text=True, check=True
    )
    for line in shown.stdout.splitlines()[1:]:
        word = line.split("#")[0].strip()
        if word:
            yield from system_calls(word)


def allowed_calls(lines: list[str]) -> set[str]:
    calls: set[str] = set()
    for line in lines:
        for name in line.removeprefix("~").split():
            named = set(system_calls(name))
            calls = calls - named if line.startswith("~") else calls | named
    # systemd.exec(5): always implicitly allowed.
    return (
        calls
        | {"execve", "exit", "exit_group", "getrlimit", "rt_sigreturn", "sigreturn"}
        | set(system_calls("@default"))
    )


def install(calls: set[str], families: list[str]) -> None:
    """Allow `calls` and nothing else; socket() only for `families`."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(REFUSE)))
    assert context
    for name in sorted(calls - {"socket"}):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # else: not on this architecture
            assert library.seccomp_rule_add_array(context, ALLOW, number, 0, None) == 0, name
    number = library.seccomp_syscall_resolve_name(b"socket")
    for family in families:
        comparison = Comparison(0, EQUAL, getattr(socket, family), 0)
        assert library.seccomp_rule_add_array(context, ALLOW, number, 1, ctypes.byref(comparison)) == 0
    assert library.seccomp_load(context) == 0


def hand_over(descriptors: list[int]) -> None:
    """sd_listen_fds(3): from 3 on, for this process alone."""
    aside = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 100) for descriptor in descriptors]
    for target, descriptor in enumerate(aside, 3):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(descriptors))}


def confine(unit: Path) -> None:
    """Put this process, and what it starts, under the unit's rules."""
    rules = settings(unit)
    calls = allowed_calls(rules["SystemCallFilter"])
    prctl = ctypes.CDLL(None).prctl
    assert rules["NoNewPrivileges"] == ["yes"]
    assert prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    assert rules["MemoryDenyWriteExecute"] == ["yes"]
    prctl(MDWE, 1, 0, 0, 0)  # from Linux 6.3 on
    assert rules["LimitCORE"] == ["0"]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(int(rules["UMask"][0], 8))
    (families,) = rules["RestrictAddressFamilies"]
    install(calls, families.split())


if __name__ == "__main__":
    unit, descriptors, *command = sys.argv[1:]
    if descriptors != "-":
        hand_over([int(descriptor) for descriptor in descriptors.split(",")])
    if unit != "-":
        confine(Path(unit))
    os.execvp(command[0], command)
