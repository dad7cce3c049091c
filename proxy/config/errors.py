"""What is wrong with a configuration, said all at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Mark(NamedTuple):
    """A place in the file, counted from 1."""

    line: int
    column: int


START = Mark(1, 1)


@dataclass(frozen=True, slots=True)
class ConfigError:
    """One mistake. `message` says what is wrong and what to write; it never repeats a value (it might be a secret)."""

    file: Path
    line: int
    column: int
    path: str
    """Dotted, list items by number from 0: `fronts[0].listen`. Empty: the file as a whole."""
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {f'{self.path}: ' if self.path else ''}{self.message}"


def by_place(error: ConfigError) -> tuple[int, int, str, str]:
    """Sort key: file order."""
    return error.line, error.column, error.path, error.message


class ConfigErrors(Exception):
    """The configuration cannot be used; exit status 78. `str` gives one line per error, in file order."""

    def __init__(self, errors: list[ConfigError]) -> None:
        # A section that several readers look into is wrong once.
        self.errors = sorted(set(errors), key=by_place)
        super().__init__("\n".join(str(error) for error in self.errors))


@dataclass(slots=True)
class Problems:
    """Collects errors and warnings while one file is read."""

    file: Path
    errors: list[ConfigError] = field(default_factory=list)
    warnings: list[ConfigError] = field(default_factory=list)

    def add(self, mark: Mark, path: str, message: str) -> None:
        self.errors.append(ConfigError(self.file, mark.line, mark.column, path, message))

    def warn(self, mark: Mark, path: str, message: str) -> None:
        """Worth a line at `check` and at every start, but not in the way."""
        self.warnings.append(ConfigError(self.file, mark.line, mark.column, path, message))
