"""Programs that were not let in: told at once if they are the person's own, else in a digest; a spray sends nothing."""

from __future__ import annotations

import asyncio
import time

from proxy.domain.model import AccountKind, EndReason, LastUse, Protocol
from proxy.domain.notices import DAY, WEEK
from proxy.domain.sign_in import Outcome
from proxy.domain.verdicts import Reason
from proxy.notices import digest
from proxy.notices.old_programs import tell_of_own
from proxy.store import app_passwords, history, notices, sign_ins
from proxy.store.app_passwords import Use
from proxy.store.engine import Store
from proxy.store.history import RefusalRecord
from proxy.store.sign_ins import SignIn
from proxy.store.threads import StoreThreads
from tests.store import rows

NOW = 1_790_000_000.0
HOME = "192.0.2.7"
K9 = "K-9 Mail 8.2"


def with_past(c, account, name="phone"):
    """An account with a phone, which was last used at home."""
    record = rows.app_password(c, account.id, name)
    app_passwords.record_uses(c, [Use(record.id, LastUse(NOW - DAY, HOME, Protocol.IMAP, K9))])
    return record


def refuse(c, account, reason=Reason.NOT_APP_PASSWORD, network=f"{HOME}/32", *, at=NOW, program=None, tombstone=None):
    row = RefusalRecord(account.id, at, reason, Protocol.IMAP, network, program, tombstone)
    tell_of_own(c, history.record(c, [row]))


def told(c, account) -> list[tuple[str, str]]:
    return [(one.channel, one.text["reason"]) for one in reversed(notices.last(c, account.id, 99))]


def test_an_old_phone_at_home_is_told_once(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        phone = with_past(c, alice)
        app_passwords.end(c, [phone.id], NOW - 1, EndReason.REVOKED)
        for minute in range(120):
            refuse(c, alice, Reason.REVOKED, at=NOW + 60 * minute, program=K9, tombstone=phone.id)
        for day in range(1, 7):  # it was off meanwhile
            refuse(c, alice, Reason.REVOKED, at=NOW + day * DAY, program=K9, tombstone=phone.id)
        assert told(c, alice) == [("mailbox", "revoked")]
        (notice,) = notices.last(c, alice.id, 9)
        assert notice.text == {
            "account": "alice@example.org",
            "reason": "revoked",
            "protocol": "imap",
            "network": "192.0.2.7/32",
            "name": "phone",
            "program": K9,
        }


def test_from_elsewhere_its_program_tells_that_it_is_theirs(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        phone = with_past(c, alice)
        app_passwords.end(c, [phone.id], NOW - 1, EndReason.REVOKED)
        refuse(c, alice, Reason.REVOKED, "198.51.100.1/32", program="Other", tombstone=phone.id)
        assert told(c, alice) == []
        refuse(c, alice, Reason.REVOKED, "198.51.100.1/32", program=K9, tombstone=phone.id)
        assert told(c, alice) == [("mailbox", "revoked")]


def test_a_network_that_they_sign_in_from_is_theirs(store: Store) -> None:
    with store.writing() as c:
        alice, bob = rows.account(c), rows.account(c, "bob@example.org")
        sign_ins.record(c, SignIn(alice.id, NOW, Outcome.SIGNED_IN, None, HOME, f"{HOME}/32", ""))
        sign_ins.record(c, SignIn(bob.id, NOW, Outcome.WRONG_PASSWORD, None, HOME, f"{HOME}/32", ""))
        refuse(c, alice)
        refuse(c, bob)
        assert told(c, alice) == [("mailbox", "not_app_password")]
        assert told(c, bob) == []


def test_two_old_programs_are_one_notice_a_day(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        with_past(c, alice)
        for program in ("One", "Two", "Three"):
            refuse(c, alice, program=program)
        assert [channel for channel, _ in told(c, alice)] == ["mailbox", "page", "page"]


def test_of_a_shared_mailbox_its_member_is_told(store: Store) -> None:
    with store.writing() as c:
        alice, team = rows.account(c), rows.account(c, "team@example.org", kind=AccountKind.SHARED)
        desk = rows.app_password(c, team.id, "desk", owner_id=alice.id)
        app_passwords.record_uses(c, [Use(desk.id, LastUse(NOW, HOME, Protocol.IMAP, K9))])
        app_passwords.end(c, [desk.id], NOW, EndReason.REVOKED)
        refuse(c, team, Reason.REVOKED, tombstone=desk.id)
        refuse(c, team)  # nobody's in particular
        (notice,) = notices.last(c, alice.id, 9)
        assert (notice.text["account"], notice.text["name"]) == ("team@example.org", "desk")


def test_a_spray_from_3000_addresses_over_1000_accounts_sends_no_immediate_mail(store: Store) -> None:
    """Each address tries a few accounts, and calls itself what most people use. Every account has a past."""
    with store.writing() as c:
        people = [rows.account(c, f"user{n}@example.org") for n in range(1000)]
        for n, account in enumerate(people):
            record = rows.app_password(c, account.id)
            use = LastUse(NOW - DAY, f"10.{n % 250}.{n // 250}.1", Protocol.IMAP, "Thunderbird 140.0")
            app_passwords.record_uses(c, [Use(record.id, use)])
    spray = [
        RefusalRecord(
            people[(n * 7 + k) % 1000].id,
            NOW + n,
            (Reason.NOT_APP_PASSWORD, Reason.UNKNOWN_APP_PASSWORD)[k % 2],
            Protocol.IMAP,
            f"{100 + n % 3}.{n // 250}.{n % 250}.9/32",
            "Thunderbird 140.0",
        )
        for n in range(3000)
        for k in range(2)
    ]
    assert len({row.network for row in spray}) == 3000
    assert len({row.account_id for row in spray}) == 1000
    slowest = 0.0
    for start in range(0, len(spray), 250):  # as write_behind hands them over
        with store.writing() as c:
            new = history.record(c, spray[start : start + 250])
            before = time.process_time()
            tell_of_own(c, new)
            slowest = max(slowest, time.process_time() - before)
    with store.reading() as c:
        assert notices.due(c, NOW + WEEK, 5000) == []
    assert slowest < 0.05, "the writer is not held up by it"

    # A week later each of them has one digest, and no second one before another week.
    threads = StoreThreads(store)

    async def digests() -> list[int]:
        written = [await digest.write_due(threads, NOW + day * DAY) for day in (0.5, 6, 8, 9, 13)]
        await threads.close()
        return written

    assert asyncio.run(digests()) == [0, 0, 1000, 0, 0]
    with store.reading() as c:
        told = notices.due(c, NOW + 8 * DAY, 5000)
    assert {notice.kind for notice in told} == {"digest"}
    assert {notice.text["tries"] for notice in told} == {"6"}
