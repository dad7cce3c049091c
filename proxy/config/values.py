"""What single values may look like: each function turns one scalar into its type or raises Bad."""

from __future__ import annotations

import ipaddress
import pwd
import re
import string
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from proxy.config import files
from proxy.config.document import Scalar
from proxy.config.reader import Bad
from proxy.config.settings import Address
from proxy.domain import durations
from proxy.domain.addresses import domain_of, templated
from proxy.domain.dn import Template, comparable, is_well_formed
from proxy.domain.login_names import canonical
from proxy.domain.networks import NetworkSet, canonical_network
from proxy.wire.ldap.inspection import GUARDED

E = TypeVar("E", bound=StrEnum)

MAX_TEXT = 1024
MAX_NAME = 64
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII | re.IGNORECASE)
_URL = re.compile(r"[A-Za-z0-9:/._~%?=&+\[\]-]+", re.ASCII)
_LDAP_URL = re.compile(r"[A-Za-z]+://[A-Za-z0-9.:\[\]-]+/?", re.ASCII)
_FILTER_ITEM = re.compile(r"\([A-Za-z0-9.;:-]+[~<>]?=(?:[^()\\\0]|\\[0-9A-Fa-f]{2})*\)")
_FILTER_LIST = re.compile(r"\((?:[&|]\0+|!\0)\)")
_LOOPBACK = NetworkSet(["127.0.0.0/8", "::1/128"])


def text(scalar: Scalar) -> str:
    """Any text on one line; an unquoted number stays as it was written."""
    if scalar.is_null or not scalar.text.strip():
        raise Bad("is empty; write a value or remove the key")
    if len(scalar.text) > MAX_TEXT:
        raise Bad(f"is longer than {MAX_TEXT} characters")
    return scalar.text


def flag(scalar: Scalar) -> bool:
    if scalar.plain and scalar.text in ("true", "false"):
        return scalar.text == "true"
    raise Bad("must be true or false, without quotes")


def whole(low: int, high: int) -> Callable[[Scalar], int]:
    """An integer in a range, both ends included."""

    def convert(scalar: Scalar) -> int:
        if not scalar.plain or not re.fullmatch(r"-?[0-9]{1,18}", scalar.text, re.ASCII):
            raise Bad(f"must be a whole number, from {low} to {high}, without quotes")
        if not low <= int(scalar.text) <= high:
            raise Bad(f"is out of range; write a number from {low} to {high}")
        return int(scalar.text)

    return convert


def duration(low: str, high: str) -> Callable[[Scalar], float]:
    """Seconds; `low` and `high` are written as durations too, for the message."""

    lowest, highest = durations.seconds(low), durations.seconds(high)
    assert lowest is not None
    assert highest is not None

    def convert(scalar: Scalar) -> float:
        seconds = durations.seconds(scalar.text)
        if seconds is None:
            raise Bad("must be a duration with its unit: 250ms, 30s, 5m, 12h, 90d or 2w")
        if not lowest <= seconds <= highest:
            raise Bad(f"is out of range; write a duration from {low} to {high}")
        return seconds

    return convert


def one_of(kind: type[E], later: tuple[str, ...] = ()) -> Callable[[Scalar], E]:
    """A member of an enumeration by its value; `later` names those that a coming version takes."""
    known = tuple(member.value for member in kind)

    def convert(scalar: Scalar) -> E:
        if scalar.text in later:
            raise Bad(f"{scalar.text} is not in this version of sidegate; write one of {', '.join(known)}")
        if scalar.text not in known:
            raise Bad(f"is none of {', '.join(known)}")
        return kind(scalar.text)

    return convert


def user(scalar: Scalar) -> str:
    """A user of this machine, by name."""
    try:
        pwd.getpwnam(text(scalar))
    except (KeyError, ValueError):  # ValueError: NUL, or what is no UTF-8
        raise Bad("is no user of this machine; create it, or remove it here") from None
    return scalar.text


def absolute_path(scalar: Scalar) -> Path:
    """A path that means the same whatever the working directory is."""
    path = Path(text(scalar))
    if not path.is_absolute():
        raise Bad("must be an absolute path; begin it with /")
    return path


def ca(scalar: Scalar, *, certificates: bool) -> Path:
    """The PEM file of an authority, looked into where `certificates` are (loading.load)."""
    path = absolute_path(scalar)
    if certificates:
        files.check_ca(path)
    return path


def _host_port(written: str, hint: str, lowest: int) -> tuple[str, int]:
    host, colon, port = written.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII):
        raise Bad(f"must be host:port; {hint}")
    if not lowest <= int(port) <= 65535:
        raise Bad(f"has a port out of range; write {lowest} to 65535")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed != (":" in host):
        raise Bad("has a bare IPv6 address or stray brackets; write [2001:db8::1]:993")
    return (host[1:-1] if bracketed else host), int(port)


def listen_address(scalar: Scalar) -> Address:
    """An IP literal and a port; port 0 lets the system choose."""
    hint = 'write "[::]:993" for all addresses or "127.0.0.1:993"'
    host, port = _host_port(text(scalar), hint, 0)
    try:
        return Address(str(ipaddress.ip_address(host)), port)
    except ValueError:
        raise Bad(f"has no IP address before the port; {hint}") from None


