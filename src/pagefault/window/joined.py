"""Joined lines that are known before a reclaim needs them.

What two neighbouring lines of a table of contents say as one depends on nothing else. So it is found out behind the
agent, when nobody waits, and a reclaim looks it up; what is not known is joined then, with the same result.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise

from pagefault.window.compaction import Block, Entry, joined

_Key = tuple[tuple[int, int, str], ...]


class Joined:
    """The joined lines of one path.

    Attributes:
        pages: So many of the path's pages have been looked at together with the one behind them.
        block: The block whose lines have.
        due: Neighbouring lines that are not joined yet.
    """

    def __init__(self) -> None:
        self.pages = 0
        self.block: Block | None = None
        self.due: deque[tuple[Entry, Entry]] = deque()
        self._known: dict[_Key, Entry] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, lines: Sequence[Entry]) -> Entry | None:
        """What these lines say as one, if that is known."""
        return self._known.get(_key(lines))

    def add(self, lines: Sequence[Entry], size: Callable[[str], int]) -> None:
        """Find out what these lines say as one; ``size`` counts its tokens."""
        if (key := _key(lines)) not in self._known:
            self._known[key] = joined(lines, size)

    def take_up(self, block: Block | None, absent: Collection[int]) -> None:
        """Go on with the lines of this block, and let go of those of pages that left the window."""
        self.block = block
        lines = list(pairwise(block.entries)) if block else []
        self.due = deque([*lines, *(pair for pair in self.due if pair[0].first not in absent)])
        kept = set(map(_key, lines))
        self._known = {key: line for key, line in self._known.items() if key in kept or key[0][0] not in absent}


def _key(lines: Sequence[Entry]) -> _Key:
    return tuple([line[:3] for line in lines])
