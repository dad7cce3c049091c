"""Valid LDAP requests, each changed a little, from somebody who is logged in, in front of a real slapd (facts: threat
20, after the manner of PROTOS c06). Whatever slapd is made to do, it does as that person: its log is the witness.
"""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.wire.ldap.relay import MAX_PDU
from tests.peers.process import wait_until
from tests.peers.slapd import SERVICE, SERVICE_PASSWORD, USERS, Slapd, person
from tests.real.ldap.client import Ldap, Where, elements
from tests.support.sidegate import Certificates, Sidegate
from tests.wire.ldap.requests import (
    ALICE,
    CANCEL,
    PAGED,
    PASSWORD_MODIFY,
    PROXIED,
    WHO_AM_I,
    abandon,
    add,
    attribute,
    bind,
    change,
    compare,
    control,
    delete,
    equal,
    extended,
    modify,
    modify_dn,
    search,
    text,
    tlv,
)

pytestmark = pytest.mark.real

SEED = 20
BOB = person("bob")
LAST = 2**31 - 1
SENTINEL = extended(LAST, WHO_AM_I)
"""The request behind each mutant, whose answer shows that it is over."""
SEEDS = [
    search(5),
    search(6, tlv(0xA0, equal("uid", "alice"), tlv(0xA1, equal("cn", "x"), tlv(0xA2, equal("sn", "y"))))),
    search(7, tlv(0xA4, text("cn"), tlv(0x30, text("Al", 0x80), text("ice", 0x82)))),
    search(
        27, tlv(0xA0, tlv(0xA4, text("cn"), tlv(0x30, text("o", 0x81), text("b", 0x81))), tlv(0xA2, equal("cn", "x")))
    ),
    search(28, tlv(0xA9, text("2.5.13.2", 0x81), text("cn", 0x82), text("Bob Example", 0x83), tlv(0x84, b"\xff"))),
    search(8, None, control(PAGED, True, tlv(0x30, tlv(2, b"\2"), text("")))),
    search(9, None, control(PROXIED, True, f"dn:{BOB}".encode())),
    search(10, None, control(b"1.3.6.1.1.12", True, equal("uid", "bob"))),
    modify(11, change("telephoneNumber", "+1 555 0123")),
    modify(12, change("telephoneNumber", "+1 555 0124"), change("userPassword", "mine-now")),
    modify(13, change("jpegPhoto", "x" * 300)),
    modify(14, change("authzTo", f"dn:{BOB}")),
    compare(15, "mail", "alice@example.org"),
    compare(16, "userPassword", USERS["alice"]),
    add(17, attribute("objectClass", "inetOrgPerson"), attribute("cn", "x"), attribute("sn", "y")),
    delete(18),
    modify_dn(19, "uid=alice+userPassword=x", "ou=people,dc=example,dc=org"),
    extended(20, WHO_AM_I),
    extended(21, CANCEL, tlv(0x30, tlv(2, b"\5"))),
    extended(22, PASSWORD_MODIFY, tlv(0x30, text("mine-now", 0x82))),
    extended(23, WHO_AM_I, None, control(PROXIED, False, b"")),
    abandon(24, 5),
    bind(26, BOB, USERS["bob"]),
]


Node = list[Any]
"""Tag, and contents: bytes, or the nodes within."""


