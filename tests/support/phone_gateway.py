"""A real HTTP server on loopback that takes messages to phone numbers, or does what a test wants it to."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from proxy.config.factor_settings import PhoneCodes, Webhook
from proxy.domain.secret import Secret
from proxy.domain.webhooks import signature

KEY = bytes(range(32))
WHSEC = Secret(f"whsec_{base64.b64encode(KEY).decode()}")


class PhoneGateway:
    """`taken`: messages, in order; what was not signed with KEY is answered 401."""

    def __init__(self) -> None:
        self.status = 200
        self.signed = True
        """Whether it wants a signature."""
        self.slow: Event | None = None
        """Answers once this is set."""
        self.taken: list[dict[str, Any]] = []
        self.asked: list[str] = []
        """Paths, each time that somebody asks."""
        self.headers: dict[str, str] = {}
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/send"

    def settings(self, *countries: str, daily_limit: int = 200) -> PhoneCodes:
        return PhoneCodes(countries or ("ES",), daily_limit, Webhook(self.url, WHSEC))

    def code(self) -> str:
        """The one in the last message."""
        said = self.taken[-1]
        found = re.search("[0-9]{6}", said.get("digits") or said["text"])
        assert found is not None, said
        return found[0]

    def wrong(self) -> str:
        return "000000" if self.code() != "000000" else "000001"

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> int:
        self.asked.append(path)
        self.headers = headers
        if self.slow is not None:
            self.slow.wait(30)
        if self.signed:
            number, stamp = headers.get("webhook-id", ""), int(headers.get("webhook-timestamp", "0"))
            if headers.get("webhook-signature") != signature(KEY, number, stamp, body):
                return 401
        if 200 <= self.status < 300:
            self.taken.append(json.loads(body))
        return self.status


@contextmanager
def phone_gateway() -> Iterator[PhoneGateway]:
    gateway = PhoneGateway()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = gateway.answer(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("location", "/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionError):  # gave up waiting
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    gateway.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield gateway
    finally:
        if gateway.slow is not None:
            gateway.slow.set()
        server.shutdown()
        thread.join()
        server.server_close()
