"""Codes of an authenticator app: right ones once, wrong ones seldom."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, unquote, urlsplit

import pyotp
import pytest

from proxy.domain.model import Account
from proxy.factors import totp as module
from proxy.factors.totp import NO_CODE, TOO_MANY, USED, WRONG, Totp
from proxy.store.factors import FactorRow
from tests.factors.conftest import Place

SECRET = bytes(range(20))
APP = pyotp.TOTP(pyotp.TOTP("AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQT").secret)


@pytest.fixture
def totp(place: Place) -> Totp:
    return Totp(place.store, place.sealer, "Example: Mail", place.clock, lambda n: SECRET[:n])


def register(place: Place, totp: Totp, account: Account, name: str = "phone") -> FactorRow:
    """Registered a while ago, so that the present code is not the one it was proven with."""
    begun = place.run(totp.begin_registration(account, name))
    answer = {"code": APP.at(place.now)}
    row = place.keep(account, place.run(totp.finish_registration(account, begun.notes, answer)))
    place.now += 90
    return row


def answer(place: Place, totp: Totp, code: str, account: Account | None = None) -> FactorRow | str:
    account = account or place.alice
    return place.run(totp.finish(account, place.rows(account), {}, {"code": code}))


def wrong(place: Place) -> str:
    """A code that no step around now has."""
    near = {APP.at(place.now, counter_offset=n) for n in range(-3, 4)}
    return next(code for code in ("000000", "111111", "222222", "333333", "444444") if code not in near)


def test_what_an_app_is_given(place: Place, totp: Totp) -> None:
    page = place.run(totp.begin_registration(place.alice, "phone")).page
    uri = urlsplit(page["uri"])
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    # One colon: it is what ends the issuer.
    assert unquote(uri.path) == "/Example  Mail:alice@example.org"
    assert parse_qs(uri.query) == {"secret": [APP.secret], "issuer": ["Example  Mail"]}  # the rest are the defaults
    assert page["key"] == "AAAQ EAYE AUDA OCAJ BIFQ YDIO B4IB CEQT"


def test_nothing_of_the_secret_is_in_the_notes_or_the_row(place: Place, totp: Totp) -> None:
    begun = place.run(totp.begin_registration(place.alice, "phone"))
    row = register(place, totp, place.alice)
    for kept in (repr(begun.notes).encode(), row.sealed or b"", repr(row.public).encode()):
        assert SECRET not in kept
        assert APP.secret.encode() not in kept
    assert place.sealer.open(row.sealed or b"", context=f"factor:{place.alice.id}:totp") == SECRET


def test_a_wrong_code_does_not_change_the_secret_that_the_app_has(place: Place, totp: Totp) -> None:
    begun = place.run(totp.begin_registration(place.alice, "phone"))
    assert place.run(totp.finish_registration(place.alice, begun.notes, {"code": wrong(place)})) == WRONG
    assert place.run(totp.finish_registration(place.alice, begun.notes, {"code": "12345"})) == NO_CODE
    again = place.run(totp.resume_registration(place.alice, begun.notes))
    assert again.page == begun.page
    row = place.keep(
        place.alice, place.run(totp.finish_registration(place.alice, again.notes, {"code": APP.at(place.now)}))
    )
    assert (row.name, row.counter) == ("phone", int(place.now // 30))


def test_the_code_that_proved_it_does_not_open_anything(place: Place, totp: Totp) -> None:
    register(place, totp, place.alice)
    place.now -= 90
    assert answer(place, totp, APP.at(place.now)) == USED


@pytest.mark.parametrize(("steps", "right"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_be_off_by_one_step(place: Place, totp: Totp, steps: int, right: bool) -> None:
    row = register(place, totp, place.alice)
    place.now += 90
    said = answer(place, totp, APP.at(place.now, counter_offset=steps))
    assert (isinstance(said, FactorRow) and said.id == row.id) if right else said == WRONG


def test_no_code_counts_twice_and_none_from_before_it(place: Place, totp: Totp) -> None:
    register(place, totp, place.alice)
    place.now += 60
    assert isinstance(answer(place, totp, APP.at(place.now)), FactorRow)
    assert answer(place, totp, APP.at(place.now)) == USED
    assert answer(place, totp, APP.at(place.now, counter_offset=-1)) == USED
    place.now += 30
    assert isinstance(answer(place, totp, APP.at(place.now)), FactorRow)


@pytest.mark.parametrize("typed", ["{0} {1}", " {0}{1} ", "{0}-{1}", "{0}\u00a0{1}"])
def test_typed_as_apps_show_it(place: Place, totp: Totp, typed: str) -> None:
    register(place, totp, place.alice)
    code = APP.at(place.now)
    assert isinstance(answer(place, totp, typed.format(code[:3], code[3:])), FactorRow)


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "12345६", "123456" * 1000, "+12345"])
def test_what_is_no_code_is_said_to_be_none_and_not_counted(place: Place, totp: Totp, typed: str) -> None:
    register(place, totp, place.alice)
    for _ in range(30):
        assert answer(place, totp, typed) == NO_CODE
    assert isinstance(answer(place, totp, APP.at(place.now)), FactorRow)


def test_of_two_requests_with_one_code_one_wins(place: Place, totp: Totp) -> None:
    register(place, totp, place.alice)
    rows, code = place.rows(place.alice), APP.at(place.now)

    async def race() -> list[FactorRow | str]:
        return await asyncio.gather(*(totp.finish(place.alice, rows, {}, {"code": code}) for _ in range(10)))

    said = place.run(race())
    assert sum(isinstance(one, FactorRow) for one in said) == 1
    assert {one for one in said if isinstance(one, str)} <= {USED, TOO_MANY}


def test_five_wrong_codes_in_thirty_seconds_wherever_the_window_begins(place: Place, totp: Totp) -> None:
    register(place, totp, place.alice)
    for _ in range(5):
        assert answer(place, totp, wrong(place)) == WRONG
        place.now += 5
    assert answer(place, totp, APP.at(place.now)) == TOO_MANY  # at 25 s
    place.now += 5.5
    assert answer(place, totp, wrong(place)) == WRONG  # the first is 30 s old
    assert answer(place, totp, APP.at(place.now)) == TOO_MANY


def test_twenty_wrong_codes_in_an_hour(place: Place, totp: Totp) -> None:
    register(place, totp, place.alice)
    for _ in range(20):
        assert answer(place, totp, wrong(place)) == WRONG
        place.now += 60
    assert answer(place, totp, APP.at(place.now)) == TOO_MANY
    place.now += 3600 - 20 * 60 + 1
    assert isinstance(answer(place, totp, APP.at(place.now)), FactorRow)


def test_two_hundred_sessions_at_once_try_no_more_codes_than_one(place: Place, totp: Totp) -> None:
    register(place, totp, place.alice)
    rows, codes = place.rows(place.alice), [f"{n:06}" for n in range(200)]

    async def spray() -> list[FactorRow | str]:
        return await asyncio.gather(*(totp.finish(place.alice, rows, {}, {"code": code}) for code in codes))

    said = place.run(spray())
    assert said.count(TOO_MANY) == 195


def test_the_limit_is_the_accounts_over_all_its_apps_and_nobody_elses(place: Place, totp: Totp) -> None:
    register(place, totp, place.alice, "phone")
    register(place, totp, place.alice, "tablet")
    register(place, totp, place.bob)
    for _ in range(5):
        assert answer(place, totp, wrong(place)) == WRONG
    assert answer(place, totp, wrong(place)) == TOO_MANY
    assert isinstance(answer(place, totp, APP.at(place.now), place.bob), FactorRow)


def test_each_of_several_apps_is_told_apart(place: Place, totp: Totp) -> None:
    register(place, totp, place.alice, "phone")
    other = Totp(place.store, place.sealer, "Example", place.clock, lambda n: b"x" * n)
    begun = place.run(other.begin_registration(place.alice, "tablet"))
    app = pyotp.TOTP(begun.page["key"].replace(" ", ""))
    place.keep(place.alice, place.run(other.finish_registration(place.alice, begun.notes, {"code": app.at(place.now)})))
    place.now += 90
    said = answer(place, totp, app.at(place.now))
    assert isinstance(said, FactorRow)
    assert said.name == "tablet"


def test_a_factor_that_was_removed_meanwhile_opens_nothing(place: Place, totp: Totp) -> None:
    register(place, totp, place.alice)
    rows = place.rows(place.alice)
    place.run(place.store.write(module.factors.remove_all, place.alice.id))
    said = place.run(totp.finish(place.alice, rows, {}, {"code": APP.at(place.now)}))
    assert said == USED


def test_rfc_6238_appendix_b() -> None:
    """SHA-1, its last six digits."""
    secret = pyotp.TOTP("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").secret
    for time, code in ((59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")):
        assert time // 30 in module._matching(secret, code, time)
