"""The front's side of the link, against a scripted core on a real unix socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from proxy.link.client import Answer, LinkClient
from proxy.link.messages import (
    Accept,
    Ask,
    BackendNews,
    Cut,
    CutDone,
    Ended,
    FromCore,
    FromPeer,
    Hello,
    LimitSetting,
    LiveSession,
    LoginSetting,
    Message,
    Refuse,
    Started,
    Welcome,
    encode,
    messages_from_peer,
)

SESSION = LiveSession("s1", 3, 7, 1, "imap", "mail", "192.0.2.1", 5, "192.0.2.2", 993, "TLSv1.3", None, 1.0, 2, 3)
WELCOME = Welcome(1, "mail.example.test", "https://login.example.test", [], [], [], LimitSetting(), [])


def ask(session_id: str = "s2") -> Ask:
    return Ask(
        0, session_id, "imap:993", "imap", "alice", "", False, "secret", "PLAIN", "192.0.2.1", 5, "::1", 993, None, None
    )


class Core:
    """A listening socket; the test reads and writes frames itself, inside the loop's turns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.listener.setblocking(False)
        self.link: socket.socket | None = None
        self._buffer = bytearray()
        self._messages: list[FromPeer] = []

    async def accept(self) -> None:
        self.link, _ = await asyncio.get_running_loop().sock_accept(self.listener)
        self._buffer.clear()

    async def hear(self) -> FromPeer:
        """The next message."""
        assert self.link is not None
        while not self._messages:
            data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.link, 1 << 20), 5)
            assert data, "closed"
            self._buffer += data
            self._messages += messages_from_peer(self._buffer)
        return self._messages.pop(0)

    async def say(self, *messages: Message) -> None:
        assert self.link is not None
        await asyncio.get_running_loop().sock_sendall(self.link, b"".join(map(encode, messages)))

    def leave(self) -> None:
        assert self.link is not None
        self.link.close()

    def close(self) -> None:
        self.listener.close()
        if self.link is not None:
            self.link.close()
        self.path.unlink(missing_ok=True)


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    core = Core(tmp_path / "link.sock")
    yield core
    core.close()


def run(scenario: Callable[[], object]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(scenario(), 20))  # type: ignore[arg-type]


class Heard:
    """A client with everything it told its owner."""

    def __init__(self, path: Path, sessions: list[LiveSession] | None = None) -> None:
        self.messages: list[FromCore] = []
        self.answers: list[Answer] = []
        self.client = LinkClient(
            asyncio.get_running_loop(),
            str(path),
            "front",
            live_sessions=lambda: sessions or [],
            on_message=self.messages.append,
        )

    async def until(self, true: Callable[[], object]) -> None:
        while not true():  # noqa: ASYNC110 - what is waited for is ordinary state
            await asyncio.sleep(0.005)


def test_says_hello_with_its_sessions_and_asks_only_when_welcomed(core: Core) -> None:
    async def scenario() -> None:
        heard = Heard(core.path, [SESSION])
        assert not heard.client.send(CutDone(1, 1))
        heard.client.start()
        await core.accept()
        assert await core.hear() == Hello(1, "front", [SESSION])
        assert not heard.client.up
        heard.client.ask(ask(), heard.answers.append)
        await heard.until(lambda: heard.answers)
        assert heard.answers == [None]
        await core.say(WELCOME)
        await heard.until(lambda: heard.client.up)
        assert heard.messages == [WELCOME]
        assert heard.client.send(CutDone(1, 1))
        assert await core.hear() == CutDone(1, 1)

    run(scenario)


def test_a_session_that_ends_between_hello_and_welcome_is_reported(core: Core) -> None:
    """The core has entered it as live by then, and would count it for ever."""
    ended = Ended(SESSION.session_id, "closed", 2, 3)

    async def scenario() -> None:
        heard = Heard(core.path, [SESSION])
        heard.client.start()
        assert heard.client.send(ended)
        await core.accept()
        assert await core.hear() == Hello(1, "front", [SESSION])
        assert await core.hear() == ended

    run(scenario)


