"""The view: which pages of a path are in the window, as deviations from "all of them".

A view is a value. Its record is small plain JSON that a framework's state can carry; it is
written only when a decision changed. Where a state restored from an older checkpoint meets a
newer record, only what belongs to that state's own past is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, TypeGuard

from pagefault.window.compaction import Block, Entry, Range, count, members, to_ranges
from pagefault.window.gist import one_line
from pagefault.window.notes import Note, PinnedItem, items_text
from pagefault.window.preview import Cut, Preview

RECORD_VERSION: Final = 1
UNDER: Final = "under"
"""Beside the record of a state's messages: those of its other lists of messages, each under its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A page that never leaves: its number, and its chain as proof of the path."""

    seq: int
    chain: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What the pages of a path read up to one of them, so that their chains need not be computed to be known.

    Attributes:
        at: Number of the last of these pages.
        chain: Its chain.
        sum: Hex digest over their imprints.
    """

    at: int
    chain: str
    sum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is not simply resident.

    Attributes:
        generation: Rises with every decision; the higher one wins when two meet.
        block: The table of contents of what left; a page is absent exactly when its ranges name it.
        pins: Pages that never leave.
        previews: Pages that are in the window in part.
        released: Pages that leave first at the next reclaim.
        items: Pinned items as they are now.
        folded: Pinned items as they stand near the top since the last reclaim.
        folded_tokens: What those cost.
        notes: Our messages at the tail since then, oldest first.
        clock: The replacement policy's aging clock.
        seal: Over the pages that the last reclaim could choose from.
    """

    generation: int = 0
    block: Block | None = None
    pins: tuple[Pin, ...] = ()
    previews: tuple[Preview, ...] = ()
    released: tuple[Pin, ...] = ()
    items: tuple[PinnedItem, ...] = ()
    folded: tuple[PinnedItem, ...] = ()
    folded_tokens: int = 0
    notes: tuple[Note, ...] = ()
    clock: float = 0.0
    seal: Seal | None = None

    @property
    def absent(self) -> set[int]:
        """Numbers of the pages that are not in the window."""
        return members(self.block.ranges) if self.block else set()

    @property
    def pinned(self) -> set[int]:
        """Numbers of the pinned pages."""
        return {pin.seq for pin in self.pins}

    @property
    def block_tokens(self) -> int:
        """What the block costs."""
        return self.block.tokens if self.block else 0

    @property
    def note_tokens(self) -> int:
        """What pinned items near the top and notes at the tail cost."""
        return self.folded_tokens + sum(note.tokens for note in self.notes)

    @property
    def is_plain(self) -> bool:
        """Whether a prompt is the framework's messages as they are."""
        return not (self.block or self.previews or self.notes or self.folded)

    def with_block(self, block: Block, clock: float) -> View:
        """The view after a reclaim."""
        gone = members(block.ranges)
        shown = tuple(p for p in self.previews if p.seq not in gone)
        left = tuple(p for p in self.released if p.seq not in gone)
        return replace(self, generation=self.generation + 1, block=block, previews=shown, released=left, clock=clock)

    def with_items_folded(self, cost: Callable[[str], int]) -> View:
        """The view as a reclaim leaves it: items near the top, nothing of ours at the tail."""
        if not self.notes and self.folded == self.items:
            return self
        tokens = cost(items_text(self.items)) if self.items else 0
        return replace(self, generation=self.generation + 1, folded=self.items, folded_tokens=tokens, notes=())

    def with_note(self, note: Note) -> View:
        """The view with one more note at the tail."""
        return replace(self, generation=self.generation + 1, notes=(*self.notes, note))

    def with_item(self, key: str, item: PinnedItem | None) -> View:
        """The view with an item set, or removed; the tail has to say so."""
        others = [i for i in self.items if i.key != key]
        return replace(self, generation=self.generation + 1, items=(*others, *([item] if item else [])))

    def with_items_of(self, other: View, at: int, chain: str) -> View:
        """The view with the items of ``other``; those that it lacks count as set after page ``at``."""
        items = tuple(i if i in self.items else replace(i, at=at, chain=chain) for i in other.items)
        return replace(self, generation=self.generation + 1, items=items)

    def with_released(self, pages: Iterable[Pin]) -> View:
        """The view with these pages the first to leave."""
        found = {p.seq: p for p in (*self.released, *pages)}
        ordered = tuple(found[seq] for seq in sorted(found))
        return replace(self, generation=self.generation + 1, released=ordered)

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
        left = tuple(p for p in self.released if p.seq not in wanted)
        return replace(self.with_present(wanted), pins=ordered, previews=shown, released=left)

    def with_present(self, seqs: Iterable[int]) -> View:
        """The view with these pages in the window, whatever the block said."""
        block = _without(self.block, set(seqs)) if self.block else None
        return replace(self, generation=self.generation + 1, block=block)

    def without_pins(self, seqs: Iterable[int]) -> View:
        """The view with these pages free to leave again."""
        gone = set(seqs)
        return replace(self, generation=self.generation + 1, pins=tuple(p for p in self.pins if p.seq not in gone))

    @property
    def proofs(self) -> list[tuple[int, str]]:
        """Page numbers, and the chains there by which parts of this view belong to a path."""
        block = [(self.block.at, self.block.tip)] if self.block else []
        pins = [(p.seq, p.chain) for p in (*self.pins, *self.released)]
        shown = [(p.seq, p.chain) for p in self.previews]
        items = [(i.at, i.chain) for i in (*self.items, *self.folded)]
        return [*block, *pins, *shown, *items, *((n.at, n.chain) for n in self.notes)]

    def on_path(self, chain_at: Callable[[int], str | None]) -> View:
        """What of this view belongs to the path whose chain at page ``n`` is ``chain_at(n)``."""

        def is_here(at: int, chain: str) -> bool:
            return chain_at(at) == chain if at else not chain

        return replace(
            self,
            block=self.block if self.block and is_here(self.block.at, self.block.tip) else None,
            pins=tuple(p for p in self.pins if is_here(p.seq, p.chain)),
            previews=tuple(p for p in self.previews if is_here(p.seq, p.chain)),
            released=tuple(p for p in self.released if is_here(p.seq, p.chain)),
            items=tuple(i for i in self.items if is_here(i.at, i.chain)),
            folded=tuple(i for i in self.folded if is_here(i.at, i.chain)),
            notes=tuple(n for n in self.notes if is_here(n.at, n.chain)),
            seal=self.seal if self.seal and is_here(self.seal.at, self.seal.chain) else None,
        )


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
                "tokens": b.tokens,
            }
            for b in ([view.block] if view.block else [])
        ],
        "pins": [[p.seq, p.chain] for p in view.pins],
        "previews": [[p.seq, p.chain, p.tokens, [[c.part, c.head, c.tail] for c in p.cuts]] for p in view.previews],
        "released": [[p.seq, p.chain] for p in view.released],
        "items": [[i.key, i.text, i.at, i.chain] for i in view.items],
        "folded": [view.folded_tokens, [[i.key, i.text, i.at, i.chain] for i in view.folded]],
        "notes": [[n.before, n.at, n.chain, n.about, n.text, n.tokens] for n in view.notes],
        "seal": [view.seal.at, view.seal.chain, view.seal.sum] if view.seal else [],
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
        pins = tuple(Pin(seq=_number(seq), chain=_text(chain)) for seq, chain in record["pins"])
        folded_tokens, folded = record.get("folded", (0, ()))
        return View(
            generation=_number(record["gen"]),
            block=_only(record["blocks"]),
            pins=pins,
            previews=tuple(_preview(*preview) for preview in record.get("previews", ())),
            released=tuple(Pin(seq=_number(seq), chain=_text(chain)) for seq, chain in record.get("released", ())),
            items=tuple(_item(*item) for item in record.get("items", ())),
            folded=tuple(_item(*item) for item in folded),
            folded_tokens=_number(folded_tokens),
            notes=tuple(_note(*note) for note in record.get("notes", ())),
            clock=_clock(record["clock"]),
            seal=_seal(*seal) if (seal := record.get("seal")) else None,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"not a view record: {error!r:.200}") from error


