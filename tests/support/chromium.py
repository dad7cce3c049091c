"""Debian's Chromium, driven by Playwright, and applications for it to look at."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import uvicorn
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, sync_playwright
from starlette.types import ASGIApp

R = TypeVar("R")
CHROMIUM = "/usr/bin/chromium"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Without its sandbox, which root cannot have; it looks at nothing but our own pages."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Served:
    """An application behind a socket, on a loop of its own: Playwright has the one of this thread."""

    def __init__(self, app: ASGIApp, sock: socket.socket) -> None:
        settings = uvicorn.Config(app, log_config=None, lifespan="off", ws="none")
        self._server = uvicorn.Server(settings)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(sock),))
        self._thread.start()
        assert self._ready.wait(30)

    def run(self, question: Coroutine[Any, Any, R]) -> R:
        """Its result, from the application's loop."""
        return asyncio.run_coroutine_threadsafe(question, self._loop).result(30)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(30)

    async def _serve(self, sock: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready.set()
        await self._server.serve(sockets=[sock])


def listening() -> socket.socket:
    """On a free port of 127.0.0.1, where *.localhost leads too."""
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


def add_authenticator(context: BrowserContext, page: Page, **options: Any) -> tuple[CDPSession, str]:
    """One that is built into the device and verifies whoever is there, unless `options` say otherwise; with its id."""
    cdp = context.new_cdp_session(page)
    cdp.send("WebAuthn.enable")
    wanted = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
        **options,
    }
    return cdp, cdp.send("WebAuthn.addVirtualAuthenticator", {"options": wanted})["authenticatorId"]
