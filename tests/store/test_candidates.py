"""What one read finds out about a login attempt."""

from __future__ import annotations

from proxy.domain.app_passwords import tag
from proxy.domain.model import EndReason
from proxy.store import app_passwords, candidates
from proxy.store.engine import Store
from tests.store import rows

LETTERS = "abcdefghjkmnpqrstuvw"
PEPPERS = {2: b"new", 1: b"old"}


def test_who_it_is_and_what_the_secret_may_be(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        old = rows.app_password(c, alice.id, "old", pepper_version=1, tag=tag(b"old", alice.id, LETTERS))
        new = rows.app_password(c, alice.id, "new", pepper_version=2, tag=tag(b"new", alice.id, LETTERS))
        rows.app_password(c, alice.id, "another", pepper_version=2, tag=7)
        (tombstone,) = app_passwords.end(c, [old.id], 5.0, EndReason.REVOKED)
    with store.reading() as c:
        assert candidates.of_attempt(c, alice.address, LETTERS, PEPPERS) == (alice, [new, tombstone])
        assert candidates.of_attempt(c, bob.address, LETTERS, PEPPERS) == (bob, [])
        assert candidates.of_attempt(c, "nobody@example.org", LETTERS, PEPPERS) == (None, [])
