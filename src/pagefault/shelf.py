"""A shelf: the items that belong together, such as one user's, or those of one LangGraph store.

Its coroutines run on the kernel's loop thread. Rules are in ``pagefault.items`` and
``pagefault.filters``; here is only the I/O between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import math
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final
from uuid import UUID

from pagefault import filters, items
from pagefault.batches import batches
from pagefault.embedders.calls import Vectors
from pagefault.errors import CorruptPage, EmbedderError, StoreError, VersionConflict
from pagefault.faults.candidates import MAX_CANDIDATES
from pagefault.faults.query import Query
from pagefault.faults.retrieval import Retrieval
from pagefault.items import Item, Namespace
from pagefault.kernel import Kernel
from pagefault.ports import Dense, Hit, PageStore, Record, Scope, Sparse, Swap, Where
from pagefault.recall import (
    ItemEvidence,
    RecalledItem,
    fuse,
    judge_items,
    query_vector,
    sought,
)
from pagefault.writing.indexing import words_of
from pagefault.writing.writeback import WriteBack

WINDOW: Final = 256
CANDIDATES: Final = 32
"""Candidates of a search from each list at least; more are asked for when these do not suffice."""
AT_ONCE: Final = 100_000
"""No search begins with more than twice as many: who wants all may name any number."""
JUDGED: Final = 32
"""Items that a recall judges of each list, where there are as many."""
UNIT: Final = 16
TRIES: Final = 32
"""Other processes may be faster this often before a plain write gives up."""
WALKS: Final = 8
"""So often what was written during a walk is looked through: others may write all the time."""
_LEFT_OUT: Final = "left out of a search: %s"
_log: Final = logging.getLogger("pagefault")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A write or a deletion of one item.

    Attributes:
        namespace: Of the item.
        key: Of the item.
        value: What to keep; a copy that nobody else changes.
        deletes: There is to be no item afterwards.
        ttl: Seconds to live after the write or a refresh.
        text: What search sees, see :class:`~pagefault.items.Item`.
        version: The version that must be there now (0 for none), ``None`` for whichever.
    """

    namespace: Namespace
    key: str
    value: Any = None
    deletes: bool = False
    ttl: float | None = None
    text: str | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What to look for on a shelf.

    Attributes:
        namespace: Items below it, compared label by label.
        query: Words or meaning; without one the newest come first.
        wanted: A checked filter over values.
        limit: Items returned at most.
        offset: Items skipped.
        refresh: Whether the reader wants to begin their times to live anew; for ``refresh``.
    """

    namespace: Namespace = ()
    query: str = ""
    wanted: Mapping[str, Any] = field(default_factory=dict)
    limit: int = 10
    offset: int = 0
    refresh: bool = False


def shelf_scope(tenant: str, kind: str, name: str) -> Scope:
    """The scope of a shelf's records; shelves of different kinds, names or tenants share nothing."""
    digest = hashlib.sha256(json.dumps(["items", tenant, kind, name]).encode("ascii")).hexdigest()
    return Scope(tenant=tenant, space=digest[:32])


def owner_of_items(user: str, thread: str) -> tuple[str, str]:
    """Kind and name of the shelf that a conversation remembers on: its user's, or its own where no user is named."""
    return ("user", user) if user else ("thread", thread)