def mutated(rng: random.Random, raw: bytes) -> bytes:
    """One to three changes: mostly of elements, with the lengths around them right; also of the bytes as they are."""
    (tree,) = _nodes(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _change(rng, tree)
    data = bytearray(_encoded(tree))
    if rng.random() < 0.3:
        _lie(rng, data)
    return bytes(data)


def _change(rng: random.Random, tree: Node) -> None:
    """Another tag, contents, an element twice, gone, or within another."""
    above, at = rng.choice(list(_places(tree)) or [([0, [tree]], 0)])
    node = above[1][at]
    match rng.randrange(10):
        case 0:
            node[0] = rng.choice(_TAGS)
        case 1:
            above[1].insert(at, node)
        case 2:
            del above[1][at]
        case 3:
            above[1][at] = [rng.choice((0x30, 0x31, 0xA0, 0xA2, 0xA3)), [node]]
        case 4:
            above[1].append([rng.choice(_TAGS), rng.choice(_PIECES)])
        case _ if isinstance(node[1], list):
            rng.shuffle(node[1])
        case _ if node[0] in (0x01, 0x02, 0x0A):
            node[1] = bytes([rng.randrange(5)])
        case _:
            node[1] = rng.choice(_PIECES)


def _lie(rng: random.Random, data: bytearray) -> None:
    """A bit, or a length; or it is cut short."""
    heads = [i for i in range(len(data) - 1) if data[i] in _TAGS] or [0]
    match rng.randrange(4):
        case 0:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 1 if len(data) > 1:
            head = rng.choice(heads)
            data[head + 1] = (data[head + 1] + rng.choice((-2, -1, 1, 2))) % 256
        case 2 if len(data) > 1:
            del data[rng.randrange(1, len(data)) :]
        case _:
            head = rng.choice(heads)
            data[head + 1 : head + 2] = rng.choice(_LENGTHS)


_TAGS = bytes.fromhex("01 02 04 0a 30 31 42 4a 50 60 63 66 68 6c 6e 77 80 81 82 85 87 a0 a1 a2 a3 a4 a5 a9")
_LENGTHS = [
    bytes.fromhex(one) for one in ["80", "8100", "817f", "82ffff", "847fffffff", "84ffffffff", "850000000001", "ff"]
]
_PIECES = [b"", b"\0", b"\xff" * 8, b"dn:", PROXIED, b"userPassword", BOB.encode(), b"\x04\x84\0\0\0\x7f", b"x" * 200]


def _nodes(data: bytes) -> list[Node]:
    return [[tag, _nodes(body) if tag & 0x20 else body] for tag, body in elements(data)]


def _places(node: Node) -> Iterator[tuple[Node, int]]:
    """Every node below this one, as its parent and where it stands in it."""
    if isinstance(node[1], list):
        for at, child in enumerate(node[1]):
            yield node, at
            yield from _places(child)


def _encoded(node: Node) -> bytes:
    tag, contents = node
    return tlv(tag, contents if isinstance(contents, bytes) else b"".join(map(_encoded, contents)))


def has_an_end(data: bytes) -> bool:
    """Whether SENTINEL is found whole at the end of `data`, or before it what is no message: then no more is needed."""
    while data != SENTINEL:
        if data[:1] != b"\x30":
            return bool(data)
        size, at = data[1] if len(data) > 1 else 0, 2
        if size & 0x80:
            at += size & 0x7F
            size = int.from_bytes(data[2:at], "big")
        if len(data) < at + size:
            return len(data) >= at and at + size > MAX_PDU
        data = data[at + size :]
    return True


class Attack:
    """slapd, sidegate before it, and two who are logged in: one sends mutants, the other must never notice."""

    def __init__(self, root: Path, certificates: Certificates) -> None:
        password = root / "service-password"
        password.write_text(SERVICE_PASSWORD)
        password.chmod(0o600)
        self.slapd = Slapd(root / "slapd", certificates.certificate, certificates.key, certificates.ca)
        self.gate = Sidegate(
            root / "gate",
            certificates,
            {
                "directory": {
                    "protocol": "ldap",
                    "address": f"127.0.0.1:{self.slapd.port}",
                    "tls": "none",
                    "account_dn": person("{local}"),
                    "login": {"strategy": "proxied_authorization", "bind_dn": SERVICE, "password_file": str(password)},
                }
            },
            extra={"limits": {"refusal_delay": "10ms"}},
        ).start()
        self.where = Where(self.gate.ports["ldap", "implicit"], certificates.ca)
        for uid in USERS:
            self.gate.add_account(f"{uid}@example.org")
        self.secrets = {uid: self.gate.mint(f"{uid}@example.org", "test", "--scope", "ldap") for uid in USERS}
        wait_until(lambda: 'SRCH base=""' in self.slapd.log(), "the probe")
        self.bystander = self.logged_in("bob")

    def logged_in(self, uid: str) -> Ldap:
        client = Ldap(self.where)
        assert client.bind(person(uid), self.secrets[uid]).code == 0
        return client

    def run(self, count: int) -> tuple[int, int]:
        """How many mutants were answered, and how many ended their connection; any other end fails."""
        rng = random.Random(SEED)
        seeds = [*SEEDS, bind(25, ALICE, self.secrets["alice"])]
        client: Ldap | None = None
        answered = closed = 0
        for number in range(count):
            if client is None:
                client = self.logged_in("alice")
            mutant = mutated(rng, rng.choice(seeds))
            client.socket.sendall(mutant + SENTINEL)
            if not has_an_end(mutant + SENTINEL):
                socket.socket.shutdown(client.socket, socket.SHUT_WR)  # SSLSocket's own would read on in the clear
            if self._outlived(client):
                answered += 1
            else:
                closed += 1
                client.close()
                client = None
            if number % 100 == 0:
                assert self.bystander.whoami().value == f"dn:{BOB}"
        if client is not None:
            client.close()
        return answered, closed

    @staticmethod
    def _outlived(client: Ldap) -> bool:
        """Whether the request behind the mutant is answered as alice's; False if the connection ends or is nobody's."""
        try:
            while True:
                number, _, code = client.message()
                if number == LAST:
                    return code == 0  # else the mutant was a Bind that failed
        except TimeoutError:
            raise
        except (AssertionError, OSError, StopIteration):
            return False

    def stop(self) -> None:
        self.bystander.close()
        self.gate.stop()
        self.slapd.stop()


@pytest.fixture(scope="module")
def attack(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Attack]:
    attack = Attack(tmp_path_factory.mktemp("mutations"), certificates)
    yield attack
    attack.stop()


def others(slapd: Slapd) -> list[str]:
    """Every entry but alice's own, without who changed it last: slapd lets anybody change nothing of an entry."""
    everything = slapd.command("slapcat", "-o", "ldif-wrap=no")
    entries = re.sub(r"^(entryCSN|modif\w+):.*\n", "", everything, flags=re.MULTILINE).split("\n\n")
    return sorted(entry for entry in entries if f"dn: {ALICE}\n" not in entry)


_ACTED = re.compile(r"(conn=\d+) (op=\d+) (?:SRCH|MOD|ADD|DEL|MODRDN|CMP|EXT|WHOAMI|PASSMOD)\b")


def identities(log: str) -> dict[str, set[str]]:
    """For each connection of slapd's: as whom its operations were done; "" for one without the control."""
    told: dict[tuple[str, str], str] = {}
    found: dict[str, set[str]] = {}
    for line in log.splitlines():
        if (seen := re.search(r'(conn=\d+) (op=\d+) PROXYAUTHZ dn="([^"]*)"', line)) is not None:
            told[seen[1], seen[2]] = seen[3]
        elif (
            seen := re.search(r"(conn=\d+) (op=\d+) (?:SRCH|MOD|ADD|DEL|MODRDN|CMP|EXT|WHOAMI|PASSMOD)\b", line)
        ) is not None:
            found.setdefault(seen[1], set()).add(told.get((seen[1], seen[2]), ""))
    return found


@pytest.mark.parametrize("count", [1000, pytest.param(12_000, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
def test_mutants_act_as_nobody_else(attack: Attack, count: int) -> None:
    before, start = others(attack.slapd), len(attack.slapd.log())
    answered, closed = attack.run(count)
    assert answered + closed == count
    assert min(answered, closed) > count // 10  # neither all refused at the door nor all let through
    assert attack.bystander.whoami().value == f"dn:{BOB}"
    log = attack.slapd.log()[start:]
    assert set(re.findall(r'BIND dn="([^"]*)" method', log)) == {SERVICE}
    acted = list(identities(log).values())
    assert acted.count({BOB}) == 1  # the bystander
    assert all(one in ({ALICE}, {BOB}) for one in acted), acted
    assert others(attack.slapd) == before
    straight = Ldap(Where(attack.slapd.ldaps_port, attack.slapd.ca))
    assert straight.bind(ALICE, USERS["alice"]).code == 0
    assert "Traceback" not in attack.gate.log()
    assert "internal error" not in attack.gate.log()
