"""The weekly digest. That a spray makes one and no more: test_old_programs.py."""

from __future__ import annotations

import asyncio

from proxy.domain.model import Protocol
from proxy.domain.notices import DAY, WEEK
from proxy.domain.verdicts import Reason
from proxy.notices import digest
from proxy.store import history, notices
from proxy.store.engine import Store
from proxy.store.history import RefusalRecord
from proxy.store.threads import StoreThreads
from tests.store import rows

NOW = 1_790_000_000.0


def refusal(account_id: int, at: float) -> RefusalRecord:
    return RefusalRecord(account_id, at, Reason.NOT_APP_PASSWORD, Protocol.IMAP, "203.0.113.1/32")


def test_a_digest_sums_up_what_was_not_told(store: Store) -> None:
    with store.writing() as c:
        alice = rows.account(c)
        for n in range(5):
            notices.add(c, alice.id, "signed_in", channel="page", recipient="", text={}, now=NOW + n)
        notices.add(c, alice.id, "signed_in", channel="mailbox", recipient="x", text={}, now=NOW)
        history.record(c, [refusal(alice.id, NOW + DAY)])
        gone = rows.account(c, "off@example.org", enabled=False)
        history.record(c, [refusal(gone.id, NOW)])
    threads = StoreThreads(store)

    async def digests() -> list[int]:
        written = [await digest.write_due(threads, NOW + WEEK + more) for more in (-1, 4, 4, 5)]
        await threads.close()
        return written

    assert asyncio.run(digests()) == [0, 1, 0, 0]
    with store.reading() as c:
        (notice, *_) = notices.last(c, alice.id, 1)
    assert (notice.kind, notice.channel) == ("digest", "mailbox")
    assert notice.text == {"account": "alice@example.org", "tries": "1", "notices": "5"}
