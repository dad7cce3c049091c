"""The configuration file -> Config, or every mistake in it at once."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path

from proxy.config import backends, document, factors, ldap_directory, values
from proxy.config.document import Scalar, Sequence
from proxy.config.errors import START, ConfigErrors, Problems, by_place
from proxy.config.listeners import Listeners, read_fronts, read_portal, read_tls
from proxy.config.reader import Bad, Section, section
from proxy.config.settings import Config, Limits, Policy

DEFAULT_STATE_DIR = Path("/var/lib/sidegate")
DEFAULT_RUN_DIR = Path("/run/sidegate")
SOCKET_PATH_BYTES = 107
"""Of a unix socket's address, without its NUL (unix(7))."""


def load(path: Path, *, certificates: bool = True, secrets: bool = True, directory: bool = True) -> Config:
    """The configuration in `path`.

    `certificates`: the certificates and TLS keys it names are read and checked too. `secrets`: so are backend
    passwords, which are None without. `directory`: so are the certificates and secrets of that section, of
    `portal.mail`, of `portal.sign_in` and of `factors`. Each process asks for what its uid may read; `sidegate check`
    for all.
    Raises ConfigErrors, and nothing else, for anything that is wrong with it.
    """
    problems = Problems(path)
    config = _read(path, problems, certificates=certificates, secrets=secrets, directory=directory)
    if problems.errors or config is None:
        raise ConfigErrors(problems.errors)
    return replace(config, warnings=tuple(str(warning) for warning in sorted(problems.warnings, key=by_place)))


def _read(path: Path, problems: Problems, *, certificates: bool, secrets: bool, directory: bool) -> Config | None:
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        problems.add(START, "", f"cannot be read: {reason}; name the file with --config or $SIDEGATE_CONFIG")
        return None
    node = document.parse(raw, problems)
    if node is None and problems.errors:
        return None
    if node is None or (isinstance(node, Scalar) and node.is_null):
        problems.add(START, "", "is empty; `sidegate config example` prints one to start from")
        return None
    top = section(node, "", problems, "")
    if top is None:
        return None
    return _config(path, top, certificates=certificates, secrets=secrets, directory=directory)


def _config(path: Path, top: Section, *, certificates: bool, secrets: bool, directory: bool) -> Config:
    state_dir = top.get("state_dir", values.absolute_path, DEFAULT_STATE_DIR)
    default_domain = top.required("default_domain", values.mail_domain, "", "write default_domain: example.org")
    domains = _domains(top, default_domain)
    found = backends.read_all(top, domains, certificates=certificates, secrets=secrets)
    taken = Listeners(top.problems)
    hostname = top.get("hostname", values.host_name, machine_name())
    kept_by = ldap_directory.read(top, domains, private=directory)
    return Config(
        path=path,
        store=top.get("store", values.store_url, f"sqlite:{state_dir}/sidegate.db"),
        state_dir=state_dir,
        run_dir=top.get("run_dir", _socket_dir, DEFAULT_RUN_DIR),
        workers=top.get("workers", _workers, None),
        tls=read_tls(top, certificates=certificates, keys=certificates or secrets),
        fronts=read_fronts(top, found, taken, hostname),
        portal=read_portal(
            top, taken, default_domain, certificates=certificates, private=directory, embedded=kept_by is None
        ),
        default_domain=default_domain,
        domains=domains,
        hostname=hostname,
        backends=found,
        directory=kept_by,
        factors=factors.read(top, default_domain, private=directory),
        policy=_policy(top),
        limits=_limits(top),
        node=top.get("node", values.host_name, machine_name().partition(".")[0]),
        link_users=top.each("link_users", values.user),
    )


def machine_name() -> str:
    """This machine's name as it has it, without asking the network."""
    return os.uname().nodename.lower() or "localhost"


def _workers(scalar: Scalar) -> int | None:
    if scalar.text == "auto":
        return None
    try:
        return values.whole(1, 256)(scalar)
    except Bad:
        raise Bad("must be auto (one per CPU) or a number from 1 to 256") from None


def _socket_dir(scalar: Scalar) -> Path:
    path = values.absolute_path(scalar)
    if len(os.fsencode(path / "admin.sock")) > SOCKET_PATH_BYTES:
        raise Bad(f"is too long for a socket in it ({SOCKET_PATH_BYTES} bytes in all); write a shorter path")
    return path


def _domains(top: Section, default_domain: str) -> tuple[str, ...]:
    domains = top.each("domains", values.mail_domain)
    if "domains" not in top:
        return (default_domain,)
    if default_domain and domains and default_domain not in domains:
        top.fail("domains", "lacks default_domain; add it, or bare login names could never be accepted")
    elif not domains and isinstance(top.node("domains"), Sequence):
        top.fail("domains", "is an empty list; name the domains of your accounts, or remove the key")
    return domains


def _policy(top: Section) -> Policy:
    here = top.section("policy", "policy")
    if here is None:
        return Policy()
    here.get("account_passwords_on_fronts", _refuse, "refuse")
    return Policy(
        app_password_limit=here.get("app_password_limit", values.whole(1, 1000), Policy().app_password_limit),
        app_password_max_age=here.get("app_password_max_age", values.duration("1h", "3650d"), None),
        audit_keep=here.get("audit_keep", _keep, Policy().audit_keep),
    )


def _keep(scalar: Scalar) -> float | None:
    return None if scalar.text == "forever" else values.duration("1d", "36500d")(scalar)


def _refuse(scalar: Scalar) -> str:
    if scalar.text in ("until_enforced", "report"):
        raise Bad(f"{scalar.text} is not in this version of sidegate; write refuse")
    if scalar.text != "refuse":
        raise Bad("must be refuse")
    return scalar.text


DURATIONS = {
    "refusal_delay": ("0s", "30s"),
    "login_timeout": ("5s", "10m"),
    "window": ("10s", "24h"),
    "penalty": ("1s", "1h"),
    "penalty_max": ("1s", "24h"),
}
COUNTS = {
    "refusals_per_connection": (1, 100),
    "connections_per_network": (1, 10_000),
    "sessions_per_app_password": (1, 10_000),
    "sessions_per_account": (1, 100_000),
    "shaped_per_network": (1, 10_000),
    "shaped_per_account_and_network": (1, 10_000),
}
"""Bounds of `limits`, both ends included."""


def _limits(top: Section) -> Limits:
    here = top.section("limits", "limits")
    if here is None:
        return Limits()
    default = Limits()
    assert {field.name for field in fields(Limits)} == {*DURATIONS, *COUNTS, "shared_networks"}
    limits = Limits(
        **{key: here.get(key, values.duration(*bounds), getattr(default, key)) for key, bounds in DURATIONS.items()},
        **{key: here.get(key, values.whole(*bounds), getattr(default, key)) for key, bounds in COUNTS.items()},
        shared_networks=here.each("shared_networks", values.network),
    )
    if limits.penalty > limits.penalty_max:
        here.fail("penalty" if "penalty" in here else "penalty_max", "penalty is longer than penalty_max; swap them")
    return limits
