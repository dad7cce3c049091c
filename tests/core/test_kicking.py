"""Who is told to throw whom out, how often, and what is said of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.chat import kickers
from proxy.chat.kick import CannotKick, Kick
from proxy.config.settings import OnRevoke, ProsodyKick, ServiceAccount
from proxy.core import kicking
from proxy.core.kicking import OUT_OF_REACH, Kicker
from proxy.domain.audit import Event
from proxy.domain.model import Account
from proxy.store import audit
from proxy.store.threads import StoreThreads
from tests.core.scene import Disk, config

CHAT, WIKI = "cn=chat,dc=org", "cn=wiki,dc=org"


class Server:
    """A chat server: who was thrown out, and what it says next (an error, or how many)."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.says: list[int | Exception | None] = []

    async def kick(self, account: Account) -> int | None:
        self.asked.append(account.address)
        says = self.says.pop(0) if self.says else 0
        if isinstance(says, Exception):
            raise says
        return says


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()

    def make(on_revoke: OnRevoke) -> Kick:
        return made.kick

    monkeypatch.setattr(kickers, "make", make)
    monkeypatch.setattr(kicking, "AFTER_SUCCESS", (0.01,))
    monkeypatch.setattr(kicking, "AFTER_FAILURE", (0.01, 0.01, 0.01))
    return made


def play(tmp_path: Path, script: Callable[[Kicker, Disk], Awaitable[None]], *services: ServiceAccount) -> None:
    async def run() -> None:
        disk = Disk(tmp_path)
        threads = StoreThreads(disk.store)
        kicker = Kicker(threads, "node1", lambda: 1_790_000_000.0)
        plain = config()
        backends = {"directory": replace(plain.backends["mail"], service_accounts=services)}
        kicker.configure(replace(plain, backends=backends))
        try:
            await script(kicker, disk)
        finally:
            await kicker.stop()
            await threads.close()
            disk.store.close()

    asyncio.run(run())


def service(dn: str = CHAT, *, told: bool = True) -> ServiceAccount:
    return ServiceAccount(dn, ("192.0.2.0/24",), ProsodyKick(Path("/x"), "{account}") if told else None)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("not within 10 s")


def records(disk: Disk) -> list[tuple[str, str | None, str | None]]:
    with disk.store.reading() as c:
        found = [one.event for one in audit.read(c)]
    kinds = (Event.CHAT_KICKED, Event.CHAT_KICK_FAILED)
    return [(str(one.event), one.account, one.detail) for one in found if one.event in kinds]


def test_it_is_told_at_once_and_once_more(tmp_path: Path, server: Server):
    async def script(kicker: Kicker, disk: Disk) -> None:
        server.says = [1, 0]
        rows = await kicker.kick({disk.alice.id})
        assert rows == [
            {"service": CHAT, "users": 1, "problem": None},
            {"service": WIKI, "users": None, "problem": OUT_OF_REACH},
        ]
        await until(lambda: server.asked == ["alice@example.org"] * 2)
        await asyncio.sleep(0.05)
        assert len(server.asked) == 2
        assert records(disk) == [("chat_kicked", "alice@example.org", f"service={CHAT}")]

    play(tmp_path, script, service(), service(WIKI, told=False))


def test_somebody_who_slipped_in_meanwhile_is_in_the_audit(tmp_path: Path, server: Server):
    async def script(kicker: Kicker, disk: Disk) -> None:
        server.says = [0, 1]
        assert (await kicker.kick({disk.alice.id}))[0]["users"] == 0
        await until(lambda: len(records(disk)) == 1)

    play(tmp_path, script, service())


def test_one_that_does_not_answer_is_told_again_until_it_does(
    tmp_path: Path, server: Server, capfd: pytest.CaptureFixture[str]
):
    async def script(kicker: Kicker, disk: Disk) -> None:
        away = CannotKick("Prosody", "is not there", "start it")
        server.says = [away, away, 1]
        rows = await kicker.kick({disk.alice.id})
        assert rows == [{"service": CHAT, "users": 0, "problem": "Prosody is not there; start it"}]
        await until(lambda: len(records(disk)) == 3)
        assert [kind for kind, _, _ in records(disk)] == ["chat_kick_failed", "chat_kick_failed", "chat_kicked"]
        await asyncio.sleep(0.05)
        assert len(server.asked) == 3
        assert "Prosody is not there; start it" in capfd.readouterr().err

    play(tmp_path, script, service())


def test_nobody_waits_for_it_person_by_person(tmp_path: Path, server: Server):
    async def script(kicker: Kicker, disk: Disk) -> None:
        server.says = [CannotKick("Prosody", "is not there", "start it")]
        people = [replace(disk.alice, id=100 + n, address=f"p{n}@example.org") for n in range(50)]
        rows = await kicker.kick([person.id for person in people], people)
        assert rows[0]["problem"] == "Prosody is not there; start it"
        assert len(server.asked) == 1
        await until(lambda: set(server.asked) == {person.address for person in people})

    play(tmp_path, script, service())


def test_the_waiting_are_bounded(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kicking, "MAX_WAITING", 3)

    async def script(kicker: Kicker, disk: Disk) -> None:
        people = [replace(disk.alice, id=100 + n, address=f"p{n}@example.org") for n in range(5)]
        await kicker.kick([person.id for person in people], people)
        await until(lambda: len(server.asked) == 8)
        await asyncio.sleep(0.05)
        assert len(server.asked) == 8
        await kicker.kick([people[0].id], people[:1])
        await until(lambda: len(server.asked) == 10)

    play(tmp_path, script, service())


def test_a_webhook_that_does_not_say_how_many(tmp_path: Path, server: Server):
    async def script(kicker: Kicker, disk: Disk) -> None:
        server.says = [None, None]
        assert (await kicker.kick({disk.alice.id})) == [{"service": CHAT, "users": None, "problem": None}]
        await until(lambda: len(records(disk)) == 2)

    play(tmp_path, script, service())


def test_without_services_or_people_nothing_happens(tmp_path: Path, server: Server):
    async def script(kicker: Kicker, disk: Disk) -> None:
        assert await kicker.kick({disk.alice.id}) == []
        kicker.kick_later({disk.alice.id})
        await asyncio.sleep(0)

    play(tmp_path, script)


def test_nobody_is_no_error_and_nobody_need_wait(tmp_path: Path, server: Server):
    async def nobody(kicker: Kicker, disk: Disk) -> None:
        assert await kicker.kick(set()) == []
        assert (await kicker.kick({4711}))[0]["users"] == 0
        kicker.kick_later({disk.alice.id})
        await until(lambda: len(server.asked) == 2)

    play(tmp_path, nobody, service())
