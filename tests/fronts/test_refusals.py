"""Refusals: what they cost, when they are released, how many there may be, and how long anybody may try."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from proxy.domain.model import AppPassword, ClientInfo
from proxy.domain.secret import Secret
from proxy.domain.verdicts import Reason, Shown
from proxy.fronts.attempt import PendingAttempt
from proxy.fronts.refusals import RefusalTable
from proxy.link.messages import MAX_SESSIONS, Ask, Limited, LimitSetting, Refusals
from proxy.wire.events import Attempt
from tests.fronts.conftest import Rig
from tests.support.fake_backend import Peer
from tests.support.fake_core import RIGHT, refuse

NEED = b"Application-specific password required: https://login.example.test"
NOT = b"App password not accepted: https://login.example.test"


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """A worker of its own for every test here."""
    return make_rig()


def rows(rig: Rig, count: int = 1) -> list[object]:
    rig.wait_for(lambda: sum(row.count for m in rig.core.of(Refusals) for row in m.rows) >= count)  # type: ignore[union-attr]
    return [row for m in rig.core.of(Refusals) for row in m.rows]  # type: ignore[union-attr]


def smtp(rig: Rig) -> Peer:
    client = rig.tls("smtps")
    client.line()
    client.send(b"EHLO me\r\n")
    client.until(b"250 ")
    return client


def test_an_unshaped_secret_costs_no_question(rig: Rig) -> None:
    client = rig.tls("imaps")
    client.line()
    for tag in (b"a1", b"a2"):
        client.send(tag + b' LOGIN alice "correct horse"\r\n')
        assert client.line() == b"* OK [ALERT] " + NEED + b"\r\n"
        assert client.line() == tag + b" NO [AUTHENTICATIONFAILED] " + NEED + b"\r\n"
    (row,) = rows(rig, 2)
    assert (row.protocol, row.reason, row.network, row.login_name, row.count) == (
        "imap", "not_app_password", "127.0.0.1/32", "alice", 2,
    )  # fmt: skip
    assert rig.core.of(Ask) == []


def test_a_name_that_cannot_be_one_is_not_reported(rig: Rig) -> None:
    client = smtp(rig)
    client.send(b"AUTH PLAIN " + base64.b64encode(b"\0my secret phrase!\0hunter2") + b"\r\n")
    assert client.line() == b"534 5.7.9 " + NEED + b"\r\n"
    (row,) = rows(rig)
    assert (row.reason, row.login_name) == ("not_app_password_name", "")
    assert not rig.logged("hunter2")
    assert not rig.logged("secret phrase")


def test_limited_networks_are_only_counted(rig: Rig) -> None:
    rig.core.send(Limited(["127.0.0.1/32"]))
    client = smtp(rig)
    client.send(b"AUTH PLAIN " + base64.b64encode(b"\0alice\0hunter2") + b"\r\n")
    client.line()
    (row,) = rows(rig)
    assert (row.login_name, row.program, row.reason) == ("", None, "not_app_password")


def test_a_limited_site_is_only_counted_too() -> None:
    """The core names an IPv6 site by its /48, and limits every /64 in it."""
    table = RefusalTable()
    table.limited = frozenset({"2001:db8:1::/48"})
    for address, name in (("2001:db8:1:2::3", ""), ("2001:db8:2::3", "alice")):
        client = ClientInfo(address, 1, "::1", 993, None)
        table.count("imap", Reason.NOT_APP_PASSWORD, client, "Thunderbird", "s", login_name="alice")
        report = table.take()
        assert report is not None
        (row,) = report.rows
        assert (row.login_name, row.program) == (name, "Thunderbird" if name else None)


def test_every_refusal_is_released_the_same_time_after_the_attempt(
    make_rig: Callable[..., Rig], limits: LimitSetting
) -> None:
    limits.refusal_delay = 0.4
    rig = make_rig(limits=limits)

    def slow_no(ask: Ask) -> object:
        time.sleep(0.2)
        return refuse("unknown_app_password")(ask)

    rig.core.decide = slow_no  # type: ignore[assignment]
    client = smtp(rig)
    for secret in ("hunter2", RIGHT):
        start = time.monotonic()
        client.send(b"AUTH PLAIN " + base64.b64encode(b"\0alice\0" + secret.encode()) + b"\r\n")
        client.line()
        assert 0.39 <= time.monotonic() - start < 0.59


@pytest.mark.parametrize("front", ["imaps", "smtps"])
def test_the_tenth_refusal_closes(make_rig: Callable[..., Rig], limits: LimitSetting, front: str) -> None:
    limits.refusal_delay = 0.0
    rig = make_rig(limits=limits)
    rig.core.decide = refuse("unknown_app_password")
    if front == "smtps":
        client = smtp(rig)
        answers = [b"535 5.7.8 " + NOT + b"\r\n"]
        commands = [b"AUTH PLAIN " + base64.b64encode(b"\0alice\0" + RIGHT.encode()) + b"\r\n"] * 11
        bye = b"421 4.7.0 "
    else:
        client = rig.tls(front)
        client.line()
        commands = [b"a LOGIN alice %s\r\n" % RIGHT.encode()] * 11
        answers = [b"* OK [ALERT] " + NOT + b"\r\n", b"a NO [AUTHENTICATIONFAILED] " + NOT + b"\r\n"]
        bye = b"* BYE "
    for command in commands[:10]:
        client.send(command)
        assert [client.line() for _ in answers] == answers
    last = client.rest()
    assert last.startswith(bye)
    assert last.count(b"\r\n") == 1
    assert len(rig.core.of(Ask)) == 10


def test_refusals_of_the_machine_count_too(make_rig: Callable[..., Rig], limits: LimitSetting) -> None:
    limits.refusals_per_connection = 3
    rig = make_rig(limits=limits)
    client = rig.raw("imap")
    client.line()
    for _ in range(3):
        client.send(b"a LOGIN alice %s\r\n" % RIGHT.encode())
        assert client.until(b"a ")[-1].startswith(b"a NO [PRIVACYREQUIRED]")
    assert client.rest().startswith(b"* BYE ")
    found = rows(rig, 3)
    assert {row.reason for row in found} == {"tls_required"}
    assert rig.core.of(Ask) == []


@pytest.mark.parametrize("front", ["imap", "smtp"])
def test_the_time_to_log_in_is_absolute(make_rig: Callable[..., Rig], limits: LimitSetting, front: str) -> None:
    limits.login_timeout = 1.0
    rig = make_rig(limits=limits)
    client = rig.raw(front)
    start = time.monotonic()
    said = client.line()
    client.sock.settimeout(0.2)
    while time.monotonic() - start < 5:
        try:
            client.send(b"a" if front == "imap" else b"N")
            data = client.sock.recv(100)
        except TimeoutError:
            continue
        except ConnectionError:
            break
        if not data:
            break
        said += data
    assert 0.9 < time.monotonic() - start < 4
    assert (b"* BYE" if front == "imap" else b"421 4.") in said


def test_a_handshake_that_does_not_come_is_closed(make_rig: Callable[..., Rig], limits: LimitSetting) -> None:
    limits.handshake_timeout = 0.5
    rig = make_rig(limits=limits)
    start = time.monotonic()
    client = rig.raw("imaps")
    assert client.rest() == b""
    assert time.monotonic() - start < 5


def test_at_the_cap_of_a_network_the_oldest_goes_and_the_newcomer_is_served(
    make_rig: Callable[..., Rig], limits: LimitSetting
) -> None:
    limits.connections_per_network = 3
    limits.refusal_delay = 30.0
    rig = make_rig(limits=limits)
    first, second, third = (rig.tls("imaps") for _ in range(3))
    for client in (first, second, third):
        client.line()
    second.send(b"a1 LOGIN alice wrong\r\n")
    rows(rig)
    fourth = rig.tls("imaps")
    assert fourth.line().startswith(b"* OK")
    assert second.rest() == b""  # it only waited on a refusal
    fifth = rig.tls("imaps")
    assert fifth.line().startswith(b"* OK")
    assert first.rest() == b""  # the oldest
    third.send(b"a1 NOOP\r\n")
    assert third.line().startswith(b"a1 OK")
    other = rig.tls("imaps", source="127.0.0.9")
    assert other.line().startswith(b"* OK")
    fourth.send(b"a1 LOGIN alice %s\r\n" % RIGHT.encode())
    assert fourth.until(b"a1")[-1].startswith(b"a1 OK")


def test_sessions_do_not_count_against_the_cap(make_rig: Callable[..., Rig], limits: LimitSetting) -> None:
    limits.connections_per_network = 2
    rig = make_rig(limits=limits)
    clients = [rig.log_in() for _ in range(5)]
    for client in clients:
        client.send(b"b NOOP\r\n")
        assert client.until(b"b ")[-1] == b"b OK done\r\n"


def test_shared_networks_have_no_cap(make_rig: Callable[..., Rig], limits: LimitSetting) -> None:
    limits.connections_per_network = 1
    limits.shared_networks = ["127.0.0.0/8"]
    rig = make_rig(limits=limits)
    clients = [rig.tls("imaps") for _ in range(3)]
    for client in clients:
        client.line()
        client.send(b"a NOOP\r\n")
        assert client.line().startswith(b"a OK")


def test_a_worker_with_more_sessions_than_it_could_list_is_busy() -> None:
    """Before it asks anything. No worker of a test holds that many, so the attempt runs alone."""
    said: list[object] = []
    worker = SimpleNamespace(
        loop=SimpleNamespace(time=lambda: 0.0, call_at=lambda due, release, *what: release(*what)),
        limits=LimitSetting(),
        sessions=range(MAX_SESSIONS),
    )
    connection = SimpleNamespace(
        worker=worker,
        front=SimpleNamespace(backend=SimpleNamespace(service_networks=())),
        count_refusal=lambda reason, **more: said.append(reason),
        refused=lambda shown, pass_on: said.append(shown),
    )
    secret = AppPassword(Secret(RIGHT))
    PendingAttempt(connection).start(Attempt("alice", "", secret, "PLAIN"))  # type: ignore[arg-type]
    assert said == [Reason.BUSY, Shown.UNAVAILABLE]


def test_http_is_closed_and_nothing_is_echoed(rig: Rig) -> None:
    for front in ("imap", "smtp"):
        client = rig.raw(front)
        client.send(b"POST /canary HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"canary" not in client.rest()
    client = rig.raw("imaps")
    client.send(b"POST /canary HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.rest() == b""
