"""Which page of a path a point of the store is, so that a search need not ask the store to say so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final
from weakref import WeakKeyDictionary

from pagefault.chain import point_id
from pagefault.paths.lineage import Lineage

BREATH: Final = 4_096
"""After so many pages other coroutines have their turn."""


class Points:
    """Page numbers by point, of the paths that were searched. Used on the kernel's loop thread.

    A point's id names space and chain, so an id that is known here is a page of this very path: of another
    space, another path or another tenant none can be. About 150 bytes a page; paths only grow.
    """

    def __init__(self) -> None:
        self._paths: WeakKeyDictionary[Lineage, dict[int, int]] = WeakKeyDictionary()

    async def of(self, lineage: Lineage, space_key: str) -> Mapping[int, int]:
        """The numbers of all chained pages of a path, by ``UUID.int``."""
        known = self._paths.setdefault(lineage, {})
        slots = lineage.slots
        while len(known) < len(slots) and (chain := slots[len(known)].chain):
            known[point_id(space_key, chain).int] = slots[len(known)].seq
            if not len(known) % BREATH:
                await asyncio.sleep(0)  # a long path's first search must not hold up the others
        return known
