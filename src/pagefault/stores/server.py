"""The store that scales out: a Qdrant server or cluster."""

from __future__ import annotations

import asyncio
import logging
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from qdrant_client import AsyncQdrantClient, models

from pagefault.errors import CorruptPage, MemoryClosed, StoreError
from pagefault.ports import Dense, Header, Hit, Reach, Record, RecordKind, Scope, Sparse, Swap, Tally, Where
from pagefault.stores import header as headers
from pagefault.stores import layout
from pagefault.stores.layout import is_empty, windows
from pagefault.stores.lists import are_apart
from pagefault.stores.server_calls import Calls, has_id
from pagefault.stores.server_link import Link, Pace
from pagefault.stores.server_settings import key_from, server_settings
from pagefault.stores.server_setup import check_version, prepare
from pagefault.stores.vectors import dense_units, dense_vectors, query_sparse, vector

_LOG: Final = logging.getLogger(__name__)
# Windows: how much one request carries. A server takes 32 MB of JSON by default, and text
# that is escaped once more can grow sixfold.
_RECORDS: Final = 128
_BYTES: Final = 4 * 1024 * 1024
_IDS: Final = 512
_BODIES: Final = 32
_CHUNKS: Final = 4
_SCAN: Final = 256
_TERMS: Final = 64
_QUERIES: Final = 16
_REPLACED: Final = 64
"""So often a record may be replaced while its chunks are read."""


