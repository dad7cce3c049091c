"""What is kept of a person's factors, and what the audit says of it."""

from __future__ import annotations

import pytest

from proxy.domain.factor_kinds import FactorKind
from proxy.factors import keeping
from proxy.store import audit, codes, factors
from proxy.store.errors import NameTaken
from proxy.store.factors import NewFactor
from tests.factors.conftest import Place

PHONE = NewFactor(FactorKind.TOTP, "phone", sealed=b"sealed", counter=7)


def keep(place: Place, new: NewFactor) -> bool:
    return place.run(place.store.write(keeping.keep, "node1", place.alice, new, place.now))


def events(place: Place) -> list[tuple[str, str | None, str | None]]:
    records = place.run(place.store.read(audit.read))
    assert all(one.event.actor == "person:alice@example.org" for one in records)
    assert all(one.event.time == place.now for one in records)
    return [(str(one.event.event), one.event.account, one.event.detail) for one in records]


def test_kept_and_recorded(place: Place) -> None:
    assert keep(place, PHONE)
    (row,) = place.rows(place.alice)
    assert (row.name, row.sealed, row.counter) == ("phone", b"sealed", 7)
    assert events(place) == [("factor_added", "alice@example.org", "totp: phone")]


def test_what_is_not_kept_is_not_recorded(place: Place) -> None:
    keep(place, PHONE)
    with pytest.raises(NameTaken):
        keep(place, PHONE)
    for n in range(factors.MOST - 1):
        assert keep(place, NewFactor(FactorKind.SMS, str(n)))
    assert not keep(place, NewFactor(FactorKind.SMS, "one more"))
    assert len(events(place)) == factors.MOST == len(place.rows(place.alice))


def test_recovery_codes_replace_each_other(place: Place) -> None:
    for hashes in (["aa", "bb"], ["cc"]):
        assert keep(place, NewFactor(FactorKind.RECOVERY_CODE, "", public={"hashes": hashes}))
    assert place.rows(place.alice) == []
    assert place.run(place.store.read(codes.recovery_left, place.alice.id)) == 1
    assert place.run(place.store.write(codes.use_recovery, place.alice.id, b"\xcc", place.now))
    assert events(place) == [("recovery_codes_made", "alice@example.org", None)] * 2


def test_a_new_name(place: Place) -> None:
    keep(place, PHONE)
    keep(place, NewFactor(FactorKind.SMS, "other"))
    row = place.rows(place.alice)[0]

    def rename(name: str) -> None:
        place.run(place.store.write(keeping.rename, "node1", place.alice, row, name, place.now))

    rename("phone")
    with pytest.raises(NameTaken):
        rename("other")
    rename("old phone")
    assert place.rows(place.alice)[0].name == "old phone"
    assert events(place)[2:] == [("factor_changed", "alice@example.org", "totp: phone, from now on old phone")]


def test_removed_but_for_the_last_one(place: Place) -> None:
    keep(place, PHONE)
    keep(place, NewFactor(FactorKind.SMS, "other"))
    one, two = place.rows(place.alice)
    removed = [
        place.run(place.store.write(keeping.remove, "node1", place.alice, row, place.now)) for row in (one, one, two)
    ]
    assert removed == [True, False, False]
    assert place.rows(place.alice) == [two]
    assert events(place)[2:] == [("factor_removed", "alice@example.org", "totp: phone")]
