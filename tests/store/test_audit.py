import re
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from proxy.domain.audit import AuditEvent, Event
from proxy.store import accounts, audit
from proxy.store.audit import Verification, append, read, verify, verify_slice
from proxy.store.engine import Store
from proxy.store.schema import audit as table
from proxy.store.schema import audit_heads
from tests.store import rows

ACCEPTED = AuditEvent(
    time=100.25,
    event=Event.LOGIN_ACCEPTED,
    actor="client",
    account="alice@example.org",
    account_id=1,
    app_password="Grandma's phone",
    protocol="imap",
    network="192.0.2.1/32",
    detail="ü\n",
)
ADDED = AuditEvent(time=50.0, event=Event.ACCOUNT_ADDED, actor="operator:0", account="bob@example.org", account_id=2)


class Undo(Exception):
    """Ends a transaction that must leave nothing."""


def test_what_is_appended_is_read_in_order_and_verifies(store: Store) -> None:
    with store.writing() as c:
        assert (read(c), verify(c), audit.last_seq(c)) == ([], [], 0)
        append(c, "n1", [ADDED, ACCEPTED])
        append(c, "n2", [ADDED])
        append(c, "n1", [])
        append(c, "n1", [ADDED])
    with store.reading() as c:
        records = read(c)
        assert [(r.node, r.event, r.erased) for r in records] == [
            ("n1", ADDED, False),
            ("n1", ACCEPTED, False),
            ("n2", ADDED, False),
            ("n1", ADDED, False),
        ]
        assert [r.seq for r in records] == sorted({r.seq for r in records})
        assert audit.last_seq(c) == records[-1].seq
        assert verify(c) == []


def test_an_event_of_another_version_is_read_and_verifies(store: Store) -> None:
    with store.writing() as c:
        append(c, "node1", [AuditEvent(1.0, "account_promoted", "sidegate")])
        assert [record.event.event for record in read(c)] == ["account_promoted"]
        assert verify(c) == []


def test_reading_chooses_and_pages(store: Store) -> None:
    with store.writing() as c:
        append(c, "n1", [replace(ADDED, time=float(n)) for n in range(5)] + [ACCEPTED])
        assert [r.event.time for r in read(c, since=3.0)] == [3.0, 4.0, 100.25]
        assert [r.event for r in read(c, account="alice@example.org")] == [ACCEPTED]
        first = read(c, limit=2)
        assert [r.event.time for r in first] == [0.0, 1.0]
        assert [r.event.time for r in read(c, after=first[-1].seq, limit=2)] == [2.0, 3.0]
        assert read(c, after=audit.last_seq(c)) == []


def test_a_change_and_its_record_are_one(store: Store) -> None:
    with store.writing() as c:
        append(c, "n1", [ACCEPTED])

    def change_and_fail(c: Connection) -> None:
        rows.account(c)
        append(c, "n1", [ADDED])
        raise Undo

    with pytest.raises(Undo), store.writing() as c:
        change_and_fail(c)
    with store.writing() as c:
        assert accounts.listing(c) == []
        assert [r.event for r in read(c)] == [ACCEPTED]
        append(c, "n1", [ADDED])
        assert verify(c) == []


