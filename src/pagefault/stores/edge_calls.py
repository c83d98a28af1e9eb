"""The calls made on the embedded engine, each one short and each within one scope.

What takes the shard first blocks, on the thread that owns it. The scope goes into every filter here, or is checked on
every point, so that no caller can forget it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar
from uuid import UUID

from qdrant_edge import (
    CountRequest,
    Direction,
    EdgeShard,
    FacetRequest,
    FieldCondition,
    Filter,
    HasIdCondition,
    HasVectorCondition,
    IdfParams,
    MatchAny,
    MatchValue,
    OrderBy,
    PayloadSelector,
    Point,
    PointVectors,
    QuantizationSearchParams,
    Query,
    QueryBatchRequest,
    QueryRequest,
    RangeFloat,
    ScrollRequest,
    SearchParams,
    SparseVector,
    UpdateMode,
    UpdateOperation,
)

from pagefault.breath import Breath, rest
from pagefault.ports import Hit, Reach, Record, RecordKind, Scope, Sparse, Tally, Versions, Where
from pagefault.stores import answers, layout
from pagefault.stores.frequencies import Frequencies
from pagefault.stores.layout import MAX_INT, UNSEEN, Row, from_on, lost_chunks, selected, seq_of
from pagefault.stores.lists import Lists, laid, lists_of
from pagefault.stores.scopes import (
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
from pagefault.stores.vectors import DENSE, PIECES, TEXT, named_vectors

_OWNER: Final = ["tenant", "space", "kind", "chunks"]
_VERSION: Final = [*_OWNER, "seq"]
_TIES: Final = 16
_NEAR: Final = 4
"""So many records are looked at for words whose weights are not known yet."""
_NOTHING: Final = Filter(must=[HasIdCondition(set())])
_UNCOUNTED: Final = math.log(2)
"""The engine's IDF of any word among no records: to be divided by, where the weight of a word is known."""
_EXACT: Final = SearchParams(exact=True)
_RESCORED: Final = SearchParams(quantization=QuantizationSearchParams(rescore=True, oversampling=4.0))
"""Four times as many as asked for are compared in full, so what is found and its scores are those of a full scan."""


On = Callable[[Callable[[EdgeShard], Any]], Awaitable[Any]]
"""Runs a call on the thread that owns the shard."""
T = TypeVar("T")
P = ParamSpec("P")
_Blocking = Callable[Concatenate["Calls", EdgeShard, P], T]
_Awaited = Callable[Concatenate["Calls", P], Awaitable[T]]


