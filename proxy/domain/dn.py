"""Distinguished names, and which account one of them is: by the DN <-> account rule of an LDAP backend (`account_dn`),
or as a stored login name (`normal`).

DNs are compared by component, after unescaping (RFC 4514 section 3): attribute types letter case aside, values as
caseIgnoreMatch (RFC 4517 section 4.2.11). There is no schema here: `userid` is not known to be `uid`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from proxy.domain.addresses import VARIABLE, VARIABLES

Rdn = tuple[tuple[str, str], ...]
"""(type in lower case, normalised value) of each part, sorted: their order means nothing."""
Dn = tuple[Rdn, ...]


class Unmatchable:
    """A DN that names no account: it has an attribute type as OID, a quoted or a #hex value, or it is too long.

    What these forms stand for depends on the directory's schema, so they are not compared with anything.
    """


UNMATCHABLE = Unmatchable()

MAX_TEXT = 4096
"""Characters of a DN that is read at all: strangers send these, and every component costs something."""
MAX_VALUE = 256
"""Characters of a value that may still name an account (login_names.MAX_BYTES); a longer one is not normalised, which
takes quadratic time for some."""
MAX_STORED = 1024
"""Bytes of a DN that may be a stored login name, as typed and in normal form."""
MAX_PARTS = 64
"""Equals signs in it: strangers send these, too, and here every one costs 10 us."""

_SPECIAL = r'[\\"+,;<>=# ]'
_PAIR = rf"\\(?:{_SPECIAL}|[0-9A-Fa-f]{{2}})"
_TYPE = re.compile(r" *(?:([A-Za-z][A-Za-z0-9-]*)|(?:[Oo][Ii][Dd]\.)?[0-9]+(?:\.[0-9]+)+) *= *")
"""A name, or an OID, then in no group. Spaces around are of RFC 2253 section 4; programs still write them."""
_STRING = re.compile(rf'(?!#)(?:[^\0"+,;<>\\]|{_PAIR})*')
_OTHER_FORM = re.compile(rf'(?:#(?:[0-9A-Fa-f]{{2}})+|"(?:[^\0"\\]|{_PAIR})*") *')
"""A value as BER in hexadecimal (RFC 4514 section 2.4), or quoted (RFC 2253 section 4)."""
_ESCAPE = re.compile(rb"\\(?:([0-9A-Fa-f]{2})|(.))", re.DOTALL)


def parse(text: str) -> Dn | Unmatchable | None:
    """The components of a DN (RFC 4514 section 3). None: malformed. UNMATCHABLE: nobody's, and not to be compared."""
    rdns: list[Rdn] = []
    parts: list[tuple[str, str]] = []
    comparable = True
    position = 0
    if not text:
        return ()
    if len(text) > MAX_TEXT:
        return UNMATCHABLE
    while True:
        kind = _TYPE.match(text, position)
        if kind is None:
            return None
        other = _OTHER_FORM.match(text, kind.end())
        string = other or _STRING.match(text, kind.end())
        if string is None:
            return None
        value = "" if other else _unescaped(string[0])
        if value is None:
            return None
        if other or kind[1] is None or len(value) > MAX_VALUE:
            comparable = False
        elif comparable:
            parts.append((kind[1].lower(), _normalised(value)))
        position = string.end()
        separator = text[position : position + 1]
        if separator not in ("", ",", "+"):
            return None
        if separator != "+":
            rdns.append(tuple(sorted(parts)))
            parts = []
        if not separator:
            return tuple(rdns) if comparable else UNMATCHABLE
        position += 1


def comparable(text: str) -> Dn | None:
    """The components of a DN that can be compared with others; None for any other text."""
    parsed = parse(text)
    return parsed if isinstance(parsed, tuple) else None


def is_called(dn: str, name: str) -> bool:
    """Whether a DN is the one that `name` is, or where `name` is no DN, has it as a value of its first component: the
    group `cn=staff,ou=groups,dc=example,dc=org` is called `Staff`, too."""
    ours = comparable(dn)
    wanted = comparable(name) if "=" in name else None
    if not ours or wanted is not None:
        return bool(ours) and ours == wanted
    return any(value == _normalised(name) for _, value in ours[0])


def is_well_formed(text: str) -> bool:
    """Whether it is a DN at all, also one of those that name nobody."""
    return parse(text) is not None


def _unescaped(raw: str) -> str | None:
    """A string value without its escapes and without the unescaped spaces at its end; None if it is no UTF-8."""
    bare = raw.rstrip(" ")
    backslashes = len(bare) - len(bare.rstrip("\\"))
    if backslashes % 2:  # the last of them escapes the first of the spaces
        bare += " "
    try:
        return _ESCAPE.sub(lambda pair: bytes.fromhex(pair[1].decode()) if pair[1] else pair[2], bare.encode()).decode()
    except UnicodeError:
        return None


def _normalised(value: str) -> str:
    """As caseIgnoreMatch prepares it: compatibility forms and letter case away, runs of spaces to one (RFC 4518)."""
    if value.isascii():
        folded = value.lower()
    else:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold())
    return re.sub(" {2,}", " ", folded)


