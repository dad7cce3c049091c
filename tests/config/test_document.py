"""What is not plain YAML, and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.document import Mapping, Scalar, Sequence, parse
from proxy.config.errors import Problems


def problems_of(raw: bytes) -> list[str]:
    problems = Problems(Path("f"))
    parse(raw, problems)
    return [str(error) for error in problems.errors]


def test_nodes_know_where_they_stand_and_stay_text() -> None:
    problems = Problems(Path("f"))
    node = parse(b"a: 22:22\nb:\n  - no\n  - 'x'\n", problems)
    assert problems.errors == []
    assert isinstance(node, Mapping)
    mark, value = node.entries["a"]
    assert (mark, value) == ((1, 1), Scalar(value.mark, "22:22", plain=True))
    assert value.mark == (1, 4)
    items = node.entries["b"][1]
    assert isinstance(items, Sequence)
    assert [(item.text, item.plain, item.mark) for item in items.items if isinstance(item, Scalar)] == [
        ("no", True, (3, 5)),
        ("x", False, (4, 5)),
    ]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"a: [1\nb: 2\n", ["f:2:2: not valid YAML: expected ',' or ']', but got ':'"]),
        (b"a: b: c\n", ["f:1:5: not valid YAML: mapping values are not allowed here"]),
        (b"a: 1\n\tb: 2\n", ["f:2:1: not valid YAML: found character '\\t' that cannot start any token"]),
        (b'a: "x\n', ["f:2:1: not valid YAML: found unexpected end of stream"]),
        (b"a: 1\na: 2\n", ["f:2:1: a: stands twice; keep one (the first is in line 1)"]),
        (
            b"a: &x 1\nb: *x\n",
            [
                "f:1:4: a: anchors are not taken; remove it (or put a value that begins with & in quotes)",
                "f:2:4: b: aliases are not taken; write the value out (in quotes if it begins with *)",
            ],
        ),
        (
            b"a: !!python/object/apply:os.system ['true']\n",
            ["f:1:4: a: tags are not taken; remove it (or put a value that begins with ! in quotes)"],
        ),
        (b"a: !x!y 1\n", ["f:1:4: not valid YAML: found undefined tag handle something else"]),
        (b"{[a]: 1}\n", ["f:1:2: has a list or a mapping where a key belongs"]),
        (b"a: |\n  x\n  y\n", ["f:1:4: a: holds a control character or a line end; write it on one line"]),
        (b"a: 1\n---\nb: 2\n", ["f:2:1: begins a second document; keep one, and no further '---' line"]),
        (b"a: 1\nb: caf\xe9\n", ["f:2:7: is not UTF-8 from here on; save the file as UTF-8"]),
        (b"a: 1\nb: \x01\n", ["f:2:4: holds a character that YAML does not allow; remove it"]),
        (b'a: "\\Uffffffff"\n', [r"f:1:1: not valid YAML: a number in a \U escape or a % line is out of range"]),
        (b"a: " + b"[" * 40 + b"]" * 40, [f"f:1:20: a{'[0]' * 16}: is nested more than 16 deep"]),
        (b" " * 1048577, ["f:1:1: is longer than 1048576 bytes; this is not a configuration of sidegate"]),
    ],
)
def test_what_is_refused(raw: bytes, expected: list[str]) -> None:
    assert problems_of(raw) == expected


def test_a_bomb_of_aliases_is_never_expanded() -> None:
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    problems = problems_of(bomb.encode())
    assert len(problems) == 12 + 11 * 9


def test_an_unknown_key_that_does_not_look_like_one_is_not_repeated() -> None:
    assert problems_of(b"hunter2!: 1\nhunter2!: 2\n") == ["f:2:1: ?: stands twice; keep one (the first is in line 1)"]


def test_the_text_of_a_scalar_is_not_in_its_repr() -> None:
    assert "hunter2" not in repr(Scalar((1, 1), "hunter2", plain=True))  # type: ignore[arg-type]
