"""YAML text -> nodes that know where they stand. The home of PyYAML's reading side.

Built on the parser's events, so nothing is ever constructed, resolved or expanded: no tags, no aliases, no
`yes` that becomes a bool, no `22:22` that becomes 1342. Each scalar stays the text that was written, and
whoever asks for it says what it should be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import yaml

from proxy.config.errors import START, Mark, Problems

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 16


@dataclass(frozen=True, slots=True)
class Scalar:
    mark: Mark
    text: str = field(repr=False)
    plain: bool
    """Written without quotes: may be a number, a yes/no or nothing at all."""

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True)
class Sequence:
    mark: Mark
    items: list[Node]


@dataclass(frozen=True, slots=True)
class Mapping:
    mark: Mark
    entries: dict[str, tuple[Mark, Node]]
    """Key -> where the key stands, and its value."""


Node = Scalar | Sequence | Mapping


class _Unreadable(Exception):
    """The document cannot be followed any further; the problem is already recorded."""


def parse(raw: bytes, problems: Problems) -> Node | None:
    """The one document in `raw`; None when there is none or it cannot be followed. Problems go to `problems`."""
    if len(raw) > MAX_BYTES:
        problems.add(START, "", f"is longer than {MAX_BYTES} bytes; this is not a configuration of sidegate")
        return None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        mark = Mark(before.count(b"\n") + 1, len(before.rpartition(b"\n")[2]) + 1)
        problems.add(mark, "", "is not UTF-8 from here on; save the file as UTF-8")
        return None
    try:
        return _Builder(text, problems).document()
    except _Unreadable:
        return None


class _Builder:
    def __init__(self, text: str, problems: Problems) -> None:
        self._problems = problems
        self._text = text
        self._events = self._follow()

    def document(self) -> Node | None:
        node: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent) and node is not None:
                self._stop(_mark(event.start_mark), "", "begins a second document; keep one, and no further '---' line")
            if isinstance(event, yaml.NodeEvent):
                node = self._node(event, "", 0)
        return node

    def _follow(self) -> Iterator[yaml.Event]:
        try:
            yield from yaml.parse(self._text, Loader=yaml.SafeLoader)
        except yaml.reader.ReaderError as error:
            before = self._text[: error.position]
            mark = Mark(before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1)
            self._stop(mark, "", "holds a character that YAML does not allow; remove it")
        except yaml.MarkedYAMLError as error:
            where = error.problem_mark or error.context_mark
            what = _QUOTED.sub(_discreet, error.problem or "it cannot be read")
            self._stop(_mark(where), "", f"not valid YAML: {what}")
        except (ValueError, OverflowError):
            self._stop(START, "", r"not valid YAML: a number in a \U escape or a % line is out of range")

    def _stop(self, mark: Mark, path: str, message: str) -> None:
        self._problems.add(mark, path, message)
        raise _Unreadable

    def _node(self, event: yaml.NodeEvent, path: str, depth: int) -> Node:
        mark = _mark(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            self._problems.add(mark, path, "aliases are not taken; write the value out (in quotes if it begins with *)")
            return Scalar(mark, "", plain=True)
        if event.anchor is not None:
            self._problems.add(
                mark, path, "anchors are not taken; remove it (or put a value that begins with & in quotes)"
            )
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._problems.add(
                mark, path, "tags are not taken; remove it (or put a value that begins with ! in quotes)"
            )
        if depth > MAX_DEPTH:
            self._stop(mark, path, f"is nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while isinstance(inner := next(self._events), yaml.NodeEvent):
                items.append(self._node(inner, f"{path}[{len(items)}]", depth + 1))
            return Sequence(mark, items)
        return self._mapping(mark, path, depth)

    def _scalar(self, event: yaml.ScalarEvent, path: str) -> Scalar:
        mark = _mark(event.start_mark)
        if not event.value.isprintable():
            self._problems.add(mark, path, "holds a control character or a line end; write it on one line")
        return Scalar(mark, event.value, plain=event.style is None)

    def _mapping(self, mark: Mark, path: str, depth: int) -> Mapping:
        entries: dict[str, tuple[Mark, Node]] = {}
        while isinstance(event := next(self._events), yaml.NodeEvent):
            where = _mark(event.start_mark)
            key = self._node(event, path, depth + 1)
            name = key.text if isinstance(key, Scalar) else ""
            if not isinstance(key, Scalar):
                self._problems.add(where, path, "has a list or a mapping where a key belongs")
            inner = join(path, name)
            following = next(self._events)
            assert isinstance(following, yaml.NodeEvent)  # a key always has a value event, if only an empty one
            value = self._node(following, inner, depth + 1)
            if name in entries:
                first = entries[name][0]
                self._problems.add(where, inner, f"stands twice; keep one (the first is in line {first.line})")
                continue
            entries[name] = (where, value)
        return Mapping(mark, entries)


_QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")


def _discreet(quoted: re.Match[str]) -> str:
    """What PyYAML quotes in a message: a character or a token's kind, but else maybe a piece of a bare secret."""
    inner = quoted[0][1:-1]
    return quoted[0] if len(inner) <= 2 or (inner[0] == "<" and inner[-1] == ">") else "something else"


def join(path: str, key: str) -> str:
    """The path of `key` below `path`. What does not look like a key is not repeated: it may be a misplaced secret."""
    shown = key if re.fullmatch(r"[a-z]+(_[a-z]+)*", key) else "?"
    return f"{path}.{shown}" if path else shown


class _Place(Protocol):
    """PyYAML's mark, of either of its two implementations; counted from 0."""

    line: int
    column: int


def _mark(mark: _Place | None) -> Mark:
    return START if mark is None else Mark(mark.line + 1, mark.column + 1)
