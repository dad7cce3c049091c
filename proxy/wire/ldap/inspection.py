"""What a bound client may not ask, because it would make it somebody else, or test or change an account password.

Every request is checked to its last byte. A backend that reads on where an element's contents end, and not where the
element says it ends (OpenLDAP's liblber does), would otherwise find another request than we looked at: a change hidden
behind another, or a value that swallows the control that makes the request the account's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from proxy.wire.ldap import grammar, replies
from proxy.wire.ldap.grammar import BerError, Pdu, element, expect

MAX_DEPTH = 100
"""Filters within filters (DESIGN section 8)."""
MAX_PARTS = 1024
"""Parts of a filter. These bounds keep a request below 3 ms, measured; 5 ms are promised."""
MAX_CHANGES = 512
"""Changes of a modify, or attributes of an add."""
MAX_VALUES = 8 * 1024
"""Values of a change, or attributes asked for; one with a long form of length counts as several."""
MAX_RDN = 1024
MAX_DESCRIPTION = 256

IDENTITIES = frozenset((grammar.PROXIED_AUTHORIZATION, grammar.PROXIED_AUTHORIZATION_V1))
_ASSERTION = b"1.3.6.1.1.12"
"""RFC 4528: a filter that may be on passwords."""
_MATCHED_VALUES = b"1.2.826.0.1.3344810.2.3"
"""RFC 3876: several."""
PASSED_EXTENSIONS = frozenset((grammar.WHO_AM_I, grammar.CANCEL))
"""Others could verify or change a password, or wrap requests that nobody inspects."""
GUARDED = frozenset(
    b"userpassword 2.5.4.35 authpassword 1.3.6.1.4.1.4203.1.3.4 unicodepwd 1.2.840.113556.1.4.90"
    b" dbcspwd 1.2.840.113556.1.4.55 ntpwdhistory 1.2.840.113556.1.4.94 lmpwdhistory 1.2.840.113556.1.4.160"
    b" supplementalcredentials 1.2.840.113556.1.4.125"
    b" sambantpassword 1.3.6.1.4.1.7165.2.1.25 sambalmpassword 1.3.6.1.4.1.7165.2.1.24"
    b" sambapasswordhistory 1.3.6.1.4.1.7165.2.1.54 krbprincipalkey 2.16.840.1.113719.1.301.4.39.1"
    b" pwdhistory 1.3.6.1.4.1.42.2.27.8.1.20 userpkcs12 2.16.840.1.113730.3.1.216 olcrootpw"
    b" authzto authzfrom saslauthzto saslauthzfrom 1.3.6.1.4.1.4203.666.1.8 1.3.6.1.4.1.4203.666.1.9"
    # Active Directory (MS-ADA1 to 3)
    b" currentvalue 1.2.840.113556.1.4.27 priorvalue 1.2.840.113556.1.4.100 peklist 1.2.840.113556.1.4.865"
    b" initialauthincoming 1.2.840.113556.1.4.539 initialauthoutgoing 1.2.840.113556.1.4.540"
    b" trustauthincoming 1.2.840.113556.1.4.129 trustauthoutgoing 1.2.840.113556.1.4.135"
    b" msds-executescriptpassword 1.2.840.113556.1.4.1783 msds-managedpassword 1.2.840.113556.1.4.2196"
    b" mskds-rootkeydata 1.2.840.113556.1.4.2175 unixuserpassword 1.2.840.113556.1.4.1910 mssfu30password"
    b" ms-mcs-admpwd 1.2.840.113556.1.8000.2554.50051.45980.28112.18903.35903.6685103.1224907.2.1"
    b" mslaps-password 1.2.840.113556.1.6.44.1.2 mslaps-encryptedpassword 1.2.840.113556.1.6.44.1.3"
    b" mslaps-encryptedpasswordhistory 1.2.840.113556.1.6.44.1.4"
    b" mslaps-encrypteddsrmpassword 1.2.840.113556.1.6.44.1.5"
    b" mslaps-encrypteddsrmpasswordhistory 1.2.840.113556.1.6.44.1.6"
    b" msfve-recoverypassword 1.2.840.113556.1.4.1964 msfve-keypackage 1.2.840.113556.1.4.1999"
    b" mstpm-ownerinformation 1.2.840.113556.1.4.1966 mspkiaccountcredentials 1.2.840.113556.1.4.1894"
    b" mspkidpapimasterkeys 1.2.840.113556.1.4.1893 mspki-credentialroamingtokens 1.2.840.113556.1.4.2050"
    b" msds-keycredentiallink 1.2.840.113556.1.4.2328 altsecurityidentities 1.2.840.113556.1.4.867"
    b" msds-allowedtoactonbehalfofotheridentity 1.2.840.113556.1.4.2182"
    b" msds-allowedtodelegateto 1.2.840.113556.1.4.1787".split()
)
"""Attributes that hold a password or a key, or who may speak for whom: writing them would outlive every revoke."""
_NAME = re.compile(rb"[a-z][a-z0-9_-]*|(?:oid\.)?(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*")
_SEPARATOR = re.compile(rb"[,+;]")
_AND, _OR, _NOT = 0xA0, 0xA1, 0xA2
_SUBSTRINGS, _PRESENT, _EXTENSIBLE = 0xA4, 0x87, 0xA9
_COMPARISONS = frozenset((0xA3, 0xA5, 0xA6, 0xA8))
_INITIAL, _FINAL = 0x80, 0x82
_RULE, _TYPE, _VALUE_MATCHED, _DN_ATTRIBUTES = 0x81, 0x82, 0x83, 0x84
_BEFORE_FILTER = (
    *(grammar.OCTETS, grammar.ENUMERATED, grammar.ENUMERATED),
    *(grammar.INTEGER, grammar.INTEGER, grammar.BOOLEAN),
)
"""baseObject, scope, derefAliases, sizeLimit, timeLimit, typesOnly."""
_VALUE = (grammar.OCTETS,)
_NEW_SUPERIOR = 0x80
_EXTENDED_VALUE = 0x81


class _Guarded(Exception):
    """It names a guarded attribute."""


class _TooLarge(Exception):
    """Looking at all of it would take too long."""


class _Misshapen(Exception):
    """A filter that RFC 4511 section 4.5.1 does not have, although its elements are whole.

    OpenLDAP takes it for undefined and goes on reading where it gave up: behind an empty NOT the attribute list is a
    filter and the controls are the attribute list, so that a search would be done as the service itself.
    """


def refusal(pdu: Pdu) -> tuple[int, str] | None:
    """Why this request is not passed on; None if it is. Raises BerError for one that is malformed."""
    try:
        return _controls(pdu) or _operation(pdu)
    except _Guarded:
        return replies.NO_PASSWORDS
    except _TooLarge:
        return replies.TOO_LARGE
    except _Misshapen:
        return replies.NO_FILTER


def _controls(pdu: Pdu) -> tuple[int, str] | None:
    for name, critical, value in grammar.controls(pdu):
        if name in IDENTITIES:
            return replies.NO_IDENTITY if critical else replies.NO_IDENTITY_UNCRITICAL
        if name == _ASSERTION:
            _filters(value, 0, len(value))
        elif name == _MATCHED_VALUES:
            start, end = _last(value, 0, len(value), grammar.SEQUENCE)
            _filters(value, start, end)
    return None


def _operation(pdu: Pdu) -> tuple[int, str] | None:
    raw, start, end = pdu.raw, pdu.start, pdu.end
    match pdu.operation:
        case grammar.SEARCH:
            _search(raw, start, end)
        case grammar.MODIFY:
            _modify(raw, start, end)
        case grammar.ADD:
            _add(raw, start, end)
        case grammar.COMPARE:
            _compare(raw, start, end)
        case grammar.MODIFY_DN:
            _modify_dn(raw, start, end)
        case grammar.EXTENDED_REQUEST:
            return _extended(pdu)
        case grammar.ABANDON:
            if not 0 < end - start <= 5:
                raise BerError("number out of range")
    return None


def _extended(pdu: Pdu) -> tuple[int, str] | None:
    name, at = expect(pdu.raw, pdu.start, pdu.end, grammar.REQUEST_NAME)
    if at < pdu.end:
        _last(pdu.raw, at, pdu.end, _EXTENDED_VALUE)
    kind = pdu.raw[name:at]
    if kind in PASSED_EXTENSIONS:
        return None
    if kind == grammar.START_TLS:
        return replies.TLS_ACTIVE
    return replies.NO_PASSWORDS if kind == grammar.PASSWORD_MODIFY else replies.NO_EXTENSION


def _last(raw: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """As grammar.expect, of an element with nothing behind it."""
    start, stop = expect(raw, at, end, tag)
    if stop != end:
        raise BerError("bytes behind an element")
    return start, stop


def _strings(raw: bytes, at: int, end: int, most: int) -> int:
    """Octet strings that together reach up to `end`; how many more there may be. Fast: groups have many members."""
    while at < end:
        if end - at < 2 or raw[at] != grammar.OCTETS:
            raise BerError("unexpected element")
        size = raw[at + 1]
        at += 2
        if size >= 0x80:
            octets = size & 0x7F
            if not 0 < octets <= grammar.MAX_LENGTH_OCTETS or at + octets > end:
                raise BerError("indefinite or oversized length")
            size = int.from_bytes(raw[at : at + octets], "big")
            at += octets
            most -= octets
        at += size
        most -= 1
        if most < 0:
            raise _TooLarge
    if at != end:
        raise BerError("element longer than what holds it")
    return most


# ---- changes -----------------------------------------------------------------------------------


def _guard(description: bytes) -> None:
    """Refuses an attribute description that is, its options aside, one of GUARDED (case does not count).

    Also one that another parser could take for such a name: with a NUL, a zero in front of a number, of any length.
    """
    name = description.lower()
    if name.isalpha() and name not in GUARDED and len(name) <= MAX_DESCRIPTION:
        return  # nearly always, and five times as fast
    name = name.partition(b";")[0].strip(b" ")
    if name.removeprefix(b"oid.") in GUARDED or len(description) > MAX_DESCRIPTION or not _NAME.fullmatch(name):
        raise _Guarded


def _guard_rdn(rdn: bytes) -> None:
    """A naming attribute is written to the entry, too. Escapes are not undone: that only finds more."""
    if len(rdn) > MAX_RDN:
        raise _TooLarge
    for part in _SEPARATOR.split(rdn):
        kind, equals, _ = part.partition(b"=")
        if equals and kind.strip(b" ").lower().removeprefix(b"oid.") in GUARDED:
            raise _Guarded


def _attribute(raw: bytes, at: int, end: int, values: int) -> int:
    """Name and values of an attribute, from `at` to `end`; how many more values there may be."""
    name, at = expect(raw, at, end, grammar.OCTETS)
    _guard(raw[name:at])
    return _strings(raw, *_last(raw, at, end, grammar.SET), values)


def _members(raw: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Bounds of each sequence in the list behind an entry's name: changes, or attributes."""
    _, at = expect(raw, start, end, grammar.OCTETS)
    for number, (tag, one, stop) in enumerate(grammar.elements(raw, *_last(raw, at, end, grammar.SEQUENCE))):
        if number >= MAX_CHANGES:
            raise _TooLarge
        if tag != grammar.SEQUENCE:
            raise BerError("not a list of changes or attributes")
        yield one, stop