class Shelf:
    """Reads and writes the items of one scope."""

    def __init__(
        self,
        scope: Scope,
        *,
        kernel: Kernel,
        store: PageStore,
        writeback: WriteBack,
        retrieval: Retrieval,
        vectors: Vectors,
    ) -> None:
        self._kernel = kernel
        self._store = store
        self._writeback = writeback
        self._retrieval = retrieval
        self._embedding = vectors
        self._scope = scope
        self._turn = asyncio.Lock()
        self._version = 0

    # -- reading ---------------------------------------------------------------------------

    async def get(self, names: Sequence[tuple[Namespace, str]]) -> list[Item | None]:
        """The current version of each item, ``None`` where there is none.

        Raises:
            CorruptPage: A stored item does not match its hash.
        """
        await self._writeback.open()
        points = [items.point_of(self._scope.space, *name) for name in names]
        found = await self._store.get(self._scope, points)
        now = time.time()
        over = [record for record in found.values() if items.is_expired(items.expiry_of(record.fields), now)]
        await self._clear(over)
        gone = {record.id for record in over}
        key = self._scope.space
        return [items.item_of(found[p], key) if p in found and p not in gone else None for p in points]

    async def search(self, search: Search) -> list[tuple[Item, float | None]]:
        """The items that match, best first with their scores, or the newest first without a query."""
        await self._writeback.open()
        if search.limit <= 0:
            return []
        return await self._collect(self._ranked(search) if search.query.strip() else self._listed(search), search)

    async def size(self) -> int:
        """How many items there are, expired ones included; of more than a recall judges, so many."""
        await self._writeback.open()
        return await self._store.count(self._scope, Where(kind="item"), limit=WINDOW)

    async def recall(self, wanted: Query, vector: Sequence[Sequence[float]], *, there: int) -> list[RecalledItem]:
        """The items that answer a question, judged each by itself.

        Args:
            wanted: The question, from when items count, and how many at most.
            vector: Its vector, none without a working embedder.
            there: How many there are, as ``size`` says.
        """
        if not there:  # most shelves are empty, and a search costs more than to see that
            return []
        hits = await self._in_time(wanted, vector)
        if not hits:
            return []
        records = await self._records([hit.id for hit, _, _ in hits], words=True)
        loaded = self._intact(records)
        sparse = query_vector(wanted.text)
        weights = await self._store.idf(self._scope, sparse.indices, kind="item") if sparse.indices else {}
        candidates = [
            ItemEvidence(item=loaded[hit.id], terms=_terms_of(records[hit.id]), cosine=cosine)
            for hit, _, cosine in hits
            if hit.id in loaded
        ]
        # A newer version may have come after the search.
        candidates = [each for each in candidates if wanted.is_in_time(each.item.updated_at)]
        return judge_items(candidates, sought(wanted.text, sparse.indices), weights, items=there)[: wanted.limit]

    async def _in_time(self, wanted: Query, vector: Sequence[Sequence[float]]) -> list[tuple[Hit, float, float | None]]:
        """Candidates for a recall; what is of another time takes none of their places."""
        where = replace(_where(Search(query=wanted.text)), fields=items.TIMED)
        wide = JUDGED
        while True:
            hits, is_all = await self._hits(wanted.text, vector, where, wide)
            hits = [hit for hit in hits if wanted.is_in_time(items.updated_of(hit[0].fields))]
            if is_all or len(hits) >= JUDGED or wide >= MAX_CANDIDATES:
                return hits
            wide *= 4

    async def namespaces(self, under: Namespace = ()) -> set[Namespace]:
        """All namespaces that have an item, below one of them."""
        await self._writeback.open()
        return {
            items.name_of(str(r.fields["path"]))[0]
            async for r in self._walk(replace(_where(Search(namespace=under)), fields=("path", *items.LISTED)))
        }

    async def refresh(self, found: Sequence[Item]) -> None:
        """Begin the time to live of items that were read anew; where the store does not write, it runs on."""
        now = time.time()
        groups: dict[float, dict[UUID, int]] = {}
        for item in found:
            if items.refreshed(item, now) is not None:
                point = items.point_of(self._scope.space, item.namespace, item.key)
                groups.setdefault(item.ttl or 0.0, {})[point] = item.version
        try:
            for ttl, read in groups.items():
                await self._store.amend(self._scope, read, items.expiry_fields(now + ttl))
        except StoreError as error:  # a full disk, or a key that may only read, keeps nobody from reading
            _log.warning("items that were read expire as before, their times to live were not begun anew: %s", error)
        if groups:
            self._writeback.stored()

    async def sweep(self) -> None:
        """Remove what has expired; readers never see it anyhow.

        Raises:
            StoreError: It cannot be removed, or the store failed.
        """
        await self._writeback.open()
        async for _ in self._walk(_where(Search()), must_clear=True):
            pass

    # -- writing ---------------------------------------------------------------------------

    async def write(self, changes: Sequence[Change]) -> list[Item | VersionConflict | None]:
        """Write and delete items, each by itself; no two changes may be of one item.

        Returns:
            For each change the item as it is now, ``None`` after a deletion, or the conflict.

        Raises:
            InvalidItem: A name or value cannot be stored; nothing is written then.
            StoreError: The store failed, or other processes were faster all the time.
        """
        await self._writeback.open()
        for change in changes:  # before anything is written
            items.record_of(self._scope.space, _new(change, None, 1, time.time()))
        vectors = await self._vectors(changes)
        results: dict[int, Item | VersionConflict | None] = {}
        async with self._turn:
            try:
                for _ in range(TRIES):
                    waiting = [i for i in range(len(changes)) if i not in results]
                    if not waiting:
                        break
                    await self._attempt(changes, waiting, vectors, results)
            finally:  # where the store fails in the midst, what it has is to be durable all the same
                if changes:
                    self._writeback.stored()
        if len(results) < len(changes):
            raise StoreError(
                f"an item of {self._scope.tenant!r} could not be written: other processes were faster {TRIES} times; "
                "try again, or give each writer a key of its own"
            )
        return [results[i] for i in range(len(changes))]

    async def _attempt(
        self,
        changes: Sequence[Change],
        waiting: Sequence[int],
        vectors: Sequence[tuple[Sparse | None, Dense | None]],
        results: dict[int, Item | VersionConflict | None],
    ) -> None:
        points = {i: items.point_of(self._scope.space, changes[i].namespace, changes[i].key) for i in waiting}
        held = await self._store.get(self._scope, list(points.values()), bodies=False)
        now = time.time()
        swaps: dict[int, tuple[Item, Swap]] = {}
        for i in waiting:
            change, record = changes[i], held.get(points[i])
            living = record if record and not items.is_expired(items.expiry_of(record.fields), now) else None
            known = living.seq if living else 0
            if change.version is not None and change.version != known:
                results[i] = _conflict(change, known)
            elif change.deletes:
                at = record.seq if record else 0  # one that has expired goes as well
                results[i] = await self._delete(change, points[i], at if change.version is not None else None)
            else:
                self._version = items.next_version(max(record.seq if record else 0, self._version), now)
                item = _new(change, living, self._version, now)
                sparse, dense = vectors[i]
                row = replace(items.record_of(self._scope.space, item), sparse=sparse, dense=dense)
                swaps[i] = item, Swap(record=row, version=record.seq if record else 0)
        won = await self._store.swap(self._scope, [swap for _, swap in swaps.values()])
        for (i, (item, _)), wins in zip(swaps.items(), won, strict=True):
            if wins:
                results[i] = item

    async def _delete(self, change: Change, point: UUID, version: int | None) -> VersionConflict | None:
        await self._store.remove(self._scope, {point: version})
        left = await self._store.get(self._scope, [point], bodies=False) if version is not None else {}
        return _conflict(change, left[point].seq) if point in left else None

    async def _vectors(self, changes: Sequence[Change]) -> list[tuple[Sparse | None, Dense | None]]:
        """What search needs of each change, in units that do not keep the interpreter for long."""
        made: list[tuple[Sparse | None, Dense | None]] = []
        for first in range(0, len(changes), UNIT):
            texts = [_searched(change) for change in changes[first : first + UNIT]]
            words: list[Sparse | None] = await self._kernel.run(partial(list, map(words_of, texts)), urgent=True)
            dense = await self._dense([text for text in texts if text.strip()])
            made += [(w, next(dense, None) if text.strip() else None) for text, w in zip(texts, words, strict=True)]
        return made

    async def _dense(self, texts: Sequence[str]) -> Any:
        if not self._embedding.is_on or not texts:
            return iter(())
        try:
            await self._writeback.verify()
            return iter((await self._embedding.of_texts(texts, urgent=True))[0])
        except EmbedderError as error:
            _log.warning("what is written now is found by full text alone until it is written again: %s", error)
            return iter(())

    # -- finding ---------------------------------------------------------------------------

    async def _collect(
        self, candidates: AsyncGenerator[tuple[UUID, float | None]], search: Search
    ) -> list[tuple[Item, float | None]]:
        """The wanted page of those candidates whose value matches; no more of them are read than need be."""
        found: list[tuple[Item, float | None]] = []
        skip, size = search.offset, UNIT if search.wanted else search.limit
        async with contextlib.aclosing(
            batches(candidates, 0 if search.wanted else skip, size, most=WINDOW)
        ) as found_in:
            async for batch in found_in:
                intact = await self._load([id_ for id_, _ in batch])
                matching = [
                    (intact[id_], score)
                    for id_, score in batch
                    if id_ in intact and filters.matches(intact[id_].value, search.wanted)
                ]
                found += matching
                if len(found) >= search.limit + (skip if search.wanted else 0):
                    break
        first = skip if search.wanted else 0
        return found[first : first + search.limit]

    async def _listed(self, search: Search) -> AsyncGenerator[tuple[UUID, float | None]]:
        """The newest first."""
        async with contextlib.aclosing(self._walk(_where(search))) as records:
            async for record in records:
                yield record.id, None

    async def _ranked(self, search: Search) -> AsyncGenerator[tuple[UUID, float | None]]:
        """The best first; those beyond a window come behind those in it."""
        seen: set[UUID] = set()
        # The same for all pages of one search, so that they do not overlap.
        wide, low, where = max(CANDIDATES, 2 * min(search.limit, AT_ONCE)), math.inf, _where(search)
        vector = await self._retrieval.vector(self._scope.tenant, search.query)
        while True:
            hits, is_all = await self._hits(search.query, vector, where, wide)
            for hit, score, _ in hits:
                if hit.id not in seen:
                    seen.add(hit.id)
                    low = min(low, score)
                    yield hit.id, low
            if is_all:
                return
            wide *= 4

    async def _hits(
        self, query: str, vector: Sequence[Sequence[float]], where: Where, wide: int
    ) -> tuple[list[tuple[Hit, float, float | None]], bool]:
        """Living candidates of both searches with fused score and cosine, and whether there are no others."""
        sparse = query_vector(query)
        queries: list[Sparse | Sequence[float]] = [*vector, *([sparse] if sparse.indices else [])]
        lists = await self._store.search(self._scope, queries, where, limit=wide) if queries else []
        now = time.time()
        every = {hit.id: hit for hits in lists for hit in hits}
        over = [hit for hit in every.values() if items.is_expired(items.expiry_of(hit.fields), now)]
        await self._clear(over)
        for hit in over:
            del every[hit.id]
        order = sorted(every.values(), key=lambda hit: (hit.seq, hit.id))  # so that of equals the newer one comes first
        place = {hit.id: index for index, hit in enumerate(order)}
        scores = [{place[hit.id]: hit.score for hit in hits if hit.id in place} for hits in lists]
        dense, words = scores[0] if vector else {}, scores[-1] if sparse.indices else {}
        ranked = [
            (order[index], score / len(lists), dense.get(index, 0.0) if vector else None)
            for index, score in fuse(dense, words, neighbour=0.0)
        ]
        return ranked, all(len(hits) < wide for hits in lists)

    async def _walk(self, where: Where, *, must_clear: bool = False) -> AsyncGenerator[Record]:
        """All living records, the newest first, read in windows; what has expired is cleared away.

        What is written again meanwhile moves from the part that is still to be read into the one that was read. So
        what is newer than a walk of several windows is looked through at its end, and comes last.
        """
        seen: set[UUID] = set()
        begins, size, windows, walks = where.first, WINDOW, 0, 0
        while True:
            records = await self._store.scan(self._scope, where, limit=size)
            now = time.time()
            over = [record for record in records if items.is_expired(items.expiry_of(record.fields), now)]
            await self._clear(over, must=must_clear)
            gone = {record.id for record in over}
            news = [record for record in records if record.id not in seen]
            for record in news:
                if record.id not in gone:
                    yield record
            seen.update(record.id for record in news)
            begins = max([begins, *(record.seq + 1 for record in records[:1])])
            windows += 1
            if len(records) == size:
                where = replace(where, last=records[-1].seq)
                size = size if news else size * 2  # many with one number
            elif windows > 1 and walks < WALKS:
                where, size, windows, walks = replace(where, first=begins, last=None), WINDOW, 0, walks + 1
            else:
                return

    async def _load(self, ids: Sequence[UUID]) -> dict[UUID, Item]:
        """The items with these ids; one that is damaged is left out, so that it does not hide the others."""
        return self._intact(await self._records(ids))

    async def _records(self, ids: Sequence[UUID], *, words: bool = False) -> dict[UUID, Record]:
        """What is stored under these ids, without those whose body cannot be read whole."""
        try:
            return await self._store.get(self._scope, ids, words=words)
        except CorruptPage:
            found: dict[UUID, Record] = {}
        for id_ in ids:
            try:
                found |= await self._store.get(self._scope, [id_], words=words)
            except CorruptPage as error:
                _log.warning(_LEFT_OUT, error)
        return found

    def _intact(self, records: Mapping[UUID, Record]) -> dict[UUID, Item]:
        found: dict[UUID, Item] = {}
        for id_, record in records.items():
            try:
                found[id_] = items.item_of(record, self._scope.space)
            except CorruptPage as error:
                _log.warning(_LEFT_OUT, error)
        return found

    async def _clear(self, over: Sequence[Record] | Sequence[Hit], *, must: bool = False) -> None:
        """Remove what has expired, unless it was written again meanwhile; who reads goes on where that fails."""
        if not over:
            return
        try:
            await self._store.remove(self._scope, {each.id: each.seq for each in over})
        except StoreError as error:
            if must:
                raise
            _log.info("expired items are not removed yet, no read returns them: %s", error)
        self._writeback.stored()


