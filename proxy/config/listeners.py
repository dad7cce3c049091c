"""Where sidegate listens: `fronts`, `portal`, and the certificates of `tls`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from proxy.config import files, mail, sign_in, values
from proxy.config.document import Node, Scalar, Sequence
from proxy.config.errors import Mark, Problems
from proxy.config.reader import Bad, Section, did_you_mean, section
from proxy.config.settings import Address, Backend, Enrolment, Front, FrontTls, Portal, TlsPair
from proxy.domain.model import Protocol

_KEY = "write the path of the private key in PEM form"
_CREDENTIAL_OF_FRONTS = "if it is a credential of the fronts' unit, /run/credentials/sidegate-front.service/tls.key"
DEFAULT_PORTAL_LISTEN = Address("127.0.0.1", 8080)
DEFAULT_REMEMBER_DAYS = 30


@dataclass(slots=True)
class Listeners:
    """Every address listened on, so that no two collide."""

    problems: Problems
    _taken: list[tuple[str, Address]] = field(default_factory=list)

    def add(self, path: str, mark: Mark, address: Address) -> None:
        for other, taken in self._taken:
            if _overlap(address, taken):
                self.problems.add(mark, path, f"is the address of {other} too; give each listener its own")
                break
        self._taken.append((path, address))


def read_fronts(top: Section, known: dict[str, Backend], listeners: Listeners, hostname: str) -> tuple[Front, ...]:
    node = top.node("fronts")
    if node is None:
        top.fail(
            "fronts", 'is missing; write a list of {protocol: imap, listen: "[::]:993", tls: implicit, backend: …}'
        )
        return ()
    if not isinstance(node, Sequence) or not node.items:
        top.fail("fronts", "must be a list with at least one front")
        return ()
    fronts: list[Front] = []
    for index, item in enumerate(node.items):
        here = section(item, f"fronts[{index}]", top.problems, "front")
        if here is not None:
            front = _front(here, known, [front.name for front in fronts], hostname)
            listeners.add(here.at("listen"), here.mark_of("listen"), front.listen)
            fronts.append(front)
    used = {front.backend for front in fronts}
    for name, mark, _ in top.named("backends"):
        if name in known and name not in used:
            top.problems.warn(mark, f"backends.{name}", "is not used by any front")
    return tuple(fronts)


def _front(here: Section, known: dict[str, Backend], taken: list[str], hostname: str) -> Front:
    protocol = here.required("protocol", _protocol, None, "write imap, smtp or ldap")
    listen = here.required("listen", values.listen_address, Address("", 0), 'write "[::]:993"')
    tls = here.required("tls", values.one_of(FrontTls), FrontTls.IMPLICIT, "write implicit or starttls")
    backend = here.required("backend", values.text, "", "name one of backends")
    if backend and backend not in known:
        here.fail("backend", f"there is no such backend{did_you_mean(backend, known)}")
    elif backend and protocol is not None and known[backend].protocol is not protocol:
        here.fail("backend", f"{backend} speaks {known[backend].protocol}, this front {protocol}; name another")
    name = f"{protocol}:{listen.port}"
    if name in taken:
        name = next(other for n in range(2, len(taken) + 3) if (other := f"{protocol}:{listen.port}#{n}") not in taken)
    return Front(
        name=name,
        protocol=protocol or Protocol.IMAP,
        listen=listen,
        tls=tls,
        backend=backend,
        proxy_protocol_from=here.each("proxy_protocol_from", values.network),
        public=here.get("public", values.public_address, default_public(listen, hostname)),
    )


def default_public(listen: Address, hostname: str) -> Address | None:
    """`public` of a front that has none: this host, unless only this host can reach the front."""
    return None if values.is_loopback(listen.host) or listen.port == 0 else Address(hostname, listen.port)


def _protocol(scalar: Scalar) -> Protocol | None:
    return values.one_of(Protocol)(scalar)


def read_portal(
    top: Section, listeners: Listeners, default_domain: str, *, certificates: bool, private: bool, embedded: bool
) -> Portal:
    here = top.section("portal", "portal")
    if here is None:
        if "portal" not in top:
            top.fail("portal", 'is missing; write portal: {url: "https://login.example.org"} (every refusal names it)')
        return Portal("", DEFAULT_PORTAL_LISTEN, None)
    url = here.required("url", values.portal_url, "", 'write "https://login.example.org"')
    listen = here.get("listen", values.listen_address, DEFAULT_PORTAL_LISTEN)
    listeners.add(here.at("listen"), here.mark_of("listen"), listen)
    own = here.section("tls", "portal.tls")
    tls = None if own is None else _pair(own, certificates=certificates, keys=certificates)
    signer = here.section("profile_signer", "portal.profile_signer")
    if tls is None and not values.is_loopback(listen.host):
        where = here.mark_of("listen")
        here.problems.warn(where, here.at("listen"), "pages go out in the clear here; give the portal tls of its own")
    provider = sign_in.read(here, default_domain, private=private)
    if embedded and provider is None and "password_url" in here:
        here.fail("password_url", "means nothing where the portal has that page (directory: embedded); remove it")
    return Portal(
        url,
        listen,
        tls,
        name=here.get("name", values.shown_name, default_domain),
        forwarded_from=here.each("forwarded_from", values.network),
        trusted_networks=here.each("trusted_networks", values.network),
        enrolment=here.get("enrolment", values.one_of(Enrolment), Enrolment.CODE),
        fraud_stop_days=here.get("fraud_stop_days", values.whole(0, 365), 0),
        remember_days=here.get("remember_days", values.whole(0, 365), DEFAULT_REMEMBER_DAYS),
        mail=mail.read(here, private=private),
        password_url=here.get("password_url", values.portal_url, ""),
        user=here.get("user", values.user, None),
        profile_signer=tls if signer is None else _pair(signer, certificates=certificates, keys=certificates),
        sign_in=provider,
    )


def _overlap(one: Address, other: Address) -> bool:
    """Whether the second bind would fail. Port 0 is a free port each time; [::] takes IPv4 too."""
    if one.port != other.port or one.port == 0 or not one.host or not other.host:
        return False
    if one.host == other.host or "::" in (one.host, other.host):
        return True
    every_v4 = str(ipaddress.IPv4Address(0))
    return every_v4 in (one.host, other.host) and ":" not in one.host + other.host


def read_tls(top: Section, *, certificates: bool, keys: bool) -> tuple[TlsPair, ...]:
    """The fronts' certificates. `keys`: the path of each key is needed, to read it or to tell it to a front worker."""
    node = top.node("tls")
    if node is None:
        top.fail("tls", "is missing; write {certificate: /path/fullchain.pem, key: /path/key.pem}, or a list of them")
        return ()
    many = isinstance(node, Sequence)
    items: list[Node] = node.items if isinstance(node, Sequence) else [node]
    if not items:
        top.fail("tls", "is an empty list; name at least one certificate")
    pairs = []
    for index, item in enumerate(items):
        here = section(item, f"tls[{index}]" if many else "tls", top.problems, "tls")
        if here is not None:
            pairs.append(_pair(here, here.each("names", values.sni_name), certificates=certificates, keys=keys))
    return tuple(pairs)


def _pair(here: Section, names: tuple[str, ...] = (), *, certificates: bool, keys: bool) -> TlsPair:
    def certificate(scalar: Scalar) -> Path | None:
        path = values.absolute_path(scalar)
        if certificates:
            files.check_certificate(path)
        return path

    def key(scalar: Scalar) -> Path | None:
        path = values.absolute_path(scalar)
        if certificates:
            files.check_key(path)
        return path

    chain = here.required("certificate", certificate, None, "write the path of the chain in PEM form")
    own = files.credential(here.at("key")) if "key" not in here else None
    # Without its credentials directory a process cannot tell whether systemd gives the key to another one.
    if own is None and (keys or "key" in here):
        own = here.required("key", key, None, _KEY if certificates else f"{_KEY}; {_CREDENTIAL_OF_FRONTS}")
    if chain is not None and own is not None and certificates:
        try:
            files.check_pair(chain, own)
        except Bad as error:
            here.fail("certificate", str(error))
    return TlsPair(chain or Path(), own or Path(), names)