def _modify(raw: bytes, start: int, end: int) -> None:
    values = MAX_VALUES
    for one, stop in _members(raw, start, end):
        _, at = expect(raw, one, stop, grammar.ENUMERATED)
        values = _attribute(raw, *_last(raw, at, stop, grammar.SEQUENCE), values)


def _add(raw: bytes, start: int, end: int) -> None:
    values = MAX_VALUES
    for one, stop in _members(raw, start, end):
        values = _attribute(raw, one, stop, values)


def _compare(raw: bytes, start: int, end: int) -> None:
    _, at = expect(raw, start, end, grammar.OCTETS)
    _guard(_assertion(raw, *_last(raw, at, end, grammar.SEQUENCE)))


def _assertion(raw: bytes, start: int, end: int) -> bytes:
    """The attribute description of an AttributeValueAssertion."""
    name, at = expect(raw, start, end, grammar.OCTETS)
    if grammar.skip(raw, at, end, _VALUE) != end:
        raise BerError("bytes behind an element")
    return raw[name:at]


def _modify_dn(raw: bytes, start: int, end: int) -> None:
    _, at = expect(raw, start, end, grammar.OCTETS)
    rdn, at = expect(raw, at, end, grammar.OCTETS)
    _guard_rdn(raw[rdn:at])
    _, at = expect(raw, at, end, grammar.BOOLEAN)
    if at < end:
        _last(raw, at, end, _NEW_SUPERIOR)


