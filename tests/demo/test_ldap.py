"""The demo's directory through sidegate, with the programs that people have; and the backend by itself."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from proxy.demo.directory import PEOPLE, SERVICE, person
from proxy.wire.ldap import grammar
from proxy.wire.ldap.grammar import OCTETS, encode, encode_integer
from tests.demo.test_backends import Backends, backends
from tests.support.demo import Demo

__all__ = ["backends"]

ALICE, BOB = person("alice@example.org"), person("bob@example.org")
WHO_AM_I = encode(grammar.EXTENDED_REQUEST, encode(grammar.REQUEST_NAME, grammar.WHO_AM_I))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    it = Demo(tmp_path_factory.mktemp("demo"))
    try:
        yield it.wait()
    finally:
        it.end()


def ldap(
    demo: Demo, program: str, *arguments: str, secret: str, front: str = "tls", stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    port = demo.facts["ldap"][front]
    where = ["-H", f"ldaps://127.0.0.1:{port}"] if front == "tls" else ["-ZZ", "-H", f"ldap://127.0.0.1:{port}"]
    return subprocess.run(
        [program, *where, "-x", "-D", ALICE, "-w", secret, *arguments],
        env={**os.environ, "LDAPTLS_CACERT": demo.facts["ca"]},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.real
def test_printed_commands(demo: Demo) -> None:
    pasted = [demo.paste(text) for text in demo.text().split("\n\n") if text.startswith("LDAPTLS_CACERT=")]
    me, bob, refused = pasted
    assert (me.returncode, me.stdout) == (0, f"dn:{ALICE}\n")
    assert bob.returncode == 0
    assert bob.stdout == f"dn: {BOB}\ncn: Bob Example\ntelephoneNumber: +1 555 0101\n\n"
    assert refused.returncode == 49
    assert f"Application-specific password required: {demo.facts['portal']}" in refused.stderr


@pytest.mark.real
@pytest.mark.parametrize("front", ["tls", "starttls"])
def test_an_app_password_reads_compares_and_writes_what_is_ones_own(demo: Demo, front: str) -> None:
    secret = demo.facts["app_password"]["secret"]

    def run(program: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return ldap(demo, program, *arguments, secret=secret, front=front, stdin=stdin)

    assert run("ldapwhoami").stdout == f"dn:{ALICE}\n"
    assert run("ldapcompare", ALICE, "mail:alice@example.org").returncode == 6
    assert run("ldapcompare", ALICE, "mail:bob@example.org").returncode == 5
    one = run("ldapsearch", "-LLL", "-z", "1", "-b", PEOPLE, "-s", "one", "1.1")
    assert (one.returncode, one.stdout) == (4, f"dn: {ALICE}\n\n")
    number = "replace: telephoneNumber\ntelephoneNumber: +1 555 7"
    assert run("ldapmodify", stdin=f"dn: {ALICE}\nchangetype: modify\n{number}\n").returncode == 0
    found = run("ldapsearch", "-LLL", "-b", PEOPLE, "(&(uid=alice)(!(cn=*bob*)))", "telephoneNumber").stdout
    assert found == f"dn: {ALICE}\ntelephoneNumber: +1 555 7\n\n"
    assert run("ldapmodify", stdin=f"dn: {BOB}\nchangetype: modify\n{number}\n").returncode == 50
    assert run("ldapmodify", stdin=f"dn: {ALICE}\nchangetype: modify\nreplace: sn\nsn: X\n").returncode == 50
    assert run("ldapdelete", BOB).returncode == 53
    refused = ldap(demo, "ldapwhoami", secret=demo.facts["accounts"][0]["password"], front=front)
    assert refused.returncode == 49
    assert re.search(r"Application-specific password required: http://localhost:\d+/", refused.stderr)


def bind(name: str, password: str, number: int = 1) -> bytes:
    fields = (encode_integer(3), encode(OCTETS, name.encode()), encode(grammar.SIMPLE, password.encode()))
    return grammar.message(number, encode(grammar.BIND_REQUEST, *fields))


def answer(sock: socket.socket) -> tuple[int, int, bytes]:
    """Message ID, result code and the whole of the next message."""
    data = b""
    while (size := grammar.length(data, 0, 65536)) is None or len(data) < size:
        more = sock.recv(1 if size is None else size - len(data))
        assert more
        data += more
    pdu = grammar.parse(data)
    return pdu.message_id, grammar.result(pdu)[0], data


@pytest.mark.real
def test_after_revocation_nobody_is_in(demo: Demo) -> None:
    sidegate = next(text for text in demo.commands() if text.endswith(" sessions list")).removesuffix(" sessions list")
    made = demo.paste(f"{sidegate} passwords create alice@example.org wiki --scope ldap")
    found = re.search("([a-z]{4}-){4}[a-z]{4}", made.stdout)
    assert found is not None, made
    assert ldap(demo, "ldapwhoami", secret=found[0]).returncode == 0
    with (
        socket.create_connection(("127.0.0.1", demo.facts["ldap"]["tls"]), 30) as plain,
        demo.context.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
    ):
        sock.sendall(bind(ALICE, found[0]))
        assert answer(sock)[:2] == (1, 0)
        sock.sendall(grammar.message(2, WHO_AM_I))
        number, code, raw = answer(sock)
        assert (number, code) == (2, 0)
        assert raw.endswith(f"dn:{ALICE}".encode())
        closed: list[float] = []

        def read() -> None:
            try:
                while sock.recv(4096):
                    pass
            except OSError:
                pass
            closed.append(time.monotonic())

        reader = threading.Thread(target=read)
        reader.start()
        revoked = demo.paste(f"{sidegate} passwords revoke alice@example.org wiki")
        returned = time.monotonic()
        assert revoked.returncode == 0, revoked
        reader.join(20)
        assert closed
        assert closed[0] < returned + 1
    refused = ldap(demo, "ldapwhoami", secret=found[0])
    assert refused.returncode == 49
    assert "App password not accepted" in refused.stderr
    assert ldap(demo, "ldapwhoami", secret=demo.facts["app_password"]["secret"]).returncode == 0


# ---- the backend by itself -----------------------------------------------------------------------


@pytest.fixture
def connection(backends: Backends) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", backends.ldap), 20) as sock:
        yield sock


def test_only_the_service_may_bind(connection: socket.socket) -> None:
    attempts = ((SERVICE, "wrong"), (ALICE, "service-secret"), ("", ""), (SERVICE, ""), (ALICE, "alice-password"))
    for number, (name, password) in enumerate(attempts, 1):
        connection.sendall(bind(name, password, number))
        assert answer(connection)[:2] == (number, 49)
    sasl = (encode_integer(3), encode(OCTETS), encode(grammar.SASL, encode(OCTETS, b"PLAIN")))
    connection.sendall(grammar.message(8, encode(grammar.BIND_REQUEST, *sasl)))
    assert answer(connection)[:2] == (8, 7)
    identity = grammar.control(grammar.PROXIED_AUTHORIZATION, f"dn:{ALICE}".encode())
    connection.sendall(grammar.message(9, WHO_AM_I, identity))
    assert answer(connection)[:2] == (9, 123)
    connection.sendall(grammar.message(10, encode(grammar.DELETE, ALICE.encode())))
    assert answer(connection)[:2] == (10, 53)


def test_the_service_speaks_for_people_alone(connection: socket.socket) -> None:
    connection.sendall(bind(SERVICE, "service-secret"))
    assert answer(connection)[:2] == (1, 0)
    for authzid, code in {
        f"dn:{BOB}": 0,
        f"dn:{SERVICE}": 123,
        f"dn:uid=x,{PEOPLE}": 123,
        "u:bob": 123,
        "": 123,
    }.items():
        connection.sendall(
            grammar.message(2, WHO_AM_I, grammar.control(grammar.PROXIED_AUTHORIZATION, authzid.encode()))
        )
        _, found, raw = answer(connection)
        assert found == code
        assert raw.endswith(authzid.encode()) or code
    connection.sendall(grammar.message(3, WHO_AM_I, grammar.control(b"1.2.3", b"")))
    assert answer(connection)[:2] == (3, 12)
    connection.sendall(grammar.message(4, encode(grammar.ABANDON, b"\x03")) + grammar.message(5, WHO_AM_I))
    assert answer(connection)[:2] == (5, 0)
    connection.sendall(grammar.message(6, encode(grammar.UNBIND)))
    assert connection.recv(1) == b""


def test_what_is_no_ldap_is_told_so_and_closed(connection: socket.socket) -> None:
    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
    assert answer(connection)[:2] == (0, 2)
    assert connection.recv(1) == b""
