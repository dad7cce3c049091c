"""IMAP commands and responses as bytes: what RFC 3501 section 9 allows before login, and no more."""

from __future__ import annotations

import re
from functools import lru_cache

from proxy.wire.events import clean_program

MAX_LINE = 8_192
"""Bytes of a command line, and of any line from a backend."""
MAX_SASL_LINE = 12_288
"""Bytes of an AUTHENTICATE line and of a SASL response (RFC 4954 section 4 has the figure for SMTP)."""
MAX_LITERALS = 2
MAX_LITERAL = 4_096
"""Bytes; also the most that LITERAL- lets a client send unasked (RFC 7888 section 5)."""
MAX_TAG = 64

TAG = rb"[^\x00-\x20\x7f-\xff(){%*\"\\+]{1," + str(MAX_TAG).encode() + rb"}"
_COMMAND = re.compile(rb"(" + TAG + rb")(?= |\Z)(?: ([A-Za-z]+)(?= |\Z))?")
_LITERAL_HEADER = re.compile(rb"(?<=[ (])\{([0-9]+)(\+?)\}\Z")
_FOREIGN = re.compile(rb"(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PRI|PROXY) ")
# Atoms are wider than the RFC's: clients send names with %, *, \ and UTF-8 bare, and a person helped by a
# refusal's sentence is better off than with a syntax error.
_ATOM = re.compile(rb"[^\x00-\x20\x7f(){\"]+")
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\0]|\\["\\])*+)"')
_BARE_OR_QUOTED = rb'(?:"([^"\\\r\n\0]*+)"|([^\x00-\x20\x7f(){"]++))'
_WHOLE_LOGIN = re.compile(
    rb"(?!%b)(%b) [Ll][Oo][Gg][Ii][Nn] %b %b\r\n" % (_FOREIGN.pattern, TAG, _BARE_OR_QUOTED, _BARE_OR_QUOTED)
)
_ESCAPE = re.compile(rb'\\(["\\])')
_CAPABILITY_CODE = re.compile(rb"\[CAPABILITY ([^\]]*)\]", re.IGNORECASE)
_PLAIN_TEXT = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]*+")
"""What stands in a quoted string as it is."""
_TO_ESCAPE = re.compile(r'(["\\])')
_RESPONSE_CODE = re.compile(rb"\[([A-Za-z0-9-]+)[^\]]*\] ?")


class BadSyntax(Exception):
    """The bytes are not what this command takes."""


def is_foreign(line: bytes) -> bool:
    """A browser was tricked into talking to us (ALPACA, USENIX Security 2021), or a PROXY header comes too late."""
    return _FOREIGN.match(line) is not None


