from proxy.store import notices
from proxy.store.engine import Store
from proxy.store.notices import KEPT, Notice
from tests.store import rows
from tests.store.race import race


def test_due_until_it_is_sent(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        later = notices.add(
            c, alice.id, "digest", channel="mail", recipient="a@example.net", text={}, now=10.0, due=50.0
        )
        first = notices.add(
            c, alice.id, "new_device", channel="mail", recipient="a@example.net", text={"device": "Firefox"}, now=20.0
        )
        given = Notice(
            first, alice.id, "new_device", 20.0, 20.0, None, 0, "mail", "a@example.net", {"device": "Firefox"}
        )
        assert notices.due(c, 19.0) == []
        assert notices.due(c, 20.0) == [given]
        assert [notice.id for notice in notices.due(c, 50.0)] == [first, later]
        assert [notice.id for notice in notices.due(c, 50.0, 1)] == [first]
    assert sorted(race(store, [lambda c: notices.claim(c, given, 80.0)] * 2)) == [False, True]
    with store.writing() as c:
        assert [notice.id for notice in notices.due(c, 79.0)] == [later]
        (again,) = [notice for notice in notices.due(c, 80.0) if notice.id == first]
        assert (again.tries, again.due) == (1, 80.0)
        notices.sent(c, first, 81.0)
        assert not notices.claim(c, again, 90.0)
        notices.give_up(c, later)
        assert notices.due(c, 1e9) == []


def test_counted_and_forgotten(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        for account, kind, now in ((alice, "a", 10.0), (alice, "b", 20.0), (bob, "a", 30.0)):
            notices.add(c, account.id, kind, channel="push", recipient="", text={}, now=now)
        assert notices.count_since(c, alice.id, 0.0) == 2
        assert notices.count_since(c, alice.id, 10.0) == 1
        assert notices.count_since(c, alice.id, 0.0, ["a"]) == 1
        assert notices.prune(c, 20.0 + KEPT) == 2
