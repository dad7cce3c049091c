from dataclasses import replace

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from proxy.domain.model import Account, AccountKind, AppPasswordRecord, EndReason, MfaState, Protocol
from proxy.domain.secret import Secret
from proxy.domain.verdicts import Reason
from proxy.store import accounts, app_passwords, history, schema
from proxy.store.accounts import NewAccount
from proxy.store.engine import Store
from proxy.store.errors import NameTaken
from proxy.store.history import RefusalRecord
from tests.store import rows


def test_an_account_is_found_by_every_login_name_and_by_id_with_all_it_has(store: Store) -> None:
    with store.writing() as c:
        owner = rows.account(c)
        added = accounts.add(
            c,
            NewAccount(
                "printer@example.org",
                2000.25,
                kind=AccountKind.SERVICE,
                aliases=("zebra@example.org", "a-printer"),
                backend_name="printer1",
                display_name="Drucker im Büro",
                mfa=MfaState.ENABLED,
                admin=True,
                owner_id=owner.id,
                enabled=False,
            ),
        )
    assert added == Account(
        id=added.id,
        address="printer@example.org",
        kind=AccountKind.SERVICE,
        enabled=False,
        backend_name="printer1",
        display_name="Drucker im Büro",
        mfa=MfaState.ENABLED,
        admin=True,
        owner_id=owner.id,
        created=2000.25,
        login_names=("printer@example.org", "a-printer", "zebra@example.org"),
    )
    with store.reading() as c:
        for name in added.login_names:
            assert accounts.by_login_name(c, name) == added
        assert accounts.by_id(c, added.id) == added
        assert accounts.by_id(c, owner.id) == owner
        assert accounts.by_id(c, 999) is None
        # Exact: the caller has made names canonical, and a backend name is no login name.
        for name in (
            "printer1",
            "Printer@example.org",
            " printer@example.org",
            "printer@example.org\0",
            "%",
            "' OR 1=1--",
        ):
            assert accounts.by_login_name(c, name) is None


@pytest.mark.parametrize(
    ("address", "fields", "what", "name"),
    [
        ("alice@example.org", {}, "login name", "alice@example.org"),
        ("al@example.org", {}, "login name", "al@example.org"),
        ("bob@example.org", {"aliases": ("alice@example.org",)}, "login name", "alice@example.org"),
        ("bob@example.org", {"aliases": ("b", "al@example.org")}, "login name", "al@example.org"),
        ("bob@example.org", {"backend_name": "alice"}, "backend name", "alice"),
    ],
)
def test_two_accounts_never_share_a_name(
    store: Store, address: str, fields: dict[str, object], what: str, name: str
) -> None:
    with store.writing() as c:
        alice = rows.account(c, aliases=("al@example.org",), backend_name="alice")
    with store.writing() as c:
        with pytest.raises(NameTaken) as caught:
            rows.account(c, address, **fields)
        assert (caught.value.what, caught.value.name) == (what, name)
        # The transaction goes on, and nothing of the refused account is left.
        assert [row.account for row in accounts.listing(c)] == [alice]
        assert rows.account(c, "bob@example.org", aliases=("b",)).login_names == ("bob@example.org", "b")


