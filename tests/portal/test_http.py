"""HTTP to strangers: whose requests do not end, end twice, or are too many."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from proxy import http_server
from proxy.http_server import Server
from proxy.portal import http
from tests.support.chromium import listening
from tests.support.sidegate import Certificates

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\n"
EVIL = b"GET /evil HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

Test = Callable[["Served"], Awaitable[None]]


class Served:
    """An application that says what it was asked, when `open`; and whom it saw leave."""

    def __init__(self, port: int, server: Server) -> None:
        self.port = port
        self.server = server
        self.open = asyncio.Event()
        self.open.set()
        self.begun = self.left = 0

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:
            self.left += 1
            return
        await self.open.wait()
        said = PlainTextResponse(f"<{scope['path']} {len(body)}>{'.' * (scope['path'] == '/large') * 30_000_000}")
        await said(scope, receive, send)

    async def ask(self, request: bytes, seconds: float = 10.0) -> tuple[bytes, bool]:
        """What is answered until nothing more comes, and whether that was because the connection was closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        try:
            return await rest(reader, seconds)
        finally:
            writer.close()


async def rest(reader: asyncio.StreamReader, seconds: float = 10.0) -> tuple[bytes, bool]:
    answered = b""
    try:
        async with asyncio.timeout(seconds):
            while piece := await reader.read(65536):
                answered += piece
    except TimeoutError:
        return answered, False
    except ConnectionError:
        pass
    return answered, True


@asynccontextmanager
async def served(tls: ssl.SSLContext | None = None) -> AsyncIterator[Served]:
    sock = listening()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await it.application(scope, receive, send)

    settings = uvicorn.Config(
        http.unambiguous(application),
        http=http.HttpForStrangers,
        lifespan="off",
        ws="none",
        log_config=None,
        limit_concurrency=http.MAX_CONNECTIONS + 1,
        timeout_graceful_shutdown=1,
    )
    settings.load()
    settings.ssl = tls
    started = asyncio.Event()
    it = Served(sock.getsockname()[1], Server(settings, started.set))
    serving = asyncio.create_task(it.server.serve(sockets=[sock]))
    await started.wait()
    yield it
    it.open.set()
    it.server.stop()
    await serving


def run(test: Test) -> None:
    async def whole() -> None:
        async with served() as it:
            await test(it)

    asyncio.run(whole())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nobody else tells
            await asyncio.sleep(0.02)


# ---- where a request ends ------------------------------------------------------------------------

