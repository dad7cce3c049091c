"""Cuts are told to every worker, waited for, and enforced."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proxy.admin.desk import StillOpen
from proxy.core import cutting
from proxy.domain.model import ClientInfo, Protocol
from proxy.domain.session_table import Session
from proxy.link import messages as m
from tests.core.scene import ISSUED, FakePeer, Scene


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "CONFIRM", 0.05)
    monkeypatch.setattr(cutting, "KILLED", 0.05)
    monkeypatch.setattr(cutting, "RETURN", 0.2)


def scene(peers: int = 1) -> Scene:
    return Scene(None, None, peers)


def session(session_id: str, worker: int, app_password_id: int = 7, live: bool = True) -> Session:
    client = ClientInfo("203.0.113.9", 5, "::1", 993, None)
    return Session(
        session_id, worker, 1, "alice@example.org", app_password_id, "phone", 1, Protocol.IMAP, "mail", client, ISSUED,
        live=live,
    )  # fmt: skip


def confirming(it: Scene, peer: FakePeer, count: int) -> None:
    peer.on_send = lambda message: it.says(peer, m.CutDone(message.cut, count)) if isinstance(message, m.Cut) else None


def test_every_worker_hears_it_and_the_counts_add_up():
    it = scene(3)
    for number, peer in enumerate(it.peers):
        confirming(it, peer, number + 1)
    assert asyncio.run(it.cutter.cut(app_passwords=[7], accounts=[2], sessions=["s1"])) == 6
    assert [peer.sent for peer in it.peers] == [[m.Cut(1, [7], [2], ["s1"])]] * 3


def test_workers_hear_when_nothing_was_revoked():
    it = scene(1)
    confirming(it, it.peers[0], 1)
    assert asyncio.run(it.cutter.cut(sessions=["s1"], revoked=False)) == 1
    assert it.peers[0].sent == [m.Cut(1, [], [], ["s1"], revoked=False)]


def test_nothing_named_nothing_said():
    it = scene()
    assert asyncio.run(it.cutter.cut()) == 0
    assert it.peers[0].sent == []


def test_no_workers_nothing_live():
    assert asyncio.run(scene(0).cutter.cut(accounts=[1])) == 0


def test_it_is_said_before_anything_is_waited_for():
    it = scene()

    async def run() -> None:
        work = asyncio.get_running_loop().create_task(it.cutter.cut(app_passwords=[7]))
        await asyncio.sleep(0)  # to its first wait
        assert it.peers[0].sent == [m.Cut(1, [7], [], [])]
        work.cancel()

    asyncio.run(run())


def test_an_account_is_forgotten_by_the_cut_too():
    it = scene()
    confirming(it, it.peers[0], 0)
    before = it.memory.changes
    asyncio.run(it.cutter.cut(accounts=[1, 2]))
    assert it.memory.changes == before + 2


def test_who_does_not_confirm_is_killed(capsys: pytest.CaptureFixture[str]):
    it = scene(2)
    supervisor = FakePeer(9, "supervisor")
    it.link.peers.append(supervisor)
    confirming(it, it.peers[0], 1)
    late = it.peers[1]
    it.table.register(session("a", late.number))
    it.table.register(session("b", late.number))
    it.table.register(session("pending", late.number, live=False))
    it.table.register(session("other", late.number, app_password_id=8))

    supervisor.on_send = lambda message: it.dies(late)
    assert asyncio.run(it.cutter.cut(app_passwords=[7])) == 3  # one confirmed, two died with their worker
    assert supervisor.sent == [m.Kill(late.pid, "did not confirm a cut in time")]
    assert len(it.table) == 0
    assert "is killed" in capsys.readouterr().err


def test_who_cannot_be_killed_is_named_and_the_cut_fails(capsys: pytest.CaptureFixture[str]):
    it = scene()
    with pytest.raises(StillOpen, match=f"by hand: process {it.peers[0].pid}$"):
        asyncio.run(it.cutter.cut(app_passwords=[7]))
    assert f"end it by hand pid={it.peers[0].pid}" in capsys.readouterr().err.replace('"', "")


def test_a_supervisor_that_comes_late_hears_whom_to_kill():
    it = scene(2)
    confirming(it, it.peers[0], 0)
    late = it.peers[1]
    supervisor = FakePeer(9, "supervisor")

    async def run() -> None:
        with pytest.raises(StillOpen):
            await it.cutter.cut(app_passwords=[7])
        it.conversation.hello(supervisor, m.Hello(1, "supervisor", []))  # type: ignore[arg-type]
        assert supervisor.take() == [m.Kill(late.pid, "did not confirm a cut in time")]
        it.dies(late)
        it.conversation.hello(supervisor, m.Hello(1, "supervisor", []))  # type: ignore[arg-type]
        assert supervisor.take() == []

    asyncio.run(run())


def test_who_confirms_late_is_not_killed_later():
    it = scene()
    supervisor = FakePeer(9, "supervisor")

    async def run() -> None:
        with pytest.raises(StillOpen):
            await it.cutter.cut(app_passwords=[7])
        it.says(it.peers[0], m.CutDone(1, 1))
        it.conversation.hello(supervisor, m.Hello(1, "supervisor", []))  # type: ignore[arg-type]
        assert supervisor.take() == []

    asyncio.run(run())


def test_a_worker_has_its_second_from_its_welcome_on():
    """The store is slow, and what waits for it is the Welcome: no reason to kill a worker with all its sessions."""
    read = asyncio.Event()

    class Slow:
        async def read(self, fn: object, *args: object) -> Any:
            await read.wait()
            return {}

    it = Scene(Slow(), None, 1)
    peer = it.peers[0]
    supervisor = FakePeer(9, "supervisor")
    it.link.peers.append(supervisor)

    async def run() -> None:
        it.greets(peer, [live("a")])
        work = asyncio.get_running_loop().create_task(it.cutter.cut(app_passwords=[7]))
        await asyncio.sleep(4 * cutting.CONFIRM)
        assert peer.sent == []
        confirming(it, peer, 1)
        read.set()
        assert await work == 1
        assert [type(message) for message in peer.sent] == [m.Welcome, m.Cut, m.TakeCensus]

    asyncio.run(run())
    assert supervisor.sent == []


def test_a_worker_that_lost_its_link_is_waited_for_and_hears_the_cut_again():
    it = scene()
    peer = it.peers[0]
    it.table.register(session("a", peer.number))
    peer.on_send = lambda message: it.loses(peer)
    back = FakePeer(2, pid=peer.pid)
    confirming(it, back, 1)

    async def run() -> int:
        work = asyncio.get_running_loop().create_task(it.cutter.cut(app_passwords=[7]))
        await asyncio.sleep(cutting.CONFIRM)
        assert not work.done()
        with_facts(it)
        it.greets(back, [live("a"), live("other", app_password_id=8)])
        return await work

    assert asyncio.run(run()) == 1
    assert [message for message in back.sent if isinstance(message, m.Cut)] == [m.Cut(1, [], [], ["a"])]


def test_a_cut_waits_for_who_was_lost_before_it_only_if_it_may_hold_what_must_go():
    it = scene()
    peer = it.peers[0]
    it.table.register(session("a", peer.number))
    it.table.register(session("other", peer.number, app_password_id=8))
    back = FakePeer(2, pid=peer.pid)
    confirming(it, back, 1)

    async def run() -> None:
        it.loses(peer)
        assert await asyncio.wait_for(it.cutter.cut(app_passwords=[9]), 0.1) == 0
        work = asyncio.get_running_loop().create_task(it.cutter.cut(app_passwords=[7]))
        await asyncio.sleep(0)
        assert not work.done()
        with_facts(it)
        it.greets(back, [live("a")])
        assert await work == 1

    asyncio.run(run())


def test_who_does_not_come_back_is_killed():
    it = scene()
    peer = it.peers[0]
    supervisor = FakePeer(9, "supervisor")
    it.link.peers.append(supervisor)
    it.table.register(session("a", peer.number))
    supervisor.on_send = lambda message: it.ends[peer.pid]()

    async def run() -> int:
        it.loses(peer)
        return await it.cutter.cut(app_passwords=[7])

    assert asyncio.run(run()) == 1
    assert supervisor.sent == [m.Kill(peer.pid, "did not confirm a cut in time")]


def test_who_cannot_be_watched_is_taken_for_dead_after_a_while():
    it = scene()
    peer = it.peers[0]
    peer.pid = 0
    it.table.register(session("a", peer.number))
    peer.on_send = lambda message: it.loses(peer)
    supervisor = FakePeer(9, "supervisor")
    it.link.peers.append(supervisor)
    assert asyncio.run(it.cutter.cut(app_passwords=[7])) == 1
    assert supervisor.sent == []


def test_workers_of_another_pid_namespace_are_not_one_another():
    it = scene(2)
    for peer in it.peers:
        peer.pid = 0

    async def run() -> None:
        for peer in it.peers:
            it.greets(peer)

    asyncio.run(run())
    assert not it.peers[0].closed


def test_just_after_a_start_a_cut_waits_for_the_workers_of_the_core_before():
    it = scene(0)
    back = FakePeer(1, pid=4711)
    confirming(it, back, 1)

    async def run() -> int:
        it.cutter.started()
        work = asyncio.get_running_loop().create_task(it.cutter.cut(app_passwords=[7]))
        await asyncio.sleep(0.05)
        with_facts(it)
        it.greets(back, [live("a")])
        return await work

    assert asyncio.run(run()) == 1
    assert back.sent[1] == m.Cut(1, [], [], ["a"])


def test_a_cut_names_no_session_that_came_after_it():
    """A session may come after a `sessions cut`, which revokes nothing; a returning worker must not lose it."""
    it = scene()
    confirming(it, it.peers[0], 0)
    back = FakePeer(2, pid=it.peers[0].pid)

    async def run() -> None:
        await it.cutter.cut(accounts=[1])
        it.now += 1
        with_facts(it)
        it.greets(back, [live("before"), live("after", started=it.now)])
        assert back.held == [m.Cut(1, [], [], ["before"])]
        it.now += cutting.REMEMBERED
        later = FakePeer(3, pid=4711)
        it.greets(later, [live("long before")])
        assert later.held == []

    asyncio.run(run())


def live(session_id: str, app_password_id: int = 7, started: float = ISSUED) -> m.LiveSession:
    return m.LiveSession(
        session_id, 1, app_password_id, 1, "imap", "mail", "203.0.113.9", 5, "::1", 993, None, None, started, 0, 0
    )


def with_facts(it: Scene) -> None:
    """The store knows neither account nor app password, which is of no matter here."""

    class Empty:
        async def read(self, fn: object, *args: object) -> Any:
            return {}

    it.conversation._store = Empty()  # type: ignore[assignment]


@pytest.mark.parametrize("message", [m.CutDone(99, 5), m.CutDone(1, 5)])
def test_confirmations_of_nothing_are_nothing(message: m.CutDone):
    it = scene()
    it.says(it.peers[0], message)


def test_a_worker_confirms_once():
    it = scene(2)
    confirming(it, it.peers[1], 1)

    async def run() -> int:
        work = asyncio.get_running_loop().create_task(it.cutter.cut(app_passwords=[7]))
        await asyncio.sleep(0)
        for _ in range(3):
            it.says(it.peers[0], m.CutDone(1, 2))
        return await work

    assert asyncio.run(run()) == 3


def test_cuts_do_not_wait_for_each_other():
    it = scene()

    async def run() -> list[Any]:
        works = [asyncio.get_running_loop().create_task(it.cutter.cut(app_passwords=[n])) for n in range(5)]
        await asyncio.sleep(0)
        for n in reversed(range(5)):
            it.says(it.peers[0], m.CutDone(n + 1, n))
        return await asyncio.gather(*works)

    assert asyncio.run(run()) == [0, 1, 2, 3, 4]
