"""Writing one path: its pages a unit at a time, and the head that says how far they go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple
from uuid import UUID
from weakref import WeakKeyDictionary, ref

from pagefault.chain import head_id, point_id
from pagefault.kernel import Kernel
from pagefault.paths.lineage import Lineage
from pagefault.paths.paging import Paging
from pagefault.paths.slot import Slot
from pagefault.ports import PageStore, Record, Scope
from pagefault.writing.heads import Heads
from pagefault.writing.indexing import Indexer
from pagefault.writing.patience import Patience
from pagefault.writing.records import Mark, Task, head_of, indexed_of, join_ahead, let_go, mark_of, pages_of, unit_of

HEAD_UNITS: Final = 8
"""A head is written after so many units of a long backlog, and with its last."""
MOST_BEHIND: Final = 512
"""Where no vectors are made, no more heads than this wait to tell of them: each holds its conversation in memory."""


class PathState:
    """What the writer remembers of one path: its turn, how far its vectors go, its failures."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.indexed: int | None = None
        self.units = 0
        self.patience = Patience()


class Owed(NamedTuple):
    """What is to be stored before the head of a space names a path that took the place of a stored one.

    Until then the head names the old one: who is killed in between finds the conversation as it was, not a part of it.

    Attributes:
        pages: Its own pages, so many.
        others: Paths that now hold what it no longer does.
    """

    pages: int = 0
    others: tuple[Task, ...] = ()


