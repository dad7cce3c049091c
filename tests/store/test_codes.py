import pytest

from proxy.store import codes, hashing
from proxy.store.engine import Store
from tests.store import rows
from tests.store.race import race

LETTERS = "abcdefghjkmnpqrstuvw"


def test_a_recovery_code_is_used_once(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        codes.set_recovery(c, alice.id, [b"one", b"two"])
        codes.set_recovery(c, bob.id, [b"one"])
        assert codes.recovery_left(c, alice.id) == 2
        assert not codes.use_recovery(c, alice.id, b"three", 10.0)
    assert sorted(race(store, [lambda c: codes.use_recovery(c, alice.id, b"one", 10.0)] * 4)) == [False] * 3 + [True]
    with store.writing() as c:
        assert codes.recovery_left(c, alice.id) == 1
        assert codes.recovery_left(c, bob.id) == 1
        assert not codes.use_recovery(c, bob.id, b"two", 11.0)


def test_new_recovery_codes_replace_the_old(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        codes.set_recovery(c, alice.id, [b"one", b"two"])
        codes.set_recovery(c, alice.id, [b"three"])
        assert not codes.use_recovery(c, alice.id, b"one", 10.0)
        assert codes.use_recovery(c, alice.id, b"three", 10.0)
        codes.set_recovery(c, alice.id, [])
        assert codes.recovery_left(c, alice.id) == 0


@pytest.fixture(scope="module")
def phc() -> str:
    return hashing.hash_secret(LETTERS)


def test_an_enrolment_code_is_good_until_it_is_spent(store: Store, phc: str) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        codes.issue_enrolment(c, alice.id, phc, now=10.0, expires=100.0, issued_by="operator:0")
        assert codes.enrolment_right(c, alice.id, LETTERS, 20.0) == 10.0
        assert codes.enrolment_right(c, alice.id, LETTERS, 21.0) == 10.0
        assert codes.enrolment_right(c, alice.id, LETTERS, 100.0) is None
        assert codes.enrolment_right(c, alice.id, LETTERS[::-1], 20.0) is None
        assert codes.enrolment_right(c, bob.id, LETTERS, 20.0) is None
        assert not codes.spend_enrolment(c, alice.id, 10.0, 100.0)
    assert sorted(race(store, [lambda c: codes.spend_enrolment(c, alice.id, 10.0, 30.0)] * 2)) == [False, True]
    with store.writing() as c:
        assert codes.enrolment_right(c, alice.id, LETTERS, 40.0) is None


def test_a_newer_enrolment_code_replaces_the_older_one_also_half_way(store: Store, phc: str) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        codes.issue_enrolment(c, alice.id, phc, now=10.0, expires=100.0, issued_by="operator:0")
        shown = codes.enrolment_right(c, alice.id, LETTERS, 20.0)
        assert shown is not None
        codes.issue_enrolment(c, alice.id, "$argon2id$another", now=30.0, expires=100.0, issued_by="operator:0")
        assert not codes.spend_enrolment(c, alice.id, shown, 31.0)
        assert codes.withdraw_enrolment(c, alice.id)
        assert not codes.withdraw_enrolment(c, alice.id)
