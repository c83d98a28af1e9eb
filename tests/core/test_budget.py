"""What a request may use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.errors import BudgetError
from pagefault.window.budget import Budget, Watermarks, check_budget


@pytest.mark.parametrize(
    ("window", "target", "reserve"),
    [(32_000, 19_200, 4_096), (8_000, 4_800, 2_000), (200_000, 64_000, 4_096), (1, 1, 0), (4, 2, 1)],
)
def test_defaults_follow_the_window(window, target, reserve):
    budget = Budget(window=window)
    assert (budget.target, budget.reserve) == (target, reserve)


def test_the_default_window():
    assert Budget() == Budget(window=32_000, target=19_200, reserve=4_096)


def test_a_large_reserve_leaves_a_smaller_target():
    assert Budget(window=1_000, reserve=900).target == 100


@given(st.integers(1, 3_000_000))
def test_any_window_gives_a_budget_that_fits_it(window):
    budget = Budget(window=window)
    assert 1 <= budget.target <= budget.window - budget.reserve
    assert 0 <= budget.block <= budget.low <= budget.high <= budget.target


@given(st.integers(1, 10**6), st.floats(0.01, 0.5), st.floats(0.51, 1))
def test_watermarks_are_shares_of_the_target(target, low, high):
    budget = Budget(window=target, target=target, reserve=0, watermarks=Watermarks(low=low, high=high))
    assert budget.low == int(target * low)
    assert budget.high == int(target * high)
    assert budget.block == int(target * 0.15)


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 0.9), (-0.1, 0.9), (0.9, 0.9), (0.9, 0.5), (0.5, 1.1), (float("nan"), 0.9), (0.5, float("nan"))],
)
def test_watermarks_out_of_order_are_refused(low, high):
    with pytest.raises(BudgetError, match=f"low={low} high={high}"):
        Watermarks(low=low, high=high)


@pytest.mark.parametrize("name", ["window", "target", "reserve"])
@pytest.mark.parametrize("value", [1.5, "8000", None, True, [1]])
def test_a_budget_is_whole_numbers(name, value):
    with pytest.raises(BudgetError, match=f"{name} is a number of tokens, got {type(value).__name__}"):
        Budget(**{"window": 100, "target": 10, "reserve": 10, name: value})


@pytest.mark.parametrize(
    "numbers",
    [
        {"window": 0},
        {"window": -5},
        {"window": 100, "target": -1},
        {"window": 100, "target": 101},
        {"window": 100, "target": 60, "reserve": 41},
        {"window": 100, "reserve": 100},
        {"window": 100, "reserve": -2},
    ],
)
def test_what_does_not_fit_is_refused_with_its_numbers(numbers):
    with pytest.raises(BudgetError) as caught:
        Budget(**numbers)
    name, value = list(numbers.items())[-1]
    assert f"{name}={value}" in str(caught.value)


def test_a_reclaim_may_wait_until_the_target_is_full():
    assert Budget(window=100, target=80, reserve=20, watermarks=Watermarks(high=1)).high == 80


def test_target_and_reserve_may_fill_the_window():
    assert Budget(window=100, target=60, reserve=40).high == 54


@pytest.mark.parametrize("other", [8_000, 0, "8000", True, Watermarks()])
def test_a_number_of_tokens_is_no_budget(other):
    with pytest.raises(BudgetError, match=r"budget is a pagefault\.Budget\(window=\.\.\.\), got"):
        check_budget(other)
    for budget in (None, Budget()):
        check_budget(budget)