def _reads(fn: _Blocking[P, T]) -> _Awaited[P, T]:
    @wraps(fn)
    def call(self: Calls, /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return self._read(lambda shard: fn(self, shard, *args, **kwargs))

    return call


def _writes(fn: _Blocking[P, T]) -> _Awaited[P, T]:
    @wraps(fn)
    def call(self: Calls, /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return self._write(lambda shard: fn(self, shard, *args, **kwargs))

    return call


class Calls:
    """What is asked of one engine, and awaited: each method runs on the thread that owns the shard.

    Args:
        read: Runs a call before those that write.
        write: Runs one that writes, where the disk has room.
        apart: Each space has lists of words of its own.
        counted: How many records hold a word.
    """

    def __init__(self, read: On, write: On, *, apart: bool, counted: Frequencies) -> None:
        self._read = read
        self._write = write
        self._apart = apart
        self._counted = counted

    # -- writing ---------------------------------------------------------------------------

    @_writes
    def put(self, shard: EdgeShard, scope: Scope, records: Sequence[Record], *, dimension: int) -> list[list[Row]]:
        """Lay out all records, which is where one is refused, and write the first unit; gives the others."""
        breath = Breath()
        rows: list[Row] = []
        for record in layout.distinct(records):
            rows += layout.rows(scope, record, dimension=dimension)
            breath.draw()
        units = list(layout.units(rows))
        if units:
            self._write_unit(shard, scope, units[0])
        return units[1:]

    @_writes
    def write(self, shard: EdgeShard, scope: Scope, unit: Sequence[Row]) -> None:
        """Write one unit: all rows replace (heads), or none does (pages and chunks)."""
        self._write_unit(shard, scope, unit)

    def _write_unit(self, shard: EdgeShard, scope: Scope, unit: Sequence[Row]) -> None:
        held = {point.id: point.payload or {} for point in _retrieve(shard, [row.id for row in unit], _OWNER)}
        answers.check_free(scope, unit, held)
        replaces = unit[0].replaces
        # Insert-only ignores what is there already; leaving it out keeps retries out of the log.
        rows = [row for row in unit if replaces or row.id not in held]
        if not rows:
            return
        mode, only = (UpdateMode.Upsert, within(scope, unit[0].kind)) if replaces else (UpdateMode.InsertOnly, None)
        if replaces:
            self._counted.forget(unit[0].kind)
        breath = Breath()
        points: list[Point] = []
        for row in rows:
            points.append(_point(row, apart=self._apart))
            breath.draw()
        with self._counted.adding(rows):
            shard.update(UpdateOperation.upsert_points(points, only, mode))
        stale = [id_ for row in unit if replaces for id_ in lost_chunks(row.id, held.get(row.id, {}), row.payload)]
        if stale:
            shard.update(UpdateOperation.delete_points(list(stale)))

    @_writes
    def swap(self, shard: EdgeShard, scope: Scope, unit: Sequence[tuple[Row, int]]) -> list[bool]:
        """Write those items whose stored version is the expected one; 0 means none.

        Nobody comes between reading and writing: this thread alone holds the engine.
        """
        held = {point.id: point.payload or {} for point in _retrieve(shard, [row.id for row, _ in unit], _VERSION)}
        answers.check_free(scope, [row for row, _ in unit], held)
        won = [held.get(row.id, {}).get("seq", 0) == version for row, version in unit]
        points = [_point(row, apart=self._apart) for (row, _), wins in zip(unit, won, strict=True) if wins]
        if points:
            self._counted.forget(unit[0][0].kind)
            shard.update(UpdateOperation.upsert_points(points, within(scope, unit[0][0].kind), UpdateMode.Upsert))
        stale: list[UUID] = []
        for (row, _), wins in zip(unit, won, strict=True):
            before, now = (held.get(row.id, {}), row.payload) if wins else (row.payload, held.get(row.id, {}))
            stale += lost_chunks(row.id, before, now)
        if stale:
            shard.update(UpdateOperation.delete_points(list(stale)))
        return won

    @_writes
    def remove(self, shard: EdgeShard, scope: Scope, versions: Versions) -> None:
        """Delete these items, where they are at these versions, with their chunks."""
        ours = _items(shard, scope, versions)
        gone = [*ours, *(chunk for id_, payload in ours.items() for chunk in lost_chunks(id_, payload, {}))]
        if gone:
            self._counted.forget("item")
            shard.update(UpdateOperation.delete_points([*gone]))

    @_writes
    def amend(self, shard: EdgeShard, scope: Scope, versions: Versions, fields: Payload) -> None:
        """Set fields of these items, where they are at these versions."""
        if ours := _items(shard, scope, versions):
            shard.update(UpdateOperation.set_payload([*ours], dict(fields)))

    @_writes
    def add_vectors(self, shard: EdgeShard, scope: Scope, vectors: Mapping[UUID, list[list[float]]]) -> None:
        """Add dense vectors to the pages among these ids that are in scope."""
        held = {point.id: point.payload for point in _retrieve(shard, vectors, [*_OWNER, SCOPE_KEY, USER_KEY, PIECED])}
        ours = {id_: payload for id_, payload in held.items() if owned(scope, payload, "page")}
        for mark, ids in newly_pieced(ours, vectors).items():
            shard.update(UpdateOperation.set_payload([*ids], {PIECED: list(mark)}))
        if ours:  # the engine fails on an id it does not hold
            updates = [
                PointVectors(id=id_, vector=named_vectors(vectors[id_], pieced=PIECED in payload))
                for id_, payload in ours.items()
            ]
            shard.update(UpdateOperation.update_vectors(updates, within(scope, "page")))

    # -- reading ---------------------------------------------------------------------------

    @_reads
    def fetch(
        self, shard: EdgeShard, scope: Scope, ids: Sequence[UUID], *, bodies: bool, words: bool = False
    ) -> dict[UUID, tuple[Payload, Sparse | None]]:
        """Payloads of the records among these ids that are in scope, with their words if wanted."""
        select = PayloadSelector.Exclude([]) if bodies else _without_body()
        points = {point.id: point for point in _retrieve(shard, ids, select, [TEXT] if words else ())}
        return answers.payloads(scope, ids, points, words=words, apart=self._apart)

    @_reads
    def fetch_chunks(self, shard: EdgeShard, scope: Scope, ids: Sequence[UUID], *, owner: UUID) -> list[str]:
        """As :func:`chunk_texts`."""
        return chunk_texts(shard, scope, ids, owner=owner)

    @_reads
    def scan_window(
        self, shard: EdgeShard, scope: Reach, where: Where, ids: HasIdCondition | None, *, at: int, size: int
    ) -> tuple[list[Record], int | None]:
        """Up to about ``size`` records from number ``at`` on, by (seq, id), or down for the newest first.

        Where one number fills the window, all records with it are returned, however many they are.

        Returns:
            The records, and the number at which to go on, ``None`` at the end.
        """
        points, _ = shard.scroll(
            ScrollRequest(
                limit=size,
                filter=matching(scope, from_on(where, at), ids),
                order_by=OrderBy("seq", Direction.Desc if where.newest else Direction.Asc),
                with_payload=selected(where) or _without_body(),
                with_vector=False,
            )
        )
        complete, last = answers.cut(answers.records(scope, points, where), size)
        if complete or last is None:
            return complete, last
        after = last - 1 if where.newest else last + 1
        same = answers.records(scope, _all_with_seq(shard, scope, where, ids, last), where)
        return same, after if after >= 0 else None

    @_reads
    def search(
        self,
        shard: EdgeShard,
        scope: Reach,
        queries: Sequence[Sparse | list[float]],
        where: Where,
        ids: HasIdCondition | None,
        *,
        limit: int,
    ) -> list[list[Hit]]:
        """The hits of each query, by (score descending, seq descending, id).

        The engine breaks ties its own way, so a few more are fetched for the cut to fall as ordered. Similarity is
        asked for twice: of first pieces, which all records have, and of further ones, which long texts have. Words
        that were not weighed yet are weighed first.
        """
        flt, pieced = matching(scope, where, ids), matching(scope, where, ids, pieced=True)
        how: dict[str, Any] = {"limit": limit + _TIES, "with_payload": selected(where) or _without_body()}
        if where.bare:
            how = {"limit": limit, "with_payload": False}
        found: list[list[Hit]] = []
        for query in queries:
            if found:
                rest()
            if isinstance(query, Sparse):
                points = self._by_words(shard, scope, query, where.kind, flt=flt, how=how)
            else:
                requests = [_request(query, flt, **how), _request([query], pieced, **how)]
                points = [point for each in shard.query_batch(QueryBatchRequest(requests)) for point in each]
            found.append(answers.hits(scope, points, where, limit=limit))
        return found

    def _by_words(
        self, shard: EdgeShard, scope: Reach, query: Sparse, kind: RecordKind, *, flt: Filter, how: Mapping[str, Any]
    ) -> list[Any]:
        """The points that hold words of a query."""
        weights = self._idf(shard, scope, query.indices, kind)
        lists = lists_of(scope, kind, apart=self._apart)
        return shard.query(_words_request(lists, _weighed(query, weights), flt, **how)) if weights else []

    @_reads
    def count(self, shard: EdgeShard, scope: Reach, where: Where, ids: HasIdCondition | None, *, limit: int) -> int:
        """How many records there are, ``limit`` at most."""
        return min(limit, shard.count(CountRequest(filter=matching(scope, where, ids), exact=True)))

    @_reads
    def size(self, shard: EdgeShard, scope: Reach, kind: RecordKind) -> int:
        """How many records of a kind there are in all."""
        found: int = shard.count(CountRequest(filter=within(scope, kind), exact=True))
        self._counted.learn_size(reach_of(scope, kind), found)
        return found

    @_reads
    def idf(self, shard: EdgeShard, scope: Reach, terms: Sequence[int], kind: RecordKind) -> dict[int, float]:
        """The engine's own IDF of each term over this scope's records of a kind.

        The engine is asked for those that it was not asked for before.
        """
        return self._idf(shard, scope, terms, kind)

    def _idf(self, shard: EdgeShard, scope: Reach, terms: Sequence[int], kind: RecordKind) -> dict[int, float]:
        reach, lists = reach_of(scope, kind), lists_of(scope, kind, apart=self._apart)
        if new := self._counted.unknown(reach, terms):
            records = self._counted.records(reach)
            if records is None:  # those with words
                having = within(scope, kind, HasVectorCondition(lists.name))
                records = shard.count(CountRequest(filter=having, exact=True))
            self._counted.learn(reach, records, _read_off(shard, scope, lists, kind, new), new)
        return self._counted.weights(reach, terms) if terms else {}


def _items(shard: EdgeShard, scope: Scope, versions: Versions) -> dict[UUID, Payload]:
    """Those of these items that are there at the version that stands beside them."""
    held = {point.id: point.payload for point in _retrieve(shard, list(versions), _VERSION)}
    ours = {id_: payload for id_, payload in held.items() if owned(scope, payload, "item")}
    return {id_: payload for id_, payload in ours.items() if versions[id_] in {None, seq_of(id_, payload)}}


def chunk_texts(shard: EdgeShard, scope: Scope, ids: Sequence[UUID], *, owner: UUID) -> list[str]:
    """The text of these chunks, in order.

    Raises:
        CorruptPage: One is missing.
    """
    held = {point.id: point.payload for point in _retrieve(shard, ids, PayloadSelector.Exclude([]))}
    return answers.chunk_texts(scope, ids, held, owner=owner)


def _read_off(shard: EdgeShard, scope: Reach, lists: Lists, kind: RecordKind, terms: Sequence[int]) -> dict[int, float]:
    """The IDF of those of these terms that occur, each read off a record with it.

    To count the records with a term is cheap, to search them all for one term is not. So a search for all terms
    together, which counts nothing, finds a few records, and only a term that none of them has is searched for alone.
    """
    corpus, all_of_them = within(scope, kind), Sparse(indices=tuple(terms), values=(1.0,) * len(terms))
    near = {point.id for point in shard.query(_words_request(lists, all_of_them, corpus, limit=_NEAR))}
    weights: dict[int, float] = {}
    for among in ([HasIdCondition(near)], []) if near else ():
        if left := [term for term in terms if term not in weights]:
            flt = within(scope, kind, *among)
            found = shard.query_batch(QueryBatchRequest([_alone(lists, term, flt, corpus) for term in left]))
            weights |= _weights(lists, left, found)
    return weights


def _alone(lists: Lists, term: int, flt: Filter, corpus: Filter) -> QueryRequest:
    """A query of one term with weight 1: it scores its best record with IDF times the stored weight."""
    only = Sparse(indices=(term,), values=(1.0,))
    return _words_request(lists, only, flt, limit=1, with_vector=[lists.name], corpus=corpus)


def _weights(lists: Lists, terms: Sequence[int], found: Iterable[Iterable[Any]]) -> dict[int, float]:
    """The IDF of each of these terms that was found."""
    weights: dict[int, float] = {}
    for term, points in zip(terms, found, strict=True):
        for point in points:
            words: Any = point.vector[lists.name]
            stored = dict(zip(words.indices, words.values, strict=True))
            weights[term] = point.score / stored[term ^ lists.salt]
    return weights


def _weighed(query: Sparse, weights: Mapping[int, float]) -> Sparse:
    """The terms that occur, each with its IDF, for an engine that counts nothing itself."""
    held = [(term, value) for term, value in zip(query.indices, query.values, strict=True) if term in weights]
    return Sparse(
        indices=tuple(term for term, _ in held),
        values=tuple(value * weights[term] / _UNCOUNTED for term, value in held),
    )


def census(shard: EdgeShard) -> list[Tally]:
    """How many records of each kind each space holds, of all tenants."""
    everything = shard.count(CountRequest(exact=True))
    found = shard.facet(FacetRequest(SCOPE_KEY, limit=max(1, everything), exact=True))
    return tallies((hit.value, hit.count) for hit in found.hits)


def within(scope: Reach, kind: str, *more: Any) -> Filter:
    """The filter that every call carries."""
    key, value = reach_of(scope, kind)
    return Filter(must=[FieldCondition(key=key, match=MatchValue(value)), *more])


def matching(scope: Reach, where: Where, ids: HasIdCondition | None, *, pieced: bool = False) -> Filter:
    """The scope's filter narrowed by ``where``, and to records with several pieces if wanted.

    Tags and the mark of such records, as they are stored, name the scope themselves.
    """
    groups = tag_groups(scope, where)
    long = [FieldCondition(key=PIECED, match=MatchValue(pieced_value(scope, where.kind)))] if pieced else []
    more: list[Any] = [*long, *(FieldCondition(key=TAGS, match=MatchAny(group)) for group in groups)]
    if where.first > 0 or where.last is not None:
        last = None if where.last is None else float(min(where.last, MAX_INT))
        more.append(FieldCondition(key="seq", range=RangeFloat(gte=float(min(where.first, MAX_INT + 1)), lte=last)))
    if ids is not None:
        more.append(ids)
    return Filter(must=more) if groups or long else within(scope, where.kind, *more)


def _request(
    query: list[float] | list[list[float]], flt: Filter, *, limit: int, with_payload: Any = False
) -> QueryRequest:
    is_pieced = isinstance(query[0], list)
    nearest = Query.Nearest(query, using=PIECES if is_pieced else DENSE)
    params = _EXACT if is_pieced else _RESCORED
    return QueryRequest(limit=limit, query=nearest, filter=flt, params=params, with_payload=with_payload)


def _words_request(
    lists: Lists,
    query: Sparse,
    flt: Filter,
    *,
    limit: int,
    with_payload: Any = False,
    with_vector: Any = False,
    corpus: Filter = _NOTHING,
) -> QueryRequest:
    nearest = Query.Nearest(SparseVector(lists.mixed(query.indices), list(query.values)), using=lists.name)
    # Without a corpus the statistics are shard-wide: another tenant's text would move the score.
    params = SearchParams(idf=IdfParams(corpus=corpus))
    return QueryRequest(
        limit=limit, query=nearest, filter=flt, params=params, with_payload=with_payload, with_vector=with_vector
    )


def _retrieve(
    shard: EdgeShard, ids: Iterable[UUID], select: list[str] | PayloadSelector, vectors: Sequence[str] = ()
) -> list[Any]:
    return shard.retrieve(list(ids), with_payload=select, with_vector=list(vectors) or False)


def _all_with_seq(shard: EdgeShard, scope: Reach, where: Where, ids: HasIdCondition | None, seq: int) -> Iterable[Any]:
    flt = matching(scope, replace(where, first=seq, last=seq), ids)
    offset: Any = None
    while True:
        points, offset = shard.scroll(
            ScrollRequest(
                offset=offset, limit=256, filter=flt, with_payload=selected(where) or _without_body(), with_vector=False
            )
        )
        yield from points
        if offset is None:
            return


def _point(row: Row, *, apart: bool) -> Point:
    vectors = words_of(row.payload, row.sparse, apart=apart)
    if row.dense is not None:
        vectors |= named_vectors(row.dense)
    return Point(id=row.id, vector=vectors, payload=row.values)


def words_of(payload: Payload, words: Sparse | None, *, apart: bool) -> dict[str, Any]:
    """The sparse vectors of a point with this payload, by their names."""
    named = laid(payload, words, apart=apart)
    return {name: SparseVector(list(each.indices), list(each.values)) for name, each in named.items()}


def _without_body() -> PayloadSelector:
    return PayloadSelector.Exclude(list(UNSEEN))
