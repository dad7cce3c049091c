"""A core for tests of front workers: speaks proxy/link/messages.py on a unix socket, decides by a function."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

from proxy.link.messages import (
    LINK_VERSION,
    Accept,
    Ask,
    BackendSetting,
    FromCore,
    FromPeer,
    FrontSetting,
    Hello,
    LimitSetting,
    LoginSetting,
    Message,
    Refuse,
    TlsFiles,
    Welcome,
    encode,
    messages_from_peer,
)

RIGHT = "abcdefghjkmnpqrstuvd"
"""A well-shaped app password (domain/app_passwords.check_letter)."""
WRONG = "zzzzzzzzzzzzzzzzzzz"


def plain_login(question: int, session_id: str, *, app_password_id: int = 7, account_id: int = 3) -> Accept:
    """Accept with SASL PLAIN as alice*master."""
    return Accept(question, session_id, account_id, app_password_id, 1, LoginSetting("plain", "", "alice*master", "pw"))


def accept_all(ask: Ask) -> FromCore | None:
    return plain_login(ask.question, ask.session_id)


def welcome(
    *,
    tls: list[TlsFiles],
    fronts: list[FrontSetting],
    backends: list[BackendSetting],
    limits: LimitSetting | None = None,
    cut: list[str] | None = None,
) -> Welcome:
    return Welcome(
        LINK_VERSION,
        "mail.example.test",
        "https://login.example.test",
        tls,
        fronts,
        backends,
        limits or LimitSetting(refusal_delay=0.05),
        cut or [],
    )


class FakeCore:
    """Runs in a thread of its own. `received` is everything workers said, Hello included."""

    def __init__(self, path: Path, first: Welcome, decide: Callable[[Ask], FromCore | None] = accept_all) -> None:
        self.path = path
        self.welcome = first
        self.decide = decide
        """Answers an Ask; None: never. May be changed at any time."""
        self.received: list[FromPeer] = []
        self._news = threading.Condition()
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.start()

    def _call(self, coroutine: object) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)  # type: ignore[arg-type]

    def start(self) -> None:
        """Listen (again)."""

        async def listen() -> None:
            self.path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, str(self.path))

        self._call(listen())

    def stop(self) -> None:
        """Be gone: no listener, every link closed."""

        async def leave() -> None:
            if self._server is not None:
                self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            self.path.unlink(missing_ok=True)
            await asyncio.sleep(0)

        self._call(leave())

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def send(self, message: Message) -> None:
        """To every worker."""

        async def write() -> None:
            for writer in self._writers:
                writer.write(encode(message))

        self._call(write())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        buffer = bytearray()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while data := await reader.read(65536):
                buffer += data
                for message in messages_from_peer(buffer):
                    with self._news:
                        self.received.append(message)
                        self._news.notify_all()
                    answer: FromCore | None = None
                    if isinstance(message, Hello):
                        answer = self.welcome
                    elif isinstance(message, Ask):
                        answer = self.decide(message)
                    if answer is not None:
                        writer.write(encode(answer))
        self._writers.discard(writer)
        writer.close()

    def clear(self) -> None:
        """Forget what was said."""
        with self._news:
            self.received.clear()

    def of(self, kind: type[Message]) -> list[FromPeer]:
        with self._news:
            return [message for message in self.received if isinstance(message, kind)]

    def wait(
        self, kind: type[Message], count: int = 1, timeout: float = 15.0, where: Callable[[FromPeer], bool] = bool
    ) -> list[FromPeer]:
        """Every message of `kind` (that `where` takes), once there are `count`; fails after `timeout` seconds."""

        def found() -> list[FromPeer]:
            return [m for m in self.received if isinstance(m, kind) and (where is bool or where(m))]

        with self._news:
            if not self._news.wait_for(lambda: len(found()) >= count, timeout):
                raise AssertionError(f"{len(found())} of {count} {kind.__name__}; heard {self.received[-20:]}")
            return found()


def refuse(reason: str) -> Callable[[Ask], FromCore | None]:
    """A `decide` that always says no."""
    return lambda ask: Refuse(ask.question, reason)
