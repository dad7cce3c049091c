from dataclasses import replace

from proxy.domain.sign_in import IDLE, LIFE, Stage
from proxy.store import portal_sessions
from proxy.store.engine import Store
from proxy.store.portal_sessions import MOST, PortalSession
from tests.store import rows
from tests.store.race import race


def session(account_id: int, token: str = "t", **fields: object) -> PortalSession:
    defaults: dict[str, object] = {
        "token_hash": token.encode(),
        "account_id": account_id,
        "stage": Stage.CHALLENGE,
        "created": 1000.0,
        "seen": 1000.0,
        "expires": 1000.0 + LIFE,
        "password_time": 1000.0,
        "factor_time": None,
        "device_id": None,
        "address": "192.0.2.7",
        "agent": "Firefox",
    }
    return PortalSession(**{**defaults, **fields})


def test_found_by_its_token_until_it_is_over(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        given = session(alice.id, notes={"challenge": "abc", "n": [1]})
        portal_sessions.add(c, given)
        assert portal_sessions.by_token(c, b"t", 1001.0) == given
        assert portal_sessions.by_token(c, b"other", 1001.0) is None
        assert portal_sessions.by_token(c, b"t", 1000.0 + IDLE) is None
        for n in range(1, 30):
            portal_sessions.touch(c, b"t", 1000.0 + n * IDLE / 2)
        assert portal_sessions.by_token(c, b"t", 999.0 + LIFE) is not None
        assert portal_sessions.by_token(c, b"t", 1000.0 + LIFE) is None
        assert portal_sessions.prune(c, 999.0 + LIFE) == 0
        assert portal_sessions.prune(c, 1000.0 + LIFE) == 1


def test_seen_does_not_go_back(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        portal_sessions.add(c, session(alice.id))
        portal_sessions.touch(c, b"t", 2000.0)
        portal_sessions.touch(c, b"t", 1500.0)
        assert portal_sessions.of_account(c, alice.id, 2001.0) == [replace(session(alice.id), seen=2000.0)]


def step_on(token: bytes):
    def job(c) -> bool:
        was = portal_sessions.by_token(c, b"t", 1010.0)
        step = {"stage": Stage.IN, "seen": 1010.0, "expires": 5000.0, "factor_time": 1010.0, "provider_time": 990.0}
        before = was or session(1)
        return portal_sessions.rotate(c, b"t", replace(before, token_hash=token, notes={}, **step))

    return job


def test_a_step_changes_the_token_and_drops_the_notes(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        portal_sessions.add(c, session(alice.id, notes={"half": "done"}))
        assert step_on(b"new")(c)
        assert portal_sessions.by_token(c, b"t", 1010.0) is None
        expected = session(alice.id, "new", stage=Stage.IN, seen=1010.0, expires=5000.0, factor_time=1010.0)
        expected = replace(expected, provider_time=990.0)
        assert portal_sessions.by_token(c, b"new", 1010.0) == expected
        assert not step_on(b"other")(c)


def test_of_two_requests_with_one_cookie_one_steps_on(store: Store) -> None:
    with store.writing() as c:
        portal_sessions.add(c, session(rows.account(c).id))
    assert sorted(race(store, [step_on(b"one"), step_on(b"two")])) == [False, True]


def test_notes_are_taken_once(store: Store) -> None:
    with store.writing() as c:
        portal_sessions.add(c, session(rows.account(c).id))
        assert portal_sessions.take_notes(c, b"t") is None
        assert portal_sessions.set_notes(c, b"t", {"challenge": "x"})
        assert not portal_sessions.set_notes(c, b"gone", {})
    take = lambda c: portal_sessions.take_notes(c, b"t")  # noqa: E731
    assert sorted(race(store, [take, take]), key=str) == [None, {"challenge": "x"}]


def test_a_person_ends_their_sessions(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        for name in ("a", "b", "c"):
            portal_sessions.add(c, session(alice.id, name))
        portal_sessions.add(c, session(bob.id, "bob"))
        assert portal_sessions.end(c, b"a")
        assert not portal_sessions.end(c, b"a")
        assert portal_sessions.end_all(c, alice.id, but=b"b") == 1
        assert portal_sessions.end_all(c, alice.id) == 1
        assert portal_sessions.by_token(c, b"bob", 1001.0) is not None


def test_half_way_ones_are_bounded_and_push_nobody_out(store: Store) -> None:
    """Who has an account's password can begin as many as they like."""
    with store.writing() as c:
        alice = rows.account(c)
        portal_sessions.add(c, session(alice.id, "real", stage=Stage.IN))
        for n in range(MOST + 20):
            portal_sessions.add(c, session(alice.id, f"t{n}", seen=1000.0 + n))
        left = portal_sessions.of_account(c, alice.id, 1100.0)
        assert len(left) == MOST + 1
        assert left[0].token_hash == f"t{MOST + 19}".encode()
        assert portal_sessions.by_token(c, b"real", 1100.0) is not None
        assert portal_sessions.by_token(c, b"t19", 1100.0) is None
        assert portal_sessions.by_token(c, b"t20", 1100.0) is not None
