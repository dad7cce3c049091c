"""What pages say, in the reader's language.

English is in the templates and the code, as the ids of messages; every other language is gettext catalogues,
locale/LANGUAGE/LC_MESSAGES/*.po, read when the process starts. Values go in by name, `%(account)s`, and a percent sign
is doubled. tests/portal/test_texts.py finds every id, and holds that each is translated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from proxy.domain.messages import message

__all__ = ["DEFAULT", "LANGUAGES", "Texts", "choose", "entries", "load", "message"]

LOCALE = Path(__file__).parent / "locale"
DEFAULT = "en"
LANGUAGES = {"en": "English", "es": "Español"}
"""By their code; the name is in the language itself."""

_ENTRY = re.compile(r'^(msgid|msgid_plural|msgstr|msgstr\[[01]\]) (".*")$')
_RANGE = re.compile(r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9]{1,8})*\s*(?:;\s*q=([01](?:\.[0-9]{0,3})?)\s*)?", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """One language."""

    language: str
    singular: dict[str, str] = field(default_factory=dict)
    plural: dict[str, tuple[str, str]] = field(default_factory=dict)

    def say(self, text: str, **values: object) -> str:
        """The message with this id; values are put in as they are (templates escape)."""
        return self.translate(text) % values

    def count(self, one: str, many: str, number: int, **values: object) -> str:
        """Either message; both may hold %(num)s."""
        return self.form(one, many, number) % {"num": number, **values}

    def translate(self, text: str) -> str:
        """The message, values not put in."""
        return self.singular.get(text, text)

    def form(self, one: str, many: str, number: int) -> str:
        """Either message, values not put in. English and Spanish have the same two forms."""
        return self.plural.get(one, (one, many))[number != 1]


def load() -> dict[str, Texts]:
    """Every language by its code. ValueError names the line of a catalogue that cannot be read."""
    return {code: Texts(code) if code == DEFAULT else _read(code) for code in LANGUAGES}


def choose(accepted: str) -> str:
    """The best language that an Accept-Language header asks for (RFC 9110 section 12.5.4); DEFAULT if none is."""
    best, weight = DEFAULT, 0.0
    for part in accepted[:1000].split(","):
        match = _RANGE.fullmatch(part)
        if match is None or match[1].lower() not in LANGUAGES:
            continue
        quality = float(match[2] or 1)
        if quality > weight:
            best, weight = match[1].lower(), quality
    return best


def _read(language: str) -> Texts:
    read = Texts(language, {}, {})
    for path in sorted((LOCALE / language / "LC_MESSAGES").glob("*.po")):
        for entry in entries(path):
            if "msgid_plural" in entry:
                read.plural[entry["msgid"]] = (entry["msgstr[0]"], entry["msgstr[1]"])
            elif entry["msgid"]:
                read.singular[entry["msgid"]] = entry["msgstr"]
    return read


def entries(path: Path) -> Iterator[dict[str, str]]:
    """Of a .po file: the part of the format that msgmerge writes, without contexts."""
    entry: dict[str, str] = {}
    at = ""
    for number, line in enumerate((*path.read_text("utf-8").splitlines(), ""), 1):
        if line.startswith("#"):
            continue
        if not line.strip():
            if entry:
                yield entry
            entry = {}
            continue
        match = _ENTRY.match(line)
        try:
            if match is not None:
                at = match[1]
                entry[at] = json.loads(match[2])
            else:
                entry[at] += json.loads(line)
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path}:{number}: not a line of a message catalogue") from None
