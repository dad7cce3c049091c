"""A push service and a browser that subscribed to it: real HTTP, real keys, answers as a test wants them."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@dataclass
class Subscriber:
    """A browser's side of RFC 8291."""

    endpoint: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    secret: bytes = field(default_factory=lambda: os.urandom(16))

    @property
    def subscription(self) -> dict[str, str]:
        return {
            "endpoint": self.endpoint,
            "p256dh": encoded(point(self.key.public_key())),
            "auth": encoded(self.secret),
        }

    def decrypt(self, body: bytes) -> bytes:
        salt, (record, size) = body[:16], struct.unpack("!LB", body[16:21])
        sender, sealed = body[21 : 21 + size], body[21 + size :]
        assert len(sealed) <= record
        shared = self.key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
        info = b"WebPush: info\0" + point(self.key.public_key()) + sender
        agreed = HKDF(hashes.SHA256(), 32, self.secret, info).derive(shared)
        key = HKDF(hashes.SHA256(), 16, salt, b"Content-Encoding: aes128gcm\0").derive(agreed)
        nonce = HKDF(hashes.SHA256(), 12, salt, b"Content-Encoding: nonce\0").derive(agreed)
        padded = AESGCM(key).decrypt(nonce, sealed, None).rstrip(b"\0")
        assert padded[-1:] == b"\2"
        return padded[:-1]


@dataclass
class Got:
    path: str
    headers: dict[str, str]
    body: bytes


class PushService:
    """`answer`: the status that it gives next and from then on; None: it takes the message and says nothing."""

    def __init__(self) -> None:
        self.answer: int | None = 201
        self.more = ""
        """Further header lines."""
        self.got: list[Got] = []
        self._arrived = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,))
        self._thread.start()
        assert started.wait(30)
        assert self._server is not None
        self.origin = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def subscriber(self, path: str = "/send/abc") -> Subscriber:
        return Subscriber(self.origin + path)

    def wait(self, many: int) -> list[Got]:
        """Once that many have arrived."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.got) >= many, 30), f"{len(self.got)} of {many}"
            return list(self.got)

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)

    def _run(self, started: threading.Event) -> None:
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        started.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._server.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
                first, *lines = head.strip().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                with self._arrived:
                    self.got.append(Got(first.split()[1], headers, body))
                    self._arrived.notify_all()
                if self.answer is not None:
                    writer.write(f"HTTP/1.1 {self.answer} X\r\nContent-Length: 0\r\n{self.more}\r\n".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@contextmanager
def push_service() -> Iterator[PushService]:
    service = PushService()
    try:
        yield service
    finally:
        service.close()
