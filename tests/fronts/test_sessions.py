"""The index of live sessions, against a plain list as its model."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.domain.model import ClientInfo
from proxy.fronts.sessions import Parting, Session, Sessions
from proxy.link.messages import Cut

CLIENT = ClientInfo("192.0.2.1", 5, "192.0.2.2", 993, "TLSv1.3", "Thunderbird")


class Table:
    """Sessions that end when they are cut, as relays do."""

    def __init__(self) -> None:
        self.sessions = Sessions()
        self.cut: list[str] = []
        self.why: list[Parting] = []
        self.waiting: list[Callable[[], None]] = []

    def add(self, number: int, app_password: int, account: int, *, slow: bool = False) -> Session:
        def end(why: Parting, done: Callable[[], None]) -> None:
            self.why.append(why)
            self.cut.append(session.id)
            self.sessions.remove(session)
            if slow:
                self.waiting.append(done)
            else:
                done()

        session = Session(str(number), account, app_password, 1, "imap", "mail", CLIENT, 1.5, end)
        session.live = True
        self.sessions.add(session)
        return session


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), max_size=20),
    st.lists(st.integers(1, 5), max_size=3),
    st.lists(st.integers(1, 4), max_size=2),
    st.lists(st.integers(0, 25), max_size=3),
)
@settings(max_examples=80)
def test_a_cut_takes_exactly_what_its_selectors_name(
    made: list[tuple[int, int]], app_passwords: list[int], accounts: list[int], ids: list[int]
) -> None:
    table = Table()
    for number, (app_password, account) in enumerate(made):
        table.add(number, app_password, account)
    named = {
        str(number)
        for number, (app_password, account) in enumerate(made)
        if app_password in app_passwords or account in accounts or number in ids
    }
    counts: list[int] = []
    table.sessions.cut(Cut(1, app_passwords, accounts, [str(i) for i in ids]), counts.append)
    assert set(table.cut) == named
    assert len(table.cut) == len(named)
    assert counts == [len(named)]
    assert {row.session_id for row in table.sessions.report()} == {str(n) for n in range(len(made))} - named


def test_done_waits_for_the_last_one() -> None:
    table = Table()
    table.add(1, 7, 3, slow=True)
    table.add(2, 7, 3)
    table.add(3, 7, 3, slow=True)
    counts: list[int] = []
    table.sessions.cut(Cut(1, [7], [], []), counts.append)
    assert len(table.waiting) == 2
    table.waiting[0]()
    assert counts == []
    table.waiting[1]()
    assert counts == [3]


def test_a_login_that_is_under_way_ends_too_but_is_not_counted() -> None:
    """The core counts the same way, so the figure does not depend on who answers."""
    table = Table()
    table.add(1, 7, 3)
    table.add(2, 7, 3).live = False
    counts: list[int] = []
    table.sessions.cut(Cut(1, [7], [], []), counts.append)
    assert sorted(table.cut) == ["1", "2"]
    assert counts == [1]


def test_a_shutdown_ends_all_and_says_so() -> None:
    table = Table()
    for number in range(3):
        table.add(number, number, number)
    table.sessions.shut_down()
    assert len(table.sessions) == 0
    assert table.why == [Parting.SHUTDOWN] * 3


def test_removing_twice_is_harmless_and_nothing_is_left() -> None:
    table = Table()
    session = table.add(1, 7, 3)
    table.sessions.remove(session)
    table.sessions.remove(session)
    assert len(table.sessions) == 0
    assert table.sessions._by_account == {}
    assert table.sessions._by_app_password == {}


def test_report() -> None:
    table = Table()
    session = table.add(1, 7, 3)
    session.bytes_in, session.bytes_out, session.messages, session.recipients = 1, 2, 3, 4
    (row,) = table.sessions.report()
    assert (row.session_id, row.account_id, row.app_password_id, row.generation) == ("1", 3, 7, 1)
    assert (row.protocol, row.backend, row.address, row.port) == ("imap", "mail", "192.0.2.1", 5)
    assert (row.tls, row.program, row.started) == ("TLSv1.3", "Thunderbird", 1.5)
    assert (row.bytes_in, row.bytes_out, row.messages, row.recipients) == (1, 2, 3, 4)
