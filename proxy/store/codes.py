"""Codes that are used once: recovery codes, and the enrolment code that lets a person register their first factor."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from proxy.store import hashing, people
from proxy.store.schema import enrolment_codes, recovery_codes

_use = (
    update(recovery_codes)
    .where(
        recovery_codes.c.account_id == bindparam("id"),
        recovery_codes.c.code_hash == bindparam("hash"),
        recovery_codes.c.used.is_(None),
    )
    .values(used=bindparam("now"))
)


def set_recovery(c: Connection, account_id: int, hashes: Collection[bytes]) -> None:
    """Replace an account's recovery codes by these (HMAC under the portal key), or by none: old ones open nothing."""
    c.execute(delete(recovery_codes).where(recovery_codes.c.account_id == account_id))
    if hashes:
        c.execute(
            insert(recovery_codes), [{"account_id": account_id, "code_hash": code, "used": None} for code in hashes]
        )


def use_recovery(c: Connection, account_id: int, code_hash: bytes, now: float) -> bool:
    """Whether it is one of the account's that was not used before; it is used then. Of several at once, one wins."""
    return bool(c.execute(_use, {"id": account_id, "hash": code_hash, "now": now}).rowcount)


def recovery_left(c: Connection, account_id: int) -> int:
    """How many recovery codes were not used."""
    unused = (recovery_codes.c.account_id == account_id, recovery_codes.c.used.is_(None))
    return c.execute(select(func.count()).select_from(recovery_codes).where(*unused)).scalar_one()


def issue_enrolment(
    c: Connection, account_id: int, code_hash: str, *, now: float, expires: float, issued_by: str
) -> None:
    """Let this code, as its PHC string (hashing.hash_secret), be the account's enrolment code; an older one opens
    nothing any more. It is minted by the core, which does not have the portal key: hence no HMAC under that."""
    withdraw_enrolment(c, account_id)
    values = {
        "account_id": account_id,
        "code_hash": code_hash,
        "created": now,
        "expires": expires,
        "issued_by": issued_by,
    }
    c.execute(insert(enrolment_codes), values)


def enrolment_right(c: Connection, account_id: int, letters: str, now: float) -> float | None:
    """Whether these bare letters are the account's enrolment code: when it was issued (for `spend_enrolment`), or None.

    It stays good until the factor that it was shown for is registered. One millisecond.
    """
    row = c.execute(select(enrolment_codes).where(enrolment_codes.c.account_id == account_id)).first()
    if row is None or now >= row.expires or not hashing.verify(row.code_hash, letters):
        return None
    issued: float = row.created
    return issued


def spend_enrolment(c: Connection, account_id: int, issued: float, now: float) -> bool:
    """Use up the code that was issued then: what waits after a reset of factors waits no more. False when it has been
    used, replaced or has expired since it was shown."""
    chosen = delete(enrolment_codes).where(
        enrolment_codes.c.account_id == account_id, enrolment_codes.c.created == issued, enrolment_codes.c.expires > now
    )
    if not c.execute(chosen).rowcount:
        return False
    people.change(c, account_id, mint_after=None)
    return True


def withdraw_enrolment(c: Connection, account_id: int) -> bool:
    """Let no enrolment code of the account count any more; False when there was none."""
    return bool(c.execute(delete(enrolment_codes).where(enrolment_codes.c.account_id == account_id)).rowcount)
