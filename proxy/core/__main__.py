"""Composition root of the core: `python -m proxy.core --config FILE --status-fd N`, started by the supervisor."""

from __future__ import annotations

import argparse
import asyncio
import errno
import gc
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from proxy import child, logs
from proxy.backends import keys
from proxy.backends.keys import Keys
from proxy.config import Config, ConfigErrors, load
from proxy.core.service import Service
from proxy.keyfiles import KeysError
from proxy.store.engine import Store
from proxy.store.errors import NotSetUp, StoreUnavailable

EX_FAILED = 1
EX_TEMPFAIL = 75
EX_CONFIG = 78

_log = logs.get("core")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the core until SIGTERM. Exit status: 0 stopped, 1 failed, 75 no store now, 78 not set up."""
    arguments = _arguments(argv)
    child.settle(arguments.status_fd)
    os.umask(0o077)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is a configuration to take anew
    logs.setup(arguments.log_level)
    try:
        config = load(arguments.config, certificates=False, directory=False)
        secret_keys = keys.load(config.state_dir)
    except ConfigErrors as errors:
        for error in errors.errors:
            _log.error("the configuration cannot be used", error=str(error))
        return EX_CONFIG
    except KeysError as error:
        _log.error("the keys cannot be used", reason=str(error))
        return EX_CONFIG
    store = Store(config.store)
    try:
        store.check()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(config, secret_keys, store, arguments.status_fd))
    except StoreUnavailable as error:
        _log.error("the store cannot be used", reason=str(error))
        return EX_CONFIG if isinstance(error, NotSetUp) else EX_TEMPFAIL
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = "another core serves it" if taken else error.strerror
        _log.error("the core cannot start", run_dir=str(config.run_dir), reason=why)
        return EX_FAILED
    finally:
        store.close()
    return 0


async def _serve(config: Config, secret_keys: Keys, store: Store, status_fd: int | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    if status_fd is None:
        loop.add_signal_handler(signal.SIGINT, stop.set)
    service = Service(config, secret_keys, store, loop)
    service.start()
    loop.add_signal_handler(signal.SIGHUP, service.reload)
    if status_fd is not None:
        child.report_ready(loop, status_fd, stop.set)
    _log.info("core ready", config=str(config.path), node=config.node)
    gc.collect()
    gc.freeze()
    await stop.wait()
    await service.stop()


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="proxy.core", description="Started by the supervisor.")
    parser.add_argument("--config", required=True, type=Path)
    parser.add_argument("--status-fd", type=int)
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
