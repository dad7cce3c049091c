"""Recovery codes: shown once, good once."""

from __future__ import annotations

import asyncio
import os
import re

import pytest

from proxy.factors.recovery_codes import NO_CODE, WRONG, RecoveryCodes
from proxy.store import codes
from proxy.store.factors import FactorRow, NewFactor
from tests.factors.conftest import Place


@pytest.fixture
def recovery(place: Place) -> RecoveryCodes:
    return RecoveryCodes(place.store, place.sealer, place.clock, os.urandom)


def make(place: Place, recovery: RecoveryCodes) -> list[str]:
    begun = place.run(recovery.begin_registration(place.alice, ""))
    made = place.run(recovery.finish_registration(place.alice, begun.notes, {}))
    assert isinstance(made, NewFactor)
    keep(place, made)
    shown: list[str] = begun.page["codes"]
    return shown


def keep(place: Place, made: NewFactor) -> None:
    hashes = [bytes.fromhex(one) for one in made.public["hashes"]]
    place.run(place.store.write(codes.set_recovery, place.alice.id, hashes))


def use(place: Place, recovery: RecoveryCodes, code: str, account: object = None) -> FactorRow | str:
    return place.run(recovery.finish(account or place.alice, [], {}, {"code": code}))


def left(place: Place, recovery: RecoveryCodes) -> object:
    return place.run(recovery.begin(place.alice, [], b"")).page["left"]


def test_ten_different_ones_in_groups(place: Place, recovery: RecoveryCodes) -> None:
    shown = make(place, recovery)
    assert len(set(shown)) == 10
    assert all(re.fullmatch(r"[a-hjkmnp-z]{5}(-[a-hjkmnp-z]{5}){2}", code) for code in shown)


def test_each_opens_once_and_the_rest_are_counted(place: Place, recovery: RecoveryCodes) -> None:
    shown = make(place, recovery)
    for n, code in enumerate(shown, 1):
        said = use(place, recovery, code)
        assert isinstance(said, FactorRow)
        assert said.public["left"] == 10 - n == left(place, recovery)
        assert use(place, recovery, code) == WRONG


@pytest.mark.parametrize("change", [str.upper, lambda code: code.replace("-", " "), lambda c: f" {c}".replace("-", "")])
def test_typed_as_people_type(place: Place, recovery: RecoveryCodes, change: object) -> None:
    assert isinstance(use(place, recovery, change(make(place, recovery)[3])), FactorRow)


@pytest.mark.parametrize("typed", ["", "abcde-fghjk", "abcde-fghjk-mnpq1", "abcd-efgh-jkmn-pqrs-tuvw", "x" * 100_000])
def test_what_is_no_code_is_said_to_be_none(place: Place, recovery: RecoveryCodes, typed: str) -> None:
    make(place, recovery)
    assert use(place, recovery, typed) == NO_CODE


def test_of_ten_requests_with_one_code_one_wins(place: Place, recovery: RecoveryCodes) -> None:
    code = make(place, recovery)[0]

    async def race() -> list[FactorRow | str]:
        return await asyncio.gather(*(recovery.finish(place.alice, [], {}, {"code": code}) for _ in range(10)))

    said = place.run(race())
    assert sum(isinstance(one, FactorRow) for one in said) == 1
    assert said.count(WRONG) == 9


def test_new_ones_replace_all_old_ones_but_not_before_they_are_kept(place: Place, recovery: RecoveryCodes) -> None:
    old = make(place, recovery)
    begun = place.run(recovery.begin_registration(place.alice, ""))
    assert isinstance(use(place, recovery, old[0]), FactorRow)
    assert use(place, recovery, begun.page["codes"][0]) == WRONG
    made = place.run(recovery.finish_registration(place.alice, begun.notes, {}))
    assert isinstance(made, NewFactor)
    keep(place, made)
    assert left(place, recovery) == 10
    assert use(place, recovery, old[1]) == WRONG
    assert isinstance(use(place, recovery, begun.page["codes"][0]), FactorRow)


def test_nobody_elses_codes_open(place: Place, recovery: RecoveryCodes) -> None:
    assert use(place, recovery, make(place, recovery)[0], place.bob) == WRONG


def test_what_is_kept_does_not_tell_the_codes(place: Place, recovery: RecoveryCodes) -> None:
    begun = place.run(recovery.begin_registration(place.alice, ""))
    for code in begun.page["codes"]:
        assert code not in repr(begun.notes)
        assert code.replace("-", "") not in repr(begun.notes)
