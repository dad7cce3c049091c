"""The load: a process of its own, python -m bench.ldap.load CPU PORT tls|clear SECRETS WORK …, prints one JSON line.

Works: bind N THREADS (connect, TLS, Bind, one search, Unbind) | search N CLIENTS (one in flight each) | idle N (holds
the sessions until a line comes on stdin). Requests are encoded before the clock runs, every answer is looked at. `own`
is the CPU that the load itself took, in seconds.
"""

from __future__ import annotations

import json
import selectors
import socket
import ssl
import sys
import time
from itertools import count
from pathlib import Path

from bench.ldap.contestants import LOGINS, PEOPLE
from bench.load import hold, parallel
from bench.measure import pinned
from tests.peers.slapd import PEOPLE as UNDER
from tests.peers.slapd import person
from tests.wire.ldap.requests import BIND_DONE, UNBIND, bind, equal, message, number, text, tlv

_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_context.check_hostname = False
_context.verify_mode = ssl.CERT_NONE  # its cost is the generator's, and the same for everybody


def search(uid: str) -> bytes:
    """All of one person's entry, found by an indexed attribute; message 2."""
    limits = number(2, 10) + number(0, 10) + number(0) + number(0) + tlv(1, b"\0")
    return message(2, tlv(0x63, text(UNDER), limits, equal("uid", uid), tlv(0x30)))


SEARCHES = [search(f"user{number}") for number in range(PEOPLE)]
HEARD = [(text(person(f"user{number}")), text(f"user{number}@example.org")) for number in range(PEOPLE)]
"""The entry's name and its mail, as they stand in the answer."""
DONE = bytes.fromhex("300c 020102 6507 0a0100 0400 0400")


class Client:
    """One connection, bound as `number` of the people who log in."""

    def __init__(self, port: int, tls: bool, number: int, secret: str) -> None:
        raw = socket.create_connection(("127.0.0.1", port), 60)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = _context.wrap_socket(raw) if tls else raw
        self.asked = 0
        self._heard = b""
        self.socket.sendall(bind(1, person(f"user{number}"), secret))
        answer = b""
        while len(answer) < len(BIND_DONE):
            answer += self._received()
        if answer != BIND_DONE:
            raise RuntimeError(f"refused: {answer!r}")

    def _received(self) -> bytes:
        data = self.socket.recv(65536)
        if not data:
            raise RuntimeError("closed")
        return data

    def ask(self, number: int) -> None:
        self.asked = number
        self.socket.sendall(SEARCHES[number])

    def answered(self) -> bool:
        """Take what is here; True once the right answer is whole."""
        self._heard += self._received()
        if not self._heard.endswith(DONE):
            return False
        heard, self._heard = self._heard, b""
        name, mail = HEARD[self.asked]
        if name not in heard or mail not in heard or heard.count(name) != 1:
            raise RuntimeError(f"wrong answer for user{self.asked}: {heard!r}")
        return True

    def search(self, number: int) -> None:
        self.ask(number)
        while not self.answered():
            pass

    def close(self) -> None:
        self.socket.sendall(UNBIND)
        self.socket.close()


class Load:
    """Clients of one contestant, who log in as one person after another."""

    def __init__(self, port: int, tls: bool, secrets: list[str]) -> None:
        self._port, self._tls, self._secrets = port, tls, secrets

    def client(self, number: int) -> Client:
        who = number % LOGINS
        return Client(self._port, self._tls, who, self._secrets[who])

    def binds(self, total: int, threads: int) -> dict[str, float]:
        tickets = count()
        times: list[float] = []

        def work(_: int) -> None:
            while (ticket := next(tickets)) < total:
                start = time.perf_counter()
                client = self.client(ticket)
                client.search(ticket % PEOPLE)
                client.close()
                times.append(time.perf_counter() - start)

        seconds = parallel(threads, work)
        times.sort()
        return {"done": total, "seconds": seconds, "p50_us": times[total // 2] * 1e6}

    def searches(self, total: int, number: int) -> dict[str, float]:
        ready = selectors.EpollSelector()
        clients = [self.client(who) for who in range(number)]
        tickets = count()
        times: list[float] = []
        started: dict[Client, float] = {}

        def ask(client: Client) -> None:
            if (ticket := next(tickets)) < total:
                started[client] = time.perf_counter()
                client.ask(ticket % PEOPLE)

        start = time.perf_counter()
        for client in clients:
            ready.register(client.socket, selectors.EVENT_READ, client)
            ask(client)
        while len(times) < total:
            for key, _ in ready.select(60):
                if key.data.answered():
                    times.append(time.perf_counter() - started[key.data])
                    ask(key.data)
        seconds = time.perf_counter() - start
        times.sort()
        return {"done": total, "seconds": seconds, "p50_us": times[total // 2] * 1e6}


def main() -> None:
    cpu, port, tls, secrets, work, *numbers = sys.argv[1:]
    pinned(int(cpu))
    load = Load(int(port), tls == "tls", Path(secrets).read_text().split("\n"))
    first, second = [*map(int, numbers), 0][:2]
    before = time.process_time()
    match work:
        case "bind":
            result = load.binds(first, second)
        case "search":
            result = load.searches(first, second)
        case "idle":
            hold([load.client(number) for number in range(first)])
            return
        case _:
            raise SystemExit(f"unknown work {work}")
    print(json.dumps({**result, "own": time.process_time() - before}), flush=True)


if __name__ == "__main__":
    main()
