"""Argon2id, the home of argon2-cffi. App passwords get little memory on purpose: 86 random bits need no stretching,
and verification is on the login path (0.75 ms). Account passwords, which people choose, get OWASP's parameters.
"""

from __future__ import annotations

import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from proxy.store.errors import StoreUnavailable

_APP_PASSWORDS = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1)
_ACCOUNT_PASSWORDS = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def hash_secret(letters: str) -> str:
    """PHC string of an app password's bare letters."""
    return _APP_PASSWORDS.hash(letters)


def verify(phc: str, letters: str) -> bool:
    """Whether `phc` was made of these letters. A hash that cannot be read is our fault: StoreUnavailable."""
    return _verify(_APP_PASSWORDS, phc, letters)


def hash_account_password(password: str) -> str:
    """PHC string of an account password; tens of milliseconds, never on an event loop."""
    return _ACCOUNT_PASSWORDS.hash(_same_everywhere(password))


def verify_account_password(phc: str, password: str) -> bool:
    """Whether `phc` was made of this account password; tens of milliseconds, never on an event loop."""
    return _verify(_ACCOUNT_PASSWORDS, phc, _same_everywhere(password))


def _same_everywhere(password: str) -> bytes:
    """A password typed on one keyboard must be right on another (NIST SP 800-63B-4 section 3.1.1.2). What is no text
    (lone surrogates) is right nowhere, but no error either."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _verify(hasher: PasswordHasher, phc: str, secret: str | bytes) -> bool:
    try:
        return hasher.verify(phc, secret)
    except VerifyMismatchError:
        return False
    except (InvalidHashError, VerificationError) as error:
        # `from None`: argon2's own texts may quote the hash.
        raise StoreUnavailable(f"a stored hash cannot be verified ({type(error).__name__})") from None
