"""Pages from the store, by number, checked against the chain and the hash.

Runs on the kernel's loop thread.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Final

from pagefault.errors import CorruptPage, PagesLost
from pagefault.faults.others import Other, Others, Sight
from pagefault.kernel import Kernel
from pagefault.page import Page, SpaceId
from pagefault.paths.lineage import Lineage
from pagefault.paths.paging import Paging
from pagefault.paths.restore import Read, intact, read
from pagefault.ports import PageStore, Scope
from pagefault.writing.writeback import WriteBack

_log: Final = logging.getLogger("pagefault")


class Loader:
    """Reads pages of a path, and of the user's other conversations; what the store lacks is written again if it can."""

    def __init__(self, kernel: Kernel, store: PageStore, writeback: WriteBack, others: Others) -> None:
        self._kernel = kernel
        self._store = store
        self._writeback = writeback
        self._others = others

    async def intact(self, sight: Sight, numbers: Sequence[int]) -> tuple[dict[int, Read], list[str]]:
        """As :meth:`pages`, but what is damaged is left out and named: it must not hide the others."""
        pages, failed = await intact(partial(self.pages, sight), numbers, CorruptPage, PagesLost)
        if failed:  # in one line, were it hundreds
            first, more = min(failed), f" and {len(failed) - 1} more" if len(failed) > 1 else ""
            page = f"page {sight.address(first)}{more}"
            _log.warning("recall in %s leaves out %s: %s", sight.paging.space, page, failed[first])
        return pages, [sight.address(number) for number in sorted(failed)]

    async def pages(self, sight: Sight, numbers: Sequence[int]) -> dict[int, Read]:
        """Pages by number, from whichever conversation they are."""
        grouped: dict[SpaceId | None, tuple[Other | None, list[tuple[int, int]]]] = {}
        for number in numbers:
            other, seq = sight.split(number)
            grouped.setdefault(other.space if other else None, (other, []))[1].append((number, seq))
        pages: dict[int, Read] = {}
        for other, wanted in grouped.values():
            seqs = [seq for _, seq in wanted]
            if other is None:
                found = await self.own(sight.paging, sight.lineage, seqs)
            else:
                path = await self._others.path(other)
                chains = [(seq, path[seq - 1]) for seq in dict.fromkeys(seqs)]
                found = await read(self._store, other.scope, chains, words=True)
            pages |= {number: found[seq] for number, seq in wanted}
        return pages

    async def own(self, paging: Paging, lineage: Lineage, seqs: Sequence[int]) -> dict[int, Read]:
        """Pages of a path of one's own, by number.

        Raises:
            PagesLost: The store lacks one, and this process cannot write it again.
            CorruptPage: One does not match its hash.
        """
        scope = Scope(tenant=paging.space.tenant, space=paging.space.key)
        with paging.lock:
            wanted = [(seq, lineage.slots[seq - 1].chain) for seq in dict.fromkeys(seqs)]
        try:
            return await read(self._store, scope, wanted, words=True)
        except PagesLost:
            if not await self._kernel.run(lambda: _write_again(paging, lineage, seqs), urgent=True):
                raise
        await self._writeback.drain(paging, lineage, seqs)
        return await read(self._store, scope, wanted, words=True)


def at_hand(paging: Paging, lineage: Lineage, seqs: Sequence[int]) -> dict[int, Page]:
    """Those of these pages that can be made here as the store has them, or will have them."""
    pages: dict[int, Page] = {}
    for seq in seqs:
        with paging.lock:  # for each by itself: a step need not wait for all
            page = lineage.page_at_hand(lineage.slots[seq - 1])
        if page is not None:
            pages[seq] = page
    return pages


def _write_again(paging: Paging, lineage: Lineage, seqs: Sequence[int]) -> bool:
    """Mark pages for writing once more where the framework's state still holds their messages."""
    with paging.lock:
        return lineage.doubt(seqs)