def test_a_callback_that_fails_costs_neither_the_link_nor_another_answer(core: Core) -> None:
    async def scenario() -> None:
        heard = Heard(core.path)
        heard.client.question_timeout = 0.1

        def fail(answer: Answer) -> None:
            raise RuntimeError("one login that goes wrong")

        heard.client.start()
        for leave in (False, True):
            await core.accept()
            assert isinstance(await core.hear(), Hello)
            await core.say(WELCOME)
            await heard.until(lambda: heard.client.up)
            heard.client.ask(ask(), fail)
            heard.client.ask(ask(), heard.answers.append)
            if leave:  # the link is lost before they time out
                core.leave()
            await heard.until(lambda: heard.answers)
            assert heard.answers == [None]
            heard.answers.clear()
            if not leave:
                core.leave()
        await core.accept()
        assert isinstance(await core.hear(), Hello)

    run(scenario)


def test_answers_find_their_questions_in_any_order(core: Core) -> None:
    async def scenario() -> None:
        heard = Heard(core.path)
        heard.client.start()
        await core.accept()
        await core.hear()
        await core.say(WELCOME)
        await heard.until(lambda: heard.client.up)
        answers: dict[str, Answer] = {}
        first = heard.client.ask(ask(), lambda answer: answers.__setitem__("first", answer))
        second = heard.client.ask(ask(), lambda answer: answers.__setitem__("second", answer))
        assert [(await core.hear()).question, (await core.hear()).question] == [first, second]  # type: ignore[union-attr]
        accept = Accept(second, "s2", 3, 7, 1, LoginSetting("xclient", "", "alice", ""))
        await core.say(accept, Refuse(first, "revoked"))
        await heard.until(lambda: len(answers) == 2)
        assert answers == {"first": Refuse(first, "revoked"), "second": accept}

    run(scenario)


def test_a_question_without_a_core_is_answered_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        heard = Heard(tmp_path / "nobody.sock")
        heard.client.start()
        heard.client.ask(ask(), heard.answers.append)
        assert heard.answers == []  # never from inside ask()
        await heard.until(lambda: heard.answers)
        assert heard.answers == [None]

    run(scenario)


def test_a_question_times_out_and_its_late_verdict_ends_the_session(core: Core) -> None:
    async def scenario() -> None:
        heard = Heard(core.path)
        heard.client.question_timeout = 0.1
        heard.client.start()
        await core.accept()
        await core.hear()
        await core.say(WELCOME)
        await heard.until(lambda: heard.client.up)
        number = heard.client.ask(ask("late"), heard.answers.append)
        await core.hear()
        await heard.until(lambda: heard.answers)
        assert heard.answers == [None]
        await core.say(Accept(number, "late", 3, 7, 1, LoginSetting("xclient", "", "alice", "")))
        assert await core.hear() == Ended("late", "nobody waited for the verdict", 0, 0)
        assert heard.answers == [None]

    run(scenario)


def test_a_forgotten_question_is_not_answered(core: Core) -> None:
    async def scenario() -> None:
        heard = Heard(core.path)
        heard.client.start()
        await core.accept()
        await core.hear()
        await core.say(WELCOME)
        await heard.until(lambda: heard.client.up)
        number = heard.client.ask(ask("gone"), heard.answers.append)
        heard.client.forget(number)
        await core.hear()
        await core.say(Accept(number, "gone", 3, 7, 1, LoginSetting("xclient", "", "alice", "")))
        assert await core.hear() == Ended("gone", "nobody waited for the verdict", 0, 0)
        assert heard.answers == []

    run(scenario)


