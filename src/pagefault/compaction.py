"""Compaction blocks: what stays in the window in place of the pages that left it.

A reclaim leaves one block, a table of contents with a line per range of pages. Blocks are
merged like the levels of a log-structured tree: two neighbours of one level become one of
the next, with half the lines, so that all blocks together stay inside their share of the
budget however long the conversation grows. Addresses in a block stay valid for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pagefault.gist import merge as merge_gists

Range = tuple[int, int]
SPANS: Final = 6
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
    """The blocks after one more reclaim.

    Args:
        blocks: The blocks so far, oldest first.
        victims: One entry per page that leaves, in page order.
        tip: Chain of the youngest victim.
        limit: Tokens that all blocks together may use. Kept unless even one block with one
            line exceeds it.
        cost: Tokens of a text as a message.

    Returns:
        All blocks, oldest first, within ``limit``.
    """
    fresh = Block(ranges=to_ranges(e.first for e in victims), entries=tuple(victims), at=victims[-1].last, tip=tip)
    every = [*blocks, _fit(fresh, max(1, limit // 2), cost)]
    while len(every) > 1 and sum(b.tokens for b in every) > limit:
        at = _pair(every)
        every[at : at + 2] = [_fit(_merge(every[at], every[at + 1]), max(1, limit // 2), cost)]
    if len(every) == 1 and every[0].tokens > limit:
        every = [_fit(every[0], limit, cost)]
    return tuple(every)


def halve(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Join each pair of neighbouring lines into one."""
    joined = [
        Entry(first=a.first, last=max(a.last, b.last), gist=merge_gists(a.gist, b.gist))
        for a, b in zip(entries[::2], entries[1::2], strict=False)
    ]
    return (*joined, entries[-1]) if len(entries) % 2 else tuple(joined)


def _fit(block: Block, limit: int, cost: Callable[[str], int]) -> Block:
    block = replace(block, tokens=cost(block.text))
    while block.tokens > limit and len(block.entries) > 1:
        block = replace(block, entries=halve(block.entries))
        block = replace(block, tokens=cost(block.text))
    return block


def _merge(older: Block, newer: Block) -> Block:
    entries = sorted((*older.entries, *newer.entries), key=lambda e: (e.first, e.last))
    youngest = max(older, newer, key=lambda b: b.at)
    return Block(
        ranges=to_ranges(members(older.ranges) | members(newer.ranges)),
        entries=halve(entries),
        at=youngest.at,
        tip=youngest.tip,
        level=max(older.level, newer.level) + 1,
    )


def _pair(blocks: Sequence[Block]) -> int:
    """Index of the older block of the pair to merge: the lowest equal levels, oldest first."""
    return min(
        range(len(blocks) - 1),
        key=lambda i: (blocks[i].level != blocks[i + 1].level, max(blocks[i].level, blocks[i + 1].level), i),
    )


def _span(span: Range) -> str:
    return f"{span[0]}" if span[0] == span[1] else f"{span[0]}-{span[1]}"