def test_writers_of_one_node_take_turns(store: Store, url: str) -> None:
    """Core and portal are two processes with one chain."""
    other = Store(url)

    def run(mine: Store) -> None:
        for _ in range(25):
            with mine.writing() as c:
                append(c, "n1", [ADDED])

    threads = [threading.Thread(target=run, args=(mine,)) for mine in (store, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    with store.reading() as c:
        assert len(read(c)) == 50
        assert verify(c) == []


texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
events = st.builds(
    AuditEvent,
    time=st.floats(0, 4e9),
    event=st.sampled_from(Event),
    actor=texts.map(lambda text: text or "client"),
    account=texts,
    account_id=st.none() | st.integers(1, 2**31),
    app_password=texts,
    protocol=texts,
    network=texts,
    reason=texts,
    detail=texts,
)
_FIELDS = ["event", "actor", "account", "app_password", "protocol", "network", "reason", "detail", "node"]
_BYTES = ["salt", "digest", "chain"]
Tampering = Callable[[Connection, list[int]], None]


@st.composite
def tamperings(draw: st.DrawFn, count: int) -> Tampering:
    """Ways to falsify a trail of `count` records."""
    index, other = draw(st.integers(0, count - 1)), draw(st.integers(0, count - 1))
    kind = draw(st.sampled_from(["text", "bytes", "number", "remove", "cut off", "swap", "repeat", "head"]))

    def update(c: Connection, seq: int, **values: object) -> None:
        before = c.execute(select(table).where(table.c.seq == seq)).one()
        assume(any(before._mapping[name] != value for name, value in values.items()))
        c.execute(table.update().where(table.c.seq == seq).values(**values))

    def swap(c: Connection, seqs: list[int]) -> None:
        assume(index != other)
        c.execute(table.update().where(table.c.seq == seqs[index]).values(seq=0))
        c.execute(table.update().where(table.c.seq == seqs[other]).values(seq=seqs[index]))
        c.execute(table.update().where(table.c.seq == 0).values(seq=seqs[other]))

    def repeat(c: Connection, seqs: list[int]) -> None:
        row = dict(c.execute(select(table).where(table.c.seq == seqs[index])).one()._mapping)
        del row["seq"]
        c.execute(table.insert(), row)

    match kind:
        case "text":
            field, value = draw(st.sampled_from(_FIELDS)), draw(st.text(st.characters(codec="ascii"), max_size=5))
            return lambda c, seqs: update(c, seqs[index], **{field: value})
        case "bytes":
            name, data = draw(st.sampled_from(_BYTES)), draw(st.binary(max_size=32))
            return lambda c, seqs: update(c, seqs[index], **{name: data})
        case "number":
            name, number = draw(st.sampled_from(["time", "account_id"])), draw(st.none() | st.integers(0, 9))
            assume(name != "time" or number is not None)
            return lambda c, seqs: update(c, seqs[index], **{name: number})
        case "remove":
            return lambda c, seqs: c.execute(table.delete().where(table.c.seq == seqs[index])) and None
        case "cut off":
            return lambda c, seqs: c.execute(table.delete().where(table.c.seq >= seqs[index])) and None
        case "swap":
            return swap
        case "repeat":
            return repeat
        case _:
            return lambda c, seqs: c.execute(audit_heads.delete()) and None


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), given_events=st.lists(events, min_size=1, max_size=8), erase=st.booleans())
def test_whatever_is_changed_removed_or_moved_is_found(
    store: Store, data: st.DataObject, given_events: list[AuditEvent], erase: bool
) -> None:
    tamper = data.draw(tamperings(len(given_events)))
    with store.writing() as c, suppress(Undo), c.begin_nested():
        append(c, "n1", given_events)
        if erase:
            append(c, "n2", [ACCEPTED])
            assert audit.erase(c, "alice@example.org") == 1
        assert verify(c) == []
        tamper(c, [r.seq for r in read(c) if r.node == "n1"])
        assert verify(c) != []
        raise Undo


def test_problems_name_node_record_and_kind(store: Store) -> None:
    with store.writing() as c:
        append(c, "n1", [ADDED] * 4)
        append(c, "n2", [ADDED])
        second, third, last = (r.seq for r in read(c)[1:4])
        c.execute(table.update().where(table.c.seq == second).values(actor="nobody"))
        c.execute(table.delete().where(table.c.seq == third))
        assert verify(c) == [
            f"node n1, record {second}: was changed",
            f"node n1, record {last}: does not follow from the record before it (changed, removed, inserted or moved)",
            f"node n1: the chain ends at record {last} after 3 records; on record is {last} after 4",
        ]


def test_a_ruined_trail_does_not_flood(store: Store) -> None:
    with store.writing() as c:
        append(c, "n1", [ADDED] * 300)
        c.execute(table.update().values(actor="nobody"))
        problems = verify(c)
        assert len(problems) == 101
        assert problems[-1] == "… and more"


def test_an_erased_person_is_gone_and_the_chain_still_verifies(store: Store) -> None:
    by_alice = replace(ADDED, actor="alice@example.org")
    with store.writing() as c:
        append(c, "n1", [ACCEPTED, ADDED, by_alice, ACCEPTED])
        before = c.execute(select(table.c.digest, table.c.chain).order_by(table.c.seq)).all()
        assert audit.erase(c, "alice@example.org", limit=2) == 2
        assert audit.erase(c, "alice@example.org", limit=2) == 1
        assert audit.erase(c, "alice@example.org", limit=2) == 0
        gone = AuditEvent(time=100.25, event=Event.LOGIN_ACCEPTED, actor="", protocol="imap")
        records = read(c)
        assert [(r.event, r.erased) for r in records] == [
            (gone, True),
            (ADDED, False),
            (AuditEvent(time=50.0, event=Event.ACCOUNT_ADDED, actor=""), True),
            (gone, True),
        ]
        assert c.execute(select(table.c.salt)).scalars().all().count(None) == 3
        assert c.execute(select(table.c.digest, table.c.chain).order_by(table.c.seq)).all() == before
        assert verify(c) == []
        append(c, "n1", [ACCEPTED])
        assert verify(c) == []
        c.execute(table.update().where(table.c.seq == records[0].seq).values(detail="put back"))
        assert verify(c) == [
            f"node n1, record {records[0].seq}: is marked as erased but says more than an erased record does"
        ]


