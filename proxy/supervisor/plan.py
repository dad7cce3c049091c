"""What to run: which children, with which arguments, environment and descriptors."""

from __future__ import annotations

import os
import socket
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import proxy
from proxy.config.settings import Address, Config
from proxy.supervisor.slot import STATUS_FD, Program, Role

MODULES: Mapping[Role, str] = {
    Role.CORE: "proxy.core",
    Role.FRONT: "proxy.front_worker",
    Role.PORTAL: "proxy.portal_process",
}

PORTAL = "portal"
"""Name of the portal's socket; fronts are called `imap:993`."""

_INHERITED = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "JOURNAL_STREAM",
    "OPENSSL_CONF",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
"""All that a child gets of our environment: nothing that could carry a secret."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One slot to be."""

    name: str
    role: Role
    program: Program


def addresses(config: Config, role: Role | None) -> dict[str, Address]:
    """What to listen on for `role` (None: all), by front name or PORTAL."""
    found = {front.name: front.listen for front in config.fronts} if role in (None, Role.FRONT) else {}
    if role in (None, Role.PORTAL):
        found[PORTAL] = config.portal.listen
    return found


def plan(
    config: Config, role: Role | None, sockets: Mapping[str, socket.socket], modules: Mapping[Role, str], null: int
) -> list[Planned]:
    """The children of `role` (None: all), in the order of starting. `null` is an open /dev/null for their stdin."""
    status = ["--status-fd", str(STATUS_FD)]
    by_config = ["--config", str(config.path)]
    fronts = {name: sock for name, sock in sockets.items() if name != PORTAL}
    first = STATUS_FD + 1
    names = ",".join(f"{name}={fd}" for fd, name in enumerate(fronts, first))
    arguments = {
        Role.CORE: [*by_config, *status],
        Role.PORTAL: [*by_config, "--listen-fd", str(first), *status],
        Role.FRONT: ["--link", str(config.run_dir / "link.sock"), "--listen", names, *status],
    }
    descriptors = {
        Role.CORE: {},
        Role.PORTAL: {first: sockets[PORTAL].fileno()} if PORTAL in sockets else {},
        Role.FRONT: {fd: sock.fileno() for fd, sock in enumerate(fronts.values(), first)},
    }

    def planned(name: str, child: Role) -> Planned:
        program = Program(
            arguments=["-P", "-m", modules[child], *arguments[child]],
            environment=_environment(child),
            descriptors={0: null, **descriptors[child]},
        )
        return Planned(name, child, program)

    workers = config.workers or len(os.sched_getaffinity(0))
    numbered = [planned(f"front-{number}", Role.FRONT) for number in range(1, workers + 1)]
    everything = [planned("core", Role.CORE), planned("portal", Role.PORTAL), *numbered]
    return [child for child in everything if role is None or child.role is role]


def _environment(role: Role) -> dict[str, str]:
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    if role is not Role.FRONT and "CREDENTIALS_DIRECTORY" in os.environ:
        environment["CREDENTIALS_DIRECTORY"] = os.environ["CREDENTIALS_DIRECTORY"]
    # Children run this very code, also from a checkout that is not installed; -P keeps the working directory out.
    root = str(Path(proxy.__file__).resolve().parents[1])
    if root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        environment["PYTHONPATH"] = root
    return environment
