"""Whether the head of a conversation is still the one that this process knows, where several may write it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Container
from typing import Final
from weakref import WeakKeyDictionary, WeakSet

from pagefault.paths.paging import Paging
from pagefault.ports import PageStore, Record, Scope
from pagefault.writing.records import Task

REMEMBERED: Final = 16
"""Heads of one conversation; a write that was not confirmed may have happened all the same."""
_log: Final = logging.getLogger("pagefault")


class Heads:
    """Notices that another process goes on with a conversation that pagefault alone keeps, and says so once.

    Used on the kernel's loop thread. No lock: the server has no compare-and-set for heads, so of two that write in the
    same moment neither may notice; the next head of either does.
    """

    def __init__(self, store: PageStore) -> None:
        self._store = store
        self._known: WeakKeyDictionary[Paging, deque[str]] = WeakKeyDictionary()
        self._told: WeakSet[Paging] = WeakSet()

    def read(self, paging: Paging, digest: str) -> None:
        """The conversation was rebuilt from the head with this sha256, ``""`` for none."""
        self._known[paging] = deque([digest], maxlen=REMEMBERED)

    async def writes(self, task: Task, head: Record) -> None:
        """A head is about to be written; look whose it replaces."""
        paging = task.paging
        if not task.lineage.is_sole or paging not in self._known:  # a framework's state says what the path is
            return
        known = self._known[paging]
        if paging not in self._told and await self._is_anothers(task.scope, head, known):
            self._told.add(paging)
            _log.warning(
                "another process goes on with the conversation of %s: neither sees what the other adds, and whoever "
                "opens it next finds the path that was written last. Send a conversation's requests to one process, "
                "or close the memory after each and open it again for the next",
                paging.space,
            )
        known.append(head.sha256)

    async def _is_anothers(self, scope: Scope, head: Record, known: Container[str]) -> bool:
        """A head that is not there at all may be on other copies of the collection only."""
        found = (await self._store.get(scope, [head.id], bodies=False)).get(head.id)
        return found is not None and found.sha256 not in known
