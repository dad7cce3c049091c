"""Dialogues as tests: what is said to a wire machine and what it must answer, written as people read it.

    run_front(make, '''
        > connect tls
        S: * OK ready
        C: a LOGIN alice secret
        + attempt login_name='alice' authzid='' secret='secret' mechanism='LOGIN'
        > refuse not_accepted
        S: a NO no
    ''')

One line each:

    C: text         the client says text + CRLF          S: text         the server says text + CRLF
    C= b"bytes"     exactly these bytes (a Python literal, split and joined as you like)
    + event         the machine must ask for this: starttls, attempt …, refused SHOWN MECHANISM, close,
                    ready REPLY, failed FAULT [pass_on], offers A B …
    > call          the driver does this: connect tls|clear, tls, timeout, refuse SHOWN [pass_on], accept REPLY

Of a front the client's lines are fed and the server's expected; of a backend machine the other way round.

Every dialogue runs three times on a new machine: each side's turn as a whole; byte by byte; and with the
first byte of the next turn arriving early, a login followed by bytes that must come out of trailing_data().
A turn is a run of lines without anything expected in between. A difference fails with a diff.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from proxy.domain.model import AppPassword
from proxy.domain.verdicts import Shown
from proxy.wire import events
from proxy.wire.events import BackendMachine, FrontMachine

TRAILING = b"\x00behind\xff"
"""What a login is followed by in the third run: no protocol's text."""

WHOLE, BYTES, TRAIL = "whole", "byte by byte", "with trailing bytes"


def run_front(make: Callable[[], FrontMachine], dialogue: str, *, held: bool = True, only: str | None = None) -> None:
    """Runs a dialogue of a client with a front. `held=False`: nothing may be sent behind a login attempt.

    `only`: the one of WHOLE, BYTES, TRAIL that makes sense, where the outcome depends on what arrives together.
    """
    _run(make, dialogue, feeds="C", held=held, only=only)


def run_backend(make: Callable[[], BackendMachine], dialogue: str, *, only: str | None = None) -> None:
    """Runs a dialogue of a backend machine with a server."""
    _run(make, dialogue, feeds="S", held=True, only=only)


@dataclass
class _Step:
    """One turn: a call of the driver or bytes to feed, and the lines expected before the next turn."""

    call: str | None
    data: bytes
    expected: list[str]


def _run(make: Callable[[], Any], dialogue: str, *, feeds: str, held: bool, only: str | None) -> None:
    says = "S" if feeds == "C" else "C"
    steps = list(_parse(dialogue, feeds, says))
    expected = [line for step in steps for line in (*_input_lines(step, feeds), *step.expected)]
    for mode in (WHOLE, BYTES, TRAIL):
        if only in (None, mode):
            actual = _play(make(), steps, mode, feeds, held)
            if actual != expected:
                diff = difflib.unified_diff(expected, actual, "expected", "actual", lineterm="", n=100)
                raise AssertionError(f"{mode}:\n" + "\n".join(diff))


def _parse(dialogue: str, feeds: str, says: str) -> Iterator[_Step]:
    step: _Step | None = None
    said = b""

    def flush() -> None:
        nonlocal said
        if said:
            assert step is not None, "something must be called or fed first"
            step.expected += _lines(said, says)
            said = b""

    for line in map(str.lstrip, dialogue.strip().splitlines()):
        mark, _, rest = line.partition(" ")
        if mark in (f"{feeds}:", f"{feeds}="):
            flush()
            data = rest.encode() + b"\r\n" if mark.endswith(":") else ast.literal_eval(rest)
            if step is None or step.call is not None or step.expected:
                if step is not None:
                    yield step
                step = _Step(None, b"", [])
            step.data += data
        elif mark == ">":
            flush()
            if step is not None:
                yield step
            step = _Step(rest, b"", [])
        elif mark in (f"{says}:", f"{says}="):
            said += rest.encode() + b"\r\n" if mark.endswith(":") else ast.literal_eval(rest)
        elif mark == "+":
            flush()
            assert step is not None, "something must be called or fed first"
            step.expected.append(line)
        elif mark and mark != "#":
            raise ValueError(f"not a transcript line: {line!r}")
    flush()
    if step is not None:
        yield step


