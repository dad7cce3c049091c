"""Binds that are answered without the directory, which hears of the client when it is needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy.link.messages import Ask, Cut, CutDone, Ended, Started
from proxy.wire.ldap import grammar as ldap
from tests.fronts.conftest import CHAT, Certificates, Rig, Shape, quick_limits, start_rig, stop_rig
from tests.fronts.test_ldap import SEARCH, WHO_AM_I, answer, bind, bind_dn, pass_services, who
from tests.peers.process import wait_until
from tests.support.fake_backend import Peer, ldap_read

UNBIND = ldap.message(9, ldap.encode(ldap.UNBIND))


@pytest.fixture(scope="module")
def bind_only(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Rig]:
    rig = start_rig(tmp_path_factory.mktemp("rig"), certificates, Shape(quick_limits(), bind_only=True))
    yield rig
    stop_rig(rig)


class Legs:
    """How many connections the directory got since the test began."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._before = len(rig.ldap.connections)

    def __call__(self) -> int:
        return len(self._rig.ldap.connections) - self._before


@pytest.fixture
def directory(bind_only: Rig) -> Rig:
    bind_only.reset()
    bind_only.core.decide = pass_services
    wait_until(lambda: bool(bind_only.ldap.connections), "the probe")
    return bind_only


@pytest.fixture
def legs(directory: Rig) -> Legs:
    return Legs(directory)


def test_a_bind_alone_does_not_reach_the_directory(directory: Rig, legs: Legs) -> None:
    client = directory.tls("ldaps")
    for number, user in enumerate(("alice", "bob"), 1):
        client.send(bind(user, number=number))
        assert answer(client)[:2] == (number, 0)
    client.send(UNBIND)
    assert client.rest() == b""
    ended = directory.core.wait(Ended, 2)
    assert [end.why for end in ended if isinstance(end, Ended)] == ["bound again", "client unbound"]
    assert legs() == 0
    assert [message.backend for message in directory.core.of(Started) if isinstance(message, Started)] == ["", ""]


def test_the_first_request_does(directory: Rig, legs: Legs) -> None:
    client = directory.tls("ldaps")
    client.send(bind("alice") + ldap.message(2, WHO_AM_I))
    assert answer(client)[:2] == (1, 0)
    message_id, code, raw = answer(client)
    assert (message_id, code, b"dn:uid=alice" in raw) == (2, 0, True)
    assert legs() == 1
    assert who(client) == b"dn:uid=alice"
    client.send(bind("bob", number=3))
    assert answer(client)[:2] == (3, 0)
    assert legs() == 1
    assert who(client) == b"dn:uid=bob"
    assert legs() == 2


def test_a_service_is_the_directorys_to_check(directory: Rig, legs: Legs) -> None:
    client = directory.tls("ldaps")
    client.send(bind_dn(CHAT, "its own password"))
    assert answer(client)[:2] == (1, 0)
    assert legs() == 1


def test_what_is_wrong_is_refused_as_ever(directory: Rig, legs: Legs) -> None:
    client = directory.tls("ldaps")
    client.send(bind("mallory") + ldap.message(2, SEARCH))
    assert [answer(client)[:2], answer(client)[:2]] == [(1, 49), (2, 50)]
    assert legs() == 0


def test_a_directory_that_does_not_answer_ends_the_session(directory: Rig, legs: Legs) -> None:
    def refuse(peer: Peer) -> None:
        pdu = ldap.parse(ldap_read(peer))
        peer.send(ldap.answer(pdu.message_id, ldap.BIND_RESPONSE, 49))

    directory.ldap.script = refuse
    client = directory.tls("ldaps")
    client.send(bind("alice"))
    assert answer(client)[:2] == (1, 0)
    client.send(ldap.message(2, SEARCH))
    assert answer(client)[:2] == (0, 52)
    assert client.rest() == b""
    (ended,) = directory.core.wait(Ended)
    assert isinstance(ended, Ended)
    assert (ended.fault, ended.bytes_in) == ("credential", len(ldap.message(2, SEARCH)))


@pytest.mark.parametrize("asked", [False, True], ids=["bound", "while the directory is asked"])
def test_a_cut_ends_it(directory: Rig, legs: Legs, asked: bool) -> None:
    def say_nothing(peer: Peer) -> None:
        while ldap_read(peer):
            pass

    directory.ldap.script = say_nothing
    client = directory.tls("ldaps")
    client.send(bind("alice"))
    assert answer(client)[1] == 0
    if asked:
        client.send(ldap.message(2, SEARCH))
        wait_until(lambda: legs() == 1, "the leg")
    directory.core.send(Cut(1, [7], [], []))
    assert answer(client)[:2] == (0, 52)
    assert client.rest() == b""
    assert directory.core.wait(CutDone) == [CutDone(1, 1)]


def test_a_client_that_leaves_and_rubbish_end_it(directory: Rig, legs: Legs) -> None:
    client = directory.tls("ldaps")
    client.send(bind("alice"))
    assert answer(client)[1] == 0
    client.close()
    other = directory.tls("ldaps")
    other.send(bind("bob") + b"GET / HTTP/1.1\r\n")
    assert [answer(other)[:2], answer(other)[:2]] == [(1, 0), (0, 2)]
    assert other.rest() == b""
    directory.core.wait(Ended, 2)
    assert legs() == 0
    assert len(directory.core.of(Ask)) == 2