class ServerStore:
    """A page store on a Qdrant server; one collection holds all tenants.

    Stored means confirmed by the server, which has it in its write-ahead log on as many copies
    as its ``write_consistency_factor`` says. Every call is made again, a bounded number of times,
    while the server is busy or away; a write made twice has the effect of one.

    Args:
        url: ``qdrant://host:6333``, ``qdrant+grpc://host:6334``, ``https://host:6333`` and the like,
            as :func:`~pagefault.stores.server_settings.server_settings` reads it.
        api_key: Sent with every request; by default the environment variable ``QDRANT_API_KEY``,
            ``""`` for none.
        client: A client of your own, which is never closed here; ``url`` then only names it.
        client_options: More for the client that is made here: ``verify``, ``grpc_options`` and so on.
        pace: How often and how long calls are tried again.
        **settings: Fields of :class:`~pagefault.stores.server_settings.ServerSettings`:
            ``collection``, ``prefer_grpc``, ``replication_factor``, ``write_consistency_factor``,
            ``read_consistency``, ``shard_number``, ``timeout``, ``allow_shared_idf``.

    Raises:
        StoreError: The URL or a setting cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        client: AsyncQdrantClient | None = None,
        client_options: Mapping[str, Any] | None = None,
        pace: Pace | None = None,
        **settings: Any,
    ) -> None:
        key = key_from(os.environ) if api_key is None else api_key or None
        self._settings = server_settings(url, api_key=key, **settings)
        self._link = Link(self._settings, client=client, client_options=client_options or {}, pace=pace or Pace())
        self._calls: Calls | None = None
        self._header: Header | None = None
        self._pid: int | None = None
        self._closed = False
        self._opening = asyncio.Lock()
        self._heads: weakref.WeakValueDictionary[Scope, asyncio.Lock] = weakref.WeakValueDictionary()
        self._ids: tuple[Sequence[UUID] | None, models.HasIdCondition | None] = (None, None)

    async def open(self, header: Header | None) -> Header:
        """Connect; create the collection if there is none and a header is given. Idempotent.

        Raises:
            StoreMissing: There is no collection of pagefault's, and no header was given.
            StoreUnreachable: No server answers.
            StoreDenied: The API key is missing or wrong.
            StoreMismatch: The collection was written with another header, or by something else.
            StoreError: The server is too old.
            MemoryClosed: This store was closed; make a new one.
        """
        async with self._opening:
            if self._header is not None or self._closed:
                self._ready()
            if self._header is not None:
                return self._header if header is None else headers.reconcile(self._settings.place, self._header, header)
            self._pid = os.getpid()
            self._link.connect()
            scoped_idf = await check_version(self._link)
            if not scoped_idf:
                _LOG.warning(
                    "%s is older than 1.19: text of other tenants and spaces changes full-text scores",
                    self._settings.url,
                )
            self._header = await prepare(self._link, header)
            self._calls = Calls(self._link, scoped_idf=scoped_idf, apart=are_apart(self._header))
            return self._header

    async def put(self, scope: Scope, records: Sequence[Record]) -> None:
        """Write records; on return the server has confirmed them.

        A page whose id exists is left as it is; a head is replaced. When a call fails after
        validation, records before the failing unit are written: writing all again is safe.

        Raises:
            StoreError: A record cannot be stored exactly (nothing is written then), an id
                names a record of another space, or the server failed.
        """
        calls, dimension = self._ready(scope), self._dimension
        rows = [row for record in layout.distinct(records) for row in layout.rows(scope, record, dimension=dimension)]
        # One after the other: a head that is tried again must not overtake the one after it.
        async with self._heads.setdefault(scope, asyncio.Lock()):
            for unit in layout.units(rows, records=_RECORDS, size=_BYTES, weigh=_wire_bytes):
                await calls.write(scope, unit)

    async def swap(self, scope: Scope, swaps: Sequence[Swap]) -> list[bool]:
        """Write items whose stored version is the expected one; whether each was written.

        Raises:
            StoreError: A record cannot be stored exactly (nothing is written then), an id
                names a record of another space or kind, or the server failed.
        """
        calls = self._ready(scope)
        laid = layout.swapped(scope, swaps, dimension=self._dimension)
        versions = {row.id: version for row, version in laid}
        how: dict[str, Any] = {"records": _RECORDS, "size": _BYTES, "weigh": _wire_bytes}
        for unit in layout.units([row for row, _ in laid if row.kind == layout.CHUNK], **how):
            await calls.write(scope, unit)
        won: list[bool] = []
        for unit in layout.units([row for row, _ in laid if row.kind != layout.CHUNK], **how):
            won += await calls.swap(scope, [(row, versions[row.id]) for row in unit])
        return won

    async def remove(self, scope: Scope, where: Where) -> None:
        """Delete the items with ``where.ids``; with ``where.last``, only versions up to it."""
        calls = self._ready(scope)
        for ids in windows(layout.named(where), _IDS):
            await calls.remove(scope, ids, where)

    async def amend(self, scope: Scope, where: Where, fields: Mapping[str, layout.Scalar]) -> None:
        """Set some fields of the items with ``where.ids``; with ``where.last``, of versions up to it."""
        calls, plain = self._ready(scope), layout.plain_fields(fields)
        for ids in windows(layout.named(where), _IDS):
            await calls.amend(scope, ids, where, plain)

    async def index(self, scope: Scope, vectors: Mapping[UUID, Dense]) -> None:
        """Add the dense vectors of pages already stored, in place of older ones; ids not in scope are ignored.

        Raises:
            StoreError: A vector has the wrong length or values; nothing is written then.
        """
        calls = self._ready(scope)
        plain = {id_: dense_vectors(v, dimension=self._dimension, of=str(id_)) for id_, v in vectors.items()}
        for unit in dense_units(plain, _RECORDS):
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
        for window in windows(list(dict.fromkeys(ids)), _BODIES if bodies else _IDS):
            read = await calls.fetch(scope, window, bodies=bodies, words=words)
            for id_, (payload, sparse) in read.items():
                if bodies and "chunks" in payload:
                    found[id_] = replace(await self._assemble(calls, scope, id_, payload), sparse=sparse)
                else:
                    found[id_] = layout.restore(id_, payload, str(payload.get("body", "")), sparse=sparse)
        return found

    async def scan(self, scope: Reach, where: Where, *, limit: int) -> list[Record]:
        """Up to ``limit`` records ordered by (seq, id), or the newest first, without bodies and vectors."""
        calls = self._ready(scope)
        found: list[Record] = []
        at = layout.start_of(where)
        ids = self._id_condition(where)
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
        if limit <= 0 or is_empty(where):
            return hits
        ids = self._id_condition(where)
        asked = [i for i, query in enumerate(plain) if not isinstance(query, Sparse) or query.indices]
        for window in windows(asked, _QUERIES):
            answers = await calls.search(scope, [plain[i] for i in window], where, ids, limit=limit)
            for i, answer in zip(window, answers, strict=True):
                hits[i] = answer
        return hits

    async def count(self, scope: Reach, where: Where) -> int:
        """How many records there are."""
        calls = self._ready(scope)
        return 0 if is_empty(where) else await calls.count(scope, where, self._id_condition(where))

    async def idf(
        self,
        scope: Reach,
        terms: Sequence[int],
        *,
        kind: RecordKind = "page",
        near: Sequence[UUID] = (),  # noqa: ARG002  # as below
    ) -> dict[int, float]:
        """The IDF weight of each sparse index over this scope's records of a kind; absent terms are missing.

        ``near`` is not used: a second round trip costs more than it saves.
        """
        calls = self._ready(scope)
        distinct = tuple(dict.fromkeys(terms))
        query_sparse(Sparse(indices=distinct, values=(1.0,) * len(distinct)))
        weights: dict[int, float] = {}
        for window in windows(distinct, _TERMS):
            weights |= await calls.idf(scope, window, kind)
        return weights

    async def census(self) -> list[Tally]:
        """What each space of every tenant holds."""
        return await self._ready().census()

    async def sync(self) -> None:
        """Nothing to do: a confirmed write is in the server's write-ahead log.

        What survives its machine's power loss is the server's business: copies on several
        machines (``replication_factor``), and how often it syncs its log.
        """
        self._ready()

    async def close(self) -> None:
        """Release the connections. Idempotent; in a forked child it only forgets the store."""
        if self._closed:
            return
        self._closed = True
        if self._pid is not None and self._pid != os.getpid():
            self._link.forget()
        else:
            await self._link.close()

    async def _assemble(self, calls: Calls, scope: Scope, id_: UUID, payload: layout.Payload) -> Record:
        tries = _REPLACED
        while True:
            tries -= 1
            parts: list[str] = []
            try:
                for window in windows(layout.chunk_ids(id_, str(payload["chunks"])), _CHUNKS):
                    parts += await calls.fetch_chunks(scope, window, owner=id_)
                return layout.restore(id_, payload, "".join(parts))
            except CorruptPage:  # unless a head was replaced between two reads
                again = await calls.fetch(scope, [id_], bodies=True)
                fresh = again[id_][0] if id_ in again else None
                if fresh is None or fresh.get("chunks") == payload["chunks"] or not tries:
                    raise
                if "chunks" not in fresh:
                    return layout.restore(id_, fresh, str(fresh.get("body", "")))
                payload = fresh

    def _query(self, query: Sparse | Sequence[float]) -> Sparse | list[float]:
        if isinstance(query, Sparse):
            return query_sparse(query)
        return vector(query, dimension=self._dimension, of="the query")

    def _id_condition(self, where: Where) -> models.HasIdCondition | None:
        """The condition on ids; the last one is kept, since building one takes 1 us an id."""
        if where.ids is None:
            return None
        kept, condition = self._ids
        if condition is None or kept is not where.ids:
            condition = has_id(where.ids)
            if isinstance(where.ids, tuple):  # it cannot have changed when it comes again
                self._ids = (where.ids, condition)
        return condition

    @property
    def _dimension(self) -> int:
        return self._header.dimension if self._header is not None else 0

    def _ready(self, scope: Reach | None = None) -> Calls:
        place = self._settings.place
        if self._closed:
            raise MemoryClosed(f"the store at {place} is closed; open it again")
        if self._calls is None:
            raise StoreError(f"the store at {place} is not open; await its open() first")
        if self._pid != os.getpid():
            raise StoreError(
                f"the store at {place} was opened before this process was forked and cannot be used here; "
                "open it after the fork"
            )
        if scope is not None:
            layout.check_scope(scope)
        return self._calls


def _wire_bytes(row: layout.Row) -> int:
    """About how much a row takes as JSON."""
    text = sum(len(key) + len(str(value)) + 8 for key, value in row.payload.items())
    body = str(row.payload.get("body", ""))
    escapes = body.count('"') + body.count("\\")
    terms = 2 * 32 * len(row.sparse.indices) if row.sparse else 0
    tags = sum(len(tag) + 3 for tag in row.tags)
    return text + escapes + terms + tags + sum(24 * len(each) for each in row.dense or ())
