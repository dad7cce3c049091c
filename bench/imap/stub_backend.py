"""A minimal IMAP backend, so that a benchmark measures proxies: python -m bench.imap.stub_backend PORT.

It takes any login (LOGIN with quoted strings or literals, AUTHENTICATE PLAIN), and knows two invented commands:
`x DOWN n` answers n bytes and `x OK`; `x UP n` eats n bytes and answers `x OK`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

CAPABILITY = b"IMAP4rev1 SASL-IR LITERAL+ ID IDLE AUTH=PLAIN"
PATTERN = bytes(range(256)) * 1024
"""What DOWN sends again and again: 256 KiB in which every byte says where it stands."""


class Backend(asyncio.Protocol):
    def __init__(self) -> None:
        self.buffer = b""
        self.eat = 0
        self.left = 0
        self.tag = b""
        self.pending: bytes | None = None
        """Tag of a login whose next line is awaited."""
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=1 << 20)
        self.transport.write(b"* OK [CAPABILITY " + CAPABILITY + b"] stub ready\r\n")

    def data_received(self, data: bytes) -> None:
        if self.eat:
            took = min(self.eat, len(data))
            self.eat -= took
            data = data[took:]
            if self.eat:
                return
            self.transport.write(self.tag + b" OK done\r\n")
        self.buffer += data
        while b"\r\n" in self.buffer:
            line, self.buffer = self.buffer.split(b"\r\n", 1)
            self.line(line)
            if self.eat:
                data, self.buffer = self.buffer, b""
                if data:
                    self.data_received(data)
                return

    def line(self, line: bytes) -> None:
        write = self.transport.write
        if self.pending is not None:
            if line.endswith(b"}"):  # user name's line, announcing the password's literal
                self.announce(line)
                return
            tag, self.pending = self.pending, None
            write(tag + b" OK [CAPABILITY " + CAPABILITY + b"] Logged in\r\n")
            return
        tag, _, rest = line.partition(b" ")
        command, _, argument = rest.partition(b" ")
        match command.upper():
            case b"LOGIN" if line.endswith(b"}"):
                self.pending = tag
                self.announce(line)
            case b"AUTHENTICATE" if b" " not in argument:
                self.pending = tag
                write(b"+ \r\n")
            case b"LOGIN" | b"AUTHENTICATE":
                write(tag + b" OK [CAPABILITY " + CAPABILITY + b"] Logged in\r\n")
            case b"DOWN":
                self.left, self.tag = int(argument), tag
                self.resume_writing()
            case b"UP":
                self.eat, self.tag = int(argument), tag
            case b"ID":
                write(b"* ID NIL\r\n" + tag + b" OK done\r\n")
            case b"CAPABILITY":
                write(b"* CAPABILITY " + CAPABILITY + b"\r\n" + tag + b" OK done\r\n")
            case b"LOGOUT":
                write(b"* BYE\r\n" + tag + b" OK done\r\n")
                self.transport.close()
            case _:
                write(tag + b" OK done\r\n")

    def announce(self, line: bytes) -> None:
        """Ask for the literal, unless it comes unasked ({5+})."""
        if not line.endswith(b"+}"):
            self.transport.write(b"+ more\r\n")

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        while self.left and not self.paused:
            piece = min(self.left, len(PATTERN))
            self.left -= piece
            self.transport.write(PATTERN[:piece])
            if not self.left:
                self.transport.write(self.tag + b" OK done\r\n")


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Backend, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
