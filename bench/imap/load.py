"""The load: a process of its own, python -m bench.imap.load CPU PORT SECRET WORK …, prints one JSON line.

Works: login N THREADS | resumed N THREADS | down MB CLIENTS | up MB CLIENTS | noop N | idle N (holds
the sessions until a line comes on stdin) | verify MB (a download in which every byte is compared).
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import time
from itertools import count

from bench.imap.contestants import USER
from bench.imap.stub_backend import PATTERN
from bench.load import hold, parallel
from bench.measure import pinned

_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_context.check_hostname = False
_context.verify_mode = ssl.CERT_NONE  # its cost is the generator's, and the same for everybody
_BLOCK = 1 << 20


class Client:
    """One logged-in connection."""

    def __init__(self, port: int, secret: str, session: ssl.SSLSession | None = None) -> None:
        raw = socket.create_connection(("127.0.0.1", port), 60)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = _context.wrap_socket(raw, session=session)
        self.line(b"* ")
        self.socket.sendall(f'a LOGIN "{USER}" "{secret}"\r\n'.encode())
        answer = self.line(b"a ")
        if not answer.startswith(b"a OK"):
            raise RuntimeError(f"refused: {answer!r}")

    def line(self, start: bytes) -> bytes:
        data = b""
        while not data.endswith(b"\n") or not data[data.rfind(b"\n", 0, -1) + 1 :].startswith(start):
            got = self.socket.recv(65536)
            if not got:
                raise RuntimeError(f"closed after {data!r}")
            data += got
        return data[data.rfind(b"\n", 0, -1) + 1 :]

    def down(self, size: int, check: bool = False) -> None:
        self.socket.sendall(b"d DOWN %d\r\n" % size)
        want = size + len(b"d OK done\r\n")
        block = memoryview(bytearray(_BLOCK))
        done = 0
        while done < want:
            got = self.socket.recv_into(block)
            if not got:
                raise RuntimeError("closed in a download")
            if check and done + got <= size:
                start = done % len(PATTERN)
                expected = (PATTERN + PATTERN * (got // len(PATTERN) + 1))[start : start + got]
                if block[:got] != expected:
                    raise RuntimeError(f"a byte changed near {done}")
            done += got

    def up(self, size: int) -> None:
        self.socket.sendall(b"u UP %d\r\n" % size)
        sent = 0
        while sent < size:
            piece = min(size - sent, len(PATTERN))
            self.socket.sendall(PATTERN[:piece])
            sent += piece
        self.line(b"u ")

    def noop(self) -> None:
        self.socket.sendall(b"n NOOP\r\n")
        self.line(b"n ")

    def close(self) -> None:
        self.socket.close()


def logins(port: int, secret: str, number: int, threads: int, resumed: bool) -> dict[str, float]:
    tickets = count()
    times: list[float] = []
    reused: list[bool] = []

    def work(_: int) -> None:
        session = None
        if resumed:
            first = Client(port, secret)
            session = first.socket.session
            first.close()
        while next(tickets) < number:
            start = time.perf_counter()
            client = Client(port, secret, session)
            times.append(time.perf_counter() - start)
            reused.append(bool(client.socket.session_reused))
            client.close()

    seconds = parallel(threads, work)
    times.sort()
    return {
        "done": len(times),
        "seconds": seconds,
        "p50_ms": times[len(times) // 2] * 1e3,
        "reused": sum(reused) / len(reused),
    }


def transfer(port: int, secret: str, megabytes: int, clients: int, way: str) -> dict[str, float]:
    connected = [Client(port, secret) for _ in range(clients)]
    size = megabytes * 1_000_000 // clients
    seconds = parallel(clients, lambda number: getattr(connected[number], way)(size))
    for client in connected:
        client.close()
    return {"done": size * clients, "seconds": seconds}


def noops(port: int, secret: str, number: int) -> dict[str, float]:
    client = Client(port, secret)
    times = []
    for _ in range(number):
        start = time.perf_counter()
        client.noop()
        times.append(time.perf_counter() - start)
    times.sort()
    return {"done": number, "seconds": sum(times), "p50_us": times[number // 2] * 1e6}


def main() -> None:
    cpu, port, secret, work, *numbers = sys.argv[1:]
    pinned(int(cpu))
    first, second = [*map(int, numbers), 0, 0][:2]
    match work:
        case "login" | "resumed":
            result = logins(int(port), secret, first, second, work == "resumed")
        case "down" | "up":
            result = transfer(int(port), secret, first, second, work)
        case "noop":
            result = noops(int(port), secret, first)
        case "verify":
            Client(int(port), secret).down(first * 1_000_000, check=True)
            result = {"done": first}
        case "idle":
            hold([Client(int(port), secret) for _ in range(first)])
            return
        case _:
            raise SystemExit(f"unknown work {work}")
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