def escaped(value: str) -> str:
    """A value as it is written in a DN (RFC 4514 section 2.4)."""
    text = re.sub(r'[\\"+,;<>]', lambda match: "\\" + match[0], value).replace("\0", "\\00")
    if text.endswith(" "):
        text = text[:-1] + "\\ "
    return "\\" + text if text.startswith((" ", "#")) else text


def normal(text: str) -> str | None:
    """The one spelling of a DN as a stored login name (login_names.canonical); None where it can be none.

    Its own normal form is itself. It holds no control characters and nothing else that login names never do.
    """
    rdns = comparable(text) if _is_short(text) else None
    if not rdns or not all(value and value.isprintable() for rdn in rdns for _, value in rdn):
        return None
    joined = ",".join("+".join(f"{kind}={escaped(value)}" for kind, value in rdn) for rdn in rdns)
    return joined if _is_short(joined) and not set(joined) & set("*%") else None


def _is_short(text: str) -> bool:
    return text.count("=") <= MAX_PARTS and len(text.encode("utf-8", "surrogatepass")) <= MAX_STORED


def _plain(text: str) -> re.Pattern[str]:
    """Finds DNs that are written as the template is, with values of which nothing has to be unescaped or normalised.

    Programs fill in a template, too, so nearly all are: they need no parsing, the longest part of reading a Bind.
    """
    pieces = VARIABLE.split(text)
    names = [match[1:-1] for match in VARIABLE.findall(text)]
    pattern = re.escape(pieces[0])
    for name, piece in zip(names, pieces[1:], strict=True):
        pattern += rf"(?P<{name}>[a-z0-9._@-]{{1,{MAX_VALUE}}})" + re.escape(piece)
    return re.compile(pattern)


class Template:
    """How the DN of an account is made: `uid={local},ou=people,dc=example,dc=org`."""

    __slots__ = ("_plain", "_rdns", "_text", "variables")

    def __init__(self, text: str) -> None:
        """Raises ValueError, whose text finishes the sentence `account_dn: …`."""
        rdns = comparable(text)
        if rdns is None:
            raise ValueError("is no DN that can be compared; write uid={local},ou=people,dc=example,dc=org")
        values = [value for rdn in rdns for _, value in rdn if value in VARIABLES]
        if sorted(values) != sorted(re.findall(r"\{[^{}]*\}|[{}]", text)):
            raise ValueError("may have {account}, {local} and {domain} as whole values, and no other braces")
        if len(values) > len(set(values)):
            raise ValueError("has a variable twice; keep one of the two")
        if any(len(rdn) > 1 and any(value in VARIABLES for _, value in rdn) for rdn in rdns):
            raise ValueError("has a variable in a component with +; give it a component of its own")
        if "{account}" not in values and "{local}" not in values:
            raise ValueError("gives every account one DN; write {account}, or {local}")
        self._text = text
        self._rdns = rdns
        self._plain = _plain(text)
        self.variables = frozenset(values)
        """Those it has, with their braces."""

    def __repr__(self) -> str:
        return f"Template({self._text!r})"

    def matches(self, dn: str) -> dict[str, str] | None:
        """The value of each variable (`{local}`: `alice`), normalised, if `dn` has this form; else None."""
        if len(dn) <= MAX_TEXT and (plain := self._plain.fullmatch(dn)):
            return {f"{{{name}}}": value for name, value in plain.groupdict().items()}
        return self._matches_parsed(dn)

    def _matches_parsed(self, dn: str) -> dict[str, str] | None:
        rdns = comparable(dn)
        if rdns is None or len(rdns) != len(self._rdns):
            return None
        found: dict[str, str] = {}
        for ours, theirs in zip(self._rdns, rdns, strict=True):
            kind, value = ours[0]
            if value not in VARIABLES:
                if ours != theirs:
                    return None
            elif len(theirs) == 1 and theirs[0][0] == kind:
                found[value] = theirs[0][1]
            else:
                return None
        return found

    def fill(self, address: str) -> str:
        """The DN of the account with that address. ValueError if a variable would be empty."""
        if not all(VARIABLES[name](address) for name in self.variables):
            raise ValueError("the address has no value for one of the variables")
        return VARIABLE.sub(lambda match: escaped(VARIABLES[match[0]](address)), self._text)


def login_name(template: Template, dn: str, domains: Sequence[str]) -> str | None:
    """The login name that `dn` stands for, not yet canonical (login_names); None if it is no account's DN.

    With {local} alone, which has no domain, it is in the one of `domains`. With an = it would be a DN itself.
    """
    found = template.matches(dn)
    if found is None or any("=" in value for value in found.values()):
        return None
    if "{account}" in found:
        name = found["{account}"]
        agreed = all(value == VARIABLES[variable](name) for variable, value in found.items())
        return name if name and agreed else None
    local = found["{local}"]
    domain = found.get("{domain}", domains[0] if len(domains) == 1 else "")
    # With an @ in it, what is called a local part here could spell an address in another domain.
    if not local or not domain or "@" in local + domain:
        return None
    return f"{local}@{domain}"
