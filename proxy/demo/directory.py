"""The demo's directory in memory: who is in it, and what searching, comparing and modifying mean there.

Values match letter case and runs of spaces aside, which suits every attribute here. BER comes in as the wire grammar
cuts it, so BerError leaves these functions, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from proxy.domain import dn
from proxy.wire.ldap import grammar
from proxy.wire.ldap.grammar import BerError, elements, expect

BASE = "dc=example,dc=org"
PEOPLE = f"ou=people,{BASE}"
SERVICES = f"ou=services,{BASE}"
SERVICE = f"cn=sidegate,{SERVICES}"

PROTOCOL_ERROR = 2
SIZE_LIMIT_EXCEEDED = 4
COMPARE_FALSE = 5
COMPARE_TRUE = 6
ADMIN_LIMIT_EXCEEDED = 11
NO_SUCH_ATTRIBUTE = 16
INVALID_SYNTAX = 21
VALUE_EXISTS = 20
NO_SUCH_OBJECT = 32
INVALID_DN = 34
INSUFFICIENT_ACCESS = 50
UNWILLING = 53

MAX_DEPTH = 20
"""Of a filter."""
MAX_VALUES = 10
"""Of an attribute that people may write."""
WRITABLE = "telephonenumber"

_AND, _OR, _NOT, _EQUALS, _SUBSTRINGS, _AT_LEAST, _AT_MOST, _PRESENT, _APPROXIMATELY, _EXTENSIBLE = (
    *(0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6),
    *(0x87, 0xA8, 0xA9),
)
_INITIAL, _ANY, _FINAL = 0x80, 0x81, 0x82


class Refused(Exception):
    """A result code other than success, and what is said with it."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(slots=True)
class Entry:
    """Attribute types are kept as they are shown; `_key` of one finds it."""

    name: str
    attributes: dict[str, tuple[str, list[bytes]]]
    operational: bool = False
    """Whether all but objectClass is shown to those only who ask for it by name, or for `+`."""

    def values(self, key: str) -> list[bytes]:
        return self.attributes.get(key, ("", []))[1]


Test = Callable[[Entry], bool | None]
"""Whether an entry matches a filter; None where RFC 4511 says Undefined, of which the negation is as little."""


def person(address: str) -> str:
    """The DN of a demo account."""
    return f"uid={dn.escaped(address.partition('@')[0])},{PEOPLE}"


def _key(description: bytes) -> str:
    return description.decode("utf-8", "replace").lower()


def _entry(name: str, *, operational: bool = False, **attributes: Sequence[str]) -> Entry:
    kept = {kind.lower(): (kind, [value.encode() for value in values]) for kind, values in attributes.items()}
    return Entry(name, kept, operational)


