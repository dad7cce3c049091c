"""The CSV of `accounts import`, checked as a whole before anything is written. Pure.

    address        the account's address; required
    kind           person (default), shared, service
    name           display name
    aliases        further login names, separated by spaces
    dn             the DN that people bind with in LDAP, where no `account_dn` makes it: a login name, too
    backend_name   what the backend calls it, where the configured template does not fit
    owner          of a service account: the person who answers for it
    members        of a shared mailbox: the persons who may mint for it, separated by spaces
    admin          yes or no (default)

The first line names the columns, in any order. Passwords are no column: files like this lie around.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from proxy.admin import values
from proxy.admin.accounts import Wanted, checked
from proxy.admin.backend_names import called
from proxy.admin.desk import Desk, Invalid
from proxy.domain.login_names import canonical
from proxy.domain.model import AccountKind
from proxy.store.accounts import NewAccount

COLUMNS = ("address", "kind", "name", "aliases", "dn", "backend_name", "owner", "members", "admin")
MAX_ERRORS = 200
"""Listed; more are counted."""
_YES_NO = {"": False, "no": False, "false": False, "0": False, "yes": True, "true": True, "1": True}


class Problem(NamedTuple):
    """One thing wrong with a file; `column` is the CSV column's name, empty for the line as a whole."""

    line: int
    column: str
    message: str


@dataclass(frozen=True, slots=True)
class Row:
    """One account to add."""

    line: int
    new: NewAccount
    owner: str | None
    """Canonical address or alias."""
    members: tuple[str, ...]
    called: set[str]
    """What backends will call it (backend_names.py)."""
    dn: str | None
    """That of its aliases which is from the column dn."""

    def login_names(self) -> list[tuple[str, str]]:
        """All of them, each behind the column that it is from."""
        aliases = [("dn" if alias == self.dn else "aliases", alias) for alias in self.new.aliases]
        return [("address", self.new.address), *aliases]


@dataclass(slots=True)
class Known:
    """What the store holds already."""

    addresses: dict[str, AccountKind]
    login_names: dict[str, str]
    """Login name -> address of its account."""
    called: dict[str, str]
    """What backends call an account -> its address."""


class FileErrors(Invalid):
    """The file cannot be imported; nothing was written. `lines` are `file:line: column: message`."""

    code = "invalid_file"

    def __init__(self, name: str, problems: list[Problem]) -> None:
        ordered = sorted(problems)
        self.lines = [f"{name}:{p.line}: {f'{p.column}: ' if p.column else ''}{p.message}" for p in ordered]
        if len(ordered) > MAX_ERRORS:
            self.lines[MAX_ERRORS:] = [f"{name}: and {len(ordered) - MAX_ERRORS} more"]
        super().__init__("\n".join(self.lines))


def read(desk: Desk, name: str, text: str, known: Known) -> tuple[list[Row], int]:
    """The accounts to add, and how many rows are there already. FileErrors lists everything wrong."""
    problems: list[Problem] = []
    rows: list[Row] = []
    there = 0
    names: dict[str, int] = {}
    at_backends: dict[str, int] = {}
    for line, fields in _records(text, problems):
        row = _row(desk, line, fields, problems)
        if row is None:
            continue
        if row.new.address in known.addresses:
            there += 1
        else:
            _refuse_taken(row, known, problems)
            rows.append(row)
        _refuse_twice(row, names, at_backends, problems)
    _check_people(rows, known, problems)
    if problems:
        raise FileErrors(name, problems)
    return rows, there


def _records(text: str, problems: list[Problem]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line and fields of each record behind the header; empty lines are nothing."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    header: list[str] | None = None
    start = 1
    try:
        for cells in reader:
            line, start = start, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip().lower() for cell in cells]
                if not _header_is_right(header, line, problems):
                    return
            elif len(cells) > len(header):
                problems.append(Problem(line, "", f"has {len(cells)} fields, the header has {len(header)}"))
            else:
                yield line, {column: cell.strip() for column, cell in zip(header, cells, strict=False)}
    except csv.Error as error:
        problems.append(Problem(reader.line_num, "", f"is not CSV: {error}"))
    if header is None and not problems:
        problems.append(Problem(1, "", f"is empty; the first line names the columns: {','.join(COLUMNS)}"))


def _header_is_right(header: list[str], line: int, problems: list[Problem]) -> bool:
    before = len(problems)
    for column in dict.fromkeys(header):
        if column not in COLUMNS:
            problems.append(Problem(line, column, f"is no column; columns are {', '.join(COLUMNS)}"))
        elif header.count(column) > 1:
            problems.append(Problem(line, column, "is there twice"))
    if "address" not in header:
        problems.append(Problem(line, "address", "this column is required; the first line names the columns"))
    return len(problems) == before