def test_the_schema_itself_refuses_shared_names(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
    for statement in (
        schema.login_names.insert().values(name=alice.address, account_id=bob.id),
        schema.accounts.update().values(backend_name="same"),
        schema.accounts.update().values(address="same"),
    ):
        with pytest.raises(IntegrityError), store.writing() as c:
            c.execute(statement)


def test_many_are_added_together_or_not_at_all(store: Store) -> None:
    new = [NewAccount(f"u{n}@example.org", float(n), aliases=(f"u{n}",)) for n in range(450)]
    with store.writing() as c:
        added = accounts.add_many(c, new)
        assert accounts.add_many(c, []) == []
    assert [account.address for account in added] == [account.address for account in new]
    assert len({account.id for account in added}) == 450
    with store.reading() as c:
        assert accounts.by_login_name(c, "u449") == added[449] == accounts.by_id(c, added[449].id)
    with store.writing() as c:
        with pytest.raises(NameTaken, match="u7"):
            accounts.add_many(c, [NewAccount("x@example.org", 0.0), NewAccount("y@example.org", 0.0, aliases=("u7",))])
        with pytest.raises(NameTaken, match="z"):
            accounts.add_many(c, [NewAccount("z", 0.0), NewAccount("y@example.org", 0.0, aliases=("z",))])
    with store.reading() as c:
        assert len(accounts.listing(c)) == 450


def test_an_alias_that_repeats_the_address_counts_once(store: Store) -> None:
    with store.writing() as c:
        assert rows.account(c, aliases=("alice@example.org", "a", "a")).login_names == ("alice@example.org", "a")


def test_login_names_come_and_go(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c, aliases=("a",)), rows.account(c, "bob@example.org", aliases=("b",))
        assert accounts.add_login_names(c, alice.id, ["cn=a", "a", "cn=a"]) == ["cn=a"]
        with pytest.raises(NameTaken, match="b"):
            accounts.add_login_names(c, alice.id, ["b"])
        accounts.remove_login_names(c, alice.id, ["a", "b"])
        assert accounts.by_login_name(c, "a") is None
        assert accounts.by_login_name(c, "b") == bob
        assert accounts.by_login_name(c, "cn=a") == replace(alice, login_names=("alice@example.org", "cn=a"))


def test_an_id_is_never_used_again(store: Store) -> None:
    """Sessions, caches and tags know accounts by id."""
    with store.writing() as c:
        first = rows.account(c)
        accounts.remove(c, first.id, 1.0)
    with store.writing() as c:
        assert rows.account(c).id > first.id


def test_listing_chooses_counts_and_pages(store: Store) -> None:
    with store.writing() as c:
        carol = rows.account(c, "carol@example.org", mfa=MfaState.ENFORCED, aliases=("c", "0"))
        alice = rows.account(c)
        bob = rows.account(c, "bob@example.org")
        rows.app_password(c, alice.id, "phone")
        rows.app_password(c, alice.id, "laptop")
        old = rows.app_password(c, bob.id)
        app_passwords.end(c, [old.id], 5.0, EndReason.REVOKED)
    with store.reading() as c:
        assert [(row.account, row.app_passwords) for row in accounts.listing(c)] == [(alice, 2), (bob, 0), (carol, 0)]
        assert [row.account for row in accounts.listing(c, mfa=MfaState.ENFORCED)] == [carol]
        assert [row.account for row in accounts.listing(c, no_app_passwords=True)] == [bob, carol]
        assert [row.account for row in accounts.listing(c, limit=2)] == [alice, bob]
        assert [row.account for row in accounts.listing(c, after=bob.address, limit=2)] == [carol]


def generation(c: Connection, record: AppPasswordRecord) -> int:
    """The stored one's now."""
    found = app_passwords.by_id(c, record.id)
    assert found is not None
    return found.generation


def test_disabling_raises_the_generation_of_live_app_passwords_only(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        live, other = rows.app_password(c, alice.id), rows.app_password(c, bob.id)
        ended = rows.app_password(c, alice.id, "old")
        app_passwords.end(c, [ended.id], 5.0, EndReason.REVOKED)
        assert accounts.set_enabled(c, alice.id, False)
        assert not accounts.set_enabled(c, alice.id, False)
        assert not accounts.set_enabled(c, 999, False)
    with store.writing() as c:
        disabled = accounts.by_id(c, alice.id)
        assert disabled is not None
        assert not disabled.enabled
        assert generation(c, live) == live.generation + 1
        assert generation(c, ended) == ended.generation + 1  # by its end
        assert generation(c, other) == other.generation
        assert accounts.set_enabled(c, alice.id, True)
        assert accounts.by_id(c, alice.id) == alice
        assert generation(c, live) == live.generation + 1


def test_set_mfa_says_which_changed(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        bob = rows.account(c, "bob@example.org", mfa=MfaState.ENFORCED)
        assert accounts.set_mfa(c, [bob.id, alice.id, 999], MfaState.ENFORCED) == [alice.id]
        found = accounts.by_id(c, alice.id)
        assert found is not None
        assert found.mfa is MfaState.ENFORCED


def test_remove_takes_all_that_is_its_own_and_ends_what_it_minted_elsewhere(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c, aliases=("al",)), rows.account(c, "bob@example.org")
        info = rows.account(c, "info@example.org", kind=AccountKind.SHARED)
        printer = rows.account(c, "printer@example.org", kind=AccountKind.SERVICE, owner_id=alice.id)
        accounts.add_member(c, info.id, alice.id)
        accounts.add_member(c, info.id, bob.id)
        accounts.set_password_hash(c, alice.id, "$argon2id$x", 1.0)
        history.record(c, [RefusalRecord(alice.id, 1.0, Reason.REVOKED, Protocol.IMAP, "192.0.2.1/32")])
        own = rows.app_password(c, alice.id)
        old = rows.app_password(c, alice.id, "old")
        app_passwords.end(c, [old.id], 1.0, EndReason.REVOKED)
        minted = rows.app_password(c, info.id, owner_id=alice.id)
        bobs = rows.app_password(c, info.id, "bob's", owner_id=bob.id)

        ended = accounts.remove(c, alice.id, 9.0)

        assert [(r.id, r.ended, r.end_reason) for r in ended] == [
            (own.id, 9.0, EndReason.ACCOUNT_REMOVED),
            (minted.id, 9.0, EndReason.ACCOUNT_REMOVED),
        ]
        assert accounts.by_login_name(c, alice.address) is accounts.by_login_name(c, "al") is None
        assert accounts.members(c, info.id) == [bob]
        assert accounts.password_hash(c, alice.id) is None
        assert history.last(c, alice.id) == []
        assert app_passwords.of_account(c, alice.id) == []
        assert app_passwords.by_id(c, own.id) is None
        assert app_passwords.of_account(c, info.id, live_only=True) == [bobs]
        tombstone = app_passwords.by_id(c, minted.id)
        assert tombstone is not None
        assert (tombstone.owner_id, tombstone.end_reason) == (alice.id, EndReason.ACCOUNT_REMOVED)
        left = accounts.by_id(c, printer.id)
        assert left is not None
        assert left.owner_id is None
        for table in schema.metadata.sorted_tables:
            if "account_id" in table.c and table is not schema.audit:
                assert c.execute(select(table).where(table.c.account_id == alice.id)).all() == []


def test_members_come_and_go_with_what_they_minted(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        info = rows.account(c, "info@example.org", kind=AccountKind.SHARED)
        assert accounts.add_member(c, info.id, bob.id)
        assert accounts.add_member(c, info.id, alice.id)
        assert not accounts.add_member(c, info.id, alice.id)
        assert accounts.members(c, info.id) == [alice, bob]
        assert accounts.memberships(c, alice.id) == [info]
        minted = rows.app_password(c, info.id, owner_id=alice.id)
        own = rows.app_password(c, alice.id)
        ended = accounts.remove_member(c, info.id, alice.id, 5.0)
        assert [(r.id, r.end_reason) for r in ended] == [(minted.id, EndReason.REVOKED)]
        assert accounts.members(c, info.id) == [bob]
        assert accounts.memberships(c, alice.id) == []
        assert app_passwords.of_account(c, alice.id) == [own]


def test_account_password_hashes_are_apart(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        assert accounts.password_hash(c, alice.id) is None
        accounts.set_password_hash(c, alice.id, "$argon2id$one", 1.0)
        accounts.set_password_hash(c, alice.id, "$argon2id$two", 2.0)
        assert accounts.password_hash(c, alice.id) == Secret("$argon2id$two")
        assert accounts.by_id(c, alice.id) == alice
    assert "hash" not in schema.accounts.c
