"""A path whose framework state no longer holds all of it: what was dropped, and putting it back in place.

Where a framework's state drops what left the window, one message stays there in place of the
rest and carries a mark: which pages were dropped, and the chain that proves of which path. From
mark and state the whole path is put together again, so that dropping changes no page number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import is_
from typing import Any, NamedTuple

from pagefault.paths.dropped import Dropped, Kept
from pagefault.paths.lineage import Lineage
from pagefault.paths.slot import LeftBehind
from pagefault.window.compaction import to_ranges


def dropped_of(pages: Iterable[int], lineage: Lineage, *, shown: int = 0) -> Dropped:
    """What a state says that has dropped these closed pages of a path."""
    ranges = to_ranges(pages)
    return Dropped(ranges=ranges, tip=lineage.chain_at(ranges[-1][1]) or "", shown=shown)


class Merged(NamedTuple):
    """A path put together again.

    Attributes:
        natives: All of its messages.
        dropped: Which of them belong to dropped pages: index here, index in the lineage.
        again: Those of them that the state holds nevertheless: someone wrote them once more.
    """

    natives: list[Any]
    dropped: dict[int, int]
    again: set[int]


class Rejoined(NamedTuple):
    """A path put together again, grown by what is new.

    Attributes:
        natives: All of its messages; those that no prompt needs stand as a placeholder.
        path: The path.
        pages: Its pages that the state has dropped.
        again: Those of them that the state holds nevertheless.
    """

    natives: list[Any]
    path: Lineage
    pages: set[int]
    again: set[int]


def merge(lineage: Lineage, dropped: Dropped, kept: Sequence[Any]) -> Merged:
    """What the state kept, and what it dropped in its place.

    A message of a dropped page comes from the lineage, unless the state holds it under its id (an
    edit) or its id was removed. One of any other page comes from the state; if it is not there, the
    user has removed it. What is new follows the message before it.

    Args:
        lineage: The path that the mark is about.
        dropped: The mark.
        kept: The state's messages, without the one that carries the mark.
    """
    key = lineage.codec.key
    place = {k: index for index, native in enumerate(kept) if (k := key(native)) is not None}
    away = dropped.pages
    slots = lineage.slots[: dropped.at]
    rewritten = {
        index for s in slots if s.seq in away for i in range(s.start, s.stop)
        if (index := place.get(lineage.key_at(i) or "")) is not None
    }  # fmt: skip
    found = Merged([], {}, set())
    done = 0
    for slot in slots:
        for index in range(slot.start, slot.stop):
            name = lineage.key_at(index) or ""
            at = place.get(name)
            if slot.seq in away:
                if at is None and name in dropped.removed:
                    continue
                found.dropped[len(found.natives)] = index
                if at is not None:
                    found.again.add(len(found.natives))
                found.natives.append(lineage.seen[index] if at is None else kept[at])
            elif at is not None and at >= done:
                found.natives.extend(kept[i] for i in range(done, at + 1) if i not in rewritten)
                done = at + 1
    found.natives.extend(kept[i] for i in range(done, len(kept)) if i not in rewritten)
    return found


def rejoined(path: Lineage, dropped: Dropped, merged: Merged, kept: list[Any]) -> Rejoined:
    """What an adapter steps with, once the path holds all that the next prompt may show."""
    is_same = not dropped.removed and path.chain_at(dropped.at) == dropped.tip
    pages = dropped.pages if is_same else pages_with(path, merged.dropped)
    path.kept = Kept(dropped, kept, len(path.seen)) if is_same and not merged.again else None
    return Rejoined(list(path.seen), path, pages, pages_with(path, merged.again))


def grown(path: Lineage, dropped: Dropped, kept: list[Any]) -> list[Any] | None:
    """The whole path when the state only grew since it was last seen, else ``None``."""
    last = path.kept
    if last is None or last.dropped != dropped or len(last.natives) > len(kept):
        return None
    if not all(map(is_, last.natives, kept)) or path.has_grown():
        return None
    return [*path.seen[: last.length], *kept[len(last.natives) :]]


def nameless(lineage: Lineage) -> set[int]:
    """Pages left behind whose messages' ids are not known."""
    unknown = [
        i for i, native in enumerate(lineage.seen) if isinstance(native, LeftBehind) and lineage.key_at(i) is None
    ]
    return pages_with(lineage, unknown)


def pages_with(lineage: Lineage, indices: Iterable[int]) -> set[int]:
    """Numbers of the closed pages that hold any of these messages."""
    wanted = sorted(indices)
    pages: set[int] = set()
    slots = iter(lineage.slots)
    slot = next(slots, None)
    for index in wanted:
        while slot is not None and slot.stop <= index:
            slot = next(slots, None)
        if slot is not None and slot.closed:
            pages.add(slot.seq)
    return pages
