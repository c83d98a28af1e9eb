"""What a framework's state holds of a path that it has dropped pages of, and the mark that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from pagefault.window.compaction import Range, members
from pagefault.window.view import is_number

MARK_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """Which pages of a path a framework's state has dropped.

    Attributes:
        ranges: The pages, as sorted inclusive ranges.
        tip: Chain at the last of them: proves the path.
        removed: Ids of messages in them that the user has removed since.
        shown: Generation of the view that the state shows as it is, 0 for none.
    """

    ranges: tuple[Range, ...]
    tip: str
    removed: frozenset[str] = frozenset()
    shown: int = 0

    @property
    def at(self) -> int:
        """Number of the last page dropped."""
        return self.ranges[-1][1]

    @property
    def pages(self) -> set[int]:
        """Numbers of all pages dropped."""
        return members(self.ranges)


class Kept(NamedTuple):
    """What a state was last seen to hold of a path, so that a step finds only its tail new.

    Attributes:
        dropped: What its mark said.
        natives: Its messages, without the one that carries the mark.
        length: Messages of the whole path then.
    """

    dropped: Dropped
    natives: list[Any]
    length: int


def to_mark(dropped: Dropped) -> dict[str, Any]:
    """Plain JSON, to be kept with a message."""
    mark: dict[str, Any] = {
        "v": MARK_VERSION,
        "dropped": [list(r) for r in dropped.ranges],
        "tip": dropped.tip,
        "shown": dropped.shown,
    }
    return {**mark, "removed": sorted(dropped.removed)} if dropped.removed else mark


def from_mark(mark: object) -> Dropped | None:
    """Read what :func:`to_mark` wrote; ``None`` for anything else."""
    if not isinstance(mark, Mapping) or mark.get("v") != MARK_VERSION:
        return None
    ranges, tip, shown, removed = (mark.get(k) for k in ("dropped", "tip", "shown", "removed"))
    if not isinstance(ranges, list | tuple) or not ranges or not isinstance(tip, str) or not is_number(shown):
        return None
    if not all(isinstance(r, list | tuple) and len(r) == 2 and all(map(is_number, r)) for r in ranges):
        return None
    if not all(1 <= r[0] <= r[1] for r in ranges) or any(b[0] <= a[1] for a, b in pairwise(ranges)):
        return None
    ids = frozenset(i for i in removed if isinstance(i, str)) if isinstance(removed, list | tuple) else frozenset()
    return Dropped(ranges=tuple((r[0], r[1]) for r in ranges), tip=tip, removed=ids, shown=shown)