# ---- filters: one on a password is a compare by another name -------------------------------------


def _search(raw: bytes, start: int, end: int) -> None:
    at = grammar.skip(raw, start, end, _BEFORE_FILTER)
    _, _, stop = element(raw, at, end)
    _filters(raw, at, stop)
    _strings(raw, *_last(raw, stop, end, grammar.SEQUENCE), MAX_VALUES)


def _filters(raw: bytes, at: int, end: int) -> None:
    """All filters from `at` to `end`, in the order of their bytes. `ends` has the end of each filter that is open."""
    ends = [end]
    parts = 0
    while True:
        while at == ends[-1]:
            ends.pop()
            if not ends:
                return
        parts += 1
        if parts > MAX_PARTS:
            raise _TooLarge
        tag, start, stop = element(raw, at, ends[-1])
        at = stop
        if tag in _COMPARISONS:
            _guard(_assertion(raw, start, stop))
        elif tag in (_AND, _OR, _NOT):
            if len(ends) >= MAX_DEPTH:
                raise BerError("filter nested too deep")
            if tag == _NOT and (start == stop or element(raw, start, stop)[2] != stop):
                raise _Misshapen  # one filter, no more and no less
            ends.append(stop)
            at = start
        elif tag == _SUBSTRINGS:
            parts += _substrings(raw, start, stop, MAX_PARTS - parts)
        elif tag == _EXTENSIBLE:
            _extensible(raw, start, stop)
        elif tag != _PRESENT:  # which tells nothing about a value
            raise BerError("unknown filter")