def _input_lines(step: _Step, feeds: str) -> list[str]:
    return _lines(step.data, feeds) if step.call is None else [f"> {step.call}"]


def _lines(data: bytes, who: str) -> list[str]:
    """Bytes as transcript lines, one form for the same bytes however they were written or cut."""
    shown = []
    for piece in data.split(b"\r\n") if not data.endswith(b"\r\n") else data[:-2].split(b"\r\n"):
        shown.append(f"{who}: {piece.decode('latin-1')!r}")
    if not data.endswith(b"\r\n"):
        shown[-1] += " (no line end)"
    return shown


def _play(machine: Any, steps: list[_Step], mode: str, feeds: str, held: bool) -> list[str]:
    actual: list[str] = []
    early = b""  # bytes of the coming turn that the machine has already
    closed = False
    for number, step in enumerate(steps):
        happened: list[Any] = []
        if step.call is not None:
            happened += _call(machine, step.call)
        else:
            data, early = step.data[len(early) :], b""
            pieces = [data]
            if mode == BYTES:
                pieces = [data[i : i + 1] for i in range(len(data))]
            elif mode == TRAIL:
                behind = _behind(steps, number, held)
                early = b"" if behind == TRAILING else behind
                pieces = [data + behind]
            for piece in pieces:
                if not closed:
                    happened += machine.receive_data(piece)
                    closed = any(isinstance(event, events.Close) for event in happened)
        actual += _input_lines(step, feeds)
        actual += _render(happened, "S" if feeds == "C" else "C")
        if number == len(steps) - 1 and _logs_in(step):
            trailing = machine.trailing_data()
            assert trailing == (TRAILING if mode == TRAIL and held else b""), f"{mode}: trailing_data() is {trailing!r}"
    return actual


def _behind(steps: list[_Step], number: int, held: bool) -> bytes:
    """What may arrive together with the end of this turn."""
    step = steps[number]
    events_of_turn = {line.split()[1] for line in step.expected if line.startswith("+ ")}
    if events_of_turn & {"starttls", "close", "failed", "offers"} or ("attempt" in events_of_turn and not held):
        return b""
    for following in steps[number + 1 :]:
        if following.call is None:
            return following.data[:1] if len(following.data) > 1 else b""
        if not following.call.startswith(("refuse", "accept")):
            return b""
    return TRAILING if _logs_in(steps[-1]) else b""


def _logs_in(step: _Step) -> bool:
    return (step.call or "").startswith("accept") or any(line.startswith("+ ready") for line in step.expected)


def _call(machine: Any, call: str) -> Any:
    name, _, argument = call.partition(" ")
    match name:
        case "connect":
            return machine.connected(tls={"tls": True, "clear": False}[argument])
        case "tls":
            return machine.tls_started()
        case "timeout":
            return machine.timed_out()
        case "refuse":
            shown, _, pass_on = argument.partition(" ")
            return machine.refuse(Shown(shown), pass_on.encode() or None)
        case "accept":
            return machine.accept(events.BackendReady(argument.encode()))
    raise ValueError(f"no such call: {call}")


def _render(happened: list[Any], says: str) -> list[str]:
    shown: list[str] = []
    sent = b""
    for event in [*happened, None]:
        if isinstance(event, events.Send):
            sent += event.data
            continue
        if sent:
            shown += _lines(sent, says)
            sent = b""
        if event is not None:
            shown.append("+ " + _event(event))
    return shown


def _event(event: Any) -> str:
    match event:
        case events.StartTls():
            return "starttls"
        case events.Attempt(login_name, authzid, credential, mechanism):
            assert isinstance(credential, AppPassword)
            secret = credential.secret.reveal()
            return f"attempt {login_name=} {authzid=} {secret=} {mechanism=}"
        case events.AttemptRefused(shown, mechanism):
            return f"refused {shown} {mechanism}"
        case events.Close():
            return "close"
        case events.BackendReady(reply):
            return f"ready {reply.decode()}"
        case events.BackendRefused(fault, _, pass_on):
            return f"failed {fault}" + (f" {pass_on.decode()}" if pass_on is not None else "")
        case events.Offers(capabilities):
            return "offers " + " ".join(sorted(capabilities))
    raise TypeError(f"a machine answered {event!r}")