def backend_address(scalar: Scalar) -> Address:
    """An IP literal or a host name, and a port."""
    host, port = _host_port(text(scalar), 'write "10.0.0.5:143" or "mail.example.org:993"', 1)
    try:
        return Address(str(ipaddress.ip_address(host)), port)
    except ValueError:
        return Address(_host_name(host), port)


def public_address(scalar: Scalar) -> Address | None:
    """Where programs find a front: a host name, which a certificate and DNS records can carry, and a port."""
    if text(scalar) == "none":
        return None
    hint = 'write "imap.example.org:993", or none'
    host, port = _host_port(scalar.text, hint, 1)
    try:
        return Address(_host_name(host), port)
    except Bad:
        raise Bad(f"has no host name before the port; {hint}") from None


def host_name(scalar: Scalar) -> str:
    return _host_name(text(scalar))


def _host_name(written: str) -> str:
    # All digits in the last label is a mistyped IPv4 address, which resolvers would read in surprising ways.
    if len(written) > 253 or not _HOST_NAME.fullmatch(written) or written.rpartition(".")[2].isdigit():
        raise Bad("is neither a host name nor an IP address")
    return written.lower()


def server_name(scalar: Scalar) -> str:
    """What a certificate is checked for: a host name or an IP address."""
    try:
        return str(ipaddress.ip_address(text(scalar)))
    except ValueError:
        return _host_name(scalar.text)


def sni_name(scalar: Scalar) -> str:
    """A host name, or `*.` and a host name: one label may stand for the star."""
    written = text(scalar)
    star = "*." if written.startswith("*.") else ""
    return star + _host_name(written.removeprefix("*."))


def is_loopback(host: str) -> bool:
    """Whether bytes sent there stay on this machine. A name counts only if it is localhost."""
    return host == "localhost" or host in _LOOPBACK


def mail_domain(scalar: Scalar) -> str:
    """A domain as login names spell it: A-labels, lower case (domain/login_names.py)."""
    name = canonical(f"x@{text(scalar)}", "")
    domain = domain_of(name) if name is not None else ""
    if len(domain) > 253 or not _HOST_NAME.fullmatch(domain):
        raise Bad("is not a domain; write example.org")
    return domain


def mail_address(scalar: Scalar) -> str:
    """An address as login names spell it: nothing in it needs quoting in a mail."""
    address = canonical(text(scalar), "")
    if address is None or "=" in address or not _HOST_NAME.fullmatch(domain_of(address)):
        raise Bad("is no mail address; write sidegate@example.org")
    return address


def network(scalar: Scalar) -> str:
    """A CIDR; a bare address is a network of one."""
    written = text(scalar)
    try:
        return canonical_network(written)
    except ValueError as error:
        raise Bad(str(error)) from None


def portal_url(scalar: Scalar) -> str:
    """https (http on loopback), in plain ASCII that no reply has to quote: it is shown verbatim in all protocols."""
    written = text(scalar)
    hint = 'write "https://login.example.org"'
    scheme, host = scheme_and_host(written, hint)
    if scheme == "http" and not is_loopback(host):
        raise Bad("must begin with https:// (http:// only to a loopback address)")
    if scheme not in ("http", "https") or not host:
        raise Bad(f"is not a URL; {hint}")
    if len(written) > 200 or not _URL.fullmatch(written):
        raise Bad("must be at most 200 letters, digits and :/._~%?=&+- (clients see it in replies as it stands here)")
    return written


def shown_name(scalar: Scalar) -> str:
    """What pages and authenticator apps call something."""
    name = text(scalar)
    # Authenticator apps take `name:account` apart at the colon.
    if len(name) > MAX_NAME or not name.isprintable() or ":" in name:
        raise Bad(f"must be at most {MAX_NAME} printable characters without a colon")
    return name


def service_url(scalar: Scalar) -> str:
    """http or https, without user and fragment: something that sidegate calls."""
    written = text(scalar)
    hint = 'write "https://chat.example.org/…"'
    scheme, host = scheme_and_host(written, hint)
    if scheme not in ("http", "https") or not host or not _URL.fullmatch(written):
        raise Bad(f"is not a URL of letters, digits and :/._~%?=&+-; {hint}")
    return written


def ldap_url(scalar: Scalar) -> str:
    """ldap or ldaps, a host and perhaps a port: what else such a URL may have (RFC 4516) stands in keys of its own."""
    written = text(scalar)
    hint = 'write "ldaps://ldap.example.org", or "ldap://…:389"'
    scheme, host = scheme_and_host(written, hint)
    if scheme not in ("ldap", "ldaps") or not host or not _LDAP_URL.fullmatch(written):
        raise Bad(f"is not the URL of an LDAP server; {hint}")
    return written


