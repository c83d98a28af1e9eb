"""The compaction block: bounded for ever, exact about what left."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.page import Address, parse_addresses
from pagefault.window.compaction import Block, Entry, Scale, compact, count, join, members, to_ranges
from pagefault.window.gist import gist_of
from tests.core.strategies import PROJECTIONS, few

SEQS = st.lists(st.integers(1, 300), max_size=60)


def cost(text):
    return len(text) // 4 + 8


SCALE = Scale(lambda text: len(text) // 4, lambda tokens: tokens + 8, adds_up=False)


def entries(seqs, gist="user: something was said here"):
    return [Entry(first=seq, last=seq, gist=f"{gist} {seq}") for seq in seqs]


def reclaims(rng, rounds, deepest=30):
    """Victims of many reclaims: most pages leave in order, some stay behind and leave much later."""
    seq, behind = 0, []
    for _ in range(rounds):
        fresh = range(seq + 1, seq + 2 + rng.randrange(deepest))
        seq = fresh[-1]
        stay = {s for s in fresh if rng.random() < 0.1}
        late = {s for s in behind if rng.random() < 0.2}
        behind = [s for s in {*behind, *stay} if s not in late]
        if gone := sorted({*fresh, *late} - stay):
            yield gone


def check_block(block, gone):
    """Every page that left is in its ranges and under a line of it; no other page is."""
    assert members(block.ranges) == gone
    assert count(block.ranges) == len(gone)
    assert to_ranges(gone) == block.ranges
    assert max(gone) <= block.at
    assert gone <= members((e.first, e.last) for e in block.entries)
    assert [e.first for e in block.entries] == sorted(e.first for e in block.entries)
    assert block.tokens == cost(block.text)


@pytest.mark.parametrize(("seed", "limit", "rounds"), [(1, 300, 2_000), (2, 900, 600), (3, 2_400, 300)])
def test_the_block_stays_within_its_share_however_long_it_goes_on(seed, limit, rounds):
    block: Block | None = None
    gone: set[int] = set()
    for number, seqs in enumerate(reclaims(random.Random(seed), rounds)):
        block = compact(block, entries(seqs), f"tip {seqs[-1]}", limit=limit, scale=SCALE)
        gone.update(seqs)
        assert block.tokens <= limit
        if number % 40 == 0 or number > rounds - 5:
            check_block(block, gone)


def widths(block):
    return [e.last - e.first + 1 for e in block.entries]


def test_lines_get_wider_with_age():
    block: Block | None = None
    for at in range(0, 2_000, 10):
        block = compact(block, entries(range(at + 1, at + 11)), "tip", limit=1_500, scale=SCALE)
        assert all(a.last < b.first for a, b in pairwise(block.entries)), "nothing left out of order, nothing overlaps"
        for nearer, farther in pairwise(widths(block)[::-1]):
            assert farther >= nearer / 2, "never much finer again"
    assert widths(block)[-3:] == [1, 1, 1]
    assert max(widths(block)) >= 100
    assert len(block.entries) >= 25


def test_the_share_is_used():
    block: Block | None = None
    rng, limit = random.Random(7), 700
    for number, seqs in enumerate(reclaims(rng, 400)):
        gists = [Entry(first=s, last=s, gist="word " * rng.randrange(1, 20)) for s in seqs]
        before = (len(block.entries) if block else 0) + len(seqs)
        block = compact(block, gists, "tip", limit=limit, scale=SCALE)
        assert block.tokens >= 0.85 * limit or len(block.entries) == before, number


def test_no_line_is_wider_than_needed_when_all_fit():
    block: Block | None = None
    for at in range(1, 40):
        block = compact(block, entries([at]), "tip", limit=10_000, scale=SCALE)
    assert [(e.first, e.last) for e in block.entries] == [(n, n) for n in range(1, 40)]


def test_pages_far_apart_share_a_line_last():
    early, late = entries([1]), entries(range(310, 318))
    block = compact(None, [*early, *entries(range(100, 309, 2))], "tip", limit=500, scale=SCALE)
    block = compact(block, late, "tip", limit=500, scale=SCALE)
    assert all(a.last < b.first for a, b in pairwise(block.entries))
    block = compact(None, [*early, *late], "tip", limit=100, scale=SCALE)
    assert (block.entries[0].first, block.entries[0].last) == (1, 1)


def test_a_page_that_leaves_late_is_listed_in_its_place():
    block = compact(None, entries([1, 2, 4, 5]), "t5", limit=10_000, scale=SCALE)
    block = compact(block, entries([3]), "t3", limit=10_000, scale=SCALE)
    assert [e.first for e in block.entries] == [1, 2, 3, 4, 5]
    assert (block.ranges, block.at, block.tip) == (((1, 5),), 5, "t5")


def test_lines_shrink_to_the_pages_that_are_still_away():
    lines = (Entry(first=1, last=3, gist="a"), Entry(first=4, last=9, gist="b"), Entry(first=10, last=11, gist="c"))
    block = Block(ranges=((1, 3), (6, 7)), entries=lines, at=11, tip="t")
    block = compact(block, entries([20]), "t", limit=10_000, scale=SCALE)
    assert [(e.first, e.last) for e in block.entries] == [(1, 3), (6, 7), (20, 20)]


@given(
    st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=6, unique=True), min_size=1, max_size=8),
    st.integers(1, 600),
)
@few
def test_any_reclaims_within_any_limit(steps, limit):
    block: Block | None = None
    gone: set[int] = set()
    for step in steps:
        seqs = sorted(set(step) - gone)
        if not seqs:
            continue
        gone.update(seqs)
        args = (block, entries(seqs), f"tip {seqs[-1]}")
        block = compact(*args, limit=limit, scale=SCALE)
        assert compact(*args, limit=limit, scale=SCALE) == block
        check_block(block, gone)
        assert block.tokens <= limit or len(block.entries) == 1
        assert block.tip == f"tip {block.at}"


def test_a_block_may_use_the_whole_share():
    small = entries([1], gist="x" * 80)
    for limit in range(40, 200, 10):
        block = compact(None, [*small, *entries([2], gist="y" * 80)], "tip", limit=limit, scale=SCALE)
        assert block.tokens <= limit or len(block.entries) == 1


def test_where_not_even_one_line_fits_one_line_is_left():
    block = compact(None, entries(range(1, 50)), "tip", limit=0, scale=SCALE)
    block = compact(block, entries(range(50, 60)), "tip", limit=0, scale=SCALE)
    assert len(block.entries) == 1
    assert block.ranges == ((1, 59),)


def test_lines_counted_before_are_not_counted_again():
    def counting(text):
        counted.append(text)
        return len(text)

    counted: list[str] = []
    scale = Scale(counting, lambda tokens: tokens + 8, adds_up=True)
    known = [Entry(first=n, last=n, gist="g" * 40, tokens=len(f"{n} ") + 41) for n in range(1, 30)]
    block = compact(None, known, "t29", limit=10_000, scale=scale)
    assert counted == [block.header + "\n", str(block.entries[-1])]
    assert block.tokens == len(block.text) + 8
    block = compact(block, known[-1:], "t29", limit=700, scale=scale)
    assert 500 < block.tokens == len(block.text) + 8 <= 700
    assert block.entries[-1] == known[-1]


def test_a_line_is_what_it_says_whether_it_was_counted_or_not():
    line, counted = Entry(first=1, last=2, gist="g"), Entry(first=1, last=2, gist="g", tokens=7)
    assert line == counted
    assert (line != counted) is False
    assert hash(line) == hash(counted)
    assert line != Entry(first=1, last=2, gist="h")
    assert line != (1, 2, "g", 0)


@given(SEQS)
def test_ranges_are_exact_sorted_and_apart(seqs):
    ranges = to_ranges(seqs)
    assert members(ranges) == set(seqs)
    assert count(ranges) == len(set(seqs))
    assert all(a[1] + 1 < b[0] for a, b in pairwise(ranges))
    assert to_ranges(reversed(seqs)) == ranges


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 90)), min_size=1, max_size=30), st.integers(0, 50))
def test_every_line_but_the_first_is_given_up_once_the_cheapest_first(spans, ahead):
    lines = [Entry(first=first, last=first + width, gist="g") for first, width in sorted(spans)]
    newest = max(e.last for e in lines) + ahead
    order = [second for _, second in join(lines, newest)]
    assert sorted(order) == list(range(1, len(lines)))
    left = {index: (e.first, e.last) for index, e in enumerate(lines)}
    for given_up in order:  # again, by looking at every pair every time
        prices = {}
        for a, b in pairwise(sorted(left)):
            end = max(left[a][1], left[b][1])
            prices[b] = (end - left[a][0] + 1) / (newest - end + 9), a, end
        assert prices[given_up][0] == min(price for price, _, _ in prices.values())
        _, into, end = prices[given_up]
        left[into] = (left[into][0], end)
        del left[given_up]


@given(st.lists(st.lists(PROJECTIONS, min_size=1, max_size=2), min_size=1, max_size=12), st.integers(50, 2_000))
@few
def test_what_pages_say_cannot_forge_a_line(pages, limit):
    lines = [Entry(first=n, last=n, gist=gist_of(page)) for n, page in enumerate(pages, start=1)]
    block = compact(None, lines, "tip", limit=limit, scale=SCALE)
    shown = block.text.splitlines()
    assert len(shown) == 1 + len(block.entries)
    assert shown[0].startswith(f"[pagefault: {len(pages)} page{'s' if len(pages) > 1 else ''} (")
    for line, entry in zip(shown[1:], block.entries, strict=True):
        assert line.split(" ")[0] == (f"{entry.first}" if entry.first == entry.last else f"{entry.first}-{entry.last}")


def test_the_text_of_a_block():
    block = Block(ranges=((1, 3),), entries=(Entry(first=1, last=3, gist="a"),), at=3, tip="t")
    assert block.text == (
        '[pagefault: 3 pages (1-3) left this window. Nothing is lost: recall(addresses="1") '
        "returns the exact original. Contents, quoted:]\n1-3 a"
    )


@pytest.mark.parametrize(("newest", "named"), [((7, 7), "7"), ((7, 9), "7-9")])
def test_a_block_says_what_came_after_messages_that_are_still_there(newest, named):
    entries = (Entry(first=1, last=3, gist="a"), Entry(first=newest[0], last=newest[1], gist="b"))
    block = Block(ranges=((1, 3), newest), entries=entries, at=newest[1], tip="t")
    assert f"original. {named} came after messages still shown. " in block.header


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=40, unique=True))
@few
def test_every_address_in_a_block_can_be_used(seqs):
    block = compact(None, entries(sorted(seqs)), "tip", limit=10**6, scale=SCALE)
    spans = block.text[block.text.index("(") + 1 : block.text.index(") left")]
    many = len(block.ranges) > 6
    named = parse_addresses(spans.removesuffix(", ..."))
    assert spans.endswith("...") == many
    assert [(a.first, a.last) for a in named] == list(block.ranges[:6])
    assert all(Address.parse(line.split(" ")[0]) for line in block.text.splitlines()[1:])


def counted_for(pages, gist):
    counted = []

    def counting(text):
        counted.append(len(text))
        return len(text) // 4

    scale = Scale(counting, SCALE.cost, adds_up=False)
    block = compact(None, entries(range(1, pages + 1), gist), "tip", limit=700, scale=scale)
    assert block.tokens >= 600
    return sum(counted)


@pytest.mark.parametrize("gist", ["x" * 80, "x"])
def test_how_much_is_counted_hardly_depends_on_how_many_pages_leave(gist):
    assert counted_for(8_000, gist) < 1.5 * counted_for(1_000, gist)


def test_texts_that_cost_nothing_all_fit():
    free = Scale(lambda _: 0, lambda tokens: tokens, adds_up=True)
    block = compact(None, entries(range(1, 60)), "tip", limit=0, scale=free)
    assert len(block.entries) == 59
