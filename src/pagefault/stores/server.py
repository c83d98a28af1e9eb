"""The store that scales out: a Qdrant server or cluster."""

from __future__ import annotations

import asyncio
import logging
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import merge
from itertools import islice
from typing import Any, Final
from uuid import UUID

from qdrant_client import AsyncQdrantClient, models

from pagefault.errors import MemoryClosed, StoreError
from pagefault.ports import Header, Hit, Reach, Record, RecordKind, Scope, Sparse, Tally, Where
from pagefault.stores import header as headers
from pagefault.stores import layout
from pagefault.stores.adapter import Adapter
from pagefault.stores.answers import by_rank
from pagefault.stores.lists import are_apart
from pagefault.stores.scopes import check_scope
from pagefault.stores.server_calls import Calls, has_id
from pagefault.stores.server_link import Link, Pace
from pagefault.stores.server_settings import key_from, server_settings
from pagefault.stores.server_setup import check_version, prepare
from pagefault.stores.vectors import query_sparse

_LOG: Final = logging.getLogger(__name__)
# Windows: how much one request carries. A server takes 32 MB of JSON by default, and text
# that is escaped once more can grow sixfold.
_RECORDS: Final = 128
_BYTES: Final = 4 * 1024 * 1024
_IDS: Final = 512
_NAMED: Final = 200_000
"""So many ids the filters of one search may hold, all together: 8 MB."""


class ServerStore(Adapter):
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
        super().__init__(ids=_IDS, vectors=_RECORDS)
        key = key_from(os.environ) if api_key is None else api_key or None
        self._settings = server_settings(url, api_key=key, **settings)
        self._link = Link(self._settings, client=client, client_options=client_options or {}, pace=pace or Pace())
        self._calls: Calls | None = None
        self._header: Header | None = None
        self._pid: int | None = None
        self._closed = False
        self._opening = asyncio.Lock()
        self._heads: weakref.WeakValueDictionary[Scope, asyncio.Lock] = weakref.WeakValueDictionary()

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
            self._dimension = self._header.dimension
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
            for unit in self._units(rows):
                await calls.write(scope, unit)

    async def search(
        self, scope: Reach, queries: Sequence[Sparse | Sequence[float]], where: Where, *, limit: int
    ) -> list[list[Hit]]:
        """As every store; ids by the ten thousand are named a part at a time, since a server takes 32 MB at once."""
        if where.ids is None or len(where.ids) <= (most := _NAMED // max(1, 2 * len(queries))):
            return await super().search(scope, queries, where, limit=limit)
        among, named = super().search, list(dict.fromkeys(where.ids))
        parts = [
            await among(scope, queries, replace(where, ids=ids), limit=limit) for ids in layout.windows(named, most)
        ]
        return [list(islice(merge(*each, key=by_rank), limit)) for each in zip(*parts, strict=True)]

    async def idf(self, scope: Reach, terms: Sequence[int], *, kind: RecordKind = "page") -> dict[int, float]:
        """The IDF weight of each sparse index over this scope's records of a kind; absent terms are missing."""
        calls = self._ready(scope)
        distinct = tuple(dict.fromkeys(terms))
        query_sparse(Sparse(indices=distinct, values=(1.0,) * len(distinct)))
        return await calls.idf(scope, distinct, kind)

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

    def _units(self, rows: Iterable[layout.Row]) -> Iterator[list[layout.Row]]:
        return layout.units(rows, records=_RECORDS, size=_BYTES, weigh=_wire_bytes)

    def _has_id(self, ids: Sequence[UUID]) -> models.HasIdCondition:
        return has_id(ids)

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
            check_scope(scope)
        return self._calls


def _wire_bytes(row: layout.Row) -> int:
    """About how much a row takes as JSON."""
    text = sum(len(key) + len(str(value)) + 8 for key, value in row.payload.items())
    body = str(row.payload.get("body", ""))
    escapes = body.count('"') + body.count("\\")
    terms = 2 * 32 * len(row.sparse.indices) if row.sparse else 0
    tags = sum(len(tag) + 3 for tag in row.tags)
    return text + escapes + terms + tags + sum(24 * len(each) for each in row.dense or ())
