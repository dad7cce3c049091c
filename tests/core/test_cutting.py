"""Cuts are told to every worker, waited for, and enforced."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proxy.core import cutting
from proxy.domain.model import ClientInfo, Protocol
from proxy.domain.session_table import Session
from proxy.link import messages as m
from tests.core.scene import ISSUED, FakePeer, Scene


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "CONFIRM", 0.05)
    monkeypatch.setattr(cutting, "KILLED", 0.05)


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

    def die(message: m.Message) -> None:
        late.close("killed")
        it.conversation.gone(late)  # type: ignore[arg-type]

    supervisor.on_send = die
    assert asyncio.run(it.cutter.cut(app_passwords=[7])) == 3  # one confirmed, two died with their worker
    assert supervisor.sent == [m.Kill(late.pid, "did not confirm a cut in time")]
    assert len(it.table) == 0
    assert "is killed" in capsys.readouterr().err


def test_who_cannot_be_killed_is_named(capsys: pytest.CaptureFixture[str]):
    it = scene()
    assert asyncio.run(it.cutter.cut(app_passwords=[7])) == 0
    assert f"end it by hand pid={it.peers[0].pid}" in capsys.readouterr().err.replace('"', "")


def test_a_broken_link_ends_the_wait_and_the_cut_is_said_again():
    it = scene()
    peer = it.peers[0]
    it.table.register(session("a", peer.number))

    def lose(message: m.Message) -> None:
        if isinstance(message, m.Cut):
            peer.close("broken")
            it.conversation.gone(peer)  # type: ignore[arg-type]

    peer.on_send = lose
    assert asyncio.run(it.cutter.cut(sessions=["a"])) == 1
    back = FakePeer(2, pid=peer.pid)
    it.link.peers.append(back)
    it.conversation.hello(back, m.Hello(1, "front", []))  # type: ignore[arg-type]
    assert [type(message) for message in back.sent] == [m.Welcome, m.Cut]
    assert back.sent[1] == m.Cut(1, [], [], ["a"])


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
