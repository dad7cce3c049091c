"""The core's side of the link, against peers on real sockets in this very process."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from proxy.link import messages as m
from proxy.link import server as link_server
from proxy.link.server import LinkServer, Peer, listen_on


class Recorder:
    """Takes down what the server hears, and welcomes fronts unless told not to."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int, object]] = []
        self.peers: dict[int, Peer] = {}
        self.welcoming = True
        self.on_received: Callable[[Peer, object], None] = lambda peer, message: None

    def hello(self, peer: Peer, message: m.Hello) -> None:
        self.peers[peer.number] = peer
        self.heard.append(("hello", peer.number, message.role))
        if peer.role == "front" and self.welcoming:
            peer.welcome(welcome())

    def received(self, peer: Peer, message: m.FromPeer) -> None:
        self.heard.append(("received", peer.number, message))
        self.on_received(peer, message)

    def gone(self, peer: Peer) -> None:
        self.heard.append(("gone", peer.number, peer.role))


def welcome(cut: list[str] | None = None) -> m.Welcome:
    return m.Welcome(1, "mx", "https://login.example.org", [], [], [], m.LimitSetting(), cut or [])


class Client:
    """A worker's end: plain and blocking to the eye, run on the loop."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.setblocking(False)
        self.socket.connect(str(path))
        self.buffer = bytearray()
        self.inbox: list[m.FromCore] = []

    async def send(self, *messages: m.Message) -> None:
        await self.send_bytes(b"".join(m.encode(message) for message in messages))

    async def send_bytes(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def receive(self) -> m.FromCore | None:
        """The next message; None when the server closed."""
        while not self.inbox:
            try:
                data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.socket, 1 << 16), 10)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.buffer += data
            self.inbox += m.messages_from_core(self.buffer)
        return self.inbox.pop(0)


def serve(tmp_path: Path, dialogue: Callable[[LinkServer, Recorder, Path], Awaitable[None]], uids=frozenset()) -> None:
    async def run() -> None:
        recorder = Recorder()
        path = tmp_path / "link.sock"
        server = LinkServer(asyncio.get_running_loop(), path, recorder, uids)
        server.listen()
        try:
            await dialogue(server, recorder, path)
        finally:
            server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for is in another object
            await asyncio.sleep(0.002)


def test_hello_welcome_and_a_conversation(tmp_path: Path):
    async def dialogue(server: LinkServer, recorder: Recorder, path: Path) -> None:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        client = Client(path)
        await client.send(m.Hello(1, "front", []), m.CutDone(1, 2))
        assert await client.receive() == welcome()
        assert [(kind, what) for kind, _, what in recorder.heard] == [("hello", "front"), ("received", m.CutDone(1, 2))]
        peer = server.fronts()[0]
        assert (peer.pid, peer.uid) == (os.getpid(), os.getuid())
        peer.send(m.Refuse(1, "revoked"))
        peer.send(m.TakeCensus(2))
        assert [await client.receive(), await client.receive()] == [m.Refuse(1, "revoked"), m.TakeCensus(2)]
        client.socket.close()
        await until(lambda: recorder.heard[-1] == ("gone", peer.number, "front"))
        assert server.fronts() == []
        peer.send(m.TakeCensus(3))  # to nobody: dropped

    serve(tmp_path, dialogue)


def test_what_is_said_in_one_turn_goes_out_in_one_write(tmp_path: Path):
    async def dialogue(server: LinkServer, recorder: Recorder, path: Path) -> None:
        client = Client(path)
        await client.send(m.Hello(1, "front", []))
        await client.receive()
        peer = server.fronts()[0]
        for number in range(100):
            peer.send(m.TakeCensus(number))
        await asyncio.sleep(0.05)
        data = client.socket.recv(1 << 16)
        assert len(list(m.messages_from_core(bytearray(data)))) == 100

    serve(tmp_path, dialogue)


def test_nothing_comes_before_the_welcome(tmp_path: Path):
    async def dialogue(server: LinkServer, recorder: Recorder, path: Path) -> None:
        recorder.welcoming = False
        client = Client(path)
        await client.send(m.Hello(1, "front", []))
        await until(server.fronts)
        peer = server.fronts()[0]
        peer.send(m.Cut(1, [2], [], []))
        peer.send(m.Limited(["n"]))
        await asyncio.sleep(0.02)
        with pytest.raises(BlockingIOError):
            client.socket.recv(1)
        peer.welcome(welcome(["s9"]))
        peer.send(m.TakeCensus(3))
        assert [await client.receive() for _ in range(4)] == [
            welcome(["s9"]),
            m.Cut(1, [2], [], []),
            m.Limited(["n"]),
            m.TakeCensus(3),
        ]

    serve(tmp_path, dialogue)


def test_a_supervisor_needs_no_welcome(tmp_path: Path):
    async def dialogue(server: LinkServer, recorder: Recorder, path: Path) -> None:
        client = Client(path)
        await client.send(m.Hello(1, "supervisor", []))
        await until(server.supervisors)
        assert server.fronts() == []
        server.supervisors()[0].send(m.Kill(7, "late"))
        assert await client.receive() == m.Kill(7, "late")

    serve(tmp_path, dialogue)


@pytest.mark.parametrize(
    "data",
    [
        m.encode(m.CutDone(1, 2)),
        m.encode(m.Hello(0, "front", [])),
        m.encode(m.Hello(1, "portal", [])),
        m.encode(m.Hello(1, "front", [])) + m.encode(m.Hello(1, "front", [])),
        b"\xff\xff\xff\xff",
        b"\0\0\0\3abc",
        b"GET / HTTP/1.1\r\n",
    ],
    ids=["no hello", "too old", "unknown role", "hello twice", "too long", "undecodable", "http"],
)
def test_who_speaks_otherwise_is_closed_alone(tmp_path: Path, data: bytes):
    async def dialogue(server: LinkServer, recorder: Recorder, path: Path) -> None:
        good, bad = Client(path), Client(path)
        await good.send(m.Hello(1, "front", []))
        await good.receive()
        await bad.send_bytes(data)
        answer = await bad.receive()
        assert answer is None or (answer == welcome() and await bad.receive() is None)
        await good.send(m.CutDone(7, 7))
        await until(lambda: any(what == m.CutDone(7, 7) for _, _, what in recorder.heard))
        assert len(server.fronts()) == 1

    serve(tmp_path, dialogue)


def test_a_newer_peer_is_understood(tmp_path: Path):
    async def dialogue(server: LinkServer, recorder: Recorder, path: Path) -> None:
        client = Client(path)
        await client.send(m.Hello(m.LINK_VERSION + 1, "front", []))
        assert await client.receive() == welcome()

    serve(tmp_path, dialogue)


def test_a_foreign_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def dialogue(server: LinkServer, recorder: Recorder, path: Path) -> None:
        server._uids = frozenset({os.getuid() + 1})  # as if we were somebody else
        client = Client(path)
        await client.send(m.Hello(1, "front", []))
        assert await client.receive() is None
        assert recorder.heard == []

    serve(tmp_path, dialogue)


def test_a_listed_user_is_taken(tmp_path: Path):
    server = LinkServer(None, tmp_path / "link.sock", Recorder(), frozenset({4711}))  # type: ignore[arg-type]
    assert server._uids == {0, os.getuid(), 4711}


def test_an_unsent_tail_is_kept_and_drained_in_order(tmp_path: Path):
    async def dialogue(server: LinkServer, recorder: Recorder, path: Path) -> None:
        client = Client(path)
        await client.send(m.Hello(1, "front", []))
        await client.receive()
        peer = server.fronts()[0]
        count = 20_000
        for number in range(count):
            peer.send(m.Cut(number, [number], [], ["x" * 40]))
            if number % 1000 == 0:
                await asyncio.sleep(0)
        got = []
        while len(got) < count:
            got.append(await client.receive())
        assert [message.cut for message in got] == list(range(count))
        peer.send(m.TakeCensus(1))
        assert await client.receive() == m.TakeCensus(1)

    serve(tmp_path, dialogue)


def test_a_peer_that_does_not_read_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(link_server, "MAX_UNSENT", 1 << 20)

    async def dialogue(server: LinkServer, recorder: Recorder, path: Path) -> None:
        client = Client(path)
        await client.send(m.Hello(1, "front", []))
        await client.receive()
        peer = server.fronts()[0]
        for number in range(200):
            peer.send(m.Cut(number, [], [], ["x" * 40] * 500))
            await asyncio.sleep(0)
        assert peer.closed
        assert recorder.heard[-1] == ("gone", peer.number, "front")

    serve(tmp_path, dialogue)


def test_one_message_that_we_fail_on_costs_only_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    async def dialogue(server: LinkServer, recorder: Recorder, path: Path) -> None:
        def fail(peer: Peer, message: object) -> None:
            if message == m.CutDone(1, 1):
                raise ZeroDivisionError

        recorder.on_received = fail
        client = Client(path)
        await client.send(m.Hello(1, "front", []), m.CutDone(1, 1), m.CutDone(2, 2))
        await until(lambda: recorder.heard and recorder.heard[-1][2] == m.CutDone(2, 2))
        assert len(server.fronts()) == 1

    serve(tmp_path, dialogue)


def test_a_dead_cores_socket_is_replaced_a_living_ones_is_not(tmp_path: Path):
    path = tmp_path / "admin.sock"
    listen_on(path).close()
    first = listen_on(path)
    with pytest.raises(OSError, match="in use"):
        listen_on(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    first.close()


def test_a_socket_where_it_cannot_be(tmp_path: Path):
    with pytest.raises(OSError, match="No such file"):
        listen_on(tmp_path / "nowhere" / "link.sock")