class Directory:
    """The tree above one entry per account. Nothing in it is secret: the passwords are elsewhere."""

    def __init__(self, addresses: Collection[str]) -> None:
        people = [_person(number, address) for number, address in enumerate(addresses)]
        entries = [
            _entry(BASE, objectClass=["top", "dcObject", "organization"], dc=["example"], o=["sidegate demo"]),
            _entry(PEOPLE, objectClass=["top", "organizationalUnit"], ou=["people"]),
            _entry(SERVICES, objectClass=["top", "organizationalUnit"], ou=["services"]),
            _entry(SERVICE, objectClass=["top", "applicationProcess"], cn=["sidegate"]),
            *people,
        ]
        self._entries: Mapping[dn.Dn, Entry] = {_parsed(entry.name): entry for entry in entries}
        self._people = frozenset(_parsed(entry.name) for entry in people)
        self._types = frozenset(kind for entry in entries for kind in entry.attributes)
        self._root = _entry(
            "",
            operational=True,
            objectClass=["top"],
            namingContexts=[BASE],
            supportedLDAPVersion=["3"],
            supportedControl=[grammar.PROXIED_AUTHORIZATION.decode()],
            supportedExtension=[grammar.WHO_AM_I.decode()],
            vendorName=["sidegate demo"],
        )

    def account(self, name: str) -> Entry | None:
        """The person of this DN."""
        parsed = dn.parse(name)
        return self._entries[parsed] if isinstance(parsed, tuple) and parsed in self._people else None

    def find(self, name: bytes) -> Entry:
        entry = self._entries.get(_parsed(name.decode("utf-8", "replace")))
        if entry is None:
            raise Refused(NO_SUCH_OBJECT)
        return entry

    def search(self, base: bytes, scope: int, matches: Test) -> list[Entry]:
        """Entries that match, from the base on."""
        if not base and scope == 0:
            return [self._root] if matches(self._root) else []
        self.find(base)
        above = _parsed(base.decode())
        depths = {0: (0,), 1: (1,), 2: range(10)}.get(scope)
        if depths is None:
            raise Refused(PROTOCOL_ERROR, "unknown scope")
        return [
            entry
            for name, entry in self._entries.items()
            if name[-len(above) :] == above and len(name) - len(above) in depths and matches(entry)
        ]

    def filter(self, raw: bytes, found: tuple[int, int, int], depth: int = 1) -> Test:
        """The filter that is this element of `raw`."""
        tag, start, end = found
        if depth > MAX_DEPTH:
            raise Refused(UNWILLING, "the filter is nested too deep")
        if tag in (_AND, _OR):
            parts = [self.filter(raw, part, depth + 1) for part in elements(raw, start, end)]
            return _all_of(parts) if tag == _AND else _negated(_all_of([_negated(part) for part in parts]))
        if tag == _NOT:
            return _negated(self.filter(raw, grammar.element(raw, start, end), depth + 1))
        if tag == _PRESENT:
            return self._known(_key(raw[start:end]), lambda _: True)
        if tag in (_EQUALS, _APPROXIMATELY):
            return self._compares(*_assertion(raw, start, end))
        if tag == _SUBSTRINGS:
            return self._contains(raw, start, end)
        if tag in (_AT_LEAST, _AT_MOST, _EXTENSIBLE):
            return lambda _: None
        raise BerError("unknown filter")

    def _known(self, kind: str, holds: Callable[[str], bool]) -> Test:
        def test(entry: Entry) -> bool | None:
            if kind not in self._types and kind not in entry.attributes:
                return None
            return any(holds(_normal(kind, value)) for value in entry.values(kind))

        return test

    def _compares(self, kind: str, asserted: bytes) -> Test:
        wanted = _normal(kind, asserted)
        return self._known(kind, lambda value: value == wanted)

    def _contains(self, raw: bytes, start: int, end: int) -> Test:
        name, at = expect(raw, start, end, grammar.OCTETS)
        kind = _key(raw[name:at])
        parts = [(tag, _normal(kind, raw[one:stop])) for tag, one, stop in elements(raw, *_inside(raw, at, end))]

        def holds(value: str) -> bool:
            at, limit = 0, len(value)
            for tag, part in parts:
                if tag == _INITIAL:
                    found = 0 if value.startswith(part) else -1
                elif tag == _FINAL:
                    found = limit - len(part) if value.endswith(part) else -1
                else:
                    found = value.find(part, at)
                if found < at:
                    return False
                at = found + len(part)
            return True

        if not parts or any(tag not in (_INITIAL, _ANY, _FINAL) for tag, _ in parts):
            raise BerError("unknown filter")
        return self._known(kind, holds)

    def compare(self, raw: bytes, start: int, end: int) -> int:
        """The result of a CompareRequest."""
        name, at = expect(raw, start, end, grammar.OCTETS)
        entry = self.find(raw[name:at])
        kind, asserted = _assertion(raw, *_inside(raw, at, end))
        if not entry.values(kind):
            raise Refused(NO_SUCH_ATTRIBUTE)
        return COMPARE_TRUE if self._compares(kind, asserted)(entry) else COMPARE_FALSE

    def modify(self, raw: bytes, start: int, end: int, who: Entry | None) -> None:
        """A ModifyRequest by `who`: all of its changes, or none."""
        name, at = expect(raw, start, end, grammar.OCTETS)
        entry = self.find(raw[name:at])
        kept = list(entry.values(WRITABLE))
        for tag, one, stop in elements(raw, *_inside(raw, at, end)):
            if tag != grammar.SEQUENCE:
                raise BerError("not a list of changes")
            how, at = expect(raw, one, stop, grammar.ENUMERATED)
            change = int.from_bytes(raw[how:at], "big")
            first, last = _inside(raw, at, stop)
            kind, at = expect(raw, first, last, grammar.OCTETS)
            values = [raw[a:b] for _, a, b in elements(raw, *expect(raw, at, last, grammar.SET))]
            if entry is not who or _key(raw[kind:at]) != WRITABLE:
                raise Refused(INSUFFICIENT_ACCESS, "here you may write your own telephoneNumber only")
            kept = _changed(kept, change, values)
        if kept:
            entry.attributes[WRITABLE] = ("telephoneNumber", kept)
        else:
            entry.attributes.pop(WRITABLE, None)


