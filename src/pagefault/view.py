"""The view: which pages of a path are in the window, as deviations from "all of them".

A view is a value. Its record is small plain JSON that a framework's state can carry; it is
written only when a decision changed. Where a state restored from an older checkpoint meets a
newer record, only what belongs to that state's own past is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

from pagefault.compaction import Block, Entry, Range, count, members, to_ranges
from pagefault.preview import Cut, Preview

RECORD_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A page that never leaves: its number, and its chain as proof of the path."""

    seq: int
    chain: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is not simply resident.

    Attributes:
        generation: Rises with every decision; the higher one wins when two meet.
        blocks: Compaction blocks, oldest first; a page is absent exactly when one names it.
        pins: Pages that never leave.
        previews: Pages that are in the window in part.
        clock: The replacement policy's aging clock.
    """

    generation: int = 0
    blocks: tuple[Block, ...] = ()
    pins: tuple[Pin, ...] = ()
    previews: tuple[Preview, ...] = ()
    clock: float = 0.0

    @property
    def absent(self) -> set[int]:
        """Numbers of the pages that are not in the window."""
        return members(r for block in self.blocks for r in block.ranges)

    @property
    def pinned(self) -> set[int]:
        """Numbers of the pinned pages."""
        return {pin.seq for pin in self.pins}

    @property
    def block_tokens(self) -> int:
        """What all blocks together cost."""
        return sum(block.tokens for block in self.blocks)

    def with_blocks(self, blocks: tuple[Block, ...], clock: float) -> View:
        """The view after a reclaim."""
        gone = members(r for block in blocks for r in block.ranges)
        shown = tuple(p for p in self.previews if p.seq not in gone)
        return replace(self, generation=self.generation + 1, blocks=blocks, previews=shown, clock=clock)

    def with_previews(self, previews: Iterable[Preview]) -> View:
        """The view with these pages shown in part."""
        found = {p.seq: p for p in (*self.previews, *previews)}
        ordered = tuple(found[seq] for seq in sorted(found))
        return replace(self, generation=self.generation + 1, previews=ordered)

    def with_pins(self, pins: Iterable[Pin]) -> View:
        """The view with these pins; a pinned page that was absent or shown in part is whole again."""
        wanted = {p.seq: p for p in (*self.pins, *pins)}
        ordered = tuple(wanted[seq] for seq in sorted(wanted))
        shown = tuple(p for p in self.previews if p.seq not in wanted)
        return replace(self.with_present(wanted), pins=ordered, previews=shown)

    def with_present(self, seqs: Iterable[int]) -> View:
        """The view with these pages in the window, whatever the blocks said."""
        back = set(seqs)
        blocks = tuple(b for b in (_without(block, back) for block in self.blocks) if b is not None)
        return replace(self, generation=self.generation + 1, blocks=blocks)

    def without_pins(self, seqs: Iterable[int]) -> View:
        """The view with these pages free to leave again."""
        gone = set(seqs)
        return replace(self, generation=self.generation + 1, pins=tuple(p for p in self.pins if p.seq not in gone))

    def on_path(self, chain_at: Callable[[int], str | None]) -> View:
        """What of this view belongs to the path whose chain at page ``n`` is ``chain_at(n)``."""
        blocks = tuple(b for b in self.blocks if chain_at(b.at) == b.tip)
        pins = tuple(p for p in self.pins if chain_at(p.seq) == p.chain)
        shown = tuple(p for p in self.previews if chain_at(p.seq) == p.chain)
        if (blocks, pins, shown) == (self.blocks, self.pins, self.previews):
            return self
        return replace(self, blocks=blocks, pins=pins, previews=shown)


def _without(block: Block, seqs: set[int]) -> Block | None:
    left = members(block.ranges) - seqs
    if not left:
        return None
    if len(left) == count(block.ranges):
        return block
    rest = replace(block, ranges=to_ranges(left))
    longer = max(0, len(rest.text) - len(block.text))  # a span split in two: no character costs more than a token
    return replace(rest, tokens=block.tokens + longer)


def to_record(view: View) -> dict[str, Any]:
    """Plain JSON for a framework's state."""
    return {
        "v": RECORD_VERSION,
        "gen": view.generation,
        "clock": view.clock,
        "blocks": [
            {
                "ranges": [list(r) for r in b.ranges],
                "entries": [[e.first, e.last, e.gist] for e in b.entries],
                "at": b.at,
                "tip": b.tip,
                "level": b.level,
                "tokens": b.tokens,
            }
            for b in view.blocks
        ],
        "pins": [[p.seq, p.chain] for p in view.pins],
        "previews": [[p.seq, p.chain, p.tokens, [[c.part, c.head, c.tail] for c in p.cuts]] for p in view.previews],
    }


