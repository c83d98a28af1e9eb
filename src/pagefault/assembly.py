"""Putting a path together from a framework's state and, where this process does not know enough, the store."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from pagefault.core import Core
from pagefault.paths.dropped import Dropped, Kept
from pagefault.paths.lineage import Lineage
from pagefault.paths.paging import Paging
from pagefault.paths.rejoin import Merged, Rejoined, grown, merge, nameless, pages_with, rejoined
from pagefault.paths.restore import restore_at
from pagefault.paths.slot import LeftBehind
from pagefault.ports import Codec
from pagefault.window.budget import Budget
from pagefault.window.preview import OVERSIZE

Record = Mapping[str, Any] | None


class Assembly:
    """One conversation, of which a framework's state may hold a part only. Made by ``space.assembly(codec)``."""

    def __init__(self, core: Core, paging: Paging, codec: Codec) -> None:
        self._core = core
        self._paging = paging
        self._codec = codec

    def known(self, natives: list[Any]) -> int:
        """How many of these messages the path last used begins with, as the same objects."""
        with self._paging.lock:
            path = next(iter(self._paging.lineages), None)
            is_same = path is not None and path.codec is self._codec and path.is_prefix_of(natives)
            return len(path.seen) if path is not None and is_same else 0

    def is_due(self, path: Lineage, budget: Budget) -> bool:
        """Whether the next step would decide something: too many tokens, or an oversize result, by upper bounds."""
        with self._paging.lock:
            return path.ceiling() > budget.high or path.peak > budget.target // OVERSIZE

    # -- putting together ------------------------------------------------------------------

    def rejoin(self, kept: list[Any], dropped: Dropped, *, record: Record = None) -> Rejoined:
        """The whole path of a state that has dropped pages; adapters step with its messages.

        Args:
            kept: The state's messages, without the one that carries the mark.
            dropped: What the mark says.
            record: The view record in the state, if any.

        Raises:
            PagesLost: The pages are not in this space.
            StoreError: The path has to be read from the store, which is down.
        """
        found = self._here(kept, dropped, record)
        return self._core.kernel.call(self._from_store(kept, dropped, record)) if found is None else found

    async def arejoin(self, kept: list[Any], dropped: Dropped, *, record: Record = None) -> Rejoined:
        """Async twin of :meth:`rejoin`."""
        found = self._here(kept, dropped, record)
        if found is None:
            found = await self._core.kernel.acall(self._from_store(kept, dropped, record))
        return found

    def _here(self, kept: list[Any], dropped: Dropped, record: Record) -> Rejoined | None:
        """The path put together from what this process holds; ``None`` when the store has to be read."""
        paging = self._paging
        with paging.lock:
            lineage = paging.holding(self._codec, dropped.at, dropped.tip)
            if lineage is None:
                return None
            if (natives := grown(lineage, dropped, kept)) is not None:
                merged = Merged(natives, {}, set())
            else:
                merged = merge(lineage, dropped, kept)
                if any(isinstance(native, LeftBehind) for native in merged.natives[lineage.common(merged.natives) :]):
                    return None
            path = self._aligned(lineage, merged, record)
            return None if paging.lacking(path) else rejoined(path, dropped, merged, kept)

    def _aligned(self, lineage: Lineage, merged: Merged, record: Record) -> Lineage:
        self._paging.admit(lineage)
        return self._paging.align(merged.natives, self._codec, now=time.time(), record=record)

    async def _from_store(self, kept: list[Any], dropped: Dropped, record: Record) -> Rejoined:
        paging, retrieval = self._paging, self._core.retrieval
        lineage = paging.holding(self._codec, dropped.at, dropped.tip) or await self._restored(dropped)
        while True:
            with paging.lock:
                merged = merge(lineage, dropped, kept)
                same = lineage.common(merged.natives)
                behind = [
                    source for index, source in merged.dropped.items()
                    if index >= same and isinstance(merged.natives[index], LeftBehind)
                ]  # fmt: skip
                if not behind:
                    path = self._aligned(lineage, merged, record)
                    break
                missing = pages_with(lineage, behind)
            await retrieval.bring_back(paging, lineage, sorted(missing))
        await retrieval.bring_back(paging, path, paging.lacking(path))
        with paging.lock:
            return rejoined(path, dropped, merged, kept)

    async def _restored(self, dropped: Dropped) -> Lineage:
        core, paging = self._core, self._paging
        await core.writeback.open()
        restored = await restore_at(
            core.store, paging.space, self._codec, core.counter, length=dropped.at, tip=dropped.tip
        )
        core.writeback.attach(paging, restored)
        await core.retrieval.bring_back(paging, restored.lineage, sorted(nameless(restored.lineage)))
        return restored.lineage

    # -- dropping --------------------------------------------------------------------------

    def secure(self, path: Lineage) -> None:
        """Make all of a path durable, so that a framework's state may drop what left the window.

        Raises:
            StoreError: The store is down: nothing may be dropped now.
        """
        self._core.kernel.call(self._core.writeback.secure(self._paging, path))

    async def asecure(self, path: Lineage) -> None:
        """Async twin of :meth:`secure`."""
        await self._core.kernel.acall(self._core.writeback.secure(self._paging, path))

    def leave_behind(self, path: Lineage, pages: Iterable[int], kept: Kept | None) -> None:
        """The state drops these pages of a path, all of it durable, and keeps the rest."""
        with self._paging.lock:
            path.leave_behind(pages)
            path.kept = kept
