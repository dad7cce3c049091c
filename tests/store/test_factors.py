import pytest

from proxy.domain.factor_kinds import FactorKind
from proxy.store import codes, factors
from proxy.store.engine import Store
from proxy.store.errors import NameTaken
from proxy.store.factors import MOST, FactorRow, NewFactor
from tests.store import rows
from tests.store.race import race

PHONE = NewFactor(FactorKind.TOTP, "phone", sealed=b"\x00sealed", counter=7)
KEY = NewFactor(FactorKind.PASSKEY, "key", public={"id": "abc", "transports": ["usb"]})


def test_kept_as_given(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        phone, key = factors.add(c, alice.id, PHONE, 10.0), factors.add(c, alice.id, KEY, 11.0)
        assert phone is not None
        assert key is not None
        assert phone == FactorRow(phone.id, alice.id, FactorKind.TOTP, "phone", 10.0, None, b"\x00sealed", {}, 7)
        assert key.public == {"id": "abc", "transports": ["usb"]}
        assert factors.of_account(c, alice.id) == [phone, key]
        assert factors.of_account(c, alice.id, FactorKind.PASSKEY) == [key]
        assert factors.by_id(c, alice.id, key.id) == key
        assert factors.by_id(c, bob.id, key.id) is None
        assert "sealed" not in repr(phone)


def test_what_a_challenge_can_be_satisfied_by(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        assert factors.kinds(c, alice.id) == set()
        factors.add(c, alice.id, PHONE, 10.0)
        codes.set_recovery(c, alice.id, [b"1"])
        assert factors.kinds(c, alice.id) == {FactorKind.TOTP, FactorKind.RECOVERY_CODE}
        codes.use_recovery(c, alice.id, b"1", 20.0)
        assert factors.kinds(c, alice.id) == {FactorKind.TOTP}


def test_names_are_unique_in_an_account_and_factors_bounded(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        phone = factors.add(c, alice.id, PHONE, 10.0)
        assert phone is not None
        with pytest.raises(NameTaken, match="factor 'phone' is taken"):
            factors.add(c, alice.id, NewFactor(FactorKind.PASSKEY, "phone"), 11.0)
        other = factors.add(c, alice.id, KEY, 11.0)
        assert other is not None
        with pytest.raises(NameTaken):
            factors.rename(c, alice.id, other.id, "phone")
        assert factors.rename(c, alice.id, other.id, "blue key")
        assert not factors.rename(c, bob.id, other.id, "mine")
        assert factors.add(c, bob.id, PHONE, 10.0) is not None
        for n in range(MOST - 2):
            assert factors.add(c, alice.id, NewFactor(FactorKind.TOTP, f"n{n}"), 12.0) is not None
        assert factors.add(c, alice.id, NewFactor(FactorKind.TOTP, "one more"), 12.0) is None
        assert [row.name for row in factors.of_account(c, alice.id)][:2] == ["phone", "blue key"]


def test_a_counter_only_grows_and_one_of_two_moves_it(store: Store) -> None:
    """RFC 6238 section 5.2: a code counts once."""
    with store.writing() as c:
        phone = factors.add(c, rows.account(c).id, PHONE, 10.0)
        assert phone is not None
        assert not factors.advance_counter(c, phone.id, 7)
        assert not factors.advance_counter(c, phone.id, 6)
        assert factors.advance_counter(c, phone.id, 8)
        assert not factors.advance_counter(c, phone.id + 1, 9)
    assert sorted(race(store, [lambda c: factors.advance_counter(c, phone.id, 9)] * 2)) == [False, True]


def test_used_and_changed(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        key = factors.add(c, alice.id, KEY, 10.0)
        assert key is not None
        factors.mark_used(c, key.id, 30.0)
        assert factors.set_public(c, alice.id, key.id, {"id": "xyz"})
        assert not factors.set_public(c, alice.id + 1, key.id, {})
        changed = factors.by_id(c, alice.id, key.id)
        assert changed is not None
        assert (changed.used, changed.public) == (30.0, {"id": "xyz"})


def test_the_last_one_stays(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        phone, key = factors.add(c, alice.id, PHONE, 10.0), factors.add(c, alice.id, KEY, 11.0)
        factors.add(c, bob.id, PHONE, 10.0)
        assert phone is not None
        assert key is not None
        assert not factors.remove(c, bob.id, phone.id)
    # Each alone would be fine; together they would lock her out.
    drop = [lambda c: factors.remove(c, alice.id, phone.id), lambda c: factors.remove(c, alice.id, key.id)]
    assert sorted(race(store, drop)) == [False, True]
    with store.writing() as c:
        (left,) = factors.of_account(c, alice.id)
        assert factors.remove_all(c, alice.id) == [left]
        assert factors.of_account(c, alice.id) == []
        assert len(factors.of_account(c, bob.id)) == 1
