from dataclasses import replace

from proxy.domain.sign_in import Outcome
from proxy.store import sign_ins
from proxy.store.engine import Store
from proxy.store.sign_ins import KEPT, SignIn
from tests.store import rows


def sign_in(account_id: int, time: float, **fields: object) -> SignIn:
    row = SignIn(account_id, time, Outcome.SIGNED_IN, "totp: phone", "192.0.2.7", "192.0.2.7/32", "Firefox", 3)
    return replace(row, **fields)


def test_the_newest_come_first(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        given = [
            sign_in(alice.id, 10.0),
            sign_in(alice.id, 20.0, outcome=Outcome.WRONG_PASSWORD, factor=None, device_id=None),
        ]
        for row in given:
            sign_ins.record(c, row)
        sign_ins.record(c, sign_in(bob.id, 5.0))
        assert sign_ins.last(c, alice.id) == given[::-1]
        assert sign_ins.last(c, alice.id, 1) == given[1:]
        assert sign_ins.last_times(c, [alice.id, bob.id, 99]) == {alice.id: 10.0, bob.id: 5.0}


def test_a_flood_of_tries_is_bounded_and_pushes_out_no_sign_in(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        sign_ins.record(c, sign_in(alice.id, 1.0))
        sign_ins.record(c, sign_in(bob.id, 1.0, outcome=Outcome.WRONG_PASSWORD))
        for n in range(KEPT + 50):
            sign_ins.record(c, sign_in(alice.id, 10.0 + n, outcome=Outcome.WRONG_PASSWORD))
        kept = sign_ins.last(c, alice.id, 1000)
        assert [row.time for row in kept] == [9.0 + KEPT + 50 - n for n in range(KEPT)] + [1.0]
        assert len(sign_ins.last(c, bob.id)) == 1
        for n in range(KEPT + 5):
            sign_ins.record(c, sign_in(alice.id, 1000.0 + n))
        assert len(sign_ins.last(c, alice.id, 1000)) == 2 * KEPT


def test_of_another_version_an_outcome_is_text(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        sign_ins.record(c, sign_in(alice.id, 1.0, outcome="by_carrier_pigeon"))
        assert sign_ins.last(c, alice.id)[0].outcome == "by_carrier_pigeon"
