"""Compaction blocks: what stays in the window in place of the pages that left it.

A reclaim leaves one block, a table of contents with a line per range of pages, and takes up
what the block before said. Lines are as fine as their age allows, like the levels of a
log-structured tree: a page that left lately has its own, and the older the pages, the wider
the ranges. So the block stays inside its share of the budget however long the conversation
grows. Addresses in a block stay valid for ever.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heapreplace
from itertools import pairwise
from typing import Final

from pagefault.gist import merge as merge_gists

Range = tuple[int, int]
SPANS: Final = 6
RECENT: Final = 8
"""Pages that count as the newest: among them, age makes no difference."""
SAMPLE: Final = 40
"""So many lines say how long a text of so many tokens is: where the search for the number of lines begins."""
GUESSES: Final = 4
FULL: Final = 0.95
"""A block that uses so much of its share is full."""
FULLEST: Final = 0.985
HEADER: Final = (
    '[pagefault: {count} pages ({spans}) left this window. Nothing is lost: recall(addresses="{first}") '
    "returns the exact original. Contents, quoted:]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of contents: a range of pages and its gist."""

    first: int
    last: int
    gist: str

    def __str__(self) -> str:
        span = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        return f"{span} {' '.join(self.gist.split())}"  # one line, whatever a record says


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The contents of one reclaim, or of several merged ones.

    Attributes:
        ranges: Exactly the pages that left, as sorted inclusive ranges.
        entries: Lines of contents, in page order.
        at: Number of the youngest page that left when the block was made.
        tip: Chain of page ``at``: proves that the block belongs to a path.
        level: How often it was merged.
        tokens: What its text costs as a message.
    """

    ranges: tuple[Range, ...]
    entries: tuple[Entry, ...]
    at: int
    tip: str
    level: int = 0
    tokens: int = 0

    @property
    def text(self) -> str:
        """What the model reads in place of the pages."""
        spans = ", ".join(_span(r) for r in self.ranges[:SPANS]) + (", ..." if len(self.ranges) > SPANS else "")
        header = HEADER.format(count=count(self.ranges), spans=spans, first=self.entries[0].first)
        return "\n".join([header, *map(str, self.entries)])


def to_ranges(seqs: Iterable[int]) -> tuple[Range, ...]:
    """Sorted inclusive ranges.

    Example:
        >>> to_ranges([3, 1, 2, 7])
        ((1, 3), (7, 7))
    """
    ranges: list[Range] = []
    for seq in sorted(set(seqs)):
        if ranges and ranges[-1][1] == seq - 1:
            ranges[-1] = (ranges[-1][0], seq)
        else:
            ranges.append((seq, seq))
    return tuple(ranges)


def members(ranges: Iterable[Range]) -> set[int]:
    """Every page number inside the ranges."""
    return {seq for first, last in ranges for seq in range(first, last + 1)}


def count(ranges: Iterable[Range]) -> int:
    """How many pages the ranges hold."""
    return sum(last - first + 1 for first, last in ranges)


def compact(
    blocks: Sequence[Block], victims: Sequence[Entry], tip: str, *, limit: int, cost: Callable[[str], int]
) -> tuple[Block, ...]:
    """The contents after one more reclaim: one block, whatever there was before.

    Args:
        blocks: The blocks so far, oldest first; more than one only in records of earlier releases.
        victims: One entry per page that leaves, in page order.
        tip: Chain of the youngest victim.
        limit: Tokens that the block may use. Kept unless even one line exceeds it.
        cost: Tokens of a text as a message.

    Returns:
        The block, within ``limit``.
    """
    fresh = Block(ranges=to_ranges(e.first for e in victims), entries=tuple(victims), at=victims[-1].last, tip=tip)
    every = [*blocks, fresh]
    youngest = max(every, key=lambda b: b.at)
    whole = Block(
        ranges=_union(r for b in every for r in b.ranges),
        entries=tuple(sorted((e for b in every for e in _needed(b)), key=lambda e: (e.first, e.last))),
        at=youngest.at,
        tip=youngest.tip,
        level=max((b.level + 1 for b in blocks), default=0),
    )
    return (_fit(whole, limit, cost),)


def join(entries: Sequence[Entry], newest: int) -> list[int]:
    """In which order lines stop being lines of their own.

    Of all neighbouring pairs the one is joined next whose joined width is smallest for its age, the
    distance to the newest page: ranges grow in proportion to their age, and pages far apart are joined last.

    Returns:
        The positions at which a line begins (never 0), the first to be given up first.
    """
    before, after = list(range(-1, len(entries) - 1)), list(range(1, len(entries) + 1))
    last = [e.last for e in entries]

    def pair(at: int) -> tuple[float, int, int]:
        end = max(last[before[at]], last[at])
        return (end - entries[before[at]].first + 1) / (newest - end + 1 + RECENT), at, end

    heap = [pair(at) for at in range(1, len(entries))]
    heapify(heap)
    order: list[int] = []
    while heap:
        price, at, end = heap[0]
        if (now := pair(at)) != (price, at, end):  # a neighbour has grown, which only makes a pair dearer
            heapreplace(heap, now)
            continue
        heappop(heap)
        order.append(at)
        left, right = before[at], after[at]
        last[left] = end
        after[left] = right
        if right < len(entries):
            before[right] = left
    return order


def _fit(block: Block, limit: int, cost: Callable[[str], int]) -> Block:
    """The block with about as many of its lines as fit, at least one.

    Counting tokens takes longer than all else in a reclaim, so the lengths of texts lead the
    search and a count close below the limit ends it.
    """
    order = join(block.entries, block.at)[::-1]
    known: dict[Range, Entry] = {}

    def with_lines(lines: int) -> Block:
        starts = [0, *sorted(order[: lines - 1]), len(block.entries)]
        return replace(block, entries=tuple(_line(block.entries, span, known) for span in pairwise(starts)))

    def about(chars: float, lines: int, low: int, high: int) -> Block:
        """The block with a text of about so many characters; the search begins at ``lines``."""
        tried = with_lines(min(max(lines, low), high))
        for _ in range(GUESSES):
            if FULL * chars <= (length := len(tried.text)) <= chars:
                break
            lines = int(len(tried.entries) * FULLEST * chars / length)
            tried = with_lines(min(max(lines, low), high))
        return tried

    best: Block | None = None
    sample = "\n".join(map(str, block.entries[:: len(block.entries) // SAMPLE + 1]))
    density = FULLEST * len(sample) / max(1, cost(sample))
    low, high, tries = 1, len(block.entries) + 1, 0
    lines = int(len(block.entries) * limit * density / len(block.text))
    while high - low > 1 and (best is None or best.tokens <= limit * FULL):
        # Texts of one kind are alike; where they are not, halving still ends.
        tried = about(limit * density, lines, low + 1, high - 1) if tries < GUESSES else with_lines((low + high) // 2)
        text = tried.text
        tried = replace(tried, tokens=cost(text))
        lines, tries = len(tried.entries), tries + 1
        density = FULLEST * len(text) / max(1, tried.tokens)
        if tried.tokens <= limit:
            low, best = lines, tried
        else:
            high = lines
    if best is None:
        best = with_lines(1)
        best = replace(best, tokens=cost(best.text))
    return best


def _line(entries: Sequence[Entry], span: Range, known: dict[Range, Entry]) -> Entry:
    """One line for the lines from ``span[0]`` up to before ``span[1]``."""
    if span not in known:
        lines = entries[span[0] : span[1]]
        gist = lines[0].gist if len(lines) == 1 else merge_gists(*(e.gist for e in lines))
        known[span] = Entry(first=lines[0].first, last=max(e.last for e in lines), gist=gist)
    return known[span]


def _needed(block: Block) -> Iterator[Entry]:
    """The lines of a block, no wider than from the first to the last page that is still away."""
    firsts, lasts = [r[0] for r in block.ranges], [r[1] for r in block.ranges]
    for entry in block.entries:
        begin, end = bisect_left(lasts, entry.first), bisect_right(firsts, entry.last) - 1
        if begin <= end:
            first, last = max(entry.first, firsts[begin]), min(entry.last, lasts[end])
            yield entry if (first, last) == (entry.first, entry.last) else replace(entry, first=first, last=last)


def _union(ranges: Iterable[Range]) -> tuple[Range, ...]:
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)


def _span(span: Range) -> str:
    return f"{span[0]}" if span[0] == span[1] else f"{span[0]}-{span[1]}"
