"""What both stores do alike: calls on many records are cut into windows, and what the windows give is put together.

No client is imported here. A store gives the calls, each of which touches one window.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol
from uuid import UUID

from pagefault.errors import CorruptPage
from pagefault.ports import Dense, Hit, Reach, Record, Scope, Sparse, Swap, Versions, Where
from pagefault.stores import layout
from pagefault.stores.layout import Row, windows
from pagefault.stores.scopes import CHUNK, Payload, Scalar
from pagefault.stores.vectors import dense_units, dense_vectors, query_sparse, vector

_VERSIONS: Final = 64
"""So many items are told apart by their versions in one call: two conditions each, and a server may bound them."""
_BODIES: Final = 32
_CHUNKS: Final = 4
_SCAN: Final = 256
_REPLACED: Final = 64
"""So often a record may be replaced while its chunks are read."""


class _Calls(Protocol):
    """What an engine or a server is asked, one window at a time, as ``edge_calls`` and ``server_calls`` say it."""

    def write(self, scope: Scope, unit: Sequence[Row], /) -> Awaitable[None]: ...
    def swap(self, scope: Scope, unit: Sequence[tuple[Row, int]], /) -> Awaitable[list[bool]]: ...
    def remove(self, scope: Scope, versions: Versions, /) -> Awaitable[None]: ...
    def amend(self, scope: Scope, versions: Versions, fields: Payload, /) -> Awaitable[None]: ...
    def add_vectors(self, scope: Scope, vectors: Mapping[UUID, list[list[float]]], /) -> Awaitable[None]: ...
    def fetch(
        self, scope: Scope, ids: Sequence[UUID], /, *, bodies: bool, words: bool = False
    ) -> Awaitable[dict[UUID, tuple[Payload, Sparse | None]]]: ...
    def fetch_chunks(self, scope: Scope, ids: Sequence[UUID], /, *, owner: UUID) -> Awaitable[list[str]]: ...
    def scan_window(
        self, scope: Reach, where: Where, ids: Any, /, *, at: int, size: int
    ) -> Awaitable[tuple[list[Record], int | None]]: ...
    def search(
        self, scope: Reach, queries: Sequence[Sparse | list[float]], where: Where, ids: Any, /, *, limit: int
    ) -> Awaitable[list[list[Hit]]]: ...
    def count(self, scope: Reach, where: Where, ids: Any, /, *, limit: int) -> Awaitable[int]: ...


class Adapter(ABC):
    """The half of a store that knows no client.

    Args:
        ids: So many records one call may name.
        vectors: So many vectors one call may write.
    """

    def __init__(self, *, ids: int, vectors: int) -> None:
        self._window = ids
        self._vectors = vectors
        self._dimension = 0
        self._named: tuple[Sequence[UUID] | None, Any] = (None, None)

    @abstractmethod
    def _ready(self, scope: Reach | None = None) -> _Calls:
        """The calls of a store that is open, for a scope that can be matched exactly."""

    @abstractmethod
    def _units(self, rows: Iterable[Row]) -> Iterator[list[Row]]:
        """Rows, in order, cut into what one call may write."""

    @abstractmethod
    def _has_id(self, ids: Sequence[UUID]) -> Any:
        """The condition that a point is one of these."""

    async def swap(self, scope: Scope, swaps: Sequence[Swap]) -> list[bool]:
        """Write items whose stored version is the expected one; whether each was written.

        Raises:
            StoreError: A record cannot be stored exactly (nothing is written then), an id names a record of another
                space or kind, or the engine or server failed.
        """
        calls = self._ready(scope)
        laid = layout.swapped(scope, swaps, dimension=self._dimension)
        versions = {row.id: version for row, version in laid}
        for unit in self._units(row for row, _ in laid if row.kind == CHUNK):
            await calls.write(scope, unit)
        won: list[bool] = []
        for unit in self._units(row for row, _ in laid if row.kind != CHUNK):
            won += await calls.swap(scope, [(row, versions[row.id]) for row in unit])
        return won

    async def remove(self, scope: Scope, versions: Versions) -> None:
        """Delete these items, where they are at these versions."""
        calls = self._ready(scope)
        for window in windows(list(versions.items()), _VERSIONS):
            await calls.remove(scope, dict(window))

    async def amend(self, scope: Scope, versions: Versions, fields: Mapping[str, Scalar]) -> None:
        """Set some fields of these items, where they are at these versions.

        Raises:
            StoreError: A field cannot be stored exactly; nothing is written then.
        """
        calls, plain = self._ready(scope), layout.plain_fields(fields)
        for window in windows(list(versions.items()), _VERSIONS):
            await calls.amend(scope, dict(window), plain)

    async def index(self, scope: Scope, vectors: Mapping[UUID, Dense]) -> None:
        """Add the dense vectors of pages already stored, in place of older ones; ids not in scope are ignored.

        Raises:
            StoreError: A vector has the wrong length or values; nothing is written then.
        """
        calls = self._ready(scope)
        plain = {id_: dense_vectors(v, dimension=self._dimension, of=str(id_)) for id_, v in vectors.items()}
        for unit in dense_units(plain, self._vectors):
            await calls.add_vectors(scope, unit)

    async def get(
        self, scope: Scope, ids: Sequence[UUID], *, bodies: bool = True, words: bool = False
    ) -> dict[UUID, Record]:
        """The records with these ids that are in scope, in the order asked for.

        Raises:
            CorruptPage: A chunk of a large body is missing.
        """
        calls = self._ready(scope)
        found: dict[UUID, Record] = {}
        for window in windows(list(dict.fromkeys(ids)), _BODIES if bodies else self._window):
            read = await calls.fetch(scope, window, bodies=bodies, words=words)
            for id_, (payload, sparse) in read.items():
                if bodies and "chunks" in payload:
                    whole = await _assembled(calls, scope, id_, payload)
                    if whole is not None:
                        found[id_] = replace(whole, sparse=sparse)
                else:
                    found[id_] = layout.restore(id_, payload, str(payload.get("body", "")), sparse=sparse)
        return found

    async def scan(self, scope: Reach, where: Where, *, limit: int) -> list[Record]:
        """Up to ``limit`` records ordered by (seq, id), or the newest first, without bodies and vectors."""
        calls = self._ready(scope)
        found: list[Record] = []
        at = layout.start_of(where)
        ids = self._condition(where)
        while at is not None and len(found) < limit:
            size = min(_SCAN, limit - len(found) + 1)
            window, at = await calls.scan_window(scope, where, ids, at=at, size=size)
            found += window
        return found[: max(limit, 0)]

    async def search(
        self, scope: Reach, queries: Sequence[Sparse | Sequence[float]], where: Where, *, limit: int
    ) -> list[list[Hit]]:
        """For each query (sparse: BM25 with IDF over this scope; else dense: cosine) its best hits.

        Raises:
            StoreError: A query vector has the wrong length or values.
        """
        calls = self._ready(scope)
        plain = [self._query(query) for query in queries]
        hits: list[list[Hit]] = [[] for _ in plain]
        if limit <= 0 or layout.is_empty(where):
            return hits
        asked = [i for i, query in enumerate(plain) if not isinstance(query, Sparse) or query.indices]
        if asked:
            ids = self._condition(where)
            answers = await calls.search(scope, [plain[i] for i in asked], where, ids, limit=limit)
            for i, answer in zip(asked, answers, strict=True):
                hits[i] = answer
        return hits

    async def count(self, scope: Reach, where: Where, *, limit: int | None = None) -> int:
        """How many records there are, or ``limit`` where there are as many or more."""
        calls, most = self._ready(scope), sys.maxsize if limit is None else max(limit, 0)
        return 0 if layout.is_empty(where) else await calls.count(scope, where, self._condition(where), limit=most)

    def _query(self, query: Sparse | Sequence[float]) -> Sparse | list[float]:
        if isinstance(query, Sparse):
            return query_sparse(query)
        return vector(query, dimension=self._dimension, of="the query")

    def _condition(self, where: Where) -> Any:
        """The condition on ids; the last one is kept, since building one takes 1 us an id."""
        if where.ids is None:
            return None
        named, condition = self._named
        if condition is None or named is not where.ids:
            condition = self._has_id(where.ids)
            if isinstance(where.ids, tuple):  # it cannot have changed when it comes again
                self._named = (where.ids, condition)
        return condition


async def _assembled(calls: _Calls, scope: Scope, id_: UUID, payload: Payload) -> Record | None:
    """The record with its body, of which each chunk is read for itself; ``None`` where it was removed meanwhile."""
    tries = _REPLACED
    while True:
        tries -= 1
        parts: list[str] = []
        try:
            for window in windows(layout.chunk_ids(id_, str(payload["chunks"])), _CHUNKS):
                parts += await calls.fetch_chunks(scope, window, owner=id_)
            return layout.restore(id_, payload, "".join(parts))
        except CorruptPage:  # unless it was replaced or removed between two reads
            again = await calls.fetch(scope, [id_], bodies=True)
            if id_ not in again:
                return None
            fresh = again[id_][0]
            if fresh.get("chunks") == payload["chunks"] or not tries:
                raise
            if "chunks" not in fresh:
                return layout.restore(id_, fresh, str(fresh.get("body", "")))
            payload = fresh