class Writer:
    """Writes units and heads. Used on the kernel's loop thread, but for :meth:`owes`.

    Attributes:
        behind: Paths whose head may say less of their vectors than there is to say.
        unjoined: Paths with lines of contents to join; not held, since under load nobody comes to it.
        unsynced: Since when something stored is not durable yet (monotonic), ``None`` for none but what is synced now.
        syncing: Held by the sync that is under way.
    """

    def __init__(self, kernel: Kernel, store: PageStore, indexer: Indexer, heads: Heads | None) -> None:
        self._kernel = kernel
        self._store = store
        self._indexer = indexer
        self._heads = heads
        self._paths: WeakKeyDictionary[Lineage, PathState] = WeakKeyDictionary()
        self._said: WeakKeyDictionary[Paging, tuple[ref[Lineage], Mark]] = WeakKeyDictionary()
        self._owed: WeakKeyDictionary[Paging, Owed] = WeakKeyDictionary()
        self.behind: dict[Lineage, Task] = {}
        self.unjoined: WeakKeyDictionary[Lineage, ref[Paging]] = WeakKeyDictionary()
        self.unsynced: float | None = None
        self.syncing = asyncio.Lock()

    def owes(self, paging: Paging, pages: int, others: Iterable[Task] = ()) -> None:
        """A path of ``pages`` took the place of the conversation; with the space's lock held, on any thread.

        Args:
            paging: Its space.
            pages: So many of its pages say again what was said.
            others: Paths that now hold what it no longer does.
        """
        known = {each.lineage: each for each in (*self._owed.get(paging, Owed()).others, *others)}
        self._owed[paging] = Owed(pages, tuple(known.values()))

    def waits(self, task: Task) -> bool:
        """Whether a page is to be stored before a head can name all of a path."""
        return self._first(task) is not None

    def owed(self, task: Task) -> tuple[Task, ...]:
        """The paths that are to be stored, too, before a head can name this one."""
        return self._owed.get(task.paging, Owed()).others if _leads(task) else ()

    def _first(self, task: Task) -> Task | None:
        """Which path is to be written now: this one, else one that its head waits for."""
        return next((each for each in (task, *self.owed(task)) if _waits(each)), None)

    async def unit(self, task: Task) -> None:
        """Write one unit of a path, else of what its head waits for, else its head when that has news."""
        first = self._first(task) or task
        path = self.path(first.lineage)
        async with path.turn:
            await self._let_go(first)
            if _waits(first):
                await self._write(first, path)
            else:
                await self._write_head(first)
        self.unjoined[first.lineage] = ref(first.paging)

    async def head(self, task: Task) -> None:
        """Write a path's head when that has news, whatever of the path waits."""
        async with self.path(task.lineage).turn:
            await self._let_go(task)
            await self._write_head(task)
        self.unjoined[task.lineage] = ref(task.paging)

    async def _let_go(self, task: Task) -> None:
        if task.lineage.replaced:
            await self._kernel.run(lambda: let_go(task), urgent=False)

    async def join_ahead(self) -> None:
        """Have a reclaim find some more lines joined."""
        try:
            lineage, holder = self.unjoined.popitem()
        except KeyError:  # it is gone meanwhile
            return
        if (paging := holder()) is not None:
            task = Task(paging, lineage)
            if await self._kernel.run(lambda: join_ahead(task), urgent=False):
                self.unjoined[lineage] = holder

    async def _write(self, task: Task, path: PathState) -> None:
        scope = task.scope
        unit = await self._kernel.run(lambda: unit_of(task), urgent=False)
        slots, old = unit.slots, list[tuple[int, str]]()
        if not all(slot.fresh for slot in slots):
            known = await self._known(scope, slots)
            stored = [slot for slot in slots if point_id(scope.space, slot.chain) in known]
            old = await self._lacking(task, path, stored)
            unit = await self._kernel.run(lambda: pages_of(task, slots, known), urgent=False)
        made = await self._indexer.at_once(unit.texts)
        records = [r if dense is None else replace(r, dense=dense) for r, dense in zip(unit.records, made, strict=True)]
        told = zip(unit.pages, unit.texts, made, strict=True)
        later = [(page, text) for page, text, dense in told if dense is None]
        mark = None
        if unit.pages and self._is_head_due(task, path, slots[-1]):
            indexed = self._indexer.indexed_up_to(scope, slots[-1].seq, [page for page, _ in later])
            said, head = await self._kernel.run(lambda: head_of(task, slots[-1], indexed), urgent=False)
            if _leads(task):
                await self._look(task, head)
                mark, records = said, [*records, head]
        if records:
            await self._store.put(scope, records)
            self._written_now(task, mark)
        with task.paging.lock:
            for slot in slots:
                task.lineage.settle(slot)
        self._indexer.add(scope, later)
        self._indexer.add_stored(scope, old)

    def _is_head_due(self, task: Task, path: PathState, last: Slot) -> bool:
        """With the last page that waits, and now and then: a restart finds what lies behind most heads, too."""
        path.units += 1
        with task.paging.lock:
            is_last = last.seq >= task.lineage.length
            is_time = is_last or task.lineage.ends_at_head or path.units % HEAD_UNITS == 0 or task.paging in self._owed
        return is_time and self._may_name(task, last.seq)

    def _may_name(self, task: Task, seq: int) -> bool:
        """Whether the head may name a path of which all up to page ``seq`` is stored."""
        owed = self._owed.get(task.paging, Owed())
        return _leads(task) and seq >= owed.pages and not any(map(_waits, owed.others))

    async def _write_head(self, task: Task) -> None:
        lineage = task.lineage
        with task.paging.lock:
            last = next((slot for slot in reversed(lineage.slots) if slot.stored), None)
            indexed = self._indexer.indexed_up_to(task.scope, last.seq if last else 0)
            mark = mark_of(lineage, indexed)
        has_news = self._said.get(task.paging) != (ref(lineage), mark) and not mark.is_empty
        if has_news and self._may_name(task, last.seq if last else 0):
            mark, head = await self._kernel.run(lambda: head_of(task, last, indexed), urgent=False)
            if _leads(task):
                await self._look(task, head)
                await self._store.put(task.scope, [head])
                self._written_now(task, mark)
        if not self._indexer.has_work:
            self.behind.pop(lineage, None)

    async def _look(self, task: Task, head: Record) -> None:
        if self._heads is not None:
            await self._heads.writes(task, head)

    def _written_now(self, task: Task, mark: Mark | None) -> None:
        if mark is not None:
            with task.paging.lock:
                if _leads(task):  # else what is owed is owed of the path that took its place
                    self._owed.pop(task.paging, None)
            self.says(task.paging, task.lineage, mark)
        self.unsynced = self.unsynced or time.monotonic()
        if self._indexer.is_on:
            self.lags(task)

    def lags(self, task: Task) -> None:
        """A path's head is to tell of its vectors once they are made.

        One that never does costs the next process that it makes some of them once more.
        """
        self.behind.pop(task.lineage, None)
        self.behind[task.lineage] = task
        if len(self.behind) > MOST_BEHIND:
            del self.behind[next(iter(self.behind))]

    async def _known(self, scope: Scope, slots: Sequence[Slot]) -> set[UUID]:
        """Those of the pages that the store has; one first seen in this process it cannot have."""
        old = [point_id(scope.space, slot.chain) for slot in slots if not slot.fresh]
        return set(await self._store.get(scope, old, bodies=False)) if old else set()

    async def _lacking(self, task: Task, path: PathState, known: Sequence[Slot]) -> list[tuple[int, str]]:
        """Those of the known pages that may have no vector yet: the process that wrote them may have died."""
        if not known or not self._indexer.is_on:
            return []
        if path.indexed is None:
            point = head_id(task.scope.space)
            path.indexed = indexed_of((await self._store.get(task.scope, [point])).get(point))
        return [(slot.seq, slot.chain) for slot in known if slot.seq > path.indexed]

    def says(self, paging: Paging, lineage: Lineage, mark: Mark) -> None:
        """The head of this space says this of this path, and nothing of any other."""
        self._said[paging] = ref(lineage), mark

    def path(self, lineage: Lineage) -> PathState:
        """What is remembered of a path."""
        path = self._paths.get(lineage)
        if path is None:
            path = self._paths[lineage] = PathState()
        return path

    async def sync(self) -> None:
        """Make what is stored durable."""
        async with self.syncing:
            await self._sync()

    async def keep_synced(self) -> None:
        """The same, unless a flush has done it meanwhile, after which the store may be closed."""
        async with self.syncing:
            if self.unsynced is not None:
                await self._sync()

    async def _sync(self) -> None:
        since, self.unsynced = self.unsynced, None
        try:
            await self._store.sync()
        except BaseException:
            self.unsynced = since or time.monotonic()
            raise


def _waits(task: Task) -> bool:
    with task.paging.lock:
        return bool(task.lineage.unstored(1))


def _leads(task: Task) -> bool:
    """Whether the head is this path's to write: of those that may, the one last used; others may have pages to write.

    Asked again right before that, since another path may have become the conversation meanwhile.
    """
    with task.paging.lock:
        last = next((each for each in task.paging.lineages if each.keeps_head), task.lineage)
        return task.lineage.keeps_head and last is task.lineage