def _terms_of(record: Record) -> frozenset[int]:
    return frozenset(record.sparse.indices if record.sparse is not None else ())


def _where(search: Search) -> Where:
    below = [[items.prefix_tag(search.namespace)]] if search.namespace else []
    return Where(kind="item", tags=(*below, *filters.tags_of(search.wanted)), newest=True, fields=items.LISTED)


def _new(change: Change, before: Record | None, version: int, now: float) -> Item:
    """The next version of an item."""
    return Item(
        namespace=change.namespace,
        key=change.key,
        value=change.value,
        version=version,
        created_at=items.moment(now) if before is None else items.created_of(before),
        updated_at=items.moment(now),
        ttl=change.ttl,
        expires_at=None if change.ttl is None else items.moment(now + change.ttl),
        text=change.text,
    )


def _searched(change: Change) -> str:
    """What search sees of a change; lone surrogates, which no embedder takes, as question marks."""
    text = "" if change.deletes else _new(change, None, 1, 0.0).searched
    return text.encode("utf-8", "replace").decode("utf-8")


def _conflict(change: Change, known: int) -> VersionConflict:
    there = f"its version is {known}" if known else "there is no such item"
    return VersionConflict(
        f"item {change.key!r:.60} in {change.namespace!r:.120} was expected at version {change.version}, but {there}; "
        "read it again and decide anew"
    )