def test_slices_find_the_same_and_do_not_mind_what_is_appended_meanwhile(store: Store) -> None:
    with store.writing() as c:
        append(c, "n1", [ADDED] * 5)
        append(c, "n2", [ADDED] * 2)
    progress, slices = Verification(), 0
    while not progress.done:
        with store.writing() as c:
            progress = verify_slice(c, progress, limit=2)
            append(c, "n1", [ACCEPTED])
        slices += 1
    assert (progress.problems, progress.checked) == ([], 7)
    assert slices >= 4
    with store.writing() as c:
        c.execute(table.update().where(table.c.seq == 3).values(node="n2"))
        whole = verify(c)
        progress = Verification()
        while not progress.done:
            progress = verify_slice(c, progress, limit=1)
        assert progress.problems == whole != []


def aged(c: Connection, node: str, times: list[float]) -> None:
    for time in times:
        append(c, node, [replace(ACCEPTED, time=time)])


def pruned(c: Connection, before: float, limit: int = 500) -> list[int]:
    """The result of each slice."""
    slices = []
    while removed := audit.prune(c, before, limit):
        slices.append(removed)
    return slices


def test_what_is_too_old_goes_and_the_rest_verifies(store: Store) -> None:
    with store.writing() as c:
        aged(c, "n1", [1.0, 2.0, 3.0, 10.0, 4.0])  # written behind: a later record may be of an earlier time
        aged(c, "n2", [11.0])
        assert pruned(c, 5.0) == [3]
        assert [(r.node, r.event.event, r.event.time) for r in read(c)] == [
            ("n1", "pruned", 3.0),
            ("n1", "login_accepted", 10.0),
            ("n1", "login_accepted", 4.0),
            ("n2", "login_accepted", 11.0),
        ]
        assert read(c)[0].event == AuditEvent(3.0, "pruned", "")
        assert verify(c) == []
        aged(c, "n1", [12.0])
        assert pruned(c, 11.5) == [4]  # 10 and 4 behind the mark, which goes, and all of n2
        assert verify(c) == []
        assert pruned(c, 100.0) == [2]  # the mark and 12
        assert [(r.event.event, r.event.time) for r in read(c)] == [("pruned", 11.0), ("pruned", 12.0)]
        aged(c, "n1", [200.0])
        assert verify(c) == []


def test_pruning_goes_in_slices_each_of_which_verifies(store: Store) -> None:
    with store.writing() as c:
        aged(c, "n1", [float(n) for n in range(10)])
        for left in (7, 4, 3):
            assert audit.prune(c, 7.5, 3)
            assert verify(c) == []
            assert len(read(c)) == left
        assert audit.prune(c, 7.5, 3) == 0


def test_pruned_trails_are_still_held_together(store: Store) -> None:
    with store.writing() as c:
        aged(c, "n1", [float(n) for n in range(10)])
        pruned(c, 4.5)
        seqs = [r.seq for r in read(c)]
    for harm in (
        delete(table).where(table.c.seq == seqs[0]),  # the record that stands for what was removed
        delete(table).where(table.c.seq == seqs[1]),
        delete(table).where(table.c.seq == seqs[-1]),
        update(table).where(table.c.seq == seqs[2]).values(detail="other"),
        update(table).where(table.c.seq == seqs[0]).values(account="mallory"),
        update(table).where(table.c.seq == seqs[0]).values(event="login_accepted"),
    ):
        with suppress(Undo), store.writing() as c:
            c.execute(harm)
            assert verify(c) != []
            raise Undo


def test_pruning_while_a_trail_is_verified_is_no_problem(store: Store) -> None:
    with store.writing() as c:
        aged(c, "n1", [float(n) for n in range(10)])
    with store.reading() as c:
        progress = verify_slice(c, Verification(), 3)
    with store.writing() as c:
        pruned(c, 7.5)
    for _ in range(20):
        with store.reading() as c:
            progress = verify_slice(c, progress, 3)
    assert (progress.done, progress.problems) == (True, [])


def test_records_go_to_each_driver_in_its_words() -> None:
    """They pass SQLAlchemy by, which would know the order of the columns and the driver's way to name parameters."""
    statement, positional = audit._insertion(sqlite.dialect())
    assert positional
    assert re.findall(r"[a-z_]+(?=[,)])", statement) == list(audit._COLUMNS)
    statement, positional = audit._insertion(postgresql.dialect())
    assert not positional
    assert re.findall(r"%\((\w+)\)s", statement) == list(audit._COLUMNS)
