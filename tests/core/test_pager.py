"""The pager: when pages leave, which, and what cannot be sent."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pagefault.errors import BudgetError, PageTooLarge, PinnedOverBudget
from pagefault.page import Kind
from pagefault.window.budget import Budget, Watermarks
from pagefault.window.eviction import PageCost
from pagefault.window.pager import Census, check, victims, whole_turns
from tests.core.strategies import few


@st.composite
def windows(draw):
    """A census and a budget, anything from roomy to hopeless; of few tokens, too, so that sums meet limits exactly."""
    large = draw(st.sampled_from([3, 400]))
    sizes = draw(st.lists(st.integers(0, large), max_size=25))
    pages = [
        PageCost(
            seq=n,
            tokens=size,
            kind=draw(st.sampled_from(Kind)),
            uses=draw(st.floats(1, 5)),
            born=draw(st.floats(0, 1)),
        )
        for n, size in enumerate(sizes, start=1)
    ]
    held = set(draw(st.lists(st.integers(1, 25), max_size=5)))
    target = draw(st.integers(1, large * 12))
    marks = Watermarks(low=draw(st.floats(0.1, 0.6)), high=draw(st.floats(0.61, 1)))
    census = Census(
        overhead=draw(st.integers(0, large)),
        held=[p for p in pages if p.seq in held],
        evictable=[p for p in pages if p.seq not in held],
        released=frozenset(p.seq for p in pages if draw(st.integers(0, 9)) == 0),
        last_resort=frozenset(p.seq for p in pages if draw(st.integers(0, 9)) == 0),
        block=draw(st.integers(0, target // 5)),
    )
    return census, Budget(window=target + large // 4, target=target, reserve=large // 4, watermarks=marks)


def tokens(pages):
    return sum(p.tokens for p in pages)


@given(window=windows())
@few
def test_nothing_leaves_at_or_below_high_and_never_a_held_page(window):
    census, budget = window
    gone = victims(census, budget)
    assert list(gone) == sorted(set(gone))
    assert set(gone) <= {p.seq for p in census.evictable}
    if census.total <= budget.high:
        assert gone == ()


@given(window=windows())
@few
def test_a_reclaim_reaches_low_with_its_block_or_takes_all_it_may(window):
    census, budget = window
    assume(census.total > budget.high)
    gone = victims(census, budget)
    left = [p for p in census.evictable if p.seq not in gone]
    after = census.fixed + tokens(left) + max(budget.block, census.block)
    assert after <= budget.low or tokens(p for p in left if p.seq not in census.last_resort) == 0


@given(windows())
def test_a_reclaim_takes_no_more_than_it_needs(window):
    census, budget = window
    gone = victims(census, budget)
    leaving = [
        p for p in census.evictable if p.seq in gone and not (p.seq in census.released or p.seq in census.last_resort)
    ]
    released = [p for p in census.evictable if p.seq in gone and p.seq in census.released]
    after = census.total - census.block - tokens(leaving) - tokens(released)
    room = max(census.fixed, budget.low - max(budget.block, census.block))
    assert not leaving or any(after + p.tokens > room for p in leaving)


@given(windows())
def test_released_pages_leave_at_the_next_reclaim(window):
    census, budget = window
    assume(census.total > budget.high)
    assert {p.seq for p in census.evictable if p.seq in census.released} <= set(victims(census, budget))


@given(windows())
def test_pages_of_last_resort_leave_only_when_nothing_else_helps(window):
    census, budget = window
    gone = victims(census, budget)
    others = [p for p in census.evictable if p.seq in census.released or p.seq not in census.last_resort]
    last = [p for p in census.evictable if p.seq in census.last_resort and p.seq not in census.released]
    taken = [p for p in last if p.seq in gone]
    without = census.total - tokens(p for p in others if p.seq in gone)
    assert taken == last[: len(taken)], "oldest first"
    if taken:
        assert without - tokens(taken[:-1]) > budget.high
        assert all(p.seq in gone or p.tokens == 0 for p in others)
    if without - tokens(taken) > budget.high:
        assert taken == last


@given(windows())
def test_the_newest_pages_stay_while_the_others_suffice(window):
    census, budget = window
    gone = set(victims(census, budget))
    room = budget.low - census.fixed - max(budget.block, census.block)
    newest, kept = set(), 0
    others = [p for p in census.evictable if not (p.seq in census.last_resort or p.seq in census.released)]
    for page in reversed(others):
        kept += page.tokens
        if kept > max(0, room) // 2:
            break
        newest.add(page.seq)
    assert not gone & newest or all(p.seq in gone for p in others if p.seq not in newest)


def test_before_pages_of_last_resort_the_newest_go_oldest_first():
    pages = [PageCost(seq=n, tokens=10) for n in range(1, 21)]
    system = PageCost(seq=21, tokens=60)
    budget = Budget(window=400, target=200)  # down to 100, less 30 for the block; the newest 30 are protected
    gone = victims(Census(overhead=0, held=(), evictable=[*pages, system], last_resort=frozenset({21})), budget)
    assert gone == tuple(range(1, 20))


@given(windows())
@few
def test_the_same_window_gives_the_same_victims(window):
    census, budget = window
    copy = replace(census, held=tuple(census.held), evictable=tuple(census.evictable))
    assert victims(census, budget) == victims(copy, budget)


def test_a_reclaim_is_deep():
    pages = [PageCost(seq=n, tokens=100) for n in range(1, 11)]
    budget = Budget(window=2000, target=1000)
    assert victims(Census(overhead=0, held=(), evictable=pages[:9]), budget) == ()
    gone = victims(Census(overhead=0, held=(), evictable=pages), budget)
    assert gone == (1, 2, 3, 4, 5, 6, 7), "down to 500, less 150 for the block"
    assert victims(Census(overhead=500, held=(), evictable=pages), budget) == tuple(range(1, 11))


def test_what_is_wanted_stays_before_what_is_new_to_the_policy():
    wanted = PageCost(seq=1, tokens=100, uses=9)
    pages = [wanted, *(PageCost(seq=n, tokens=100) for n in range(2, 12))]
    assert 1 not in victims(Census(overhead=0, held=(), evictable=pages), Budget(window=2000, target=1000))


def test_sums():
    census = Census(overhead=5, held=[PageCost(seq=1, tokens=10)], evictable=[PageCost(seq=2, tokens=100)], block=1000)
    assert (census.fixed, census.total) == (15, 1115)


@given(windows())
def test_a_prompt_is_refused_exactly_when_it_does_not_fit(window):
    census, budget = window
    if census.total <= budget.window - budget.reserve:
        check(census, budget)
        return
    with pytest.raises(BudgetError) as caught:
        check(census, budget)
    room = budget.window - budget.reserve - census.overhead
    too_large = room > 0 and any(p.tokens > room for p in census.held)
    assert isinstance(caught.value, PageTooLarge if too_large else PinnedOverBudget)
    for number in (budget.window, budget.reserve, census.overhead):
        assert str(number) in str(caught.value)


def test_a_page_too_large_is_named_with_the_room_there_is():
    census = Census(overhead=50, held=[PageCost(seq=6, tokens=10), PageCost(seq=7, tokens=900)], evictable=())
    with pytest.raises(
        PageTooLarge,
        match=r"page 7 has 900 tokens .*window=1000 less reserve=200 and 50 .*leaves 750; split that message",
    ):
        check(census, Budget(window=1000, reserve=200))


@pytest.mark.parametrize(("pages", "named"), [(10, "1, 2, 3, 4, 5, 6, 7, 8, ..."), (8, "1, 2, 3, 4, 5, 6, 7, 8")])
def test_pins_too_large_together_are_named(pages, named):
    held = [PageCost(seq=n, tokens=100) for n in range(1, pages + 1)]
    need = 50 + 100 * pages
    with pytest.raises(
        PinnedOverBudget, match=rf"\({re.escape(named)}: pins.* need {need} .* allows 800; release pins"
    ):
        check(Census(overhead=50, held=held, evictable=()), Budget(window=1000, reserve=200))


def test_tools_too_large_by_themselves_are_blamed_alone():
    with pytest.raises(PinnedOverBudget, match=r"^system prompt and tools alone have 900 tokens.* allows 800"):
        check(Census(overhead=900, held=(), evictable=()), Budget(window=1000, reserve=200))


@given(st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30)))
def test_turns_that_are_over_leave_whole(chosen, free, starts):
    free |= chosen
    found = whole_turns(sorted(chosen), sorted(free), sorted(starts))
    assert chosen <= set(found) <= free
    assert list(found) == sorted(set(found))
    bounds = [1, *sorted(starts), 31]
    for first, after in itertools.pairwise(bounds):
        turn = set(range(first, after)) & free
        if after == 31:
            assert turn & set(found) == turn & chosen, "the last turn is not over"
        else:
            assert turn <= set(found) or not turn & set(found)