def test_a_lost_link_fails_its_questions_and_is_made_again(core: Core) -> None:
    async def scenario() -> None:
        heard = Heard(core.path)
        heard.client.start()
        await core.accept()
        await core.hear()
        await core.say(WELCOME)
        await heard.until(lambda: heard.client.up)
        heard.client.ask(ask(), heard.answers.append)
        await core.hear()
        core.leave()
        await heard.until(lambda: heard.answers)
        assert heard.answers == [None]
        assert not heard.client.up
        await core.accept()
        assert isinstance(await core.hear(), Hello)
        await core.say(WELCOME)
        await heard.until(lambda: heard.client.up)
        assert heard.messages == [WELCOME, WELCOME]

    run(scenario)


def test_rubbish_from_the_core_closes_the_link(core: Core) -> None:
    async def scenario() -> None:
        heard = Heard(core.path)
        heard.client.start()
        await core.accept()
        await core.hear()
        assert core.link is not None
        await asyncio.get_running_loop().sock_sendall(core.link, b"\0\0\0\1\xc1")
        assert await asyncio.get_running_loop().sock_recv(core.link, 10) == b""
        await core.accept()
        assert isinstance(await core.hear(), Hello)

    run(scenario)


def test_messages_of_one_turn_leave_in_order_and_a_full_socket_loses_none(core: Core) -> None:
    async def scenario() -> None:
        heard = Heard(core.path)
        heard.client.start()
        await core.accept()
        await core.hear()
        await core.say(WELCOME)
        await heard.until(lambda: heard.client.up)
        sent = [BackendNews("mail", str(number), True, "x" * 2000) for number in range(1000)]  # 2 MB
        for message in sent:
            heard.client.send(message)
        await asyncio.sleep(0.05)  # the socket is full by now
        heard.client.send(Started("last", "127.0.0.1:143", None))
        for message in sent:
            assert await core.hear() == message
        assert await core.hear() == Started("last", "127.0.0.1:143", None)

    run(scenario)


def test_a_core_that_never_reads_is_cut_off(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.link.client.MAX_UNSENT", 100_000)

    async def scenario() -> None:
        heard = Heard(core.path)
        heard.client.start()
        await core.accept()
        await core.hear()
        await core.say(WELCOME)
        await heard.until(lambda: heard.client.up)
        for number in range(1000):
            heard.client.send(BackendNews("mail", str(number), True, "x" * 2000))
        await heard.until(lambda: not heard.client.up)
        await core.accept()
        assert isinstance(await core.hear(), Hello)

    run(scenario)


def test_the_owner_hears_everything_else_in_order_and_may_fail(core: Core) -> None:
    async def scenario() -> None:
        heard = Heard(core.path)
        orders: list[int] = []

        def hear(message: FromCore) -> None:
            if isinstance(message, Cut):
                orders.append(message.cut)
                if message.cut == 1:
                    raise RuntimeError("one order that goes wrong")

        heard.client._on_message = hear
        heard.client.start()
        await core.accept()
        await core.hear()
        await core.say(WELCOME, Cut(1, [7], [], []), Cut(2, [7], [], []))
        await heard.until(lambda: len(orders) == 2)
        assert orders == [1, 2]
        assert heard.client.up

    run(scenario)


def test_a_report_goes_out_with_the_next_question_or_a_moment_later(core: Core) -> None:
    async def scenario() -> None:
        heard = Heard(core.path)
        heard.client.report(CutDone(1, 1))
        heard.client.start()
        await core.accept()
        await core.hear()
        await core.say(WELCOME)
        await heard.until(lambda: heard.client.up)

        started, ended = Started("s1", "127.0.0.1:143", None), Ended("s1", "closed", 2, 3)
        heard.client.report(started)
        assert heard.client.unsent
        await asyncio.sleep(0)
        assert heard.client.unsent
        assert await core.hear() == started
        assert not heard.client.unsent

        heard.client.report(ended)
        await asyncio.sleep(0)
        heard.client.ask(ask(), heard.answers.append)
        await asyncio.sleep(0)
        assert not heard.client.unsent
        assert await core.hear() == ended
        assert isinstance(await core.hear(), Ask)

    run(scenario)
