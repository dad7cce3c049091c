"""`sidegate serve`: a small parent process that owns the listening sockets and keeps core, portal and fronts running.

listeners.py  sockets, bound here or passed by systemd      plan.py     what to run
slot.py       one child's place: watch, restart, kill       parent.py   order of start and stop, reload
watcher.py    obeys the core's Kill                         notify.py   word to systemd
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import STDLibLogObserver, globalLogBeginner

from proxy import logs
from proxy.config.errors import ConfigErrors
from proxy.config.loading import load
from proxy.config.settings import Config
from proxy.supervisor.listeners import CannotListen, Passed, listen, passed_by_systemd
from proxy.supervisor.notify import notify, watchdog_interval
from proxy.supervisor.parent import Supervisor
from proxy.supervisor.plan import MODULES, addresses, plan
from proxy.supervisor.slot import Pace, Reactor, Role

__all__ = ["Role", "run"]

BAD_CONFIGURATION = 78
FAILED = 1


def run(
    config_path: Path,
    role: Role | None = None,
    *,
    passed: list[Passed] | None = None,
    modules: Mapping[Role, str] = MODULES,
    pace: Pace | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status. `role` None runs everything.

    `passed` are open sockets to use where their port fits; None: those of systemd. `modules` and `pace` are for tests:
    other programs in the children's places, other times.
    """
    logs.setup()
    observer: Any = STDLibLogObserver()
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    log = logs.get("supervisor")
    passed = passed_by_systemd() if passed is None else passed

    def read() -> Config:
        # A part alone runs under a uid of its own, which may read only what is that part's.
        return load(
            config_path,
            certificates=role in (None, Role.FRONT),
            secrets=role in (None, Role.CORE),
            directory=role in (None, Role.PORTAL),
        )

    try:
        config = read()
        sockets = listen(addresses(config, role), passed)
    except ConfigErrors as errors:
        return _give_up(str(errors), BAD_CONFIGURATION)
    except CannotListen as error:
        return _give_up(f"sidegate: {error}", FAILED)
    for unwanted in passed:
        log.warning("systemd passed a socket that nothing listens on", address=str(unwanted.sock.getsockname()))
        unwanted.sock.close()
    if role is None:
        log.info("one uid for all processes; the split into users is systemd/sidegate.target", uid=os.getuid())
    _soft_limits()

    from twisted.internet import reactor as installed

    reactor: Any = installed
    null = os.open(os.devnull, os.O_RDWR)
    children = plan(config, role, sockets, modules, null)
    supervisor = Supervisor(reactor, config, children, sockets, read, pace or Pace())
    reactor.callWhenRunning(_begin, reactor, supervisor)
    reactor.run()
    return supervisor.exit_code


def _begin(reactor: Reactor, supervisor: Supervisor) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: reactor.callFromThread(supervisor.stop))
    signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(supervisor.reload))
    interval = watchdog_interval()
    if interval is not None:
        LoopingCall(notify, "WATCHDOG=1").start(interval)
    supervisor.start()


def _soft_limits() -> None:
    """As many descriptors as we may have (children inherit it), and no core files anywhere."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _give_up(message: str, exit_code: int) -> int:
    print(message, file=sys.stderr, flush=True)  # noqa: T201 - one sentence for a person, not a log line
    return exit_code
