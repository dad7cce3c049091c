from dataclasses import replace

from proxy.domain.model import Protocol
from proxy.domain.verdicts import Reason
from proxy.store import history
from proxy.store.engine import Store
from proxy.store.history import KEPT, MERGED_WITHIN, RefusalRecord
from tests.store import rows


def refusal(account_id: int, time: float, **fields: object) -> RefusalRecord:
    values = {"reason": Reason.REVOKED, "protocol": Protocol.IMAP, "network": "192.0.2.1/32", **fields}
    return RefusalRecord(account_id, time, **values)


def test_the_newest_come_first_with_the_true_reason(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        given = [
            refusal(alice.id, 10.0, app_password_id=4, program="K-9 Mail"),
            refusal(alice.id, 20.0, reason=Reason.WRONG_SCOPE, protocol=Protocol.SMTP, network="2001:db8::/64"),
            refusal(bob.id, 30.0),
        ]
        history.record(c, given)
    with store.reading() as c:
        assert history.last(c, alice.id, 20) == [replace(given[1], first=20.0), replace(given[0], first=10.0)]
        assert history.last(c, alice.id, 1) == [replace(given[1], first=20.0)]
        assert history.last(c, bob.id) == [replace(given[2], first=30.0)]


def test_an_old_phone_that_keeps_trying_is_one_row(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        for n in range(300):
            history.record(c, [refusal(alice.id, 60.0 * n, count=2)])
        assert history.last(c, alice.id) == [refusal(alice.id, 60.0 * 299, first=0.0, count=600)]


def test_like_refusals_far_apart_and_unlike_ones_are_rows_of_their_own(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        given = [
            refusal(alice.id, 1.0),
            refusal(alice.id, 2.0, reason=Reason.EXPIRED),
            refusal(alice.id, 3.0, protocol=Protocol.SMTP),
            refusal(alice.id, 4.0, network="192.0.2.2/32"),
            refusal(alice.id, 5.0, program="mutt"),
            refusal(alice.id, 6.0, app_password_id=1),
            refusal(alice.id, 1.0 + MERGED_WITHIN + 0.5),
        ]
        history.record(c, given)
        assert history.last(c, alice.id) == [replace(row, first=row.time) for row in reversed(given)]


def test_each_account_keeps_its_newest(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        history.record(c, [refusal(bob.id, 1.0)])
        history.record(c, [refusal(alice.id, float(n), program=f"p{n}") for n in range(KEPT + 50)])
        assert [row.time for row in history.last(c, alice.id, 1000)] == [float(n) for n in range(KEPT + 49, 49, -1)]
        assert len(history.last(c, bob.id)) == 1


def test_rows_of_an_account_that_is_gone_are_dropped(store: Store) -> None:
    """They are written behind: the account may have been removed since."""
    with store.writing() as c:
        alice = rows.account(c)
        history.record(c, [refusal(999, 1.0), refusal(alice.id, 2.0), refusal(999, 3.0)])
        assert len(history.last(c, alice.id)) == 1
        assert history.last(c, 999) == []