def _substrings(raw: bytes, start: int, stop: int, most: int) -> int:
    """A SubstringFilter of at most so many substrings; how many. At least one: initial, any …, final; none is empty."""
    name, at = expect(raw, start, stop, grammar.OCTETS)
    _guard(raw[name:at])
    count, previous = 0, _INITIAL
    for tag, one, end in grammar.elements(raw, *_last(raw, at, stop, grammar.SEQUENCE)):
        if count >= most:
            raise _TooLarge
        if one == end or not previous <= tag <= _FINAL or (count and (tag == _INITIAL or previous == _FINAL)):
            raise _Misshapen
        count, previous = count + 1, tag
    if not count:
        raise _Misshapen
    return count


def _extensible(raw: bytes, start: int, stop: int) -> None:
    """A MatchingRuleAssertion. Without a type it looks at every attribute that its rule fits, passwords included."""
    previous = 0
    named = matched = False
    for tag, one, end in grammar.elements(raw, start, stop):
        if not _RULE <= tag <= _DN_ATTRIBUTES or tag <= previous:
            raise BerError("unknown filter")
        previous = tag
        if tag == _TYPE:
            named = True
            _guard(raw[one:end])
        elif tag == _VALUE_MATCHED:
            matched = True
    if not matched:
        raise _Misshapen
    if not named:
        raise _Guarded
