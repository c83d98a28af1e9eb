"""The policy: which pages leave."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.page import Kind
from pagefault.window import eviction
from pagefault.window.eviction import PageCost, clock_after, priority
from tests.core.strategies import few

COSTS = st.lists(
    st.builds(
        PageCost,
        seq=st.integers(1, 500),
        tokens=st.integers(0, 300),
        kind=st.sampled_from(Kind),
        uses=st.floats(0.5, 8),
        born=st.floats(0, 4),
    ),
    max_size=20,
    unique_by=lambda p: p.seq,
)
NEEDS = st.integers(-5, 4_000)


def gdsf(pages, need):
    """The numbers of the victims."""
    return tuple(sorted(page.seq for page in eviction.gdsf(pages, need)))


@given(pages=COSTS, need=NEEDS)
@few
def test_victims_free_what_is_needed_or_everything(pages, need):
    sizes = {p.seq: p.tokens for p in pages}
    victims = gdsf(pages, need)
    freed = sum(sizes[v] for v in victims)
    assert len(victims) == len(set(victims))
    assert freed >= need or len(victims) == len(pages)
    if need <= 0:
        assert victims == ()


@given(pages=COSTS, need=NEEDS, data=st.data())
@few
def test_the_order_in_which_pages_are_listed_does_not_matter(pages, need, data):
    assert gdsf(data.draw(st.permutations(pages)), need) == gdsf(pages, need)


@given(pages=COSTS, need=NEEDS)
@few
def test_copies_leave_before_originals(pages, need):
    victims = set(gdsf(pages, need))
    if any(p.seq in victims for p in pages if p.kind is Kind.MESSAGE):
        assert all(p.seq in victims for p in pages if p.kind is Kind.RECALLED)


@given(pages=COSTS, need=NEEDS, more=st.integers(0, 500))
@few
def test_a_greater_need_takes_no_other_pages_only_more(pages, need, more):
    assert set(gdsf(pages, need)) <= set(gdsf(pages, need + more))


@given(COSTS, NEEDS)
def test_gdsf_keeps_what_is_worth_more(pages, need):
    victims = set(gdsf(pages, need))
    for kind in Kind:
        gone = [priority(p) for p in pages if p.kind is kind and p.seq in victims]
        kept = [priority(p) for p in pages if p.kind is kind and p.seq not in victims]
        assert not gone or not kept or max(gone) <= min(kept)


@given(pages=COSTS, need=st.integers(1, 4_000))
@few
def test_the_last_page_taken_was_needed(pages, need):
    sizes = {p.seq: p.tokens for p in pages}
    taken = set(gdsf(pages, need))
    assert not taken or any(sum(sizes[v] for v in taken - {one}) < need for one in taken)


def test_worth_is_uses_per_token_on_top_of_age():
    big, small = PageCost(seq=1, tokens=90), PageCost(seq=2, tokens=10)
    assert gdsf([big, small], 5) == (1,)
    assert gdsf([small, big], 5) == (1,)
    wanted = PageCost(seq=1, tokens=90, uses=20)
    assert gdsf([wanted, small], 5) == (2,)
    young = PageCost(seq=1, tokens=90, born=2)
    assert gdsf([young, small], 5) == (2,)
    twin = PageCost(seq=3, tokens=10)
    assert gdsf([twin, small], 5) == (2,)


def test_an_empty_page_has_a_priority():
    assert priority(PageCost(seq=1, tokens=0)) == 1.0


@given(COSTS, st.lists(NEEDS, min_size=1, max_size=6), st.floats(0, 5))
def test_the_clock_never_goes_back(pages, needs, clock):
    for need in needs:
        victims = gdsf(pages, need)
        after = clock_after(pages, victims, clock)
        assert after >= clock
        assert all(priority(p) <= after for p in pages if p.seq in victims and p.kind is Kind.MESSAGE)
        pages, clock = [p for p in pages if p.seq not in victims], after


def test_the_clock_is_the_highest_worth_that_left():
    pages = [PageCost(seq=1, tokens=10), PageCost(seq=2, tokens=4), PageCost(seq=3, tokens=1, kind=Kind.RECALLED)]
    assert clock_after(pages, (1, 2, 3), 0.0) == pytest.approx(0.25)
    assert clock_after(pages, (3,), 0.125) == pytest.approx(0.125)
    assert clock_after(iter(pages), (), 0.5) == pytest.approx(0.5)
