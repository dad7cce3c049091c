"""An LDAP backend under attack, and clients of the front before it."""

from __future__ import annotations

import threading
from pathlib import Path

from proxy.wire.ldap import grammar as ldap
from tests.peers.slapd import SERVICE, person
from tests.real.ldap.client import Ldap, Where
from tests.support.fake_backend import FakeBackend, Peer, ldap_read
from tests.wire.ldap.requests import answer, entry, text

HUGE = "cn=huge"
"""A search here is answered with ENTRIES entries of 64 KiB."""
ENTRIES = 2000
SERVICE_PASSWORD = "canary-service-Xw4rTn"
_NO_IDENTITY = (ldap.BIND_REQUEST, ldap.UNBIND, ldap.ABANDON)


class Directory:
    """Lets the service bind, answers Who am I? with whom the control names, and everything else with success."""

    def __init__(self) -> None:
        self.backend = FakeBackend(self._script)
        self.heard: list[tuple[int, bytes]] = []
        """Operation and identity (empty: none) of each request but Bind, Unbind and Abandon."""
        self.bound: list[bytes] = []
        """Who bound."""
        self.abandoned = 0
        self.sent = 0
        """Bytes of the huge answer."""
        self.ended = 0
        """Connections that are over."""
        self._lock = threading.Lock()

    def setting(self, root: Path) -> dict[str, object]:
        """The backend's section of the configuration."""
        password = root / "service-password"
        password.write_text(SERVICE_PASSWORD)
        password.chmod(0o600)
        return {
            "protocol": "ldap",
            "address": self.backend.address,
            "tls": "none",
            "account_dn": person("{local}"),
            "login": {"strategy": "proxied_authorization", "bind_dn": SERVICE, "password_file": str(password)},
        }

    def _script(self, peer: Peer) -> None:
        peer.sock.settimeout(600)
        try:
            while raw := ldap_read(peer):
                pdu = ldap.parse(raw)
                if pdu.operation not in _NO_IDENTITY:
                    given = [value for name, _, value in ldap.controls(pdu) if name == ldap.PROXIED_AUTHORIZATION]
                    self.heard.append((pdu.operation, b" ".join(given)))
                self._answer(peer, pdu)
        finally:
            with self._lock:
                self.ended += 1

    def _answer(self, peer: Peer, pdu: ldap.Pdu) -> None:
        number, operation = pdu.message_id, pdu.operation
        match operation:
            case ldap.BIND_REQUEST:
                _, at = ldap.integer(pdu.raw, pdu.start, pdu.end, 127)
                self.bound.append(pdu.raw[slice(*ldap.expect(pdu.raw, at, pdu.end, ldap.OCTETS))])
                peer.send(answer(number, ldap.BIND_RESPONSE, 0))
            case ldap.EXTENDED_REQUEST:
                peer.send(answer(number, ldap.EXTENDED_RESPONSE, 0, "", text(self.heard[-1][1], 0x8B)))
            case ldap.SEARCH:
                if HUGE.encode() in pdu.raw:
                    piece = entry(number, 64 * 1024)
                    for _ in range(ENTRIES):
                        peer.send(piece)
                        self.sent += len(piece)
                peer.send(answer(number, ldap.SEARCH_DONE, 0))
            case ldap.ABANDON:
                self.abandoned += 1
            case ldap.UNBIND:
                peer.close()
            case _:
                peer.send(answer(number, ldap.ANSWERS[operation], 0))


def bound(port: int, ca: Path, name: str, secret: str, *, source: str = "127.0.0.1") -> Ldap:
    """A client that is logged in."""
    client = Ldap(Where(port, ca), source=source)
    done = client.bind(person(name), secret)
    assert done.code == 0, done
    return client
