"""The listening sockets of fronts and portal: bound here, or passed by systemd (sd_listen_fds(3))."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxy.config.settings import Address

BACKLOG = 1024
"""Connections the kernel holds for us while every worker is busy or restarting."""

_FIRST_PASSED_FD = 3


class CannotListen(Exception):
    """One sentence: whose socket, which address, why, what to do."""


@dataclass(slots=True)
class Passed:
    """A socket that was opened for us. `name` is its FileDescriptorName."""

    name: str
    sock: socket.socket


def passed_by_systemd() -> list[Passed]:
    """Take over the sockets of $LISTEN_FDS, once: the variables are removed so that no child inherits them."""
    pid, count, names = (os.environ.pop(key, "") for key in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    labels = names.split(":") if names else []
    passed = []
    for index in range(int(count)):
        passed.append(Passed(labels[index] if index < len(labels) else "", adopt(_FIRST_PASSED_FD + index)))
    return passed


def adopt(descriptor: int) -> socket.socket:
    """A socket that another process opened, as ours."""
    sock = socket.socket(fileno=descriptor)
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock


def listen(addresses: Mapping[str, Address], passed: list[Passed]) -> dict[str, socket.socket]:
    """One listening socket per address, by the names of `addresses` (`imap:993`, `portal`).

    A passed socket serves the one of its name (`imap-993` for `imap:993`: systemd allows no colon there), else the
    one of its address, else the one of its port; it is taken out of `passed`. What is left is bound here.
    Raises CannotListen.
    """
    sockets: dict[str, socket.socket] = {}
    try:
        for name, address in addresses.items():
            sockets[name] = _take(name, address, passed) or _bind(name, address)
    except CannotListen:
        for sock in sockets.values():
            sock.close()
        raise
    return sockets


def _take(name: str, address: Address, passed: list[Passed]) -> socket.socket | None:
    matches: tuple[Callable[[Passed], bool], ...] = (
        lambda p: p.name == name.replace(":", "-"),
        lambda p: bool(p.sock.getsockname()[:2] == (address.host, address.port)),
        lambda p: bool(p.sock.getsockname()[1] == address.port),
    )
    tcp = [p for p in passed if p.sock.family in (socket.AF_INET, socket.AF_INET6)]
    for match in matches:
        for candidate in tcp:
            if match(candidate):
                passed.remove(candidate)
                return candidate.sock
    return None


def _bind(name: str, address: Address) -> socket.socket:
    """A listening socket; `[::]` takes IPv4 as well, and means 0.0.0.0 on a host without IPv6. Raises CannotListen."""
    host = address.host
    if host == "::" and not _ipv6_works():
        host = "0.0.0.0"  # noqa: S104 - the configuration asked for every address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        sock.setblocking(False)
        sock.bind((host, address.port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise CannotListen(f"{name}: cannot listen on {address}: {_explain(error, address.port)}") from error
    return sock


def _ipv6_works() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def _explain(error: OSError, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"another program listens there already; find it with: ss -ltnp 'sport = :{port}' "
                "(a running sidegate, or the mail server itself?), then stop it or choose another port"
            )
        case errno.EACCES | errno.EPERM:
            return (
                "no permission; ports below 1024 need root, CAP_NET_BIND_SERVICE or the systemd socket unit "
                "(systemd/sidegate-front.socket)"
            )
        case errno.EADDRNOTAVAIL:
            return "this machine does not have that address; see: ip address"
        case _:
            return error.strerror or str(error)
