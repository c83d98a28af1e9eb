"""The calls made on a Qdrant server, each within one scope.

The scope goes into every filter here, or is checked on every point that is named by its id,
so that no caller can forget it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite
from typing import Any, Final
from uuid import UUID, uuid4

from qdrant_client import AsyncQdrantClient, models

from pagefault.errors import StoreError
from pagefault.ports import Hit, Reach, Record, RecordKind, Scope, Sparse, Tally, Versions, Where
from pagefault.stores import answers, layout
from pagefault.stores.layout import MAX_INT, NONCE, UNSEEN, Row, from_on, lost_chunks, selected, windows
from pagefault.stores.lists import Lists, laid, lists_of
from pagefault.stores.scopes import (
    CHUNK,
    PIECED,
    SCOPE_KEY,
    TAGS,
    USER_KEY,
    Payload,
    newly_pieced,
    owned,
    pieced_value,
    reach_of,
    tag_groups,
    tallies,
)
from pagefault.stores.server_link import Link
from pagefault.stores.vectors import DENSE, PIECES, TEXT, named_vectors

_OWNER: Final = ["tenant", "space", "kind", "chunks"]
_VERSION: Final = [*_OWNER, "seq", NONCE]
_WITHOUT_BODY: Final = models.PayloadSelectorExclude(exclude=list(UNSEEN))
_TIES: Final = 16
_QUERIES: Final = 64
_LISTED: Final = 256
_TRIES: Final = 32
"""So often an item may be overwritten while it is removed."""
_MOST_SAME: Final = 100_000
"""As many paths share no number: each is a fork of its conversation."""
# The server scans small scopes as they are and walks the graph of large ones; at this width
# the graph found what a scan finds.
_DENSE_PARAMS: Final = models.SearchParams(hnsw_ef=256)


class Calls:
    """Everything that is asked of one collection."""

    def __init__(self, link: Link, *, scoped_idf: bool, apart: bool) -> None:
        self._link = link
        self._name = link.settings.collection
        self._consistency: Any = link.settings.read_consistency
        self._scoped_idf = scoped_idf
        self._apart = apart

    async def write(self, scope: Scope, unit: Sequence[Row]) -> None:
        """Write one unit: all rows replace (heads), or none does (pages and chunks)."""
        held = await self._retrieve("reading what is there", [row.id for row in unit], _OWNER)
        answers.check_free(scope, unit, held)
        replaces = unit[0].replaces
        # Insert-only ignores what is there already; leaving it out keeps retries out of the log.
        points = [self._point(row) for row in unit if replaces or row.id not in held]
        if points:
            mode = models.UpdateMode.UPSERT if replaces else models.UpdateMode.INSERT_ONLY
            await self._upsert(points, mode, only=within(scope, unit[0].kind) if replaces else None)
        stale = [id_ for row in unit if replaces for id_ in lost_chunks(row.id, held.get(row.id, {}), row.payload)]
        if stale:
            await self._delete(within(scope, CHUNK, has_id(stale)))

    async def swap(self, scope: Scope, unit: Sequence[tuple[Row, int]]) -> list[bool]:
        """Write those items whose stored version is the expected one; 0 means none.

        An update says not how many points it changed, so each item carries a nonce and is read back. It carries those
        of the writes before it as well, so that who was overwritten before reading back still sees that he has written.
        """
        ids = [row.id for row, _ in unit]
        held = await self._retrieve("reading what is there", ids, _VERSION)
        answers.check_free(scope, [row for row, _ in unit], held)
        nonce = uuid4().hex
        fitting: dict[int, list[models.PointStruct]] = {}
        for row, version in unit:
            before = held.get(row.id, {})
            if before.get("seq", 0) == version:
                fitting.setdefault(version, []).append(self._point(row, layout.chained(nonce, before)))
        for version, points in fitting.items():
            if version == 0:
                await self._upsert(points, models.UpdateMode.INSERT_ONLY, strong=True)
            else:
                known = models.FieldCondition(key="seq", match=models.MatchValue(value=version))
                await self._upsert(points, models.UpdateMode.UPDATE_ONLY, only=within(scope, "item", known))
        now = await self._retrieve("reading what was written", ids, _VERSION) if fitting else held
        stale: list[UUID] = []
        for row, _ in unit:
            there = now.get(row.id, {})
            stale += [*lost_chunks(row.id, held.get(row.id, {}), there), *lost_chunks(row.id, row.payload, there)]
        if stale:
            await self._delete(within(scope, CHUNK, has_id(stale)))
        return [nonce in layout.nonces_of(now.get(id_, {})) for id_ in ids]

    async def remove(self, scope: Scope, versions: Versions) -> None:
        """Delete these items, where they are at these versions, with their chunks.

        Each goes at the version that was read, which names its chunks; one that was overwritten meanwhile is read anew.

        Raises:
            StoreError: Others overwrite one of them all the time.
        """
        asked = dict(versions)
        for _ in range(_TRIES):
            held = await self._retrieve("reading what is there", list(asked), _VERSION)
            ours = {id_: payload for id_, payload in held.items() if owned(scope, payload, "item")}
            read = {id_: seq for id_, payload in ours.items() if isinstance(seq := payload.get("seq"), int)}
            await self._delete(_at(scope, {id_: read.get(id_) if at is None else at for id_, at in asked.items()}))
            left = await self._retrieve("reading what is left", list(asked), _VERSION)
            gone = [chunk for id_, payload in ours.items() for chunk in lost_chunks(id_, payload, left.get(id_, {}))]
            if gone:
                await self._delete(within(scope, CHUNK, has_id(gone)))
            asked = {id_: None for id_ in read if asked[id_] is None and layout.descends(left.get(id_, {}), ours[id_])}
            if not asked:
                return
        raise StoreError(
            f"{self._link.settings.place}: what is to be removed was overwritten {_TRIES} times meanwhile; try again"
        )

    async def amend(self, scope: Scope, versions: Versions, fields: Payload) -> None:
        """Set fields of these items, where they are at these versions."""
        await self._set("setting fields", _at(scope, versions), fields)

    async def add_vectors(self, scope: Scope, vectors: Mapping[UUID, list[list[float]]]) -> None:
        """Add dense vectors to the pages among these ids that are in scope."""
        held = await self._retrieve("reading what is there", list(vectors), [*_OWNER, SCOPE_KEY, USER_KEY, PIECED])
        ours = {id_: held[id_] for id_ in vectors if owned(scope, held.get(id_), "page")}
        if not ours:  # the server fails on an id it does not hold
            return
        for mark, ids in newly_pieced(ours, vectors).items():
            await self._set("marking long pages", within(scope, "page", has_id(ids)), {PIECED: list(mark)})
        points = [
            models.PointVectors(id=str(id_), vector=named_vectors(vectors[id_], pieced=PIECED in payload))
            for id_, payload in ours.items()
        ]
        await self._link.update(
            "adding vectors",
            lambda client: client.update_vectors(
                self._name,
                points=points,
                wait=True,
                ordering=models.WriteOrdering.WEAK,
                update_filter=within(scope, "page"),
            ),
        )

    async def fetch(
        self, scope: Scope, ids: Sequence[UUID], *, bodies: bool, words: bool = False
    ) -> dict[UUID, tuple[Payload, Sparse | None]]:
        """Payloads of the records among these ids that are in scope, in this order, with their words if wanted."""
        select = True if bodies else _WITHOUT_BODY
        points = await self._points("reading pages", ids, select, [TEXT] if words else ())
        return answers.payloads(scope, ids, points, words=words, apart=self._apart)

    async def fetch_chunks(self, scope: Scope, ids: Sequence[UUID], *, owner: UUID) -> list[str]:
        """The text of these chunks, in order.

        Raises:
            CorruptPage: One is missing.
        """
        held = await self._retrieve("reading a large page", ids, select=True)
        return answers.chunk_texts(scope, ids, held, owner=owner)

    async def scan_window(
        self, scope: Reach, where: Where, ids: models.HasIdCondition | None, *, at: int, size: int
    ) -> tuple[list[Record], int | None]:
        """Up to about ``size`` records from number ``at`` on, by (seq, id), or down for the newest first.

        Where one number fills the window, all records with it are returned, however many they are.

        Returns:
            The records, and the number at which to go on, ``None`` at the end.

        Raises:
            StoreError: The server leaves records out.
        """
        direction = models.Direction.DESC if where.newest else models.Direction.ASC
        left = from_on(where, at)
        points, _ = await self._scroll(
            matching(scope, left, ids),
            with_payload=selected(where) or _WITHOUT_BODY,
            limit=size,
            order_by=models.OrderBy(key="seq", direction=direction),
        )
        complete, last = answers.cut(answers.records(scope, points, left), size)
        if last is not None and not answers.are_in_order(points, left):
            await self._check_none_left_out(scope, left, ids, len(complete), last)
        if complete or last is None:
            return complete, last
        after = last - 1 if where.newest else last + 1
        same = await self._all_with(scope, replace(where, first=last, last=last), ids)
        return same, after if after >= 0 else None

    async def _check_none_left_out(
        self, scope: Reach, where: Where, ids: models.HasIdCondition | None, known: int, last: int
    ) -> None:
        """A listing out of order may still have all records before number ``last``: copies that differ give such.

        Raises:
            StoreError: It has not, and who goes on from there would pass by the others.
        """
        before = replace(where, first=last + 1) if where.newest else replace(where, last=last - 1)
        if await self.count(scope, before, ids, limit=known + 1) != known:
            raise StoreError(
                f"{self._link.settings.place}: records were not listed in the order of their numbers, as they were "
                "asked for, and some were left out; is the server's version supported?"
            )

    async def _all_with(self, scope: Reach, where: Where, ids: models.HasIdCondition | None) -> list[Record]:
        """All records with one number, however many they are.

        Raises:
            StoreError: The server goes on without giving anything new, or with more than any conversation has.
        """
        what, select = f"the records with number {where.first}", selected(where) or _WITHOUT_BODY
        found = await self._listed(what, matching(scope, where, ids), select=select, limit=_MOST_SAME)
        if len(found) >= _MOST_SAME:
            raise self._endless(what, "ever more")
        return answers.records(scope, found.values(), where)

    async def _listed(self, what: str, flt: models.Filter, *, select: Any, limit: int) -> dict[UUID, models.Record]:
        """The records that a filter lets through, ``limit`` at most, in no order.

        Raises:
            StoreError: The server goes on without giving anything new.
        """
        found: dict[UUID, models.Record] = {}
        offset = None
        while len(found) < limit:
            size = min(_LISTED, limit - len(found))
            points, offset = await self._scroll(flt, with_payload=select, limit=size, offset=offset)
            before = len(found)
            found |= {answers.id_of(point): point for point in points}
            if offset is None:
                break
            if len(found) == before:
                raise self._endless(what, "the same ones again")
        return found

    def _endless(self, what: str, given: str) -> StoreError:
        return StoreError(
            f"{self._link.settings.place}: listing {what} does not end, since the server gives {given}; is its "
            "version supported?"
        )

    async def search(
        self,
        scope: Reach,
        queries: Sequence[Sparse | list[float]],
        where: Where,
        ids: models.HasIdCondition | None,
        *,
        limit: int,
    ) -> list[list[Hit]]:
        """The hits of each query, by (score descending, seq descending, id).

        The server breaks ties its own way, so a few more are fetched for the cut to fall as ordered. Similarity is
        asked for twice: of first pieces, which all records have, and of further ones, which long texts have.
        """
        flt, corpus = matching(scope, where, ids), within(scope, where.kind)
        lists = lists_of(scope, where.kind, apart=self._apart)
        long = models.FieldCondition(key=PIECED, match=models.MatchValue(value=pieced_value(scope, where.kind)))
        pieced = matching(scope, where, ids, long)
        how: dict[str, Any] = {"limit": limit + _TIES, "with_payload": selected(where) or _WITHOUT_BODY}
        if where.bare:
            how = {"limit": limit, "with_payload": False}
        requests: list[models.QueryRequest] = []
        of: list[int] = []
        for index, query in enumerate(queries):
            if isinstance(query, Sparse):
                requests.append(models.QueryRequest(**self._words(lists, query, corpus), filter=flt, **how))
                of.append(index)
            else:
                requests.append(models.QueryRequest(**_nearest(query), filter=flt, **how))
                requests.append(models.QueryRequest(**_nearest([query]), filter=pieced, **how))
                of += [index, index]
        found: list[list[models.ScoredPoint]] = [[] for _ in queries]
        for index, points in zip(of, await self._query("searching", requests), strict=True):
            found[index] += points
        return [answers.hits(scope, points, where, limit=limit) for points in found]

    async def count(self, scope: Reach, where: Where, ids: models.HasIdCondition | None, *, limit: int) -> int:
        """How many records there are, ``limit`` at most.

        Their ids are listed: a server may refuse to count exactly, and every recall asks for the number of items.
        """
        found = await self._listed("the records to count", matching(scope, where, ids), select=False, limit=limit)
        return min(limit, len(found))

    async def idf(self, scope: Reach, terms: Sequence[int], kind: RecordKind) -> dict[int, float]:
        """The server's own IDF of each term over this scope's records of a kind.

        A query of one term with weight 1 scores its best record with IDF times the stored weight.
        """
        corpus, lists = within(scope, kind), lists_of(scope, kind, apart=self._apart)
        requests = [
            models.QueryRequest(
                **self._words(lists, Sparse(indices=(term,), values=(1.0,)), corpus),
                filter=corpus,
                limit=1,
                with_payload=[*_OWNER, USER_KEY],
                with_vector=[lists.name],
            )
            for term in terms
        ]
        weights: dict[int, float] = {}
        for term, points in zip(terms, await self._query("weighing terms", requests), strict=True):
            for point in points:
                answers.check(scope, point)
                try:
                    words = lists.read(point.vector)
                    weight = dict(zip(words.indices, words.values, strict=True))[term] if words else 0.0
                    weights[term] = point.score / weight
                except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
                    raise StoreError(
                        f"{self._link.settings.place}: the server found {point.id} by a word and gives no weight of "
                        f"it ({error!r:.60}); is its version supported?"
                    ) from error
        return weights

    async def census(self) -> list[Tally]:
        """How many records of each kind each space holds, of all tenants."""
        points = await self._link.call("counting records", self._counted)
        found = await self._link.call(
            "counting by space",
            lambda client: client.facet(self._name, key=SCOPE_KEY, limit=max(1, points), exact=True),
        )
        return tallies((hit.value, hit.count) for hit in found.hits)

    def _words(self, lists: Lists, query: Sparse, corpus: models.Filter) -> dict[str, Any]:
        vector = models.SparseVector(indices=lists.mixed(query.indices), values=list(query.values))
        # Without a corpus the statistics are of all tenants: another one's text would move the score.
        params = models.SearchParams(idf=models.IdfCorpusParams(corpus=corpus)) if self._scoped_idf else None
        return {"query": vector, "using": lists.name, "params": params}

    def _point(self, row: Row, nonce: str = "") -> models.PointStruct:
        vectors: dict[str, Any] = {
            name: models.SparseVector(indices=list(words.indices), values=list(words.values))
            for name, words in laid(row.payload, row.sparse, apart=self._apart).items()
        }
        if row.dense is not None:
            vectors |= named_vectors(row.dense)
        return models.PointStruct(
            id=str(row.id), vector=vectors, payload=row.values | ({NONCE: nonce} if nonce else {})
        )

    async def _retrieve(self, what: str, ids: Sequence[UUID], select: Any) -> dict[UUID, Payload]:
        return {id_: point.payload or {} for id_, point in (await self._points(what, ids, select)).items()}

    async def _points(
        self, what: str, ids: Sequence[UUID], select: Any, vectors: Sequence[str] = ()
    ) -> dict[UUID, models.Record]:
        points = await self._link.call(
            what,
            lambda client: client.retrieve(
                self._name,
                ids=[str(id_) for id_ in ids],
                with_payload=select,
                with_vectors=list(vectors) or False,
                consistency=self._consistency,
            ),
        )
        return {answers.id_of(point): point for point in points}

    async def _scroll(self, flt: models.Filter, **how: Any) -> tuple[list[models.Record], Any]:
        return await self._link.call(
            "listing pages",
            lambda client: client.scroll(
                self._name,
                scroll_filter=flt,
                with_vectors=False,
                consistency=self._consistency,
                **how,
            ),
        )

    async def _query(self, what: str, requests: Sequence[models.QueryRequest]) -> list[list[models.ScoredPoint]]:
        found: list[list[models.ScoredPoint]] = []
        for window in windows(requests, _QUERIES):
            found += await self._link.call(what, partial(self._queried, requests=window))
        return found

    async def _queried(
        self, client: AsyncQdrantClient, *, requests: Sequence[models.QueryRequest]
    ) -> list[list[models.ScoredPoint]]:
        found = [each.points for each in await client.query_batch_points(self._name, requests=requests)]
        if len(found) != len(requests):
            raise ValueError(f"{len(found)} answers to {len(requests)} queries")
        if not all(isfinite(point.score) for points in found for point in points):
            raise ValueError("a score that is no number")  # nothing could be put in order by it
        return found

    async def _counted(self, client: AsyncQdrantClient) -> int:
        found = (await client.count(self._name, exact=True)).count
        if found < 0:
            raise ValueError(f"a count of {found}")
        return found

    async def _upsert(
        self,
        points: list[models.PointStruct],
        mode: models.UpdateMode,
        *,
        only: models.Filter | None = None,
        strong: bool = False,
    ) -> None:
        await self._link.update(
            "writing pages",
            lambda client: client.upsert(
                self._name,
                points=points,
                wait=True,
                # Pages have ids of their own and never change, so their order does not matter.
                ordering=models.WriteOrdering.STRONG if strong or only is not None else models.WriteOrdering.WEAK,
                update_mode=mode,
                update_filter=only,
            ),
        )

    async def _set(self, what: str, flt: models.Filter, fields: Mapping[str, Any]) -> None:
        await self._link.update(
            what,
            lambda client: client.set_payload(
                self._name, payload=dict(fields), points=flt, wait=True, ordering=models.WriteOrdering.STRONG
            ),
        )

    async def _delete(self, flt: models.Filter) -> None:
        await self._link.update(
            "deleting what is not needed any more",
            lambda client: client.delete(
                self._name,
                points_selector=models.FilterSelector(filter=flt),
                wait=True,
                ordering=models.WriteOrdering.STRONG,
            ),
        )


def within(scope: Reach, kind: str, *more: Any) -> models.Filter:
    """The filter that every call carries."""
    key, value = reach_of(scope, kind)
    return models.Filter(must=[models.FieldCondition(key=key, match=models.MatchValue(value=value)), *more])


def matching(scope: Reach, where: Where, ids: models.HasIdCondition | None, *also: Any) -> models.Filter:
    """The scope's filter narrowed by ``where``."""
    groups = tag_groups(scope, where)
    more: list[Any] = [*also]
    more += [models.FieldCondition(key=TAGS, match=models.MatchAny(any=group)) for group in groups]
    if where.first > 0 or where.last is not None:
        last = None if where.last is None else float(min(where.last, MAX_INT))
        span = models.Range(gte=float(min(where.first, MAX_INT + 1)), lte=last)
        more.append(models.FieldCondition(key="seq", range=span))
    if ids is not None:
        more.append(ids)
    return within(scope, where.kind, *more)


def _at(scope: Scope, versions: Versions) -> models.Filter:
    """These items, each at the version that stands beside it."""
    each: list[Any] = [has_id(free)] if (free := [id_ for id_, version in versions.items() if version is None]) else []
    alike: dict[int, list[UUID]] = {}
    for id_, version in versions.items():
        if version is not None:
            alike.setdefault(version, []).append(id_)
    for version, ids in alike.items():
        known = models.FieldCondition(key="seq", match=models.MatchValue(value=version))
        each.append(models.Filter(must=[known, has_id(ids)]))
    return within(scope, "item", has_id(versions), models.Filter(should=each))


def has_id(ids: Iterable[UUID]) -> models.HasIdCondition:
    """The condition that a point is one of these."""
    return models.HasIdCondition(has_id=[str(id_) for id_ in dict.fromkeys(ids)])


def _nearest(query: list[float] | list[list[float]]) -> dict[str, Any]:
    name = PIECES if isinstance(query[0], list) else DENSE
    return {"query": query, "using": name, "params": _DENSE_PARAMS}
