"""Codes by text message and call, through a real gateway."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from proxy.config.factor_settings import Factors
from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import Account
from proxy.domain.phone_codes import DAY, HOUR, WITHIN, Sending, Sent, code_from, may_send, prefix_of
from proxy.factors import Begun, FactorRow, Failing, NewFactor, TooMany, phone_codes, registry
from proxy.factors.phone_codes import ByPhone
from proxy.portal import texts
from proxy.store import people, schema, sent_codes
from tests.admin.office import configuration
from tests.factors.conftest import Place
from tests.support.phone_gateway import PhoneGateway, phone_gateway

ONE, OTHER = b"one" * 8, b"two" * 8
"""Portal sessions."""
NUMBER = "+34612345678"


@pytest.fixture
def gateway() -> Iterator[PhoneGateway]:
    with phone_gateway() as opened:
        yield opened


@pytest.fixture
def failures() -> list[str]:
    return []


def made(place: Place, gateway: PhoneGateway, tmp_path: Path, failures: list[str], limit: int = 200) -> dict[Any, Any]:
    settings = gateway.settings("ES", "US", daily_limit=limit)
    config = replace(configuration(tmp_path), factors=Factors(sms=settings, call=settings))

    def failed(c: Connection, kind: FactorKind, reason: str) -> None:
        failures.append(f"{kind}: {reason}")

    return registry.make(config, place.store, place.sealer, place.clock, os.urandom, texts=texts.load(), failed=failed)


@pytest.fixture
def sms(place: Place, gateway: PhoneGateway, tmp_path: Path, failures: list[str]) -> ByPhone:
    found = made(place, gateway, tmp_path, failures)[FactorKind.SMS]
    assert isinstance(found, ByPhone)
    return found


@pytest.fixture
def call(place: Place, gateway: PhoneGateway, tmp_path: Path, failures: list[str]) -> ByPhone:
    found = made(place, gateway, tmp_path, failures)[FactorKind.CALL]
    assert isinstance(found, ByPhone)
    return found


def typed(place: Place, factor: ByPhone, number: str, account: Account | None = None, **more: str) -> Begun:
    who = account or place.alice
    begun = place.run(factor.begin_registration(who, "my phone"))
    answered = place.run(factor.finish_registration(who, begun.notes, {"number": number, **more}))
    assert isinstance(answered, Begun)
    return answered


def registered(place: Place, factor: ByPhone, gateway: PhoneGateway, number: str = NUMBER) -> FactorRow:
    begun = typed(place, factor, number)
    row = place.keep(
        place.alice, place.run(factor.finish_registration(place.alice, begun.notes, {"code": gateway.code()}))
    )
    place.now += HOUR
    return row


def ask(place: Place, factor: ByPhone, row: FactorRow, session: bytes = ONE, **more: str) -> str | None:
    answer = {"factor": str(row.id), **more}
    return place.run(factor.send(place.alice, place.rows(place.alice), session, answer))


def answer(place: Place, factor: ByPhone, code: str, session: bytes = ONE) -> FactorRow | str:
    rows = place.rows(place.alice)
    begun = place.run(factor.begin(place.alice, rows, session))
    return place.run(factor.finish(place.alice, rows, begun.notes, {"code": code}))


def page(place: Place, factor: ByPhone, session: bytes = ONE) -> Mapping[str, Any]:
    return place.run(factor.begin(place.alice, place.rows(place.alice), session)).page


# ---- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["612 34 56 78", "+34 612-345-678", "0034612345678", " +34612345678 "])
def test_a_number_is_taken_as_people_write_it(place: Place, sms: ByPhone, gateway: PhoneGateway, number: str) -> None:
    assert typed(place, sms, number).page == {"step": "code", "shown": "+34 ••• 78"}
    assert [message["to"] for message in gateway.taken] == [NUMBER]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("", "That is no phone number"),
        ("x" * 5000, "That is no phone number"),
        ("+1555000" + "0001", "That is no phone number"),
        ("+34612345678 ext. 9", "That is no phone number"),
        ("+34612345678;ext=9", "That is no phone number"),
        ("+447400123456", "numbers of that country"),
        ("+881612345678", "numbers of that country"),
        ("+34806123456", "numbers of that kind"),
        ("+34902123456", "numbers of that kind"),
        ("+34701234567", "numbers of that kind"),
        ("+34912345678", "numbers of that kind"),
    ],
)
def test_what_is_not_sent_to(place: Place, sms: ByPhone, gateway: PhoneGateway, number: str, said: str) -> None:
    """Premium, shared cost, personal numbers; and a land line takes no text message."""
    begun = typed(place, sms, number)
    assert said in begun.problem
    assert begun.page == {"step": "number", "number": number}
    assert gateway.asked == []


def test_land_lines_are_called_and_premium_numbers_are_not(place: Place, call: ByPhone, gateway: PhoneGateway) -> None:
    assert not typed(place, call, "+34912345678").problem
    assert "numbers of that kind" in typed(place, call, "+34806123456").problem
    assert [message["to"] for message in gateway.taken] == ["+34912345678"]


# ---- registering ----------------------------------------------------------------------------------


def test_a_number_counts_once_a_code_has_come_back(place: Place, sms: ByPhone, gateway: PhoneGateway) -> None:
    begun = typed(place, sms, NUMBER)
    assert place.run(sms.finish_registration(place.alice, begun.notes, {"code": gateway.wrong()})) == phone_codes.WRONG
    new = place.run(sms.finish_registration(place.alice, begun.notes, {"code": gateway.code()}))
    assert isinstance(new, NewFactor)
    assert new.public == {"shown": "+34 ••• 78"}
    assert b"612345678" not in (new.sealed or b"")
    assert "612345678" not in str(begun.notes)
    # Its name was taken, say: the same code again, with another name.
    assert isinstance(place.run(sms.finish_registration(place.alice, begun.notes, {"code": gateway.code()})), NewFactor)
    assert place.run(sms.finish_registration(place.alice, begun.notes, {"code": gateway.wrong()})) == phone_codes.WRONG
    place.keep(place.alice, new)
    assert typed(place, sms, NUMBER).problem == phone_codes.KNOWN


def test_a_code_of_one_registration_is_none_of_another(place: Place, sms: ByPhone, gateway: PhoneGateway) -> None:
    first = typed(place, sms, NUMBER)
    code = gateway.code()
    second = typed(place, sms, "+34612345679", place.bob)
    assert gateway.code() != code or pytest.skip("one in a million")
    assert place.run(sms.finish_registration(place.bob, second.notes, {"code": code})) == phone_codes.WRONG
    assert place.run(sms.finish_registration(place.bob, first.notes | {}, {"code": code})) != code


def test_a_reload_sends_nothing_and_another_number_or_code_can_be_asked_for(
    place: Place, sms: ByPhone, gateway: PhoneGateway
) -> None:
    begun = typed(place, sms, NUMBER)
    assert place.run(sms.resume_registration(place.alice, begun.notes)).page == begun.page
    assert len(gateway.taken) == 1
    code = gateway.code()
    again = place.run(sms.finish_registration(place.alice, begun.notes, {"again": "on"}))
    assert isinstance(again, Begun)
    assert len(gateway.taken) == 2
    if code != gateway.code():
        assert place.run(sms.finish_registration(place.alice, again.notes, {"code": code})) == phone_codes.WRONG
    other = place.run(sms.finish_registration(place.alice, again.notes, {"other": "on"}))
    assert isinstance(other, Begun)
    assert (other.page["step"], other.notes) == ("number", {"name": "my phone"})


def test_a_registration_with_a_failing_gateway_says_so(
    place: Place, sms: ByPhone, gateway: PhoneGateway, failures: list[str]
) -> None:
    gateway.status = 500
    begun = typed(place, sms, NUMBER)
    assert isinstance(begun.problem, Failing)
    assert begun.page == {"step": "number", "number": NUMBER}
    assert failures == [f"sms: the webhook at http://127.0.0.1:{gateway.port} answered 500"]


# ---- signing in -----------------------------------------------------------------------------------


def test_a_code_is_sent_when_it_is_asked_for_and_counts_once(place: Place, sms: ByPhone, gateway: PhoneGateway) -> None:
    row = registered(place, sms, gateway)
    assert page(place, sms) == {"step": "ask", "numbers": [(row.id, "+34 ••• 78")]}
    assert len(gateway.taken) == 1
    assert ask(place, sms, row) is None
    assert page(place, sms)["step"] == "code"
    assert page(place, sms)["shown"] == "+34 ••• 78"
    assert page(place, sms, OTHER)["step"] == "ask"
    assert len(gateway.taken) == 2
    code = gateway.code()
    assert answer(place, sms, f" {code[:3]} {code[3:]} ") == row
    assert answer(place, sms, code) == phone_codes.OVER
    assert code not in str(place.run(place.store.read(lambda c: c.execute(select(schema.challenges)).all())))


def test_codes_of_two_sign_ins_are_not_exchanged(place: Place, sms: ByPhone, gateway: PhoneGateway) -> None:
    row = registered(place, sms, gateway)
    ask(place, sms, row, ONE)
    first = gateway.code()
    ask(place, sms, row, OTHER)
    second = gateway.code()
    if first != second:
        assert answer(place, sms, second, ONE) == phone_codes.WRONG
        assert answer(place, sms, first, OTHER) == phone_codes.WRONG
    assert answer(place, sms, first, ONE) == row
    assert answer(place, sms, second, OTHER) == row


def test_three_tries_and_five_minutes(place: Place, sms: ByPhone, gateway: PhoneGateway) -> None:
    row = registered(place, sms, gateway)
    ask(place, sms, row)
    assert [answer(place, sms, gateway.wrong()) for _ in range(3)] == [
        phone_codes.WRONG,
        phone_codes.WRONG,
        phone_codes.OVER,
    ]
    assert answer(place, sms, gateway.code()) == phone_codes.OVER
    assert page(place, sms)["step"] == "ask"
    ask(place, sms, row)
    place.now += WITHIN - 1
    assert answer(place, sms, "12345") == phone_codes.NO_CODE
    place.now += 1
    assert answer(place, sms, gateway.code()) == phone_codes.OVER


def test_a_new_code_takes_the_place_of_the_one_before(place: Place, sms: ByPhone, gateway: PhoneGateway) -> None:
    row = registered(place, sms, gateway)
    ask(place, sms, row)
    old = gateway.code()
    ask(place, sms, row)
    if old != gateway.code():
        assert answer(place, sms, old) == phone_codes.WRONG
    assert answer(place, sms, gateway.code()) == row


def test_of_ten_at_once_one_counts(place: Place, sms: ByPhone, gateway: PhoneGateway) -> None:
    row = registered(place, sms, gateway)
    ask(place, sms, row)
    rows = place.rows(place.alice)

    async def race() -> list[FactorRow | str]:
        begun = await sms.begin(place.alice, rows, ONE)
        tries = (sms.finish(place.alice, rows, begun.notes, {"code": gateway.code()}) for _ in range(10))
        return await asyncio.gather(*tries)

    came = place.run(race())
    assert came.count(row) == 1
    assert came.count(phone_codes.OVER) == 9


def test_only_to_numbers_of_their_own(place: Place, sms: ByPhone, gateway: PhoneGateway) -> None:
    row = registered(place, sms, gateway)
    gateway.taken.clear()
    assert place.run(sms.send(place.bob, place.rows(place.bob), ONE, {"factor": str(row.id)})) == phone_codes.NO_SUCH
    assert place.run(sms.send(place.alice, [row], ONE, {})) == phone_codes.NO_SUCH
    assert gateway.taken == []


def test_a_country_that_is_taken_off_the_list_gets_no_more(
    place: Place, sms: ByPhone, gateway: PhoneGateway, tmp_path: Path
) -> None:
    row = registered(place, sms, gateway)
    config = replace(configuration(tmp_path), factors=Factors(sms=gateway.settings("PT")))
    later = registry.make(config, place.store, place.sealer, place.clock, os.urandom, texts=texts.load())
    found = later[FactorKind.SMS]
    assert isinstance(found, ByPhone)
    assert "that country" in str(ask(place, found, row))


def test_nothing_is_sent_to_who_reported_fraud(place: Place, sms: ByPhone, gateway: PhoneGateway) -> None:
    row = registered(place, sms, gateway)
    place.run(place.store.write(lambda c: people.change(c, place.alice.id, push_blocked=True)))
    gateway.taken.clear()
    assert ask(place, sms, row) == phone_codes.BLOCKED
    assert typed(place, sms, "+34612345670").problem == phone_codes.BLOCKED
    assert gateway.taken == []


# ---- what is said ---------------------------------------------------------------------------------


def test_a_text_message_ends_with_the_line_that_binds_it(place: Place, sms: ByPhone, gateway: PhoneGateway) -> None:
    typed(place, sms, NUMBER)
    code = gateway.code()
    assert gateway.taken[0] == {
        "to": NUMBER,
        "text": f"{code} is your code for . Enter it at login.example.org only. Nobody will ask you for it.\n\n"
        f"@login.example.org #{code}",
        "language": "en",
        "kind": "sms",
    }


def test_a_call_reads_slowly_and_twice_in_the_persons_language(
    place: Place, call: ByPhone, gateway: PhoneGateway
) -> None:
    typed(place, call, NUMBER, language="es")
    said, code = gateway.taken[0], gateway.code()
    assert (said["kind"], said["language"], said["digits"]) == ("call", "es", code)
    assert said["text"].count(". ".join(code)) == 2
    assert said["text"].startswith("Hola. ")
    typed(place, call, "+34612345679", place.bob, language="xx")
    assert gateway.taken[1]["language"] == "en"


# ---- limits ---------------------------------------------------------------------------------------


def test_three_an_hour_to_one_account_calls_among_them(
    place: Place, sms: ByPhone, call: ByPhone, gateway: PhoneGateway
) -> None:
    row = registered(place, sms, gateway)
    assert [ask(place, sms, row, session) for session in (ONE, OTHER)] == [None, None]
    assert not typed(place, call, NUMBER).problem
    said = ask(place, sms, row)
    assert said == phone_codes.ENOUGH
    assert isinstance(said, TooMany)
    assert typed(place, call, "+34612345679").problem == phone_codes.ENOUGH
    assert len(gateway.taken) == 4
    place.now += HOUR
    assert ask(place, sms, row) is None


def test_a_gateway_that_fails_costs_no_limit_but_the_accounts(
    place: Place, sms: ByPhone, gateway: PhoneGateway, failures: list[str]
) -> None:
    row = registered(place, sms, gateway)
    gateway.status = 503
    assert [isinstance(ask(place, sms, row), Failing) for _ in range(3)] == [True, True, True]
    assert page(place, sms)["step"] == "ask"
    assert ask(place, sms, row) == phone_codes.ENOUGH
    assert len(failures) == 3
    counted = place.run(place.store.read(sent_codes.sent, place.bob.id, FactorKind.SMS, prefix_of(NUMBER), place.now))
    assert (counted.prefix, counted.day) == (0, 1)


def test_the_daily_limit_holds_for_everybody_and_is_told(
    place: Place, gateway: PhoneGateway, tmp_path: Path, failures: list[str]
) -> None:
    factor = made(place, gateway, tmp_path, failures, limit=2)[FactorKind.SMS]
    typed(place, factor, NUMBER)
    typed(place, factor, "+34722345678")
    said = typed(place, factor, "+34732345678", place.bob).problem
    assert said == phone_codes.BUSY
    assert failures == ["sms: the daily limit of 2 is reached"]
    assert len(gateway.taken) == 2
    place.now += DAY
    assert not typed(place, factor, NUMBER).problem


def test_neighbours_share_a_limit_however_many_ask_at_once(
    place: Place, sms: ByPhone, gateway: PhoneGateway, failures: list[str]
) -> None:
    """A hundred numbers that begin alike, each for an account of its own, all at once."""
    from proxy.store import accounts
    from proxy.store.accounts import NewAccount

    def add(c: Connection) -> list[Account]:
        return [accounts.add(c, NewAccount(f"p{n}@example.org", 1000.0)) for n in range(100)]

    people_ = place.run(place.store.write(add))

    async def all_at_once() -> list[NewFactor | Begun | str]:
        notes = {"name": "x"}
        tries = (sms.finish_registration(who, notes, {"number": f"+121255501{n:02}"}) for n, who in enumerate(people_))
        return await asyncio.gather(*tries)

    came = [begun.problem for begun in place.run(all_at_once()) if isinstance(begun, Begun)]
    assert sorted(came) == [""] * 10 + [phone_codes.BUSY] * 90
    assert len(gateway.taken) == 10
    assert set(failures) == {"sms: the limit for numbers that begin alike is reached"}
    assert not typed(place, sms, "+14155550100", place.bob).problem


def test_the_numbers_of_the_threat_begin_alike() -> None:
    prefixes = {prefix_of(f"+1555000{n}") for n in range(100)}
    assert prefixes == {"155500"}
    assert may_send(Sent(0, 9, 9), 10) is Sending.YES
    assert may_send(Sent(0, 10, 0), 200) is Sending.PREFIX
    assert may_send(Sent(3, 10, 999), 200) is Sending.ACCOUNT
    assert may_send(Sent(2, 9, 200), 200) is Sending.DAY


def test_codes_have_six_digits() -> None:
    assert code_from(bytes(16)) == "000000"
    assert {len(code_from(os.urandom(16))) for _ in range(200)} == {6}
