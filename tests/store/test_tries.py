from sqlalchemy import func, select

from proxy.domain.factor_kinds import FactorKind
from proxy.store import schema, tries
from proxy.store.engine import Store
from proxy.store.tries import Limit
from tests.store import rows

LIMITS = (Limit(5, 30.0), Limit(20, 3600.0))
NOW = 1.79e9


def test_any_stretch_of_time_counts_wherever_it_begins(store: Store) -> None:
    with store.writing() as c:
        who = rows.account(c).id
        for second in (0, 25, 26, 27, 28):
            assert tries.allowed(c, who, FactorKind.TOTP, LIMITS, NOW + second)
            tries.count(c, who, FactorKind.TOTP, LIMITS, NOW + second)
        assert not tries.allowed(c, who, FactorKind.TOTP, LIMITS, NOW + 29)
        assert tries.allowed(c, who, FactorKind.TOTP, LIMITS, NOW + 30)
        tries.count(c, who, FactorKind.TOTP, LIMITS, NOW + 30)
        assert not tries.allowed(c, who, FactorKind.TOTP, LIMITS, NOW + 31)


def test_every_limit_holds(store: Store) -> None:
    with store.writing() as c:
        who = rows.account(c).id
        for n in range(20):
            tries.count(c, who, FactorKind.TOTP, LIMITS, NOW + 60 * n)
        assert not tries.allowed(c, who, FactorKind.TOTP, LIMITS, NOW + 3599)
        assert tries.allowed(c, who, FactorKind.TOTP, LIMITS, NOW + 3600)


def test_each_account_and_each_kind_by_itself(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c).id, rows.account(c, "bob@example.org").id
        for _ in range(5):
            tries.count(c, alice, FactorKind.TOTP, LIMITS, NOW)
        assert not tries.allowed(c, alice, FactorKind.TOTP, LIMITS, NOW)
        assert tries.allowed(c, bob, FactorKind.TOTP, LIMITS, NOW)
        assert tries.allowed(c, alice, FactorKind.SMS, LIMITS, NOW)


def test_what_no_limit_looks_back_to_is_forgotten(store: Store) -> None:
    with store.writing() as c:
        who = rows.account(c).id
        for n in range(100):
            tries.count(c, who, FactorKind.TOTP, LIMITS, NOW + 600 * n)
        assert c.execute(select(func.count()).select_from(schema.tries)).scalar() == 6
