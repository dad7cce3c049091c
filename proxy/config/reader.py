"""Typed access to nodes: every getter records what is wrong and gives a stand-in, so that reading goes on."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from collections.abc import Mapping as Table
from typing import TypeVar

from proxy.config import document
from proxy.config.document import Mapping, Node, Scalar, join
from proxy.config.errors import Mark, Problems

T = TypeVar("T")

KEYS: Table[str, tuple[str, ...]] = {
    "": (
        "store",
        "state_dir",
        "run_dir",
        "workers",
        "node",
        "hostname",
        "link_users",
        "tls",
        "portal",
        "default_domain",
        "domains",
        "fronts",
        "backends",
        "directory",
        "policy",
        "limits",
        "factors",
    ),
    "tls": ("certificate", "key", "names"),
    "portal": (
        "url",
        "listen",
        "tls",
        "name",
        "forwarded_from",
        "trusted_networks",
        "enrolment",
        "remember_days",
        "fraud_stop_days",
        "password_url",
        "mail",
        "profile_signer",
        "user",
        "sign_in",
    ),
    "portal.mail": ("from", "server", "tls", "ca", "insecure", "user", "password", "password_file"),
    "portal.sign_in": (
        "type",
        "issuer",
        "client_id",
        "client_secret",
        "client_secret_file",
        "account_claim",
        "trust_unverified_email",
        "mfa",
        "name",
        "break_glass",
        "ca",
    ),
    "portal.sign_in.mfa": ("acr", "amr"),
    "portal.tls": ("certificate", "key"),
    "portal.profile_signer": ("certificate", "key"),
    "front": ("protocol", "listen", "tls", "backend", "proxy_protocol_from", "public"),
    "backend": (
        "protocol",
        "address",
        "tls",
        "ca",
        "server_name",
        "insecure",
        "username",
        "account_dn",
        "bind_names",
        "bind_only",
        "service_accounts",
        "client_address",
        "login",
    ),
    "login": (
        "strategy",
        "user",
        "password",
        "password_file",
        "separator",
        "issuer",
        "client_id",
        "audience",
        "bind_dn",
        "bases",
        "attributes",
    ),
    "service_account": ("dn", "networks", "on_revoke"),
    "on_revoke": (
        "type",
        "url",
        "socket",
        "chat_user",
        "user",
        "password",
        "password_file",
        "token",
        "token_file",
        "secret",
        "secret_file",
        "ca",
        "insecure",
    ),
    "directory": (
        "type",
        "url",
        "starttls",
        "ca",
        "insecure",
        "base",
        "filter",
        "account_dn",
        "bind_dn",
        "password",
        "password_file",
        "group_filter",
    ),
    "factors.push": ("contact", "services"),
    "factors.sms": ("webhook", "apprise", "apprise_file", "countries", "daily_limit"),
    "factors.call": ("webhook", "apprise", "apprise_file", "countries", "daily_limit"),
    "factors.webhook": ("url", "secret", "secret_file", "ca"),
    "policy": ("app_password_limit", "app_password_max_age", "account_passwords_on_fronts", "audit_keep"),
    "limits": (
        "refusal_delay",
        "login_timeout",
        "refusals_per_connection",
        "connections_per_network",
        "sessions_per_app_password",
        "sessions_per_account",
        "shaped_per_network",
        "shaped_per_account_and_network",
        "window",
        "penalty",
        "penalty_max",
        "shared_networks",
    ),
}
"""Every key there is, by kind of section: what `unknown key` is measured against, and the example must show."""


class Bad(ValueError):
    """A value cannot be what was asked for. The message finishes the sentence `path: …` and repeats no value."""


class Section:
    """One mapping of the file. `kind` picks its keys from KEYS; an unknown one is recorded at once."""

    def __init__(self, node: Mapping, path: str, problems: Problems, kind: str, later: tuple[str, ...] = ()) -> None:
        self.path = path
        self.mark = node.mark
        self.problems = problems
        self._entries = node.entries
        self._known = KEYS[kind]
        for key, (mark, _) in node.entries.items():
            if key in later:
                problems.add(mark, self.at(key), "is not in this version of sidegate; remove it")
            elif key not in self._known:
                problems.add(mark, self.at(key), f"unknown key{did_you_mean(key, self._known)}")

    def __contains__(self, key: str) -> bool:
        return self.node(key) is not None

    def at(self, key: str) -> str:
        """The path of `key`, which need not be there."""
        return join(self.path, key)

    def node(self, key: str) -> Node | None:
        """The value of `key`; None when it is missing or empty (`key:` and `key: null` mean the default)."""
        assert key in self._known, key
        entry = self._entries.get(key)
        if entry is None or (isinstance(entry[1], Scalar) and entry[1].is_null):
            return None
        return entry[1]

    def mark_of(self, key: str) -> Mark:
        """Where to point for `key`: its value, or the section when it is missing."""
        entry = self._entries.get(key)
        return entry[1].mark if entry else self.mark

    def fail(self, key: str, message: str) -> None:
        self.problems.add(self.mark_of(key), self.at(key), message)

    def get(self, key: str, convert: Callable[[Scalar], T], default: T) -> T:
        """`key` converted; `default` when it is missing or wrong."""
        node = self.node(key)
        return default if node is None else scalar(node, self.at(key), self.problems, convert, default)

    def required(self, key: str, convert: Callable[[Scalar], T], stand_in: T, hint: str) -> T:
        """As get, but missing is an error; `hint` says what to write."""
        if self.node(key) is None:
            self.fail(key, f"is missing; {hint}")
        return self.get(key, convert, stand_in)

    def each(self, key: str, convert: Callable[[Scalar], T], *, single: bool = False) -> tuple[T, ...]:
        """`key` as a list of scalars; with `single` one scalar will do for a list of one."""
        node = self.node(key)
        if node is None:
            return ()
        if single and isinstance(node, Scalar):
            only = scalar(node, self.at(key), self.problems, convert, None)
            return () if only is None else (only,)
        if not isinstance(node, document.Sequence):
            self.fail(key, "must be a list; write [a, b]")
            return ()
        found: list[T] = []
        for index, item in enumerate(node.items):
            path = f"{self.at(key)}[{index}]"
            value = scalar(item, path, self.problems, convert, None)
            if value is not None and value in found:
                self.problems.add(item.mark, path, "stands twice in this list; keep one")
            elif value is not None:
                found.append(value)
        return tuple(found)

    def section(self, key: str, kind: str, later: tuple[str, ...] = ()) -> Section | None:
        """`key` as a mapping; None when it is missing or none."""
        node = self.node(key)
        return None if node is None else section(node, self.at(key), self.problems, kind, later)

    def named(self, key: str) -> Iterator[tuple[str, Mark, Node]]:
        """`key` as a mapping whose keys are names chosen by the operator: name, where it stands, value."""
        node = self.node(key)
        if node is None:
            return
        if not isinstance(node, Mapping):
            self.fail(key, "must be a mapping of names; write name: {…}")
            return
        for name, (mark, value) in node.entries.items():
            yield name, mark, value


def section(node: Node, path: str, problems: Problems, kind: str, later: tuple[str, ...] = ()) -> Section | None:
    """`node` as a section; None, and an error recorded, when it is no mapping."""
    if isinstance(node, Mapping):
        return Section(node, path, problems, kind, later)
    problems.add(node.mark, path, f"must be a mapping; write {{{KEYS[kind][0]}: …}} (keys: {', '.join(KEYS[kind])})")
    return None


def scalar(node: Node, path: str, problems: Problems, convert: Callable[[Scalar], T], default: T) -> T:
    """`node` converted, or `default` with the error recorded."""
    if not isinstance(node, Scalar):
        kind = "a list" if isinstance(node, document.Sequence) else "a mapping"
        problems.add(node.mark, path, f"must be a single value, not {kind}")
        return default
    try:
        return convert(node)
    except Bad as error:
        problems.add(node.mark, path, str(error))
        return default


def did_you_mean(word: str, known: Table[str, object] | tuple[str, ...]) -> str:
    """`; did you mean X?` or, with nothing near, the list of what there is."""
    near = difflib.get_close_matches(word[:40], known, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; there is {', '.join(known)}" if known else ""
