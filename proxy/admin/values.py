"""Values as people write them, checked: moments, scopes, networks, names. Errors are desk.Invalid: what to write."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from proxy.admin.desk import Invalid
from proxy.config.settings import Config
from proxy.domain import durations
from proxy.domain.addresses import domain_of
from proxy.domain.login_names import canonical
from proxy.domain.model import Protocol
from proxy.domain.networks import canonical_network

LONGEST = 100 * 365 * 86400.0
"""Seconds of a length of time."""
MAX_NAME = 64
"""Characters of an app password's name and of an account's display name (twice that)."""
MAX_NETWORKS = 32


def duration(text: str) -> float:
    """Seconds of a length of time, more than none."""
    seconds = durations.seconds(text)
    if not seconds:
        raise Invalid(f"{text!r} is not a length of time: write a number and s, m, h, d or w, such as 90d")
    if seconds > LONGEST:
        raise Invalid(f"{text!r} is too long; write at most {LONGEST / 86400:g}d")
    return seconds


def expiry(text: str, now: float) -> float:
    """When an app password that is made now ends: a length of time from now, or a date or moment to come."""
    moment = _moment(text) if durations.seconds(text) is None else now + duration(text)
    if moment <= now:
        raise Invalid(f"{text!r} is in the past; give a length of time such as 90d or a date to come")
    return moment


def since(text: str, now: float) -> float:
    """A moment before now: a length of time back, or a date or moment."""
    return _moment(text) if durations.seconds(text) is None else now - duration(text)


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"{text!r} is neither a length of time (90d, 12h) nor a date (2027-01-31) "
            "nor a moment (2027-01-31T18:00:00Z)"
        ) from None
    # A bare date or a moment without zone is meant in UTC: the CLI may run in another zone than the core.
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def scopes(names: Iterable[str]) -> frozenset[Protocol]:
    """Scopes by name; at least one."""
    found = set()
    for name in names:
        try:
            found.add(Protocol(name.strip().lower()))
        except ValueError:
            known = ", ".join(sorted(Protocol))
            raise Invalid(f"{name!r} is no scope; scopes are {known}") from None
    if not found:
        raise Invalid("an app password needs at least one scope")
    return frozenset(found)


def networks(cidrs: Iterable[str]) -> tuple[str, ...]:
    """CIDRs in canonical form, each once. A bare address is a network of one."""
    found: dict[str, None] = {}
    for cidr in cidrs:
        try:
            found[canonical_network(cidr.strip())] = None
        except ValueError as error:
            raise Invalid(f"{cidr!r} {error}") from None
    if len(found) > MAX_NETWORKS:
        raise Invalid(f"an app password takes at most {MAX_NETWORKS} networks")
    return tuple(found)


def label(text: str, what: str, longest: int = MAX_NAME) -> str:
    """A name for people: printable, no surrounding space, at most `longest` characters. It is shown, never parsed."""
    if not text or text != text.strip() or not text.isprintable() or len(text) > longest:
        raise Invalid(f"{what} must be 1 to {longest} printable characters without space around it")
    return text


def address(raw: str, default_domain: str, domains: Iterable[str]) -> str:
    """The canonical address of an account to be: local@domain, in a domain that is served here."""
    name = canonical(raw, default_domain)
    if name is None or "=" in name or "@" not in name or not all(name.rpartition("@")[::2]):
        raise Invalid(f"{raw!r} cannot be an address; it takes letters, digits and . _ + - around one @")
    if domain_of(name) not in domains:
        raise Invalid(f"{name!r} is not in a domain served here ({', '.join(domains)}); add it to `domains:` first")
    return name


def alias(raw: str, config: Config) -> str:
    """The canonical form of an alias; it may have any domain, or be of the form DOMAIN\\user, or a DN."""
    name = canonical(raw, config.default_domain)
    if name is None:
        hint = "; a DN takes names and plain values without * and %, and 1,024 bytes" if "=" in raw else ""
        raise Invalid(f"{raw!r} cannot be a login name{hint}")
    if "=" in name and name in _services(config):
        raise Invalid(f"{raw!r} is a service's own DN (service_accounts or bind_dn), never an account's")
    return name


def _services(config: Config) -> set[str | None]:
    """Whoever is one of them would get in with the password that the directory checks, or speak for everybody."""
    backends = config.backends.values()
    dns = [service.dn for backend in backends for service in backend.service_accounts]
    return {canonical(dn, "") for dn in (*dns, *(backend.login.bind_dn for backend in backends)) if dn}


_BACKEND_NAME = re.compile(r"[^\x00-\x20\x7f*%\"\\<>()]+")


def backend_name(raw: str) -> str:
    """What a backend calls an account: no control bytes, nothing that login syntaxes give a meaning (`*`, `%`, `"`)."""
    if not _BACKEND_NAME.fullmatch(raw) or not raw.isprintable() or len(raw.encode("utf-8", "surrogatepass")) > 256:
        raise Invalid(f"{raw!r} cannot be a backend name: no spaces, control characters, quotes, * or %")
    return raw
