"""The phone network of the demo: a webhook that prints the text messages and calls that it is asked for."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from proxy.demo.ports import HOST
from proxy.domain import webhooks
from proxy.domain.secret import Secret

LONGEST = 64 * 1024
NAMES = {"sms": "text message to", "call": "call to"}


@contextmanager
def phone_network(secret: Callable[[], Secret]) -> Iterator[int]:
    """Its port. `secret`: what the messages are signed with, asked for when one comes."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(min(LONGEST, int(self.headers.get("content-length", "0"))))
            number, stamp = self.headers.get("webhook-id", ""), int(self.headers.get("webhook-timestamp", "0"))
            signed = webhooks.signature(webhooks.key_of(secret()), number, stamp, body)
            right = hmac.compare_digest(signed.encode(), self.headers.get("webhook-signature", "").encode())
            if right:
                message = json.loads(body)
                print(f"{NAMES[message['kind']]} {message['to']}: {' '.join(message['text'].split())}", flush=True)
            self.send_response(204 if right else 401)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: it prints what it is asked to say."""

    with HTTPServer((HOST, 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