def _row(desk: Desk, line: int, fields: dict[str, str], problems: list[Problem]) -> Row | None:
    """One record, each column checked for itself so that all of its errors show."""
    before = len(problems)
    config = desk.config

    def check(column: str, wanted: Wanted) -> None:
        try:
            checked(desk, wanted)
        except Invalid as error:
            problems.append(Problem(line, column, str(error)))

    address = fields.get("address", "")
    kind = fields.get("kind", "").lower() or AccountKind.PERSON.value
    admin = _YES_NO.get(fields.get("admin", "").lower())
    if admin is None:
        problems.append(Problem(line, "admin", "write yes or no"))
    try:
        values.address(address, config.default_domain, config.domains)
    except Invalid as error:
        problems.append(Problem(line, "address", str(error) if address else "is missing"))
        return None
    if kind not in list(AccountKind):
        problems.append(Problem(line, "kind", f"{kind!r} is no kind of account; kinds are {', '.join(AccountKind)}"))
        return None
    aliases = tuple(fields.get("aliases", "").split())
    dn = fields.get("dn", "")
    members = _names(desk, line, "members", fields.get("members", "").split(), problems)
    owner = _names(desk, line, "owner", [fields["owner"]] if fields.get("owner") else [], problems)
    for alias in aliases:
        check("aliases", Wanted(address, aliases=(alias,)))
    if dn and "=" not in dn:
        problems.append(Problem(line, "dn", f"{dn!r} is no DN; write CN=…,OU=…,DC=…"))
    elif dn:
        check("dn", Wanted(address, aliases=(dn,)))
    check("name", Wanted(address, name=fields.get("name") or None))
    check("backend_name", Wanted(address, backend_name=fields.get("backend_name") or None))
    if len(problems) > before:
        return None
    wanted = Wanted(
        address,
        kind,
        (*aliases, dn) if dn else aliases,
        backend_name=fields.get("backend_name") or None,
        name=fields.get("name") or None,
        owner=owner[0] if owner else None,
        members=members,
        admin=bool(admin),
    )
    try:
        new = checked(desk, wanted)
        at_backends = called(config, new.address, new.backend_name)
        return Row(line, new, wanted.owner, members, at_backends, canonical(dn, "") if dn else None)
    except Invalid as error:
        problems.append(Problem(line, "kind", str(error)))
        return None


def _names(desk: Desk, line: int, column: str, raw: list[str], problems: list[Problem]) -> tuple[str, ...]:
    found = []
    for name in raw:
        spelled = canonical(name, desk.config.default_domain)
        if spelled is None:
            problems.append(Problem(line, column, f"{name!r} cannot be a login name"))
        else:
            found.append(spelled)
    return tuple(found)


def _refuse_taken(row: Row, known: Known, problems: list[Problem]) -> None:
    for column, name in row.login_names():
        if name in known.login_names:
            problems.append(Problem(row.line, column, f"{name!r} leads to {known.login_names[name]} already"))
    for name in row.called & known.called.keys():
        problems.append(
            Problem(row.line, "backend_name", f"{name!r} is what backends call {known.called[name]} already")
        )


def _refuse_twice(row: Row, names: dict[str, int], at_backends: dict[str, int], problems: list[Problem]) -> None:
    for column, name in row.login_names():
        if (first := names.setdefault(name, row.line)) != row.line:
            problems.append(Problem(row.line, column, f"{name!r} is in line {first} already"))
    for name in row.called:
        if (first := at_backends.setdefault(name, row.line)) != row.line:
            problems.append(Problem(row.line, "backend_name", f"{name!r} is what backends call line {first} already"))


def _check_people(rows: list[Row], known: Known, problems: list[Problem]) -> None:
    """Owners and members must be persons, of the file or of the store."""
    kinds = {name: known.addresses[address] for name, address in known.login_names.items()}
    for row in rows:
        kinds.update(dict.fromkeys((row.new.address, *row.new.aliases), row.new.kind))
    for row in rows:
        people = [("members", member) for member in row.members]
        if row.owner is not None:
            people.append(("owner", row.owner))
        for column, name in people:
            if name not in kinds:
                problems.append(Problem(row.line, column, f"there is no account {name!r}, here or in the store"))
            elif kinds[name] is not AccountKind.PERSON:
                problems.append(Problem(row.line, column, f"{name!r} is no person"))
