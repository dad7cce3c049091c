from dataclasses import replace

from proxy.store import links
from proxy.store.engine import Store
from proxy.store.links import Link, Purpose
from tests.store import rows
from tests.store.race import race


def test_a_link_opens_what_it_is_for_once(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        links.add(c, b"t", alice.id, Purpose.MOBILECONFIG, now=10.0, expires=100.0, sealed=b"profile")
        link = Link(b"t", alice.id, Purpose.MOBILECONFIG, 10.0, 100.0, None, b"profile")
        assert links.find(c, b"t", 20.0, Purpose.MOBILECONFIG) == link
        assert links.find(c, b"t", 20.0, Purpose.SET_PASSWORD) is None
        assert links.find(c, b"t", 100.0, Purpose.MOBILECONFIG) is None
        assert links.use(c, b"t", 20.0, Purpose.SET_PASSWORD) is None
        assert links.use(c, b"t", 100.0, Purpose.MOBILECONFIG) is None
    use = lambda c: links.use(c, b"t", 20.0, Purpose.MOBILECONFIG)  # noqa: E731
    assert sorted(race(store, [use, use, use]), key=lambda found: found is None) == [link, None, None]
    with store.writing() as c:
        assert links.find(c, b"t", 20.0, Purpose.MOBILECONFIG) is None
        kept = c.exec_driver_sql("SELECT used, sealed FROM links").one()
        assert tuple(kept) == (20.0, None)  # what it handed over is not kept


def test_only_the_newest_sets_a_password(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        for token, account, purpose in (
            (b"bob", bob, Purpose.SET_PASSWORD),
            (b"profile", alice, Purpose.MOBILECONFIG),
            (b"old", alice, Purpose.SET_PASSWORD),
            (b"new", alice, Purpose.SET_PASSWORD),
            (b"profile2", alice, Purpose.MOBILECONFIG),
        ):
            links.add(c, token, account.id, purpose, now=10.0, expires=100.0)
        assert links.find(c, b"old", 11.0, Purpose.SET_PASSWORD) is None
        assert links.find(c, b"new", 11.0, Purpose.SET_PASSWORD) is not None
        assert links.find(c, b"profile", 11.0, Purpose.MOBILECONFIG) is not None
        assert links.withdraw(c, alice.id, Purpose.MOBILECONFIG) == 2
        assert links.withdraw(c, alice.id) == 1
        assert links.find(c, b"bob", 11.0, Purpose.SET_PASSWORD) is not None
        assert links.prune(c, 99.0) == 0
        assert links.prune(c, 100.0) == 1


def test_secrets_of_a_link_are_not_shown() -> None:
    link = Link(b"token", 1, Purpose.MOBILECONFIG, 1.0, 2.0, None, b"profile")
    assert "token" not in repr(link)
    assert "b'profile" not in repr(replace(link, used=1.0))