def _only(blocks: Sequence[Mapping[str, Any]]) -> Block | None:
    """There is one block or none; records were made for several once, and still have a list."""
    if len(blocks) > 1:
        raise ValueError(f"{len(blocks)} compaction blocks in place of one")
    return _block(blocks[0]) if blocks else None


def _block(data: Mapping[str, Any]) -> Block:
    at = _number(data["at"])
    ranges = tuple(_range(first, last, at) for first, last in data["ranges"])
    spans = [(_range(first, last, at), one_line(_text(gist))) for first, last, gist in data["entries"]]
    if not ranges or not spans:
        raise ValueError("a compaction block without pages")
    if any(later[0] <= earlier[1] for earlier, later in pairwise(ranges)):
        raise ValueError(f"ranges out of order: {ranges!r:.60}")
    return Block(
        ranges=ranges,
        entries=tuple(Entry(first=first, last=last, gist=gist) for (first, last), gist in spans),
        at=at,
        tip=_text(data["tip"]),
        tokens=_number(data["tokens"]),
    )


def _item(key: Any, text: Any, at: Any, chain: Any) -> PinnedItem:
    return PinnedItem(key=_text(key), text=_text(text), at=_number(at), chain=_text(chain))


def _note(before: Any, at: Any, chain: Any, about: Any, text: Any, tokens: Any) -> Note:  # noqa: PLR0917  # one list
    if about not in {"item", "pressure"}:
        raise ValueError(f"not what a note is about: {about!r:.60}")
    place, proof = _number(before), _number(at)
    return Note(before=place, at=proof, chain=_text(chain), about=about, text=_text(text), tokens=_number(tokens))


