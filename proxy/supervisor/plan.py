"""What to run: which children, with which arguments, environment and descriptors."""

from __future__ import annotations

import os
import socket
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import proxy
from proxy.config.settings import Config
from proxy.supervisor.slot import STATUS_FD, Program, Role

MODULES: Mapping[Role, str] = {
    Role.CORE: "proxy.core",
    Role.FRONT: "proxy.front_worker",
    Role.PORTAL: "proxy.portal_process",
}

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


def plan(
    config: Config, role: Role | None, sockets: Mapping[str, socket.socket], modules: Mapping[Role, str], null: int
) -> list[Planned]:
    """The children of `role` (None: all), in the order of starting. `null` is an open /dev/null for their stdin."""
    status = ["--status-fd", str(STATUS_FD)]
    by_config = ["--config", str(config.path)]
    descriptors = {STATUS_FD + 1 + index: sock.fileno() for index, sock in enumerate(sockets.values())}
    names = ",".join(f"{name}={fd}" for name, fd in zip(sockets, descriptors, strict=True))
    arguments = {
        Role.CORE: [*by_config, *status],
        Role.PORTAL: [*by_config, *status],
        Role.FRONT: ["--link", str(config.run_dir / "link.sock"), "--listen", names, *status],
    }

    def planned(name: str, child: Role) -> Planned:
        program = Program(
            arguments=["-P", "-m", modules[child], *arguments[child]],
            environment=_environment(child),
            descriptors={0: null, **(descriptors if child is Role.FRONT else {})},
        )
        return Planned(name, child, program)

    workers = config.workers or len(os.sched_getaffinity(0))
    fronts = [planned(f"front-{number}", Role.FRONT) for number in range(1, workers + 1)] if sockets else []
    everything = [planned("core", Role.CORE), planned("portal", Role.PORTAL), *fronts]
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
