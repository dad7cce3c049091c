"""Composition root of a front worker: the process that reads what strangers send.

    python -m proxy.front_worker --link PATH --listen NAME=FD[,NAME=FD…] --status-fd N

It is exec'ed by the supervisor with the listening sockets already open, reads no configuration file and gets its
settings, without any secret, from the core. Twisted's reactor runs over uvloop; relay descriptors are on the uvloop
loop underneath (docs/decisions/).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import Sequence
from socket import SocketType

import uvloop
from twisted.internet import asyncioreactor

from proxy import child, logs
from proxy.fronts.listeners import Listeners, raise_descriptor_limit
from proxy.fronts.probes import Probes
from proxy.fronts.sockets import Socket
from proxy.fronts.worker import Worker

REPORT_INTERVAL = 1.0
"""Seconds between reports of refusals."""

_log = logs.get("front")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="proxy.front_worker", description="Started by the supervisor only.")
    parser.add_argument("--link", required=True)
    parser.add_argument("--listen", required=True, help="NAME=FD[,NAME=FD…]")
    parser.add_argument("--status-fd", required=True, type=int)
    parser.add_argument("--log-level", default="info")
    return parser.parse_args(argv)


def _listening(argument: str) -> dict[str, SocketType]:
    sockets: dict[str, SocketType] = {}
    for part in argument.split(","):
        name, _, descriptor = part.rpartition("=")
        sockets[name] = Socket(fileno=int(descriptor))
    return sockets


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or until the supervisor is gone."""
    arguments = _arguments(argv)
    logs.setup(arguments.log_level)
    child.settle(arguments.status_fd, farewell=signal.SIGTERM)  # not SIGKILL: sessions get their goodbye
    capacity = raise_descriptor_limit()

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)  # type: ignore[no-untyped-call]
    from twisted.internet import reactor  # only exists after install()
    from twisted.internet.task import LoopingCall

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the core sends new settings

    worker = Worker(loop, arguments.link)
    listeners = Listeners(worker, _listening(arguments.listen), capacity)
    probes = Probes(worker)
    ready = False

    stopping = False

    def stop() -> None:
        """SIGTERM, which comes twice when the supervisor ends: from it and for its death."""
        nonlocal stopping
        if not stopping:
            stopping = True
            listeners.stop()
            worker.leave(lambda: reactor.callWhenRunning(reactor.stop))  # type: ignore[misc]

    def orphaned() -> None:
        if not stopping:  # else its death has been heard of, and the sessions are being ended
            _log.error("the supervisor is gone")
            os._exit(1)

    def configured() -> None:
        nonlocal ready
        if not ready and worker.fronts:
            ready = True
            listeners.start()
            child.report_ready(loop, arguments.status_fd, orphaned)
        probes.restart()

    worker.on_settings = configured
    # The loop loses a signal that comes before it runs, and the supervisor may already be gone.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.call_soon(signal.pthread_sigmask, signal.SIG_UNBLOCK, {signal.SIGTERM})
    worker.link.start()
    LoopingCall(worker.report_refusals).start(REPORT_INTERVAL, now=False)
    gc.collect()
    gc.freeze()
    reactor.run(installSignalHandlers=False)  # type: ignore[call-arg, misc]
    return 0


if __name__ == "__main__":
    sys.exit(main())