def ldap_filter(*variables: str) -> Callable[[Scalar], str]:
    """A search filter (RFC 4515) in parentheses, in which these may stand for a value, and no other braces."""

    def convert(scalar: Scalar) -> str:
        written = text(scalar)
        if set(re.findall(r"\{[^{}]*\}|[{}]", written)) - set(variables):
            raise Bad(f"holds something else in braces than {' or '.join(variables)}")
        # Nothing but parentheses decides where a filter ends: items are taken out, then what holds only items.
        rest, before = _FILTER_ITEM.sub("\0", written), ""
        while rest != before:
            rest, before = _FILTER_LIST.sub("\0", rest), rest
        if rest != "\0":
            raise Bad("is not a filter in parentheses; write (mail={account}), or (&(objectClass=person)(uid={local}))")
        return written

    return convert


def scheme_and_host(url: str, hint: str = "") -> tuple[str, str]:
    """Of a URL, in lower case; empty where there is none."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise Bad(f"is not a URL; {hint}") from None
    return parts.scheme, host


def store_url(scalar: Scalar) -> str:
    """`sqlite:` and an absolute path."""
    written = text(scalar)
    if written.startswith(("postgresql:", "postgres:")):
        raise Bad("PostgreSQL is not in this version of sidegate; write sqlite:/var/lib/sidegate/sidegate.db")
    if not re.match(r"sqlite:/[^/]", written):
        raise Bad("must be sqlite: and an absolute path; write sqlite:/var/lib/sidegate/sidegate.db")
    return written


def template(scalar: Scalar) -> str:
    """Text with {account}, {local} and {domain} in it; {{ and }} are braces."""
    written = text(scalar)
    try:
        for _, name, spec, conversion in string.Formatter().parse(written):
            if name is not None and (name not in ("account", "local", "domain") or spec or conversion):
                raise Bad("holds something else in braces than {account}, {local} or {domain}")
    except ValueError as error:
        if isinstance(error, Bad):
            raise
        raise Bad("has a brace without its partner; write {account} or {local}") from None
    return written


def dn(scalar: Scalar) -> str:
    """A distinguished name, as the backend takes it."""
    if not is_well_formed(text(scalar)):
        raise Bad("is no distinguished name; write cn=sidegate,ou=services,dc=example,dc=org")
    return scalar.text


def comparable_dn(scalar: Scalar) -> str:
    """A distinguished name that can be compared with others, and is not the empty one."""
    if not comparable(dn(scalar)):
        raise Bad("cannot be compared; write names and plain values, such as ou=people,dc=example,dc=org")
    return scalar.text


def attribute(scalar: Scalar) -> str:
    """The name of an LDAP attribute that everybody may read: no password, and nothing else that is guarded."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", text(scalar)):
        raise Bad("is no attribute's name; list what may be read one by one, without * or options")
    if scalar.text.lower().encode() in GUARDED:
        raise Bad("holds a password, a key or who may speak for whom, which nobody may read here")
    return scalar.text


def account_dn(scalar: Scalar) -> str:
    """A distinguished name with {account}, {local} or {domain} as whole values (domain/dn.py)."""
    try:
        Template(text(scalar))
    except Bad:
        raise
    except ValueError as error:
        raise Bad(str(error)) from None
    return scalar.text


def separator(scalar: Scalar) -> str:
    """What stands between account and master user (Dovecot's auth_master_user_separator): one character."""
    if not re.fullmatch(r"[!-~]", text(scalar), re.ASCII) or scalar.text.isalnum():
        raise Bad('must be one punctuation character; write "*", or remove it to send an authzid')
    return scalar.text


def chat_user(scalar: Scalar) -> str:
    """A template whose result is one chat user's address."""
    written = template(scalar)
    local, at, host = templated(written, "alice@example.org").partition("@")
    if not local or not at or not _HOST_NAME.fullmatch(host):
        raise Bad('is no template of an address; write "{local}@chat.example.org", or "{account}"')
    return written


def same_name_for_two(written: str, domains: tuple[str, ...]) -> str | None:
    """Why template `written` would give two accounts one name, or None when it cannot.

    An address is `local@domain`, so {account} tells every two apart. With {local}, what stands before and behind
    it must tell the domains apart even when one's text ends (or begins) like another's.
    """
    fields = [name for _, name, _, _ in string.Formatter().parse(written) if name is not None]
    if "account" in fields:
        return None
    if fields.count("local") != 1:
        return "gives several accounts one name; write {account}, or {local} once"
    before, after = written.split("{local}")
    ends = [(before.format(domain=domain), after.format(domain=domain)) for domain in domains]
    for index, (head, tail) in enumerate(ends):
        for other_head, other_tail in ends[:index]:
            if _may_continue(head, other_head, str.startswith) and _may_continue(tail, other_tail, str.endswith):
                return (
                    "gives accounts of two domains one name; write {account}, or {local}@{domain}"
                    if "domain" in fields
                    else "gives alice of every domain one name; with several domains write {account}"
                )
    return None


def _may_continue(one: str, other: str, ends: Callable[[str, str], bool]) -> bool:
    """Whether the longer of two contexts is the shorter plus what may be part of a local part."""
    short, long = sorted((one, other), key=len)
    if not ends(long, short):
        return False
    rest = long[: len(long) - len(short)] if ends is str.endswith else long[len(short) :]
    return re.fullmatch(r"[a-z0-9._+-]*", rest) is not None
