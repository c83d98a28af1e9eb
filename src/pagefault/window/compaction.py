"""The compaction block: what stays in the window in place of the pages that left it.

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
from operator import itemgetter
from typing import Final, NamedTuple

from pagefault.window.gist import merge as merge_gists

Range = tuple[int, int]
_SPAN: Final = itemgetter(0, 1)
SPANS: Final = 6
RECENT: Final = 8
"""Pages that count as the newest: among them, age makes no difference."""
SAMPLE: Final = 40
"""So many lines say how many tokens the characters of others have."""
GUESSED: Final = 1.15
"""Lines are joined unseen until they seem to have so many times the tokens there is room for."""
HEADER: Final = (
    '[pagefault: {pages} ({spans}) left this window. Nothing is lost: recall(addresses="{first}") '
    "returns the exact original.{order} Contents, quoted:]"
)
ORDER: Final = " {pages} came after messages still shown."
"""The contents stand before all that is left: without it, what a model did on a request that it still sees reads like
work from before that request, to be done again."""


class Entry(NamedTuple):
    """One line of contents: a range of pages and its gist. A tuple, since a reclaim makes hundreds.

    Attributes:
        first: Number of the first page.
        last: Number of the last page.
        gist: What the pages hold, as :func:`one_line` makes it of what a record says.
        tokens: Of the line with its end, 0 while not counted; no record has it.
    """

    first: int
    last: int
    gist: str
    tokens: int = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and self[:3] == other[:3]

    def __ne__(self, other: object) -> bool:  # a tuple has its own
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:3])

    @property
    def whole(self) -> str:
        """The line with its end."""
        return f"{self}\n"

    def __str__(self) -> str:
        first, last, gist, _ = self
        return f"{first} {gist}" if first == last else f"{first}-{last} {gist}"


class Scale(NamedTuple):
    """How the tokens of a block are counted.

    Attributes:
        size: Tokens of a text.
        cost: What a message with a text of so many tokens costs; rises with them.
        adds_up: Whether the counts of lines, each with its end, add up to that of their text
            where every line begins with a digit.
        known: What :func:`joined` says of some lines, where somebody has asked it already.
    """

    size: Callable[[str], int]
    cost: Callable[[int], int]
    adds_up: bool
    known: Callable[[Sequence[Entry]], Entry | None] = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The table of contents of all that left.

    Attributes:
        ranges: Exactly the pages that left, as sorted inclusive ranges.
        entries: Lines of contents, in page order.
        at: Number of the youngest page that left when the block was made.
        tip: Chain of page ``at``: proves that the block belongs to a path.
        tokens: What its text costs as a message.
    """

    ranges: tuple[Range, ...]
    entries: tuple[Entry, ...]
    at: int
    tip: str
    tokens: int = 0

    @property
    def text(self) -> str:
        """What the model reads in place of the pages."""
        return "\n".join([self.header, *map(str, self.entries)])

    @property
    def header(self) -> str:
        """Its first line. It says nothing of how the pages are grouped into lines."""
        spans = ", ".join(_span(r) for r in self.ranges[:SPANS]) + (", ..." if len(self.ranges) > SPANS else "")
        size, newest = count(self.ranges), self.ranges[-1]
        pages = "1 page" if size == 1 else f"{size} pages"
        order = ORDER.format(pages=_span(newest)) if newest[0] > 1 else ""
        return HEADER.format(pages=pages, spans=spans, first=self.entries[0].first, order=order)


def to_ranges(seqs: Iterable[int]) -> tuple[Range, ...]:
    """Sorted inclusive ranges.

    Example:
        >>> to_ranges([3, 1, 2, 7])
        ((1, 3), (7, 7))
    """
    return _union([(seq, seq) for seq in seqs])


def members(ranges: Iterable[Range]) -> set[int]:
    """Every page number inside the ranges."""
    return {seq for first, last in ranges for seq in range(first, last + 1)}


def count(ranges: Iterable[Range]) -> int:
    """How many pages the ranges hold."""
    return sum(last - first + 1 for first, last in ranges)


def compact(block: Block | None, victims: Sequence[Entry], tip: str, *, limit: int, scale: Scale) -> Block:
    """The contents after one more reclaim.

    Args:
        block: The contents so far.
        victims: One entry per page that leaves, in page order.
        tip: Chain of the youngest victim.
        limit: Tokens that the block may use. Kept unless even one line exceeds it.
        scale: How tokens are counted.

    Returns:
        The block, within ``limit``.
    """
    spans, lines, at = list(map(_SPAN, victims)), list(victims), victims[-1].last
    if block is not None:
        spans += block.ranges
        lines = sorted([*_needed(block), *victims], key=_SPAN)
        at, tip = max((block.at, block.tip), (at, tip))
    return _fit(Block(ranges=_union(spans), entries=tuple(lines), at=at, tip=tip), limit, scale)