def whole_login(data: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Tag, name and secret of a LOGIN as nearly all come: one segment, no literal, nothing behind it.

    A short way to what split_command and Arguments find in it; None for what is theirs alone.
    """
    match = _WHOLE_LOGIN.fullmatch(data)
    if match is None or len(data) > MAX_LINE:
        return None
    tag, quoted_name, name, quoted_secret, secret = match.groups()
    return tag, name if quoted_name is None else quoted_name, secret if quoted_secret is None else quoted_secret


def split_command(line: bytes) -> tuple[bytes | None, bytes, int]:
    """Tag, command name in upper case, and where its arguments begin. Tag None or name empty: there is none."""
    match = _COMMAND.match(line)
    if match is None:
        return None, b"", 0
    return match[1], (match[2] or b"").upper(), match.end()


def split_literal_header(line: bytes) -> tuple[bytes, bytes, bool] | None:
    """What stands before a literal's header at the end of a line, its digits, and whether it comes unasked."""
    match = _LITERAL_HEADER.search(line)
    return (line[: match.start()], match[1], bool(match[2])) if match else None


class Arguments:
    """Reads a command's arguments in order; BadSyntax where they are not what is asked for.

    `texts` are the command's lines without literal headers; literals[i] stands between texts[i] and texts[i+1].
    """

    __slots__ = ("_at", "_literals", "_part", "_texts")

    def __init__(self, texts: list[bytes], literals: list[bytes], start: int) -> None:
        self._texts = texts
        self._literals = literals
        self._part = 0
        self._at = start

    def space(self) -> None:
        self._expect(b" ")

    def astring(self) -> bytes:
        """RFC 3501 astring: atom, quoted string or literal, without its clothes."""
        return self._string() if self._ahead(b'"') or self._at_literal() else self.atom()

    def atom(self) -> bytes:
        match = _ATOM.match(self._texts[self._part], self._at)
        if match is None:
            raise BadSyntax
        self._at = match.end()
        return match[0]

    def id_fields(self) -> dict[bytes, bytes]:
        """RFC 2971 id_params_list, names in lower case: `NIL` or pairs in parentheses; NIL values are left out."""
        fields: dict[bytes, bytes] = {}
        if not self._ahead(b"("):
            if self.atom().upper() != b"NIL":
                raise BadSyntax
            return fields
        self._expect(b"(")
        while not self._ahead(b")"):
            name = self._string()
            self.space()
            if self._ahead(b'"') or self._at_literal():
                fields[name.lower()] = self._string()
            elif self.atom().upper() != b"NIL":
                raise BadSyntax
            if not self._ahead(b")"):
                self.space()
        self._expect(b")")
        return fields

    def at_end(self) -> bool:
        return self._part == len(self._literals) and self._at == len(self._texts[self._part])

    def end(self) -> None:
        """Nothing more."""
        if not self.at_end():
            raise BadSyntax

    def _string(self) -> bytes:
        if self._at_literal():
            self._part += 1
            self._at = 0
            return self._literals[self._part - 1]
        match = _QUOTED.match(self._texts[self._part], self._at)
        if match is None:
            raise BadSyntax
        self._at = match.end()
        return _ESCAPE.sub(rb"\1", match[1]) if b"\\" in match[1] else match[1]

    def _at_literal(self) -> bool:
        return self._part < len(self._literals) and self._at == len(self._texts[self._part])

    def _ahead(self, mark: bytes) -> bool:
        return self._texts[self._part].startswith(mark, self._at)

    def _expect(self, mark: bytes) -> None:
        if not self._ahead(mark):
            raise BadSyntax
        self._at += len(mark)


def program_of(fields: dict[bytes, bytes]) -> str | None:
    """What ID says the client is: its name, and its version where it gives one."""
    parts = [fields[key].decode("utf-8", "replace") for key in (b"name", b"version") if key in fields]
    return clean_program(" ".join(parts)) if b"name" in fields else None


def quoted(text: str) -> bytes:
    """An RFC 3501 quoted string; ValueError for text that cannot stand in one."""
    if not _PLAIN_TEXT.fullmatch(text):  # rare, and substituting costs ten times the look
        if not text.isascii() or not text.isprintable():
            raise ValueError("not printable ASCII")
        text = _TO_ESCAPE.sub(r"\\\1", text)
    return f'"{text}"'.encode("ascii")


def capabilities_in(text: bytes) -> bytes | None:
    """What a `[CAPABILITY …]` code lists, as it stands; None where there is none."""
    match = _CAPABILITY_CODE.match(text)
    return match[1] if match else None


@lru_cache(maxsize=64)
def capability_names(text: bytes) -> frozenset[str]:
    """Upper case; bytes that are no ASCII are no capability. Cached: a backend says the same at every login."""
    return frozenset(text.decode("ascii", "replace").upper().split())


def response_code(text: bytes) -> tuple[str, bytes]:
    """The code at the start of a resp-text, upper case without arguments ("" for none), and what follows it."""
    match = _RESPONSE_CODE.match(text)
    return (match[1].decode("ascii").upper(), text[match.end() :]) if match else ("", text)
