"""Configuration, keys, store, core and clock of this host."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import proxy
from proxy import keyfiles
from proxy.backends.keys import load
from proxy.cli import sharing
from proxy.cli.base import Failure
from proxy.cli.client import Client
from proxy.cli.doctor.finding import Finding, State
from proxy.config import Config, ConfigErrors
from proxy.config import load as load_config
from proxy.config.settings import Strategy
from proxy.keyfiles import FOLDER, KeysError
from proxy.store.engine import Store
from proxy.store.errors import StoreUnavailable


def configuration(path: Path) -> tuple[Config | None, list[Finding]]:
    """The configuration, if it can be used, and what is to be said about it."""
    try:
        config = load_config(path)
    except ConfigErrors as errors:
        return None, [Finding("configuration", State.FAILED, str(error)) for error in errors.errors]
    findings = [Finding("configuration", State.OK, f"{path} is valid")]
    findings += [Finding("configuration", State.WARNING, warning) for warning in config.warnings]
    return config, findings


def keys(config: Config) -> Iterator[Finding]:
    """Whether the keys are there, whole, and readable by their owner alone."""
    folder = config.state_dir / FOLDER
    try:
        load(config.state_dir)
        keyfiles.portal_key(config.state_dir)
    except KeysError as error:
        yield Finding("keys", State.FAILED, str(error))
        return
    owners = {folder.stat().st_uid} | {file.stat().st_uid for file in folder.iterdir()}
    if len(owners) > 1:
        yield Finding(
            "keys",
            State.FAILED,
            f"files in {folder} belong to several users; the core can read only its own",
            f"chown -R --reference={config.state_dir} {folder}",
        )
    elif (mode := folder.stat().st_mode & 0o777) & 0o077:
        yield Finding("keys", State.WARNING, f"{folder} is open to others (mode {mode:04o})", f"chmod 700 {folder}")
    else:
        yield Finding("keys", State.OK, f"{folder} is whole and private")


def store(config: Config) -> Iterator[Finding]:
    """Whether the store can be opened and has the schema of this version."""
    try:
        opened = Store(config.store)
        try:
            opened.check()
        finally:
            opened.close()
    except StoreUnavailable as error:
        yield Finding("store", State.FAILED, str(error))
    else:
        yield Finding("store", State.OK, "it opens and its schema is this version's")
    for text, todo in sharing.problems(config):
        yield Finding("store", State.FAILED, text, todo)


def core(config: Config) -> Iterator[Finding]:
    """Whether the core answers, and is of this version."""
    try:
        with Client(config.run_dir / "admin.sock") as api:
            status = api.get("status")
    except Failure as failure:
        yield Finding("core", State.FAILED, failure.message)
        return
    if status["version"] != proxy.__version__:
        yield Finding(
            "core",
            State.WARNING,
            f"version {status['version']} runs, {proxy.__version__} is installed",
            "restart sidegate at a quiet hour",
        )
    else:
        yield Finding("core", State.OK, f"it runs on {status['node']}; {status['sessions']} sessions")


_TIME_ERROR = 5


def clock(config: Config) -> Iterator[Finding]:
    """Whether the kernel's clock is kept in step; dovecot_token needs that on both hosts."""
    timex = ctypes.create_string_buffer(1024)  # struct timex, all zero: only ask (adjtimex(2))
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)
    if adjtimex is None or adjtimex(timex) != _TIME_ERROR:
        yield Finding("clock", State.OK, "it is synchronised")
        return
    tokens = any(backend.login.strategy is Strategy.DOVECOT_TOKEN for backend in config.backends.values())
    needs = (
        "dovecot_token lets a token live for 30 s, and authenticator apps a code for 90 s"
        if tokens
        else "expiry, audit and the codes of authenticator apps go by it"
    )
    yield Finding(
        "clock",
        State.WARNING if tokens else State.NOTE,
        f"the kernel does not know it to be synchronised; {needs}",
        "see that chrony or systemd-timesyncd runs" if os.path.isdir("/run/systemd/system") else "see the host's NTP",
    )
