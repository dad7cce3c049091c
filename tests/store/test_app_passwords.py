from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from proxy.domain.model import AppPasswordRecord, EndReason, LastUse, Protocol
from proxy.domain.secret import Secret
from proxy.store import accounts, app_passwords
from proxy.store.app_passwords import Use
from proxy.store.engine import Store
from proxy.store.errors import NameTaken, TagTaken
from tests.store import rows


def test_what_is_added_is_found_with_all_it_has(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        added = rows.app_password(
            c,
            alice.id,
            "Grandma's phone, blue",
            scopes=frozenset({Protocol.LDAP, Protocol.IMAP}),
            networks=("192.0.2.0/24", "2001:db8::/64"),
            created=1000.125,
            expires=2000.5,
            pepper_version=3,
            tag=2**32 - 1,
            hash=Secret("$argon2id$v=19$m=1024,t=1,p=1$c2FsdA$aGFzaA"),
        )
    assert added == AppPasswordRecord(
        id=added.id,
        account_id=alice.id,
        owner_id=alice.id,
        name="Grandma's phone, blue",
        scopes=frozenset({Protocol.LDAP, Protocol.IMAP}),
        networks=("192.0.2.0/24", "2001:db8::/64"),
        created=1000.125,
        expires=2000.5,
        ended=None,
        end_reason=None,
        generation=1,
        pepper_version=3,
        tag=2**32 - 1,
        hash=Secret("$argon2id$v=19$m=1024,t=1,p=1$c2FsdA$aGFzaA"),
    )
    with store.reading() as c:
        assert app_passwords.by_id(c, added.id) == added
        assert app_passwords.by_id(c, 999) is None
        assert app_passwords.by_tags(c, alice.id, [(3, 2**32 - 1)]) == [added]
        assert app_passwords.of_account(c, alice.id) == app_passwords.of_account(c, None) == [added]


def test_by_tags_is_for_one_account_and_pepper_and_finds_tombstones(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        live = rows.app_password(c, alice.id, "live", tag=7, pepper_version=2)
        gone = rows.app_password(c, alice.id, "gone", tag=8, pepper_version=1)
        rows.app_password(c, bob.id, tag=7, pepper_version=2)
        (gone,) = app_passwords.end(c, [gone.id], 5.0, EndReason.REVOKED)
    with store.reading() as c:
        assert app_passwords.by_tags(c, alice.id, [(2, 7)]) == [live]
        assert app_passwords.by_tags(c, alice.id, [(2, 7), (1, 8)]) == [live, gone]
        assert app_passwords.by_tags(c, alice.id, [(1, 7), (2, 8), (2, 9)]) == []
        assert app_passwords.by_tags(c, alice.id, []) == []


def test_a_tag_is_unique_in_an_account_tombstones_included(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        gone = rows.app_password(c, alice.id, tag=7)
        app_passwords.end(c, [gone.id], 5.0, EndReason.REVOKED)
        for pepper_version in (1, 2):
            with pytest.raises(TagTaken):
                rows.app_password(c, alice.id, tag=7, pepper_version=pepper_version)
        assert rows.app_password(c, bob.id, tag=7).tag == 7


def test_a_name_is_unique_among_live_ones_and_free_again_after_the_end(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        first = rows.app_password(c, alice.id, "phone")
        with pytest.raises(NameTaken) as caught:
            rows.app_password(c, alice.id, "phone")
        assert (caught.value.what, caught.value.name) == ("app password", "phone")
        assert rows.app_password(c, bob.id, "phone").name == "phone"
        app_passwords.end(c, [first.id], 5.0, EndReason.REVOKED)
        second = rows.app_password(c, alice.id, "phone")
        assert [r.id for r in app_passwords.find(c, alice.id, "phone")] == [second.id, first.id]
        assert app_passwords.count_live(c, alice.id) == 1


def test_an_app_password_needs_its_account(store: Store) -> None:
    with pytest.raises(IntegrityError), store.writing() as c:
        rows.app_password(c, 999)


def test_find_takes_names_and_ids_live_ones_first(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        phone = rows.app_password(c, alice.id, "phone")
        confusing = rows.app_password(c, alice.id, str(phone.id))
        bobs = rows.app_password(c, bob.id, "phone")
        assert app_passwords.find(c, alice.id, "phone") == [phone]
        assert app_passwords.find(c, None, "phone") == [bobs, phone]
        assert app_passwords.find(c, alice.id, str(phone.id)) == [confusing, phone]
        assert app_passwords.find(c, alice.id, str(bobs.id)) == []
        for nothing in ("Phone", "", "٣", "²", "9" * 40, "-1", "phone "):
            assert app_passwords.find(c, alice.id, nothing) == []
        (ended,) = app_passwords.end(c, [confusing.id], 5.0, EndReason.REVOKED)
        assert app_passwords.find(c, alice.id, str(phone.id)) == [phone, ended]


def test_change_gives_a_live_one_what_is_given_and_leaves_the_rest(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        phone = rows.app_password(c, alice.id, "phone", tag=1)
        rows.app_password(c, alice.id, "laptop", tag=2)
        assert app_passwords.change(c, phone.id, name="tablet") == replace(phone, name="tablet")
        assert app_passwords.change(c, phone.id, expires=9.5) == replace(phone, name="tablet", expires=9.5)
        narrow = app_passwords.change(c, phone.id, scopes=frozenset({Protocol.IMAP}), networks=("192.0.2.0/24",))
        assert narrow is not None
        assert (narrow.scopes, narrow.networks, narrow.expires) == ({Protocol.IMAP}, ("192.0.2.0/24",), 9.5)
        assert narrow.generation == phone.generation + 1
        with pytest.raises(NameTaken):
            app_passwords.change(c, phone.id, name="laptop")
        app_passwords.end(c, [phone.id], 5.0, EndReason.REVOKED)
        assert app_passwords.change(c, phone.id, name="phone") is None
    with store.reading() as c:
        ended = app_passwords.by_id(c, phone.id)
    assert ended is not None
    assert (ended.name, ended.generation) == ("tablet", phone.generation + 2)


def test_end_returns_only_what_was_live_and_leaves_the_rest_as_it_was(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        one, two, three = (rows.app_password(c, alice.id, name) for name in ("one", "two", "three"))
        (first,) = app_passwords.end(c, [two.id, two.id], 5.0, EndReason.EXPIRED)
        assert (first.id, first.ended, first.end_reason, first.generation) == (two.id, 5.0, EndReason.EXPIRED, 2)
        ended = app_passwords.end(c, [three.id, two.id, one.id, 999], 6.0, EndReason.REVOKED)
        assert [(r.id, r.ended, r.end_reason, r.generation) for r in ended] == [
            (one.id, 6.0, EndReason.REVOKED, 2),
            (three.id, 6.0, EndReason.REVOKED, 2),
        ]
        assert app_passwords.by_id(c, two.id) == first
        assert app_passwords.end(c, [one.id, two.id, three.id], 7.0, EndReason.REVOKED) == []
        assert app_passwords.end(c, [], 7.0, EndReason.REVOKED) == []
        assert app_passwords.of_account(c, alice.id, live_only=True) == []
        assert len(app_passwords.of_account(c, alice.id)) == 3


def test_many_end_at_once(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        ids = [rows.app_password(c, alice.id, str(n)).id for n in range(620)]
        assert [r.id for r in app_passwords.end(c, reversed(ids), 5.0, EndReason.REVOKED)] == ids


def test_due_are_those_past_their_expiry_that_have_not_ended(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        now = rows.app_password(c, alice.id, "now", expires=100.0)
        rows.app_password(c, alice.id, "later", expires=100.5)
        rows.app_password(c, alice.id, "never")
        gone = rows.app_password(c, alice.id, "gone", expires=50.0)
        app_passwords.end(c, [gone.id], 60.0, EndReason.EXPIRED)
        assert app_passwords.due(c, 100.0) == [now]
        assert app_passwords.due(c, 99.9) == []


def test_unused_since_goes_by_last_use_else_by_creation(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        never = rows.app_password(c, alice.id, "never", created=100.0)
        used = rows.app_password(c, alice.id, "used", created=100.0)
        stale = rows.app_password(c, alice.id, "stale", created=100.0)
        rows.app_password(c, alice.id, "new", created=300.0)
        gone = rows.app_password(c, alice.id, "gone", created=100.0)
        app_passwords.end(c, [gone.id], 150.0, EndReason.REVOKED)
        app_passwords.record_uses(c, [use(used.id, 250.0), use(stale.id, 199.0)])
        assert [r.id for r in app_passwords.unused_since(c, 200.0)] == [never.id, stale.id]
        assert [r.id for r in app_passwords.unused_since(c, 199.0)] == [never.id]


def use(app_password_id: int, time: float, messages: int = 0, recipients: int = 0) -> Use:
    return Use(app_password_id, LastUse(time, "192.0.2.1", Protocol.IMAP, None), messages, recipients)


def test_uses_add_up_and_the_newest_stays_the_last(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        phone, other = rows.app_password(c, alice.id), rows.app_password(c, alice.id, "other")
        last = LastUse(50.0, "2001:db8::1", Protocol.SMTP, "mutt")
        app_passwords.record_uses(c, [])
        app_passwords.record_uses(
            c,
            [
                Use(phone.id, last, 2, 5),
                use(phone.id, 40.0, 1, 1),  # a session that began earlier ended later
                Use(phone.id, None, 1, 3),
                use(999, 60.0, 1, 1),  # gone meanwhile
            ],
        )
        found = app_passwords.by_id(c, phone.id)
        assert found is not None
        assert (found.last_used, found.messages, found.recipients) == (last, 4, 9)
        assert found.generation == phone.generation
        app_passwords.record_uses(c, [use(phone.id, 60.0)])
        found = app_passwords.by_id(c, phone.id)
        assert found is not None
        assert found.last_used == LastUse(60.0, "192.0.2.1", Protocol.IMAP, None)
        assert app_passwords.by_id(c, other.id) == other


def test_many_are_read_at_once(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org", aliases=("b",))
        phone, laptop = rows.app_password(c, alice.id), rows.app_password(c, bob.id)
        assert app_passwords.by_ids(c, [laptop.id, phone.id, phone.id, 999]) == {phone.id: phone, laptop.id: laptop}
        assert accounts.by_ids(c, {bob.id, alice.id, 999}) == {alice.id: alice, bob.id: bob}
        assert app_passwords.by_ids(c, []) == accounts.by_ids(c, []) == {}


def test_hashes_are_not_shown(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        new = rows.new_app_password(alice.id, hash=Secret("canary"))
        added = app_passwords.add(c, new)
        assert "canary" not in repr(new) + repr(added) + str(added)
    with pytest.raises(IntegrityError) as caught, store.writing() as c:
        rows.app_password(c, 999, hash=Secret("canary"))
    assert "canary" not in str(caught.value)