REFUSED = {
    "two lengths": POST + b"Content-Length: 6\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + EVIL,
    "two lengths the other way": POST + CHUNKED + b"Content-Length: 4\r\n\r\n5c\r\n" + EVIL,
    "chunks of a server that knows none": POST.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n0\r\n\r\n" + EVIL,
    "two different lengths": POST + b"Content-Length: 0\r\nContent-Length: 31\r\n\r\n" + EVIL,
    "a length with a sign": POST + b"Content-Length: +0\r\n\r\n" + EVIL,
    "a length in hexadecimal": POST + b"Content-Length: 0x0\r\n\r\n" + EVIL,
    "a negative length": POST + b"Content-Length: -1\r\n\r\n" + EVIL,
    "a space before the colon": POST + b"Content-Length: 31\r\nTransfer-Encoding : chunked\r\n\r\n" + EVIL,
    "another coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + EVIL,
    "chunked, but not at last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + EVIL,
    "twice chunked": POST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n" + EVIL,
    "a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + EVIL,
    "a header behind a bare CR": POST + b"A: b\rTransfer-Encoding: chunked\r\n\r\n" + EVIL,
    "a NUL": POST + b"A: b\0\r\n\r\n" + EVIL,
    "two hosts": POST + b"Host: y\r\n\r\n" + EVIL,
    "no host": b"GET /a HTTP/1.1\r\n\r\n" + EVIL,
    "a chunk of negative size": POST + CHUNKED + b"\r\n-5\r\nhello\r\n0\r\n\r\n" + EVIL,
    "a chunk's size with a prefix": POST + CHUNKED + b"\r\n0x0\r\n\r\n" + EVIL,
    "a chunk longer than it says": POST + CHUNKED + b"\r\n5\r\nhelloXX0\r\n\r\n" + EVIL,
    "a chunk's extension with a line feed": POST + CHUNKED + b"\r\n5;a=\nb\r\nhello\r\n0\r\n\r\n" + EVIL,
    "HTTP/0.9": b"GET /a\r\n\r\n" + EVIL,
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_ends_nowhere_in_particular_is_the_last(name: str) -> None:
    async def test(it: Served) -> None:
        answered, closed = await it.ask(REFUSED[name])
        assert closed
        assert re.findall(rb"HTTP/1\.1 (\d+)", answered) == [b"400"]
        assert b"evil" not in answered

    run(test)


ONE = {
    "a body that looks like a request": (b"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 31\r\n\r\n" + EVIL, 31),
    "the same length twice": (POST + b"Content-Length: 31\r\nContent-Length: 31\r\n\r\n" + EVIL, 31),
    "a chunk that looks like a request": (POST + CHUNKED + b"\r\n1f\r\n" + EVIL + b"\r\n0\r\n\r\n", 31),
    "a length behind the last chunk": (POST + CHUNKED + b"\r\n1\r\nx\r\n0\r\nContent-Length: 9\r\n\r\n", 1),
    "a folded header": (POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 1),
}


@pytest.mark.parametrize("name", ONE)
def test_what_has_one_end_is_one_request(name: str) -> None:
    async def test(it: Served) -> None:
        request, length = ONE[name]
        assert len(EVIL) == 31
        answered, _ = await it.ask(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        assert re.findall(rb"<.*?>", answered) == [f"</a {length}>".encode()]

    run(test)


# ---- how long it takes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"G",
        b"GET /a HTTP/1.1\r\nHost: x\r\n",
        POST + b"Content-Length: 100000\r\n\r\n",
        POST + CHUNKED + b"\r\n",
        GET + b"GET /a",
        GET + POST + b"Content-Length: 100000\r\n\r\n",
    ],
)
def test_a_byte_now_and_then_buys_no_time(monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(http, "REQUEST_WITHIN", 0.5)

    async def test(it: Served) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(begun)

        async def drip() -> None:
            while True:
                await asyncio.sleep(0.05)
                writer.write(b"1" if begun else b"")

        dripping = asyncio.create_task(drip())
        answered, closed = await rest(reader)
        dripping.cancel()
        assert closed
        assert re.findall(rb"<.*?>", answered) == ([b"</a 0>"] if begun.startswith(GET) else [])
        writer.close()
        await until(lambda: it.left == (b"Content-Length" in begun or CHUNKED in begun))
        assert it.server.server_state.connections == set()

    run(test)


def test_what_has_arrived_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_WITHIN", 0.2)

    async def test(it: Served) -> None:
        it.open.clear()
        asking = asyncio.create_task(it.ask(GET.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)))
        await asyncio.sleep(0.6)
        assert not asking.done()
        it.open.set()
        assert b"</a 0>" in (await asking)[0]

    run(test)


def test_who_does_not_fetch_the_answer_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FETCHED_WITHIN", 0.5)

    async def test(it: Served) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", it.port, limit=1)
        writer.write(GET.replace(b"/a", b"/large"))
        await until(lambda: it.begun == 1)
        await until(lambda: not it.server.server_state.connections)
        writer.close()

    run(test)


def test_a_handshake_has_its_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(http_server, "HANDSHAKE_WITHIN", 0.3)
    certificates = Certificates(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates.certificate, certificates.key)

    async def test() -> None:
        async with served(tls) as it:
            assert await it.ask(b"") == (b"", True)
            assert await it.ask(b"\x16\x03\x01") == (b"", True)

    asyncio.run(test())


# ---- how many -------------------------------------------------------------------------------------


def test_those_who_wait_longest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 5)

    async def test(it: Served) -> None:
        waiting = [await asyncio.open_connection("127.0.0.1", it.port) for _ in range(4)]
        for _, writer in waiting:
            writer.write(b"GET")
        await until(lambda: len(it.server.server_state.connections) == 4)
        for _ in range(8):
            answered, _ = await it.ask(GET.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            assert b"</a 0>" in answered
        more = [await asyncio.open_connection("127.0.0.1", it.port) for _ in range(3)]
        assert await rest(waiting[0][0]) == (b"", True)
        assert await rest(waiting[1][0]) == (b"", True)
        assert len(it.server.server_state.connections) == 5
        waiting[3][1].write(EVIL[3:])
        assert b"</evil 0>" in (await rest(waiting[3][0], 0.5))[0]
        for _, writer in (*waiting, *more):
            writer.close()

    run(test)


def test_who_is_being_answered_is_not_closed_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 3)
    once = GET.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)

    async def test(it: Served) -> None:
        it.open.clear()
        answering = [asyncio.create_task(it.ask(once)) for _ in range(3)]
        await until(lambda: it.begun == 3)
        assert b" 503 " in (await it.ask(once))[0]
        it.open.set()
        assert all(b"</a 0>" in answered for answered, _ in await asyncio.gather(*answering))

    run(test)