def join(entries: Sequence[Entry], newest: int) -> Iterator[tuple[int, int]]:
    """In which order lines stop being lines of their own.

    Of all neighbouring pairs the one is joined next whose joined width is smallest for its age, the
    distance to the newest page: ranges grow in proportion to their age, and pages far apart are joined last.

    Yields:
        The positions at which two neighbouring lines begin, the second of which becomes part of the first.
    """
    size = len(entries)
    before, after = list(range(-1, size - 1)), list(range(1, size + 1))
    first, last = [e.first for e in entries], [e.last for e in entries]
    ends = [0, *map(max, last, last[1:])]
    young = newest + 1 + RECENT
    heap = [((ends[at] - first[at - 1] + 1) / (young - ends[at]), at, ends[at]) for at in range(1, size)]
    heapify(heap)
    while heap:
        price, at, _ = heap[0]
        left = before[at]
        end = max(last[left], last[at])
        if (now := (end - first[left] + 1) / (young - end)) != price:  # a neighbour has grown: the pair is dearer
            heapreplace(heap, (now, at, end))
            continue
        heappop(heap)
        yield left, at
        right = after[at]
        last[left] = end
        after[left] = right
        if right < size:
            before[right] = left


def joined(lines: Sequence[Entry], size: Callable[[str], int]) -> Entry:
    """One line that says what some neighbouring ones do, counted. Nothing but the lines decides what it says."""
    line = Entry(lines[0].first, max([e.last for e in lines]), merge_gists(*[e.gist for e in lines]))
    return line._replace(tokens=size(line.whole))


class _Lines:
    """The lines of a block while neighbours are joined until all fit."""

    def __init__(self, block: Block, scale: Scale) -> None:
        self._block = block
        self._scale = scale
        self._joins = join(block.entries, block.at)
        self._stops = list(range(1, len(block.entries) + 1))
        self._header = scale.size(block.header + "\n")
        self._made: dict[int, Entry] = {}

    def guess(self, room: int) -> None:
        """Join without a look at what joined lines say: two lines become one about as long as the longer one."""
        sizes, stops = _sizes(self._block.entries, self._scale), self._stops
        more = room * GUESSED
        total = self._header + sum(sizes)
        while total > more and (pair := next(self._joins, None)) is not None:
            into, at = pair
            one, other = sizes[into], sizes[at]
            total -= min(one, other)
            sizes[into] = max(one, other)
            stops[into], stops[at] = stops[at], 0
        self._made = {start: self._line(start) for start, stop in enumerate(stops) if stop}

    def join(self, room: int) -> int:
        """Join until the lines have at most ``room`` tokens together, or there is only one; how many they have."""
        made, stops = self._made, self._stops
        total = self._header + sum(line.tokens for line in made.values())
        while total > room and (pair := next(self._joins, None)) is not None:
            into, at = pair
            stops[into] = stops[at]
            total -= made[into].tokens + made.pop(at).tokens
            made[into] = self._line(into)
            total += made[into].tokens
        return total

    @property
    def block(self) -> Block:
        """The block with the lines as they are."""
        return replace(self._block, entries=tuple(self._made.values()))

    def _line(self, start: int) -> Entry:
        """The line that begins here, counted."""
        entries, stop = self._block.entries, self._stops[start]
        line = entries[start]
        if stop > start + 1:
            lines = entries[start:stop]
            return self._scale.known(lines) or joined(lines, self._scale.size)
        return line if line.tokens else line._replace(tokens=self._scale.size(line.whole))


def _fit(block: Block, limit: int, scale: Scale) -> Block:
    """The block with as many of its lines as fit, at least one.

    Counting tokens takes longer than all else in a reclaim. The counts of lines tell how many of them
    fit; where they do not add up to the count of the whole, that is taken, too.
    """
    room = bisect_right(range(limit + 1), limit, key=scale.cost) - 1
    lines = _Lines(block, scale)
    lines.guess(room)
    more = 0  # tokens of the whole that the lines do not tell of
    while True:
        total = lines.join(room - more)
        found = lines.block
        *_, last = found.entries
        tokens = total - last.tokens + scale.size(str(last)) if scale.adds_up else scale.size(found.text)
        if tokens <= room or len(found.entries) == 1:
            return replace(found, tokens=scale.cost(tokens))
        more = max(more + 1, tokens - total)


def _sizes(entries: Sequence[Entry], scale: Scale) -> list[int]:
    """Tokens of each line; about as many where they are not counted yet."""
    if all(sizes := [e.tokens for e in entries]):
        return sizes
    sample = "\n".join(map(str, entries[:: len(entries) // SAMPLE + 1]))
    density = scale.size(sample) / len(sample)
    return [e.tokens or round(len(str(e)) * density) for e in entries]


def _needed(block: Block) -> Iterator[Entry]:
    """The lines of a block, no wider than from the first to the last page that is still away."""
    firsts, lasts = [r[0] for r in block.ranges], [r[1] for r in block.ranges]
    for entry in block.entries:
        begin, end = bisect_left(lasts, entry.first), bisect_right(firsts, entry.last) - 1
        if begin <= end:
            first, last = max(entry.first, firsts[begin]), min(entry.last, lasts[end])
            yield entry if (first, last) == entry[:2] else Entry(first, last, entry.gist)


def _union(ranges: Iterable[Range]) -> tuple[Range, ...]:
    found: list[Range] = []
    begin, end = 0, -1  # no page yet
    for first, last in sorted(ranges):
        if first > end + 1:
            found.append((begin, end))
            begin, end = first, last
        elif last > end:
            end = last
    return (*found[1:], (begin, end)) if end > 0 else ()


def _span(span: Range) -> str:
    return f"{span[0]}" if span[0] == span[1] else f"{span[0]}-{span[1]}"
