"""Addresses of accounts, their parts, and the templates that make other names of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache


def local_part(address: str) -> str:
    """`alice` of `alice@example.org`."""
    return address.rpartition("@")[0] or address


def domain_of(address: str) -> str:
    """`example.org` of `alice@example.org`; empty where there is none."""
    return address.rpartition("@")[2] if "@" in address else ""


VARIABLES: dict[str, Callable[[str], str]] = {"{account}": str, "{local}": local_part, "{domain}": domain_of}
"""What a template that names accounts (`username`, `account_dn` …) may hold, and what each makes of an address."""
VARIABLE = re.compile("|".join(map(re.escape, VARIABLES)))


@lru_cache(maxsize=4096)
def templated(template: str, address: str) -> str:
    """A template filled in, in one pass: what is put in is not looked at again and names no variable."""
    return VARIABLE.sub(lambda match: VARIABLES[match[0]](address), template)