def shown(entry: Entry, wanted: Collection[bytes]) -> Iterator[tuple[bytes, list[bytes]]]:
    """The attributes of an entry that a search asks for (RFC 4511 section 4.5.1.8)."""
    asked = {_key(one) for one in wanted}
    for key, (kind, values) in entry.attributes.items():
        every = "+" if entry.operational and key != "objectclass" else "*"
        if key in asked or every in asked or (every == "*" and not asked):
            yield kind.encode(), values


def _person(number: int, address: str) -> Entry:
    uid = address.partition("@")[0]
    return _entry(
        person(address),
        objectClass=["top", "person", "organizationalPerson", "inetOrgPerson"],
        uid=[uid],
        cn=[f"{uid.title()} Example"],
        sn=["Example"],
        mail=[address],
        telephoneNumber=[f"+1 555 01{number:02}"],
    )


def _parsed(name: str) -> dn.Dn:
    parsed = dn.parse(name)
    if parsed is None:
        raise Refused(INVALID_DN)
    if not isinstance(parsed, tuple):
        raise Refused(NO_SUCH_OBJECT)
    return parsed


def _normal(kind: str, value: bytes) -> str:
    text = value.decode("utf-8", "replace").casefold()
    if kind == WRITABLE:
        return text.replace(" ", "").replace("-", "")
    return " ".join(text.split())


def _all_of(parts: Sequence[Test]) -> Test:
    def test(entry: Entry) -> bool | None:
        results = [part(entry) for part in parts]
        if False in results:
            return False
        return None if None in results else True

    return test


def _negated(part: Test) -> Test:
    def test(entry: Entry) -> bool | None:
        result = part(entry)
        return None if result is None else not result

    return test


def _inside(raw: bytes, at: int, end: int) -> tuple[int, int]:
    return expect(raw, at, end, grammar.SEQUENCE)


def _assertion(raw: bytes, start: int, end: int) -> tuple[str, bytes]:
    """Type and value of an AttributeValueAssertion."""
    name, at = expect(raw, start, end, grammar.OCTETS)
    value, stop = expect(raw, at, end, grammar.OCTETS)
    return _key(raw[name:at]), raw[value:stop]


def _changed(kept: list[bytes], change: int, values: list[bytes]) -> list[bytes]:
    """Values after one change: add, delete (all, if it names none) or replace."""
    if any(not value.isascii() or not value.decode("ascii").isprintable() or not value.strip() for value in values):
        raise Refused(INVALID_SYNTAX)
    old = {_normal(WRITABLE, value) for value in kept}
    new = {_normal(WRITABLE, value) for value in values}
    if len(new) < len(values):
        raise Refused(VALUE_EXISTS)
    if change == 1:
        if not new <= old or not old:
            raise Refused(NO_SUCH_ATTRIBUTE)
        return [value for value in kept if new and _normal(WRITABLE, value) not in new]
    if change == 0:
        if not values:
            raise Refused(PROTOCOL_ERROR, "nothing to add")
        if new & old:
            raise Refused(VALUE_EXISTS)
        values = [*kept, *values]
    elif change != 2:
        raise Refused(UNWILLING)
    if len(values) > MAX_VALUES:
        raise Refused(ADMIN_LIMIT_EXCEEDED)
    return values
