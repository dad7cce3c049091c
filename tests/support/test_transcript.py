"""The runner must notice what a machine does wrong, in each of its three ways to feed."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.wire.buffer import LineBuffer
from proxy.wire.events import BackendReady, Close, Send
from tests.support.transcript import run_front

DIALOGUE = """
    > connect tls
    S: hello
    C: one
    S: 3
    C: two!
    S: 4
    > accept done
    S: done
"""


class Counting:
    """Answers each line with its length."""

    program = None

    def __init__(self) -> None:
        self.buffer = LineBuffer(100)

    def connected(self, *, tls: bool) -> list[Any]:
        return [Send(b"hello\r\n")]

    def receive_data(self, data: bytes) -> list[Any]:
        self.buffer.feed(data)
        answers = []
        while (line := self.buffer.next_line()) is not None:
            answers.append(Send(b"%d\r\n" % len(line)))
        return answers

    def tls_started(self) -> list[Any]:
        return []

    def refuse(self, shown: Any, pass_on: bytes | None = None) -> list[Any]:
        return []

    def accept(self, ready: BackendReady) -> list[Any]:
        return [Send(ready.reply + b"\r\n")]

    def trailing_data(self) -> bytes:
        return self.buffer.rest()

    def timed_out(self) -> list[Any]:
        return [Close("late")]


class Forgetful(Counting):
    """Drops what follows a line in the same segment."""

    def receive_data(self, data: bytes) -> list[Any]:
        self.buffer.feed(data)
        line = self.buffer.next_line()
        if line is None:
            return []
        self.buffer.rest()
        return [Send(b"%d\r\n" % len(line))]


class Whole(Counting):
    """Believes that a segment is a line."""

    def receive_data(self, data: bytes) -> list[Any]:
        return [Send(b"%d\r\n" % (len(data) - 2))]


def test_right_machine_passes() -> None:
    run_front(Counting, DIALOGUE)


@pytest.mark.parametrize(("machine", "mode"), [(Forgetful, "with trailing bytes"), (Whole, "byte by byte")])
def test_wrong_machine_fails_with_the_mode_that_shows_it(machine: Any, mode: str) -> None:
    with pytest.raises(AssertionError, match=mode):
        run_front(machine, DIALOGUE)


def test_difference_is_shown() -> None:
    with pytest.raises(AssertionError, match=r"(?s)-S: '5'.*\+S: '3'"):
        run_front(Counting, DIALOGUE.replace("S: 3", "S: 5"))


def test_unknown_mark_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a transcript line"):
        run_front(Counting, "> connect tls\nX: what")
