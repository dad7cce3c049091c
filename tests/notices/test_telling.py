"""What is put into the outbox, and over which channel."""

import pytest

from proxy.domain.factor_kinds import FactorKind
from proxy.domain.model import AccountKind
from proxy.domain.notices import DAY, Kind
from proxy.notices.telling import tell, tell_admins
from proxy.store import factors, notices, people
from proxy.store.engine import Store
from proxy.store.factors import NewFactor
from tests.store import rows


def told(c, account) -> list[tuple[str, str, str]]:
    return [(one.kind, one.channel, one.recipient) for one in reversed(notices.last(c, account.id, 99))]


def phone(c, account, name="Phone", used=None) -> None:
    row = factors.add(c, account.id, NewFactor(FactorKind.PUSH, name, public={"endpoint": name}), 5.0)
    if used is not None:
        factors.mark_used(c, row.id, used)


def test_over_the_best_channel_that_the_person_has(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        tell(c, alice, Kind.SIGNED_IN, {"agent": "Firefox"}, 10.0)
        people.change(c, alice.id, recovery_address="alice@example.net")
        tell(c, alice, Kind.SIGNED_IN, {}, 20.0)
        phone(c, alice, "Old", used=6.0)
        phone(c, alice, "New", used=7.0)
        tell(c, alice, Kind.SIGNED_IN, {}, 30.0)
        assert told(c, alice) == [
            ("signed_in", "mailbox", "alice@example.org"),
            ("signed_in", "recovery", "alice@example.net"),
            ("signed_in", "push", '{"endpoint": "New"}'),
        ]
        assert notices.last(c, alice.id, 9)[-1].text == {"account": alice.address, "agent": "Firefox"}
        assert len(notices.due(c, 30.0)) == 3


def test_a_reset_is_told_over_every_channel_as_it_was(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        people.change(c, alice.id, recovery_address="alice@example.net")
        phone(c, alice)
        tell(c, alice, Kind.FACTORS_RESET, {}, 10.0)
        factors.remove_all(c, alice.id)
        people.change(c, alice.id, recovery_address="thief@example.net")
        assert told(c, alice) == [
            ("factors_reset", "push", '{"endpoint": "Phone"}'),
            ("factors_reset", "recovery", "alice@example.net"),
            ("factors_reset", "mailbox", "alice@example.org"),
        ]


def test_three_a_day_and_the_rest_on_the_page(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        for n in range(5):
            tell(c, alice, Kind.APP_PASSWORD_CREATED, {"name": str(n)}, 10.0 + n)
        assert [channel for _, channel, _ in told(c, alice)] == ["mailbox"] * 3 + ["page"] * 2
        tell(c, alice, Kind.FACTORS_RESET, {}, 20.0)
        assert told(c, alice)[-1] == ("factors_reset", "mailbox", "alice@example.org")
        tell(c, alice, Kind.APP_PASSWORD_CREATED, {}, 20.0 + DAY)
        assert told(c, alice)[-1] == ("app_password_created", "mailbox", "alice@example.org")


def test_every_admin_is_told_and_nobody_else(store: Store) -> None:
    with store.writing() as c:
        alice, root = rows.account(c), rows.account(c, "root@example.org", admin=True)
        off = rows.account(c, "off@example.org", admin=True, enabled=False)
        for n in range(12):
            tell_admins(c, Kind.FRAUD_REPORTED, {"account": "alice@example.org"}, 10.0 + n)
        assert (told(c, alice), told(c, off)) == ([], [])
        assert [channel for _, channel, _ in told(c, root)] == ["mailbox"] * 10 + ["page"] * 2
        tell(c, root, Kind.SIGNED_IN, {}, 30.0)
        assert told(c, root)[-1] == ("signed_in", "mailbox", "root@example.org")


def test_no_mail_says_that_mail_fails(store: Store) -> None:
    with store.writing() as c:
        root, other = rows.account(c, admin=True), rows.account(c, "other@example.org", admin=True)
        people.change(c, root.id, recovery_address="root@example.net")
        phone(c, other)
        tell_admins(c, Kind.MAIL_FAILING, {"reason": "refused"}, 10.0)
        assert told(c, root) == [("mail_failing", "page", "")]
        assert told(c, other) == [("mail_failing", "push", '{"endpoint": "Phone"}')]


@pytest.mark.parametrize("kind", [AccountKind.SHARED, AccountKind.SERVICE])
def test_what_has_no_portal_is_told_nothing(store: Store, kind: AccountKind) -> None:
    with store.writing() as c:
        printer = rows.account(c, "printer@example.org", kind=kind)
        tell(c, printer, Kind.APP_PASSWORD_CREATED, {}, 10.0)
        assert told(c, printer) == []
