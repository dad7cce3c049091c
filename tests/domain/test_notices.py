import pytest

from proxy.domain.notices import (
    MOST_A_DAY,
    RETRY,
    TO_ADMINS,
    WEEK,
    Kind,
    Past,
    allowance,
    at_once,
    digest_due,
    is_new_place,
    is_their_own,
    retry_after,
)
from proxy.domain.verdicts import Reason

PAST = Past(frozenset({"192.0.2.7/32", "2001:db8:1:2::/64"}), frozenset({"Thunderbird 128"}))


def test_three_a_day() -> None:
    assert [at_once(Kind.APP_PASSWORD_CREATED, told, 0) for told in range(5)] == [True, True, True, False, False]
    assert allowance(Kind.APP_PASSWORD_CREATED)[1] == MOST_A_DAY == 3


def test_a_reset_is_told_whatever_was_told_before() -> None:
    assert at_once(Kind.FACTORS_RESET, 99, 99)


def test_an_old_phone_is_told_of_once_a_day_so_that_it_holds_nothing_else_back() -> None:
    assert at_once(Kind.OLD_PROGRAM, 2, 0)
    assert not at_once(Kind.OLD_PROGRAM, 1, 1)
    assert not at_once(Kind.OLD_PROGRAM, 3, 0)


def test_admins_have_an_allowance_of_their_own() -> None:
    for kind in TO_ADMINS:
        kinds, most = allowance(kind)
        assert set(kinds) == TO_ADMINS
        assert most > MOST_A_DAY
    assert not TO_ADMINS & set(allowance(Kind.SIGNED_IN)[0])
    assert at_once(Kind.MAIL_FAILING, 0, 0)
    assert not at_once(Kind.MAIL_FAILING, 1, 1)


def test_the_pauses_between_tries_grow() -> None:
    assert [retry_after(tries) for tries in (1, 2, 3, 4, 5, 50)] == [60.0, 300.0, 1800.0, 7200.0, 7200.0, 7200.0]
    assert list(RETRY) == sorted(RETRY)


@pytest.mark.parametrize(
    ("reason", "network", "program", "tombstone", "own"),
    [
        (Reason.NOT_APP_PASSWORD, "192.0.2.7/32", None, False, True),
        (Reason.NOT_APP_PASSWORD, "2001:db8:1:2::/64", "anything", False, True),
        (Reason.REVOKED, "198.51.100.9/32", "Thunderbird 128", True, True),
        (Reason.EXPIRED, "198.51.100.9/32", "Thunderbird 128", True, True),
        # What anybody can say to a thousand accounts is not enough ...
        (Reason.NOT_APP_PASSWORD, "198.51.100.9/32", "Thunderbird 128", False, False),
        # ... but from the provider of their own phone it is.
        (Reason.NOT_APP_PASSWORD, "192.0.99.9/32", "Thunderbird 128", False, True),
        (Reason.NOT_APP_PASSWORD, "192.0.99.9/32", "Outlook", False, False),
        (Reason.NOT_APP_PASSWORD, "192.0.99.9/32", None, False, False),
        (Reason.REVOKED, "198.51.100.9/32", "Outlook", True, False),
        (Reason.UNKNOWN_APP_PASSWORD, "192.0.2.7/32", "Thunderbird 128", False, False),
        (Reason.WRONG_NETWORK, "192.0.2.7/32", "Thunderbird 128", False, False),
        ("of another version", "192.0.2.7/32", "Thunderbird 128", False, False),
    ],
)
def test_only_what_looks_like_their_own_is_told_at_once(
    reason: Reason | str, network: str, program: str | None, tombstone: bool, own: bool
) -> None:
    assert is_their_own(PAST, reason, network, program, tombstone) is own


def test_who_has_no_past_is_told_of_nothing() -> None:
    assert not is_their_own(Past(), Reason.REVOKED, "192.0.2.7/32", "Thunderbird 128", True)


def test_a_place_is_new_when_nothing_near_it_was_seen() -> None:
    assert not is_new_place("192.0.200.1/32", PAST.networks)
    assert is_new_place("198.51.100.1/32", PAST.networks)
    assert not is_new_place("2001:db8:9:9::/64", PAST.networks)
    assert is_new_place("2a00:1450:1:1::/64", PAST.networks)
    assert is_new_place("no address", [])
    assert not is_new_place("no address", ["no address"])


def test_a_digest_comes_a_week_after_the_one_before_or_after_the_first_of_it() -> None:
    assert not digest_due(1e9, None, [])
    assert not digest_due(10.0 + WEEK - 1, None, [10.0, 5000.0])
    assert digest_due(10.0 + WEEK, None, [10.0, 5000.0])
    assert not digest_due(100.0 + WEEK - 1, 100.0, [200.0])
    assert digest_due(100.0 + WEEK, 100.0, [200.0])
