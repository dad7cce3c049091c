"""Client addresses as networks: what limits count by and what an app password may be tied to."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_address(address: str) -> Address:
    """The address with v4-mapped folded to v4 and any zone dropped; ValueError if it is none."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def canonical_network(written: str) -> str:
    """A CIDR in its one spelling; a bare address is a network of one. ValueError says what is wrong with it."""
    try:
        found = ipaddress.ip_network(written, strict=False)
    except ValueError:
        raise ValueError("is not a network; write 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32") from None
    if isinstance(found, ipaddress.IPv6Network) and found.network_address.ipv4_mapped is not None:
        raise ValueError("is an IPv4 network in IPv6 spelling; write it as IPv4")
    if "/" in written and parse_address(written.partition("/")[0]) != found.network_address:
        raise ValueError(f"has bits set behind the prefix; write {found}, or the single address without a prefix")
    return str(found)


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """What one attacker surely owns: the IPv4 address as /32, the IPv6 /64. An unparsable address stands for itself."""
    try:
        parsed = parse_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 32 if parsed.version == 4 else 64), strict=False))


@lru_cache(maxsize=4096)
def site_of(network: str) -> str | None:
    """The /48 around an IPv6 /64 of network_of (what a provider hands to one site); None for anything else."""
    if not network.endswith("/64"):
        return None
    return str(ipaddress.ip_network(network).supernet(new_prefix=48))


def lies_in(network: str, networks: Iterable[str]) -> bool:
    """Whether all of a CIDR is in one of these; ValueError on a bad one."""
    inner = ipaddress.ip_network(network)
    return any(
        inner.version == outer.version and inner.prefixlen >= outer.prefixlen and inner.network_address in outer
        for outer in map(ipaddress.ip_network, networks)
    )


class NetworkSet:
    """A list of CIDRs asked whether an address is in one of them. ValueError on a bad CIDR."""

    __slots__ = ("_networks",)

    def __init__(self, cidrs: tuple[str, ...] | list[str]) -> None:
        self._networks = [ipaddress.ip_network(cidr) for cidr in cidrs]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: str) -> bool:
        if not self._networks:
            return False
        try:
            parsed = parse_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)
