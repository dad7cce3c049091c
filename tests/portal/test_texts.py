"""Messages: every id that pages say is found, and each is there in every language, with the same values in it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from jinja2.ext import extract_from_ast

from proxy.portal import texts
from proxy.portal.templating import FOLDER, environment
from proxy.portal.texts import LANGUAGES, LOCALE, Texts, choose

PROXY = FOLDER.parents[1]
SAYING = {"say", "message", "_"}
TALLYING = {"count", "ngettext"}
"""Functions whose first arguments are ids."""


def in_templates() -> set[str | tuple[str, str]]:
    found: set[str | tuple[str, str]] = set()
    made = environment(Texts("en"))
    for path in FOLDER.glob("*.html"):
        tree = made.parse(path.read_text("utf-8"))
        for _, function, ids in extract_from_ast(tree, ("_", "gettext", "ngettext")):
            given = [one for one in (ids if isinstance(ids, tuple) else (ids,)) if one is not None]
            if function == "ngettext":
                found.add((given[0], given[1]))
            elif given:
                found.add(given[0])
    return found


def in_code() -> set[str | tuple[str, str]]:
    found: set[str | tuple[str, str]] = set()
    for folder in ("portal", "factors", "onboarding", "notices"):
        for path in (PROXY / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                name = ast.unparse(node.func).rpartition(".")[2]
                ids = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
                if name in SAYING and len(ids) == 1 and len(node.args) == 1:
                    found.add(ids[0])
                elif name in TALLYING and len(ids) == 2:
                    found.add((ids[0], ids[1]))
    return found


EVERY = in_templates() | in_code()


def values_in(text: str) -> set[str]:
    return set(re.findall(r"%\((\w+)\)s", text))


def test_ids_are_found() -> None:
    assert "Sign in" in in_templates()
    assert "The name or the password is not right. Check both and try again." in in_code()
    assert any(isinstance(one, tuple) for one in EVERY)


@pytest.mark.parametrize("language", sorted(set(LANGUAGES) - {"en"}))
def test_every_message_is_translated_with_the_same_values(language: str) -> None:
    there = texts.load()[language]
    missing = sorted(
        str(one)
        for one in EVERY
        if (one[0] not in there.plural if isinstance(one, tuple) else one not in there.singular)
    )
    assert missing == []
    for one in EVERY:
        if isinstance(one, tuple):
            assert values_in(one[1]) == values_in(there.plural[one[0]][1]), one
        else:
            assert values_in(one) == values_in(there.singular[one]), one
            assert there.singular[one] % dict.fromkeys(values_in(one), "x")


@pytest.mark.parametrize("language", sorted(set(LANGUAGES) - {"en"}))
def test_catalogues_hold_nothing_else_and_do_not_disagree(language: str) -> None:
    there = texts.load()[language]
    ids = {one[0] if isinstance(one, tuple) else one for one in EVERY}
    assert {*there.singular, *there.plural} - ids == set()
    said: dict[str, set[str]] = {}
    for path in (LOCALE / language).rglob("*.po"):
        for entry in texts.entries(path):
            said.setdefault(entry["msgid"], set()).add(entry.get("msgstr", ""))
    assert {text: ways for text, ways in said.items() if text and len(ways) > 1} == {}


def test_values_are_put_in() -> None:
    made = Texts("xx", {"Hello %(name)s": "Hallo %(name)s"}, {"%(num)s day": ("%(num)s Tag", "%(num)s Tage")})
    assert made.say("Hello %(name)s", name="alice") == "Hallo alice"
    assert made.say("not translated %(n)s%%", n=1) == "not translated 1%"
    assert [made.count("%(num)s day", "%(num)s days", n) for n in (0, 1, 2)] == ["0 Tage", "1 Tag", "2 Tage"]
    assert Texts("en").count("%(num)s day", "%(num)s days", 1) == "1 day"


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("es", "es"),
        ("ES-mx", "es"),
        ("de, es;q=0.8, en;q=0.5", "es"),
        ("es;q=0.2, en;q=0.9", "en"),
        ("en-GB,en;q=0.9,es;q=0.8", "en"),
        ("es;q=0, en;q=0.1", "en"),
        ("fr, *;q=0.5", "en"),
        ("es;q=9", "en"),
        (";;;,,,es;q=,es" * 3000, "en"),
    ],
)
def test_the_browser_says_which_language(accepted: str, language: str) -> None:
    assert choose(accepted) == language


@pytest.mark.parametrize("line", ['msgid "x', "nonsense", '"goes on from nothing"', 'msgstr[2] "x"'])
def test_a_broken_catalogue_names_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    folder = tmp_path / "es" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "broken.po").write_text(f"# a comment\n{line}\n")
    monkeypatch.setattr(texts, "LOCALE", tmp_path)
    with pytest.raises(ValueError, match=r"broken\.po:2: "):
        texts.load()
