from proxy.store import devices, portal_sessions
from proxy.store.devices import MOST
from proxy.store.engine import Store
from tests.store import rows
from tests.store.test_portal_sessions import session


def test_known_to_its_account_alone(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        laptop = devices.add(c, alice.id, b"t", "Firefox on Linux", 10.0, "192.0.2.7")
        assert devices.by_token(c, alice.id, b"t") == laptop
        assert devices.by_token(c, bob.id, b"t") is None
        assert not devices.rename(c, bob.id, laptop.id, "mine now")
        assert not devices.remember(c, bob.id, laptop.id, 1e9)
        assert not devices.remove(c, bob.id, laptop.id)
        assert devices.of_account(c, alice.id) == [laptop]


def test_renamed_remembered_seen(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        laptop = devices.add(c, alice.id, b"t", "Firefox", 10.0, "192.0.2.7")
        phone = devices.add(c, alice.id, b"u", "Phone", 11.0, "192.0.2.8")
        devices.seen(c, laptop.id, 20.0, "192.0.2.9")
        assert devices.remember(c, alice.id, laptop.id, 100.0)
        assert devices.rename(c, alice.id, laptop.id, "at work")
        first, second = devices.of_account(c, alice.id)
        assert (first.name, first.seen, first.address, first.created) == ("at work", 20.0, "192.0.2.9", 10.0)
        assert [first.remembered(now) for now in (99.0, 100.0)] == [True, False]
        assert second == phone
        assert not second.remembered(0.0)


def test_a_removed_one_takes_its_sessions_along(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        laptop = devices.add(c, alice.id, b"t", "Firefox", 10.0, "192.0.2.7")
        portal_sessions.add(c, session(alice.id, "there", device_id=laptop.id))
        portal_sessions.add(c, session(alice.id, "elsewhere"))
        assert devices.remove(c, alice.id, laptop.id)
        left = portal_sessions.of_account(c, alice.id, 1001.0)
        assert [live.token_hash for live in left] == [b"elsewhere"]
        assert devices.add(c, alice.id, b"t2", "Firefox", 20.0, "192.0.2.7").id != laptop.id


def test_all_removed_at_once_and_bounded(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        devices.add(c, bob.id, b"bob", "Firefox", 1.0, "192.0.2.7")
        for n in range(MOST + 3):
            devices.add(c, alice.id, f"t{n}".encode(), "Firefox", 10.0 + n, "192.0.2.7")
        assert len(devices.of_account(c, alice.id)) == MOST
        assert devices.by_token(c, alice.id, b"t2") is None
        assert devices.by_token(c, alice.id, b"t3") is not None
        assert devices.remove_all(c, alice.id) == MOST
        assert len(devices.of_account(c, bob.id)) == 1