def _preview(seq: Any, chain: Any, tokens: Any, cuts: Any) -> Preview:
    parts = tuple(Cut(part=_number(part), head=_number(head), tail=_number(tail)) for part, head, tail in cuts)
    return Preview(seq=_number(seq), chain=_text(chain), cuts=parts, tokens=_number(tokens))


def _seal(at: Any, chain: Any, total: Any) -> Seal:
    return Seal(at=_number(at), chain=_text(chain), sum=_text(total))


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


def is_number(value: object) -> TypeGuard[int]:
    """Whether this can be a page number or a count, as stores and serialisers keep them."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _number(value: Any) -> int:
    if not is_number(value):
        raise ValueError(f"not a page number or count: {value!r:.60}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"not text: {value!r:.60}")  # noqa: TRY004  # callers handle one error
    return value


def merge_records(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> dict[str, Any]:
    """Reducer for the state key: the higher generation wins, the newer one on a tie.

    So does, for each list of messages, the record that is filed under its name.

    Example:
        >>> merge_records({"gen": 2}, {"gen": 1})
        {'gen': 2}
        >>> merge_records({"gen": 2, "under": {"notes": {"gen": 1}}}, {"under": {"notes": {"gen": 3}}})
        {'gen': 2, 'under': {'notes': {'gen': 3}}}
    """
    if not new:
        return dict(old or {})
    if not old:
        return dict(new)
    if UNDER not in old and UNDER not in new:
        return dict(old if (generation_of(old) or 0) > (generation_of(new) or 0) else new)
    merged = merge_records(_own(old), _own(new))
    mine, its = _filed(old), _filed(new)
    return {**merged, UNDER: {name: merge_records(mine.get(name), its.get(name)) for name in {**mine, **its}}}


def record_under(value: Mapping[str, Any] | None, name: str) -> Mapping[str, Any] | None:
    """Of a state's value the record about one list of messages; ``name`` is ``""`` for the usual one.

    Example:
        >>> record_under({"gen": 2, "under": {"notes": {"gen": 1}}}, "notes"), record_under({"gen": 2}, "notes")
        ({'gen': 1}, None)
    """
    if not isinstance(value, Mapping):
        return value
    if name:
        return _filed(value).get(name)
    return _own(value) if UNDER in value else value


def filed_under(record: dict[str, Any], name: str) -> dict[str, Any]:
    """What a state is told of that list's record."""
    return {UNDER: {name: record}} if name else record


def _own(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in value.items() if key != UNDER}


def _filed(value: Mapping[str, Any]) -> Mapping[str, Any]:
    found = value.get(UNDER)
    return found if isinstance(found, Mapping) else {}


def generation_of(record: Any) -> int | None:
    """What a record says of its generation; ``None`` for what is no record."""
    found = record.get("gen") if isinstance(record, Mapping) else None
    return found if isinstance(found, int) else None


def clock_of(record: Any) -> float:
    """What a record says of the replacement clock; 0 where it says nothing of the kind."""
    try:
        return _clock(record["clock"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return 0.0
