import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.model import ClientInfo, Protocol
from proxy.domain.session_table import Session, SessionTable

CLIENT = ClientInfo("192.0.2.1", 4000, "192.0.2.2", 993, "TLSv1.3")


def session(id_: str, app_password: int = 1, account: int = 1, worker: int = 1) -> Session:
    return Session(id_, worker, account, "a", app_password, "p", 1, Protocol.IMAP, "mail", CLIENT, 0.0)


def test_selectors_add_up_and_name_each_session_once() -> None:
    table = SessionTable()
    for one in (session("a", 1, 1), session("b", 2, 1), session("c", 3, 2, worker=2)):
        table.register(one)
    assert {s.id for s in table.select(app_passwords=[1])} == {"a"}
    assert {s.id for s in table.select(accounts=[1])} == {"a", "b"}
    assert [s.id for s in table.select(app_passwords=[3], accounts=[2], sessions=["c", "gone"])] == ["c"]
    assert {s.id for s in table.of_worker(1)} == {"a", "b"}
    assert table.select() == []


def test_an_id_is_registered_once() -> None:
    table = SessionTable()
    table.register(session("a"))
    with pytest.raises(ValueError, match="taken"):
        table.register(session("a"))


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 3), st.integers(1, 2), st.booleans()), max_size=40))
def test_the_indexes_agree_with_a_plain_list(steps: list[tuple[str, int, int, bool]]) -> None:
    table, model = SessionTable(), {}
    for id_, app_password, account, add in steps:
        if add and id_ not in model:
            model[id_] = session(id_, app_password, account)
            table.register(model[id_])
        elif not add:
            assert table.end(id_) is model.pop(id_, None)
    for key in (1, 2, 3):
        expected = {s.id for s in model.values() if s.app_password_id == key}
        assert {s.id for s in table.select(app_passwords=[key])} == expected
        assert table.count_app_password(key) == len(expected)
        assert table.count_account(key) == sum(s.account_id == key for s in model.values())
    assert len(table) == len(model) == len(list(table))
    assert all(table.get(id_) is s for id_, s in model.items())
