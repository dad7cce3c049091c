"""Login names: what a client typed becomes the one spelling that the store, limits and log use (DESIGN section 8).

The order is fixed: the domain goes to A-labels, ASCII letters are folded, nothing is trimmed, then the
alphabet is checked. What has an = in it is a DN, spelled as dn.normal does. Canonicalising twice changes nothing, and
two names that differ here are two names.
"""

from __future__ import annotations

import re

import idna

from proxy.domain import dn

MAX_BYTES = 256
_ADDRESS = re.compile(r"[a-z0-9._+-]+@[a-z0-9.-]+")
_BARE = re.compile(r"[a-z0-9._+-]+")
_STORED_ONLY = re.compile(r"[a-z0-9._+@'/\\-]+")
"""With ' / or \\ a name means only what is stored exactly so (DOMAIN\\user): it gets no default domain."""


def canonical(raw: str, default_domain: str) -> str | None:
    """The canonical login name, or None when `raw` cannot be one: it is then refused without being looked up."""
    if "=" in raw:
        return dn.normal(raw)
    size = len(raw) if raw.isascii() else len(raw.encode("utf-8", "surrogatepass"))
    if not 0 < size <= MAX_BYTES or raw.count("@") > 1:
        return None
    local, at, domain = raw.partition("@")
    if at and not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True, std3_rules=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            return None
    name = local + at + domain
    if not name.isascii():  # before folding: some letters of other scripts have ASCII letters as their lower case
        return None
    name = name.lower()
    if _ADDRESS.fullmatch(name):
        return name
    if _BARE.fullmatch(name):
        return f"{name}@{default_domain}"
    if _STORED_ONLY.fullmatch(name) and any(c in name for c in "'/\\"):
        return name
    return None