def from_record(record: Mapping[str, Any]) -> View:
    """Read what :func:`to_record` wrote.

    Raises:
        ValueError: Not such a record.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"not a view record: {record!r:.60}")  # noqa: TRY004  # callers handle one error
    if record.get("v") != RECORD_VERSION:
        raise ValueError(f"view record version {record.get('v')!r:.60}, this release reads {RECORD_VERSION}")
    try:
        blocks = tuple(_block(b) for b in record["blocks"])
        pins = tuple(Pin(seq=_number(seq), chain=_text(chain)) for seq, chain in record["pins"])
        shown = tuple(_preview(*preview) for preview in record.get("previews", ()))
        clock = _clock(record["clock"])
        return View(generation=_number(record["gen"]), blocks=blocks, pins=pins, previews=shown, clock=clock)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"not a view record: {error!r:.200}") from error


def _block(data: Mapping[str, Any]) -> Block:
    at = _number(data["at"])
    ranges = tuple(_range(first, last, at) for first, last in data["ranges"])
    spans = [(_range(first, last, at), _text(gist)) for first, last, gist in data["entries"]]
    if not ranges or not spans:
        raise ValueError("a compaction block without pages")
    if any(later[0] <= earlier[1] for earlier, later in pairwise(ranges)):
        raise ValueError(f"ranges out of order: {ranges!r:.60}")
    return Block(
        ranges=ranges,
        entries=tuple(Entry(first=first, last=last, gist=gist) for (first, last), gist in spans),
        at=at,
        tip=_text(data["tip"]),
        level=_number(data["level"]),
        tokens=_number(data["tokens"]),
    )


def _preview(seq: Any, chain: Any, tokens: Any, cuts: Any) -> Preview:
    parts = tuple(Cut(part=_number(part), head=_number(head), tail=_number(tail)) for part, head, tail in cuts)
    return Preview(seq=_number(seq), chain=_text(chain), cuts=parts, tokens=_number(tokens))


def _range(first: Any, last: Any, at: int) -> Range:
    """A range of pages, none younger than the block's own page ``at`` (which its path proves)."""
    if not 1 <= _number(first) <= _number(last) <= at:
        raise ValueError(f"not a range of pages up to {at}: {first!r}-{last!r}")
    return first, last


def _clock(value: Any) -> float:
    clock = float(value)
    if not 0 <= clock < math.inf:
        raise ValueError(f"not a clock: {value!r:.60}")
    return clock


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise ValueError(f"not a page number or count: {value!r:.60}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"not text: {value!r:.60}")  # noqa: TRY004  # callers handle one error
    return value


def merge_records(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> dict[str, Any]:
    """Reducer for the state key: the higher generation wins, the newer one on a tie.

    Example:
        >>> merge_records({"gen": 2}, {"gen": 1})
        {'gen': 2}
    """
    if not new:
        return dict(old or {})
    if not old:
        return dict(new)
    return dict(old if _generation(old) > _generation(new) else new)


def _generation(record: Mapping[str, Any]) -> int:
    found = record.get("gen")
    return found if isinstance(found, int) else 0
