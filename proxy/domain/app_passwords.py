"""The app password itself: minted, never chosen; its check letter; its index tag (DESIGN section 4).

20 letters of a 23-letter alphabet. 19 are random (85.9 bits); the 20th is sum(i * value_i) mod 23 for
i = 1..19. 23 is prime and larger than 19, so every single wrong letter and every swap of neighbours shows.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from operator import mul

from proxy.domain.secret import Secret

ALPHABET = "abcdefghjkmnpqrstuvwxyz"
"""No i, l, o: they are misread."""
LENGTH = 20
_VALUES = bytes(ALPHABET.find(chr(code).lower()) & 0xFF for code in range(128)).ljust(256, b"\xff")
"""Value of a letter, upper or lower case, by its character code; 255 for what is none."""
_LETTERS = ALPHABET.encode("ascii").ljust(256)
"""Letter by value. Both are what bytes.translate takes: every login goes through them in front and core."""
_MAX_RAW = 3 * LENGTH
"""Characters: with every separator anybody would type; longer is no app password and is not looked at."""


def check_letter(letters: str) -> str:
    """The 20th letter for 19 of the alphabet."""
    return ALPHABET[_check(letters.encode("ascii").translate(_VALUES))]


def _check(values: bytes) -> int:
    """The check letter's value for the first 19 of these."""
    total: int = sum(map(mul, range(1, LENGTH), values))
    return total % len(ALPHABET)


def mint(randbelow: Callable[[int], int]) -> Secret:
    """A new app password, bare letters. `randbelow(n)` must be cryptographically random (secrets.randbelow)."""
    letters = "".join(ALPHABET[randbelow(len(ALPHABET))] for _ in range(LENGTH - 1))
    return Secret(letters + check_letter(letters))


def grouped(secret: Secret) -> str:
    """As it is shown, once: `abcd-efgh-jkmn-pqrs-tuvw`."""
    letters = secret.reveal()
    return "-".join(letters[i : i + 4] for i in range(0, LENGTH, 4))


def normalize(raw: str) -> str | None:
    """The bare letters of what a client sent, in any letter case, with or without spaces and hyphens.

    None when it is not shaped like an app password (alphabet, length, check letter): such a secret costs
    no question and no hash.
    """
    if len(raw) > _MAX_RAW:
        return None
    try:
        values = raw.encode("ascii").translate(_VALUES, b" -")
    except UnicodeEncodeError:
        return None
    if len(values) != LENGTH or max(values) >= len(ALPHABET) or _check(values) != values[-1]:
        return None
    return values.translate(_LETTERS).decode("ascii")


def tags(peppers: Mapping[int, bytes], account_id: int, letters: str) -> list[tuple[int, int]]:
    """(pepper version, tag) for every pepper in use: what the rows that this secret may be are found by."""
    return [(version, tag(pepper, account_id, letters)) for version, pepper in peppers.items()]


def tag(pepper: bytes, account_id: int, letters: str) -> int:
    """32-bit index tag: the start of HMAC-SHA-256(pepper, account id || secret).

    Short on purpose: a full-length tag would itself be a fast verifier and make the Argon2 hash decoration.
    """
    message = account_id.to_bytes(8, "big") + letters.encode("ascii")
    return int.from_bytes(hmac.digest(pepper, message, "sha256")[:4], "big")
