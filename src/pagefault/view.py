"""The view: which pages of a path are in the window, as deviations from "all of them".

A view is a value. Its record is small plain JSON that a framework's state can carry; it is
written only when a decision changed. Where a state restored from an older checkpoint meets a
newer record, only what belongs to that state's own past is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pagefault.compaction import Block, Entry, Range, members, to_ranges

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
        clock: The replacement policy's aging clock.
    """

    generation: int = 0
    blocks: tuple[Block, ...] = ()
    pins: tuple[Pin, ...] = ()
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
        return replace(self, generation=self.generation + 1, blocks=blocks, clock=clock)

    def with_pins(self, pins: Iterable[Pin]) -> View:
        """The view with these pins; a pinned page that was absent is resident again."""
        wanted = {p.seq: p for p in (*self.pins, *pins)}
        blocks = tuple(b for b in (_without(block, set(wanted)) for block in self.blocks) if b is not None)
        ordered = tuple(wanted[seq] for seq in sorted(wanted))
        return replace(self, generation=self.generation + 1, blocks=blocks, pins=ordered)

    def without_pins(self, seqs: Iterable[int]) -> View:
        """The view with these pages free to leave again."""
        gone = set(seqs)
        return replace(self, generation=self.generation + 1, pins=tuple(p for p in self.pins if p.seq not in gone))

    def on_path(self, chain_at: Callable[[int], str | None]) -> View:
        """What of this view belongs to the path whose chain at page ``n`` is ``chain_at(n)``."""
        blocks = tuple(b for b in self.blocks if chain_at(b.at) == b.tip)
        pins = tuple(p for p in self.pins if chain_at(p.seq) == p.chain)
        return self if (blocks, pins) == (self.blocks, self.pins) else replace(self, blocks=blocks, pins=pins)


def _without(block: Block, seqs: set[int]) -> Block | None:
    left = members(block.ranges) - seqs
    if not left:
        return None
    return replace(block, ranges=to_ranges(left)) if len(left) < len(members(block.ranges)) else block


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
    }


def from_record(record: Mapping[str, Any]) -> View:
    """Read what :func:`to_record` wrote.

    Raises:
        ValueError: Not such a record.
    """
    if record.get("v") != RECORD_VERSION:
        raise ValueError(f"view record version {record.get('v')!r}, this release reads {RECORD_VERSION}")
    try:
        blocks = tuple(_block(b) for b in record["blocks"])
        pins = tuple(Pin(seq=_number(seq), chain=str(chain)) for seq, chain in record["pins"])
        return View(generation=_number(record["gen"]), blocks=blocks, pins=pins, clock=float(record["clock"]))
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"not a view record: {error!r}") from error


def _block(data: Mapping[str, Any]) -> Block:
    ranges = tuple(_range(r) for r in data["ranges"])
    entries = tuple(Entry(first=_number(a), last=_number(b), gist=str(gist)) for a, b, gist in data["entries"])
    if not ranges or not entries:
        raise ValueError("a compaction block without pages")
    return Block(
        ranges=ranges,
        entries=entries,
        at=_number(data["at"]),
        tip=str(data["tip"]),
        level=_number(data["level"]),
        tokens=_number(data["tokens"]),
    )


def _range(pair: Any) -> Range:
    first, last = pair
    if not 1 <= _number(first) <= _number(last) < 2**53:
        raise ValueError(f"not a range of pages: {pair!r}")
    return first, last


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"not a page number or count: {value!r}")
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
    return dict(old if old.get("gen", 0) > new.get("gen", 0) else new)
