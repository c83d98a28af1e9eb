"""Compaction blocks: bounded for ever, exact about what left."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.compaction import Block, Entry, compact, count, halve, members, to_ranges
from pagefault.gist import gist_of
from pagefault.page import Address, parse_addresses
from tests.core.strategies import PROJECTIONS, few, texts

SEQS = st.lists(st.integers(1, 300), max_size=60)


def cost(text):
    return len(text) // 4 + 8


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


def check_blocks(blocks, gone):
    """Every page that left is in exactly one block and under a line of it; no other page is."""
    named = Counter(seq for block in blocks for seq in members(block.ranges))
    assert set(named) == gone
    assert set(named.values()) <= {1}
    for block in blocks:
        inside = members(block.ranges)
        assert count(block.ranges) == len(inside)
        assert to_ranges(inside) == block.ranges
        assert max(inside) <= block.at
        assert inside <= members((e.first, e.last) for e in block.entries)
        assert [e.first for e in block.entries] == sorted(e.first for e in block.entries)
        assert block.tokens == cost(block.text)


@pytest.mark.parametrize(("seed", "limit", "rounds"), [(1, 300, 2_000), (2, 900, 600), (3, 2_400, 300)])
def test_blocks_stay_within_their_share_however_long_it_goes_on(seed, limit, rounds):
    blocks: tuple[Block, ...] = ()
    gone: set[int] = set()
    for number, seqs in enumerate(reclaims(random.Random(seed), rounds)):
        blocks = compact(blocks, entries(seqs), f"tip {seqs[-1]}", limit=limit, cost=cost)
        gone.update(seqs)
        assert sum(b.tokens for b in blocks) <= limit
        if number % 40 == 0 or number > rounds - 5:
            check_blocks(blocks, gone)
    assert len(blocks) <= 3 + len(gone).bit_length()
    assert max(b.level for b in blocks) <= rounds


def test_old_contents_are_coarser_than_new_ones():
    blocks: tuple[Block, ...] = ()
    for at in range(0, 2_000, 10):
        blocks = compact(blocks, entries(range(at + 1, at + 11)), "tip", limit=1_500, cost=cost)
    per_line = [count(b.ranges) / len(b.entries) for b in blocks]
    assert per_line[0] >= 2 * per_line[-1]
    assert per_line == sorted(per_line, reverse=True)
    assert [b.at for b in blocks] == sorted(b.at for b in blocks)


@given(
    st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=6, unique=True), min_size=1, max_size=8),
    st.integers(1, 600),
)
@few
def test_any_reclaims_within_any_limit(steps, limit):
    blocks: tuple[Block, ...] = ()
    gone: set[int] = set()
    for step in steps:
        seqs = sorted(set(step) - gone)
        if not seqs:
            continue
        gone.update(seqs)
        args = (blocks, entries(seqs), f"tip {seqs[-1]}")
        blocks = compact(*args, limit=limit, cost=cost)
        assert compact(*args, limit=limit, cost=cost) == blocks
        check_blocks(blocks, gone)
        smallest = len(blocks) == 1 and len(blocks[0].entries) == 1
        assert sum(b.tokens for b in blocks) <= limit or smallest
        youngest = max(blocks, key=lambda b: b.at)
        assert youngest.tip == f"tip {youngest.at}"


def test_a_large_reclaim_leaves_room_for_the_next():
    (block,) = compact((), entries(range(1, 200)), "tip", limit=1_000, cost=cost)
    assert block.tokens <= 500
    assert block.ranges == ((1, 199),)


def test_a_single_block_may_use_the_whole_share():
    small = entries([1], gist="x" * 80)
    for limit in range(40, 200, 10):
        (block,) = compact((), [*small, *entries([2], gist="y" * 80)], "tip", limit=limit, cost=cost)
        assert block.tokens <= limit or len(block.entries) == 1


def test_where_not_even_one_line_fits_one_line_is_left():
    blocks = compact((), entries(range(1, 50)), "tip", limit=0, cost=cost)
    blocks = compact(blocks, entries(range(50, 60)), "tip", limit=0, cost=cost)
    assert [len(b.entries) for b in blocks] == [1]
    assert blocks[0].ranges == ((1, 59),)


@given(SEQS)
def test_ranges_are_exact_sorted_and_apart(seqs):
    ranges = to_ranges(seqs)
    assert members(ranges) == set(seqs)
    assert count(ranges) == len(set(seqs))
    assert all(a[1] + 1 < b[0] for a, b in pairwise(ranges))
    assert to_ranges(reversed(seqs)) == ranges


@given(st.lists(st.integers(1, 500), min_size=1, max_size=30, unique=True))
def test_half_the_lines_name_the_same_pages(seqs):
    lines = entries(sorted(seqs))
    half = halve(lines)
    assert len(half) == (len(lines) + 1) // 2
    assert set(seqs) <= members((e.first, e.last) for e in half)
    assert (half[0].first, max(e.last for e in half)) == (min(seqs), max(seqs))


def test_a_line_that_spans_others_keeps_its_span():
    wide, inner = Entry(first=1, last=90, gist="a"), Entry(first=5, last=6, gist="b")
    assert halve([wide, inner]) == (Entry(first=1, last=90, gist="a | b"),)


@given(st.lists(st.lists(PROJECTIONS, min_size=1, max_size=2), min_size=1, max_size=12), st.integers(50, 2_000))
@few
def test_what_pages_say_cannot_forge_a_line(pages, limit):
    lines = [Entry(first=n, last=n, gist=gist_of(page)) for n, page in enumerate(pages, start=1)]
    (block,) = compact((), lines, "tip", limit=limit, cost=cost)
    shown = block.text.splitlines()
    assert len(shown) == 1 + len(block.entries)
    assert shown[0].startswith(f"[pagefault: {len(pages)} pages (")
    for line, entry in zip(shown[1:], block.entries, strict=True):
        assert line.split(" ")[0] == (f"{entry.first}" if entry.first == entry.last else f"{entry.first}-{entry.last}")


@given(texts())
def test_not_even_a_gist_from_elsewhere_can(gist):
    assert len(str(Entry(first=1, last=2, gist=gist)).splitlines()) == 1


def test_the_text_of_a_block():
    block = Block(ranges=((1, 3), (7, 7)), entries=(Entry(first=1, last=3, gist="a"), Entry(first=7, last=7, gist="b")),
                  at=7, tip="t")  # fmt: skip
    assert block.text == (
        '[pagefault: 4 pages (1-3, 7) left this window. Nothing is lost: recall(addresses="1") '
        "returns the exact original. Contents, quoted:]\n1-3 a\n7 b"
    )


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=40, unique=True))
@few
def test_every_address_in_a_block_can_be_used(seqs):
    (block,) = compact((), entries(sorted(seqs)), "tip", limit=10**6, cost=cost)
    spans = block.text[block.text.index("pages (") + 7 : block.text.index(") left")]
    many = len(block.ranges) > 6
    named = parse_addresses(spans.removesuffix(", ..."))
    assert spans.endswith("...") == many
    assert [(a.first, a.last) for a in named] == list(block.ranges[:6])
    assert all(Address.parse(line.split(" ")[0]) for line in block.text.splitlines()[1:])
