"""Counting refusals that cost no question."""

from __future__ import annotations

from proxy.domain.model import ClientInfo
from proxy.domain.verdicts import Reason
from proxy.fronts.refusals import MAX_ROWS, RefusalTable, could_be_login_name

HERE = ClientInfo("192.0.2.1", 5, "192.0.2.2", 993, "TLSv1.3")
NEIGHBOUR = ClientInfo("2001:db8::1", 5, "2001:db8::2", 993, "TLSv1.2")


def test_the_same_try_is_one_row() -> None:
    table = RefusalTable()
    for number in range(3):
        table.count("imap", Reason.NOT_APP_PASSWORD, HERE, "mutt", str(number), login_name="alice", mechanism="PLAIN")
    table.count("smtp", Reason.NOT_APP_PASSWORD, HERE, "mutt", "4", login_name="alice")
    table.count("imap", Reason.NOT_APP_PASSWORD, NEIGHBOUR, "mutt", "5", login_name="alice")
    report = table.take()
    assert report is not None
    assert [(row.count, row.protocol, row.network, row.session_id) for row in report.rows] == [
        (3, "imap", "192.0.2.1/32", "2"),
        (1, "smtp", "192.0.2.1/32", "4"),
        (1, "imap", "2001:db8::/64", "5"),
    ]
    assert report.overflow == 0
    assert table.take() is None


def test_what_finds_the_table_full_is_only_counted() -> None:
    table = RefusalTable()
    for number in range(MAX_ROWS + 50):
        table.count("imap", Reason.NOT_APP_PASSWORD, HERE, None, "s", login_name=f"user{number}")
    table.count("imap", Reason.NOT_APP_PASSWORD, HERE, None, "s", login_name="user0")
    report = table.take()
    assert report is not None
    assert len(report.rows) == MAX_ROWS
    assert report.rows[0].count == 2
    assert report.overflow == 50
    assert table.take() is None


def test_only_what_could_be_a_login_name_is_kept() -> None:
    assert could_be_login_name("alice")
    assert could_be_login_name("Alice@Example.ORG")
    assert could_be_login_name("CN=Alice Liddell,DC=example,DC=org")
    for name in ("", "secret=", "my secret phrase", "alice\n", "a@b@c", "*", "x" * 300):
        assert not could_be_login_name(name)


def test_a_limited_network_is_counted_without_name_and_program() -> None:
    table = RefusalTable()
    table.limited = frozenset({"192.0.2.1/32"})
    for number in range(5):
        table.count("imap", Reason.NOT_APP_PASSWORD, HERE, f"p{number}", "s", login_name=f"user{number}")
    report = table.take()
    assert report is not None
    (row,) = report.rows
    assert (row.count, row.login_name, row.program) == (5, "", None)
