"""LDAP clients: OpenLDAP's tools, and a small one of our own for what a tool would not send."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.peers.slapd import BASE
from tests.support.talk import closes
from tests.wire.ldap.requests import text, tlv

WHOAMI = b"1.3.6.1.4.1.4203.1.11.3"
STARTTLS = b"1.3.6.1.4.1.1466.20037"
PROXIED_AUTHORIZATION = b"2.16.840.1.113730.3.4.18"
SECONDS = 20


@dataclass(frozen=True)
class Where:
    """One listener: `tls` is implicit, starttls or none."""

    port: int
    ca: Path
    tls: str = "implicit"
    host: str = "127.0.0.1"


@dataclass(frozen=True)
class Done:
    """What a tool ended with: the result code of the protocol, and everything it printed."""

    code: int
    seen: str


def tool(where: Where, program: str, *arguments: str, dn: str = "", password: str = "", stdin: str = "") -> Done:
    """Run ldapwhoami, ldapsearch … with a simple Bind (anonymous without `dn`), checking the server's certificate."""
    scheme = "ldaps" if where.tls == "implicit" else "ldap"
    bind = ["-D", dn, "-w", password] if dn else []
    starttls = ["-ZZ"] if where.tls == "starttls" else []
    done = subprocess.run(
        [program, "-x", "-H", f"{scheme}://{where.host}:{where.port}", *starttls, *bind, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "LDAPTLS_CACERT": str(where.ca), "LDAPTLS_REQCERT": "demand", "HOME": "/nonexistent"},
    )
    seen = done.stdout + done.stderr
    if done.returncode == 1 and (named := re.search(r"\((\d+)\)$", seen, re.MULTILINE)):
        return Done(int(named[1]), seen)  # ldapwhoami and ldappasswd only print it
    return Done(done.returncode, seen)


def elements(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements that make up `body`: tag and contents."""
    while body:
        tag, length, at = body[0], body[1], 2
        if length & 0x80:
            at += length & 0x7F
            length = int.from_bytes(body[2:at], "big")
        yield tag, body[at : at + length]
        body = body[at + length :]


def control(oid: bytes, *, critical: bool, value: str) -> bytes:
    return tlv(0x30, text(oid), *([tlv(0x01, b"\xff")] if critical else []), text(value))


@dataclass(frozen=True)
class Result:
    """An LDAPResult, with the value of an extended response and how many entries came before it."""

    code: int
    text: str
    value: str = ""
    entries: int = 0


class Ldap:
    """One connection. `Result` is the answer to what was asked; AssertionError when the server closes instead."""

    def __init__(self, where: Where, *, source: str = "127.0.0.1") -> None:
        self._context = ssl.create_default_context(cafile=str(where.ca))
        self.socket: socket.socket = socket.create_connection((where.host, where.port), SECONDS, (source, 0))
        self._buffer = b""
        self._id = 0
        if where.tls == "starttls":
            assert self.extended(STARTTLS).code == 0
        if where.tls != "none":
            self.socket = self._context.wrap_socket(self.socket, server_hostname=where.host)

    def send(self, operation: bytes, controls: Sequence[bytes] = ()) -> None:
        """Send a message with the next id; its answer is for `answer`."""
        self._id += 1
        number = tlv(0x02, self._id.to_bytes(2, "big"))
        self.socket.sendall(tlv(0x30, number, operation, *([tlv(0xA0, *controls)] if controls else [])))

    def answer(self) -> Result:
        """The final result of the latest message."""
        entries = 0
        while True:
            (_, number), (tag, body), *_ = elements(self._message())
            if tag in {0x64, 0x73}:
                entries += 1
                continue
            assert int.from_bytes(number, "big") in {self._id, 0}, (number, tag, body)
            (_, code), _, (_, said), *rest = elements(body)
            value = dict(rest).get(0x8B, b"")
            return Result(int.from_bytes(code, "big"), said.decode(), value.decode(), entries)

    def message(self) -> tuple[int, int, int]:
        """The next message whatever it answers: its number, its tag, and its result code if it has one."""
        (_, number), (tag, body), *_ = elements(self._message())
        code = next(elements(body))[1] if tag not in {0x64, 0x73} else b""
        return int.from_bytes(number, "big"), tag, int.from_bytes(code, "big")

    def ask(self, operation: bytes, controls: Sequence[bytes] = ()) -> Result:
        self.send(operation, controls)
        return self.answer()

    def bind(self, dn: str, password: str) -> Result:
        return self.ask(bind(dn, password))

    def sasl(self, mechanism: str) -> Result:
        return self.ask(tlv(0x60, tlv(0x02, b"\x03"), text(""), tlv(0xA3, text(mechanism))))

    def whoami(self, *controls: bytes) -> Result:
        """Result.value is `dn:…`, or empty for anonymous."""
        return self.extended(WHOAMI, *controls)

    def extended(self, oid: bytes, *controls: bytes) -> Result:
        return self.ask(tlv(0x77, text(oid, 0x80)), controls)

    def search(self, base: str = BASE, *, equals: tuple[str, str] | None = None) -> Result:
        """The whole tree under `base`: everything, or what has one value of one attribute."""
        wanted = ANYTHING if equals is None else tlv(0xA3, text(equals[0]), text(equals[1]))
        return self.ask(search(base, wanted=wanted))

    def closed(self, seconds: float = SECONDS) -> bool:
        """Whether the server closes within `seconds` (what it says before does not matter)."""
        self.socket.settimeout(seconds)
        return closes(self.socket)

    def close(self) -> None:
        self.socket.close()

    def _message(self) -> bytes:
        """The contents of the next LDAPMessage."""
        while True:
            data = self._buffer
            if len(data) >= 2:
                length, at = data[1], 2
                if length & 0x80:
                    at += length & 0x7F
                    length = int.from_bytes(data[2:at], "big")
                if len(data) >= at + length:
                    self._buffer = data[at + length :]
                    return data[at : at + length]
            more = self.socket.recv(65536)
            assert more, f"closed with {data!r} read"
            self._buffer += more


def bind(dn: str, password: str) -> bytes:
    """A simple BindRequest."""
    return tlv(0x60, tlv(0x02, b"\x03"), text(dn), text(password, 0x80))


ANYTHING = tlv(0x87, b"objectClass")
"""The filter (objectClass=*)."""


def search(base: str = BASE, *, wanted: bytes = ANYTHING, scope: int = 2) -> bytes:
    """A SearchRequest for the whole subtree, or with scope 0 for the base alone; `wanted` is a filter."""
    limits = tlv(0x02, b"\x00"), tlv(0x02, b"\x00"), tlv(0x01, b"\x00")
    return tlv(0x63, text(base), tlv(0x0A, bytes([scope])), tlv(0x0A, b"\x00"), *limits, wanted, tlv(0x30))


def modify(dn: str, attribute: str, value: str | bytes) -> bytes:
    """A ModifyRequest that replaces one attribute."""
    return tlv(
        0x66, text(dn), tlv(0x30, tlv(0x30, tlv(0x0A, b"\2"), tlv(0x30, text(attribute), tlv(0x31, text(value)))))
    )
