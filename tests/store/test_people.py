from proxy.domain.model import MfaState
from proxy.store import accounts, people
from proxy.store.engine import Store
from proxy.store.people import Person
from tests.store import rows


def test_a_person_without_a_row_has_the_defaults(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        assert people.by_id(c, alice.id) == Person(alice.id)
        assert people.change(c, alice.id, language="es", must_change=True)
        assert people.change(c, alice.id, recovery_address="alice@example.net")
        changed = Person(alice.id, language="es", must_change=True, recovery_address="alice@example.net")
        assert people.by_id(c, alice.id) == changed


def test_one_whose_account_is_gone_is_not_made_up(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        people.change(c, alice.id, language="es")
        accounts.remove(c, alice.id, 2000.0)
        assert not people.change(c, alice.id, language="de")
        assert people.by_id(c, alice.id) == Person(alice.id)


def test_a_factor_is_due_since_the_mfa_state_first_said_so(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")

        def since() -> list[float | None]:
            return [people.by_id(c, account.id).mfa_since for account in (alice, bob)]

        people.mfa_set(c, [alice.id], MfaState.ENABLED, 10.0)
        assert since() == [10.0, None]
        people.mfa_set(c, [alice.id, bob.id], MfaState.ENFORCED, 20.0)
        assert since() == [10.0, 20.0]
        people.mfa_set(c, [alice.id], MfaState.DISABLED, 30.0)
        assert since() == [None, 20.0]
        people.mfa_set(c, [alice.id], MfaState.ENABLED, 40.0)
        assert since() == [40.0, 20.0]


def test_bypass_and_wait_end_by_themselves() -> None:
    person = Person(1, bypass_until=100.0, mint_after=200.0)
    assert [person.bypassed(now) for now in (99.0, 100.0)] == [True, False]
    assert [person.may_mint(now) for now in (199.0, 200.0)] == [False, True]
    assert not Person(1).bypassed(0.0)
    assert Person(1).may_mint(0.0)
