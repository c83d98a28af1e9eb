"""The calls made on a Qdrant server, each within one scope.

The scope goes into every filter here, or is checked on every point that is named by its id,
so that no caller can forget it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from qdrant_client import AsyncQdrantClient, models

from pagefault.errors import CorruptPage, StoreError
from pagefault.ports import Hit, Record, Scope, Sparse, Where
from pagefault.stores import answers
from pagefault.stores.layout import (
    CHUNK,
    DENSE,
    MAX_INT,
    SCOPE_KEY,
    TEXT,
    Payload,
    Row,
    owned,
    scope_value,
    stale_chunks,
)
from pagefault.stores.server_link import Link

_OWNER: Final = ["tenant", "space", "kind", "chunks"]
_WITHOUT_BODY: Final = models.PayloadSelectorExclude(exclude=["body"])
_TIES: Final = 16
_SAME_NUMBER: Final = 256
# The server scans small scopes as they are and walks the graph of large ones; at this width
# the graph found what a scan finds.
_DENSE_PARAMS: Final = models.SearchParams(hnsw_ef=256)


class Calls:
    """Everything that is asked of one collection."""

    def __init__(self, link: Link, *, scoped_idf: bool) -> None:
        self._link = link
        self._name = link.settings.collection
        self._consistency: Any = link.settings.read_consistency
        self._scoped_idf = scoped_idf

    async def write(self, scope: Scope, unit: Sequence[Row]) -> None:
        """Write one unit: all rows replace (heads), or none does (pages and chunks)."""
        held = await self._retrieve("reading what is there", [row.id for row in unit], _OWNER)
        for row in unit:
            if row.id in held and not owned(scope, held[row.id], row.kind):
                raise StoreError(
                    f"{row.id} already names a record of another space or kind; derive ids with pagefault.chain"
                )
        replaces = unit[0].replaces
        # Insert-only ignores what is there already; leaving it out keeps retries out of the log.
        points = [_point(row) for row in unit if replaces or row.id not in held]
        if points:
            await self._upsert(points, only=within(scope, unit[0].kind) if replaces else None)
        stale = [id_ for row in unit if replaces and row.id in held for id_ in stale_chunks(row, held[row.id])]
        if stale:
            await self._delete(within(scope, CHUNK, has_id(stale)))

    async def add_vectors(self, scope: Scope, vectors: Mapping[UUID, list[float]]) -> None:
        """Add dense vectors to the pages among these ids that are in scope."""
        held = await self._retrieve("reading what is there", list(vectors), _OWNER)
        ours = [id_ for id_ in vectors if owned(scope, held.get(id_), "page")]
        if not ours:  # the server fails on an id it does not hold
            return
        points = [models.PointVectors(id=str(id_), vector={DENSE: vectors[id_]}) for id_ in ours]
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

    async def fetch(self, scope: Scope, ids: Sequence[UUID], *, bodies: bool) -> dict[UUID, Payload]:
        """Payloads of the pages and heads among these ids that are in scope, in this order."""
        held = await self._retrieve("reading pages", ids, True if bodies else _WITHOUT_BODY)
        return {id_: payload for id_ in ids if owned(scope, payload := held.get(id_), "page", "head") and payload}

    async def fetch_chunks(self, scope: Scope, ids: Sequence[UUID], *, owner: UUID) -> list[str]:
        """The text of these chunks, in order.

        Raises:
            CorruptPage: One is missing.
        """
        held = await self._retrieve("reading a large page", ids, select=True)
        parts: list[str] = []
        for id_ in ids:
            payload = held.get(id_)
            if payload is None or not owned(scope, payload, CHUNK):
                raise CorruptPage(f"{owner} lacks chunk {id_} of its body; restore the collection from a snapshot")
            parts.append(str(payload["body"]))
        return parts

    async def scan_window(
        self, scope: Scope, where: Where, ids: models.HasIdCondition | None, *, first: int, size: int
    ) -> tuple[list[Record], int | None]:
        """Up to about ``size`` records from page number ``first`` on, by (seq, id).

        Where one number fills the window, all records with it are returned, however many they are.

        Returns:
            The records, and the number at which to go on, ``None`` at the end.
        """
        points, _ = await self._scroll(
            matching(scope, where, ids, first=first),
            limit=size,
            order_by=models.OrderBy(key="seq", direction=models.Direction.ASC),
        )
        complete, at = answers.cut(answers.records(scope, points), size)
        if complete or at is None:
            return complete, at
        everything: list[models.Record] = []
        flt, offset = matching(scope, Where(kind=where.kind, last=at), ids, first=at), None
        while True:
            points, offset = await self._scroll(flt, limit=_SAME_NUMBER, offset=offset)
            everything += points
            if offset is None:
                return answers.records(scope, everything), at + 1

    async def search(
        self,
        scope: Scope,
        queries: Sequence[Sparse | list[float]],
        where: Where,
        ids: models.HasIdCondition | None,
        *,
        limit: int,
    ) -> list[list[Hit]]:
        """The hits of each query, by (score descending, seq descending, id).

        The server breaks ties its own way, so a few more are fetched for the cut to fall as ordered.
        """
        flt, corpus = matching(scope, where, ids, first=where.first), within(scope, where.kind)
        requests = [
            models.QueryRequest(
                **self._nearest(query, corpus), filter=flt, limit=limit + _TIES, with_payload=_WITHOUT_BODY
            )
            for query in queries
        ]
        found = await self._query("searching", requests)
        return [answers.hits(scope, points, limit=limit) for points in found]

    async def idf(self, scope: Scope, terms: Sequence[int]) -> dict[int, float]:
        """The server's own IDF of each term over this scope's pages.

        A query of one term with weight 1 scores its best page with IDF times the stored weight.
        """
        pages = within(scope, "page")
        requests = [
            models.QueryRequest(
                **self._nearest(Sparse(indices=(term,), values=(1.0,)), pages),
                filter=pages,
                limit=1,
                with_payload=_OWNER,
                with_vector=[TEXT],
            )
            for term in terms
        ]
        weights: dict[int, float] = {}
        for term, points in zip(terms, await self._query("weighing terms", requests), strict=True):
            for point in points:
                answers.check(scope, point)
                vectors: Any = point.vector
                stored = dict(zip(vectors[TEXT].indices, vectors[TEXT].values, strict=True))
                weights[term] = point.score / stored[term]
        return weights

    def _nearest(self, query: Sparse | list[float], corpus: models.Filter) -> dict[str, Any]:
        if not isinstance(query, Sparse):
            return {"query": query, "using": DENSE, "params": _DENSE_PARAMS}
        vector = models.SparseVector(indices=list(query.indices), values=list(query.values))
        # Without a corpus the statistics are of all tenants: another one's text would move the score.
        params = models.SearchParams(idf=models.IdfCorpusParams(corpus=corpus)) if self._scoped_idf else None
        return {"query": vector, "using": TEXT, "params": params}

    async def _retrieve(self, what: str, ids: Sequence[UUID], select: Any) -> dict[UUID, Payload]:
        points = await self._link.call(
            what,
            lambda client: client.retrieve(
                self._name,
                ids=[str(id_) for id_ in ids],
                with_payload=select,
                with_vectors=False,
                consistency=self._consistency,
            ),
        )
        return {answers.id_of(point): point.payload or {} for point in points}

    async def _scroll(self, flt: models.Filter, **how: Any) -> tuple[list[models.Record], Any]:
        return await self._link.call(
            "listing pages",
            lambda client: client.scroll(
                self._name,
                scroll_filter=flt,
                with_payload=_WITHOUT_BODY,
                with_vectors=False,
                consistency=self._consistency,
                **how,
            ),
        )

    async def _query(self, what: str, requests: Sequence[models.QueryRequest]) -> list[list[models.ScoredPoint]]:
        async def ask(client: AsyncQdrantClient) -> list[list[models.ScoredPoint]]:
            found = [each.points for each in await client.query_batch_points(self._name, requests=requests)]
            if len(found) != len(requests):
                raise ValueError(f"{len(found)} answers to {len(requests)} queries")
            return found

        return await self._link.call(what, ask)

    async def _upsert(self, points: list[models.PointStruct], *, only: models.Filter | None) -> None:
        replaces = only is not None
        await self._link.update(
            "writing pages",
            lambda client: client.upsert(
                self._name,
                points=points,
                wait=True,
                # Pages have ids of their own and never change, so their order does not matter.
                ordering=models.WriteOrdering.STRONG if replaces else models.WriteOrdering.WEAK,
                update_mode=models.UpdateMode.UPSERT if replaces else models.UpdateMode.INSERT_ONLY,
                update_filter=only,
            ),
        )

    async def _delete(self, flt: models.Filter) -> None:
        await self._link.update(
            "deleting the rest of a replaced record",
            lambda client: client.delete(
                self._name,
                points_selector=models.FilterSelector(filter=flt),
                wait=True,
                ordering=models.WriteOrdering.STRONG,
            ),
        )


def within(scope: Scope, kind: str, *more: Any) -> models.Filter:
    """The filter that every call carries."""
    value = models.MatchValue(value=scope_value(scope, kind))
    return models.Filter(must=[models.FieldCondition(key=SCOPE_KEY, match=value), *more])


def matching(scope: Scope, where: Where, ids: models.HasIdCondition | None, *, first: int) -> models.Filter:
    """The scope's filter narrowed by ``where``, from page number ``first`` on."""
    more: list[Any] = []
    if first > 0 or where.last is not None:
        last = None if where.last is None else float(min(where.last, MAX_INT))
        span = models.Range(gte=float(min(first, MAX_INT + 1)), lte=last)
        more.append(models.FieldCondition(key="seq", range=span))
    if ids is not None:
        more.append(ids)
    return within(scope, where.kind, *more)


def has_id(ids: Iterable[UUID]) -> models.HasIdCondition:
    """The condition that a point is one of these."""
    return models.HasIdCondition(has_id=[str(id_) for id_ in dict.fromkeys(ids)])


def _point(row: Row) -> models.PointStruct:
    vectors: dict[str, Any] = {}
    if row.sparse is not None:
        vectors[TEXT] = models.SparseVector(indices=list(row.sparse.indices), values=list(row.sparse.values))
    if row.dense is not None:
        vectors[DENSE] = row.dense
    return models.PointStruct(id=str(row.id), vector=vectors, payload=dict(row.payload))
