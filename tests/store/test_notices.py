from proxy.domain.notices import Channel
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
        (waiting,) = notices.due(c, 1e9)
        notices.turn(c, waiting, Channel.MAILBOX, "alice@example.org", 100.0)
        assert notices.due(c, 99.0) == []
        (turned,) = notices.due(c, 100.0)
        assert (turned.channel, turned.recipient, turned.tries) == ("mailbox", "alice@example.org", 0)
        notices.turn(c, turned, Channel.PAGE, "", 200.0)
        assert notices.due(c, 1e9) == []
        assert [(one.kind, one.channel, one.sent) for one in notices.last(c, alice.id, 9)] == [
            ("new_device", "mail", 81.0),
            ("digest", "page", 200.0),
        ]
        assert notices.by_id(c, alice.id, first) == notices.last(c, alice.id, 1)[0]
        assert notices.by_id(c, alice.id + 1, first) is None


def test_what_is_for_the_page_alone_is_not_due(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        notices.add(c, alice.id, "digest", channel=Channel.PAGE, recipient="", text={}, now=10.0)
        assert notices.due(c, 1e9) == []


def test_counted_and_forgotten(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        for account, kind, channel, now in (
            (alice, "a", "push", 10.0),
            (alice, "b", "push", 20.0),
            (alice, "b", "mailbox", 20.0),
            (alice, "b", "page", 25.0),
            (bob, "a", "push", 30.0),
        ):
            notices.add(c, account.id, kind, channel=channel, recipient="", text={}, now=now)
        assert notices.count_since(c, alice.id, 0.0, ["a", "b"]) == 2
        assert notices.count_since(c, alice.id, 10.0, ["a", "b"]) == 1
        assert notices.count_since(c, alice.id, 0.0, ["a"]) == 1
        assert notices.prune(c, 20.0 + KEPT) == 3
