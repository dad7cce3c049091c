"""Binding: both families on [::], and a sentence for whatever goes wrong."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from proxy.config.settings import Address
from proxy.supervisor import listeners
from proxy.supervisor.listeners import CannotListen, listen
from tests.peers.process import free_ports


def test_any_address_takes_ipv4_and_ipv6() -> None:
    (port,) = free_ports(1)
    sock = listen({"imap:993": Address("::", port)}, [])["imap:993"]
    with sock:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), timeout=5).close()


def test_any_address_means_ipv4_where_there_is_no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "_ipv6_works", lambda: False)
    (port,) = free_ports(1)
    with listen({"imap:993": Address("::", port)}, [])["imap:993"] as sock:
        assert sock.getsockname() == ("0.0.0.0", port)


def test_one_ipv6_address_is_only_that() -> None:
    (port,) = free_ports(1)
    with listen({"imap:993": Address("::1", port)}, [])["imap:993"], pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EADDRINUSE, "another program listens there already; find it with: ss -ltnp 'sport = :143'"),
        (errno.EACCES, "no permission; ports below 1024 need root, CAP_NET_BIND_SERVICE or the systemd socket unit"),
        (errno.EADDRNOTAVAIL, "this machine does not have that address; see: ip address"),
        (errno.ENOBUFS, "No buffer space available"),
    ],
)
def test_what_goes_wrong_names_who_where_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    class Refusing(socket.socket):
        def bind(self, address: object) -> None:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(listeners.socket, "socket", Refusing)
    with pytest.raises(CannotListen) as raised:
        listen({"imap:143": Address("192.0.2.1", 143)}, [])
    assert str(raised.value).startswith(f"imap:143: cannot listen on 192.0.2.1:143: {advice}")


def test_nothing_stays_open_when_one_cannot_be_bound() -> None:
    first, second = free_ports(2)
    with socket.create_server(("127.0.0.1", second)), pytest.raises(CannotListen):
        listen({"imap:1": Address("127.0.0.1", first), "imap:2": Address("127.0.0.1", second)}, [])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", first), timeout=5)
