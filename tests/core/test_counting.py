"""Failures stay cheap however many come."""

from __future__ import annotations

from proxy.core.counting import MAX_KEYS, LineBudget, RefusalSums, SumKey


def test_lines_come_until_the_budget_is_spent_then_they_are_counted():
    budget = LineBudget(3, 600.0)
    assert [budget.spend(0.0, "n") for _ in range(5)] == [True, True, True, False, False]
    assert budget.spend(1.0, "n", 10) is False
    assert budget.spend(1.0, "other") is True
    assert budget.take() == [("n", 12)]
    assert budget.take() == []


def test_a_new_window_has_a_new_budget_and_loses_no_count():
    budget = LineBudget(1, 600.0)
    assert [budget.spend(0.0, "n"), budget.spend(599.0, "n"), budget.spend(600.0, "n")] == [True, False, True]
    assert budget.take() == [("n", 1)]


def test_what_a_limit_answers_has_no_line():
    budget = LineBudget(3, 600.0)
    budget.hold_back(0.0, "n", 4)
    assert budget.take() == [("n", 4)]
    assert budget.spend(1.0, "n") is True


def test_keys_are_bounded():
    budget = LineBudget(1, 600.0)
    for n in range(MAX_KEYS * 2):
        budget.spend(0.0, f"n{n}")
        budget.hold_back(0.0, f"m{n}")
    assert len(budget._keys) <= MAX_KEYS


def test_sums_by_key():
    sums = RefusalSums()
    key = SumKey("n", "imap", "not_app_password", 1, "alice@example.org")
    sums.add(1.0, key, 2)
    sums.add(5.0, key, 3)
    sums.add(6.0, SumKey(*key[:3]), 1)
    assert [(key, total.time, total.count) for key, total in sums.take()] == [
        (key, 5.0, 5),
        (SumKey(*key[:3]), 6.0, 1),
    ]
    assert sums.take() == []


def test_a_flood_of_networks_ends_in_one_row_and_no_try_is_lost():
    sums = RefusalSums()
    for n in range(MAX_KEYS + 1000):
        sums.add(1.0, SumKey(f"n{n}", "imap", "not_app_password", n, f"u{n}"), 1)
    taken = sums.take()
    assert len(taken) <= MAX_KEYS + 1
    assert sum(total.count for _, total in taken) == MAX_KEYS + 1000
    assert dict(taken)[SumKey("*", "imap", "not_app_password")].count == 1000
